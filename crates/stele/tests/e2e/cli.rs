//! The command line: help texts, user administration, `check`, graceful shutdown, reload on SIGHUP.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use clap::{Command, CommandFactory as _};
use rustix::process::Signal;
use serde_json::Value;
use stele::args::Args;

use crate::client::{DialectClient, DialectKind, MefpApp, TestUser, md5_hex};
use crate::support::{Installation, TEST_TIMEOUT};

/// The words of every command below `definition`, and of `definition` itself.
fn collect_commands(definition: &Command, words: Vec<String>, found: &mut Vec<Vec<String>>) {
    for command in definition.get_subcommands().filter(|command| command.get_name() != "help") {
        collect_commands(command, [&words[..], &[command.get_name().to_owned()]].concat(), found);
    }
    found.push(words);
}

#[test]
fn help_documents_every_command() {
    let installation = Installation::new();
    let mut commands = Vec::new();
    collect_commands(&Args::command(), Vec::new(), &mut commands);
    assert!(commands.len() > 50, "{commands:?}");
    for command in commands {
        let words: Vec<_> = command.iter().map(String::as_str).collect();
        let outcome = installation.run(&[&words[..], &["--help"]].concat());
        let help = &outcome.assert_success().stdout;
        let line = [&["stele"], &words[..]].concat().join(" ");
        assert!(help.contains(&format!("Usage: {line}")), "{help}");
        if matches!(words.first(), Some(&("sunset" | "client" | "resource" | "session"))) {
            let (_, examples) = help.split_once("\nExamples:\n").unwrap_or_else(|| panic!("no examples in {help}"));
            assert!(examples.contains(&format!("  {line}")), "no example of {line} in {help}");
        }
        assert!(help.lines().next().unwrap().split(' ').count() > 1, "the help begins with a sentence: {help}");
        // Every option is explained on the option's line or on the next line. Examples may begin a line with an option.
        let lines: Vec<_> = help.lines().take_while(|line| *line != "Examples:").collect();
        for pair in lines.windows(2).filter(|pair| pair[0].trim_start().starts_with("--")) {
            let explained = pair[0].trim_start().split("  ").nth(1).is_some() || pair[1].starts_with("          ");
            assert!(explained, "{} is not explained in {help}", pair[0]);
        }
    }
    let help = installation.run(&["up", "--help"]).assert_success().stdout.clone();
    for setting in stele::services::settings().into_iter().flatten() {
        assert!(help.contains(setting.name()), "{} is not in the help of up", setting.name());
    }
    assert!(installation.run(&["--version"]).assert_success().stdout.starts_with("stele "));
    assert!(!installation.data().exists(), "--help creates no files");
}

fn split_columns(line: &str) -> Vec<&str> {
    line.split('\t').collect()
}

#[test]
fn users_are_added_shown_and_listed() {
    let installation = Installation::new();
    installation.run(&["migrate"]).assert_success();
    let id = installation.add_user("Mark", "a-password", &["--phone", "+8613800138000", "--email", "Mark@Example.com"]);
    let profile =
        ["--role", "admin", "--real-name", "马克", "--gender", "男", "--org-id", "7", "--memo", "m", "--nickname", "n"];
    let other_id = installation.add_user("other", "x-password", &profile);
    for user in ["mark", "MARK", &id, &id.replace('-', ""), "100001", "+8613800138000", "mark@example.COM"] {
        let shown: Value =
            serde_json::from_str(&installation.run(&["user", "show", user]).assert_success().stdout).unwrap();
        assert_eq!(shown["id"], id.as_str(), "{user}");
        assert_eq!((&shown["name"], &shown["email"]), (&"Mark".into(), &"Mark@Example.com".into()));
        assert_eq!(
            (&shown["role"], &shown["disabled"], &shown["number"]),
            (&"user".into(), &false.into(), &100_001.into())
        );
    }
    let shown: Value =
        serde_json::from_str(&installation.run(&["user", "show", "other"]).assert_success().stdout).unwrap();
    for (field, value) in [("role", "admin"), ("real_name", "马克"), ("gender", "男"), ("org_id", "7"), ("memo", "m")]
    {
        assert_eq!(shown[field], value, "{field}");
    }
    installation.run(&["user", "disable", "other"]).assert_success();
    installation.run(&["user", "disable", "other"]).assert_success();
    let listed = installation.run(&["user", "list"]).assert_success().stdout.clone();
    let lines: Vec<_> = listed.lines().map(split_columns).collect();
    assert_eq!(lines[0], [&id, "100001", "Mark", "+8613800138000", "Mark@Example.com", "user", "active"]);
    assert_eq!(lines[1], [&other_id, "100002", "other", "-", "-", "admin", "disabled"]);
    installation.run(&["user", "enable", "other"]).assert_success();
    let json = installation.run(&["user", "list", "--json"]).assert_success().stdout.clone();
    let users: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((users.len(), &users[1]["disabled"], &users[1]["id"]), (2, &false.into(), &other_id.as_str().into()));
    // Neither the password nor a hash of it is shown.
    assert!(
        !json.contains("a-password") && !json.contains(&md5_hex("a-password")) && !json.contains("argon2"),
        "{json}"
    );
}

#[tokio::test]
async fn commands_run_concurrently_with_a_server() {
    let installation = Installation::new();
    let server = installation.start_up();
    let unregistered_app_client =
        DialectClient::new(&server, MefpApp::new("late", ("0".repeat(32), "0".repeat(16))), "");
    unregistered_app_client.login_as(DialectKind::Mefp, "13800138000", "a-password").await.assert_is(400, "40000");
    let id = installation.add_user("mark", "a-password", &["--phone", "13800138000", "--email", "mark@example.com"]);
    let person = TestUser { id, name: "mark".into(), phone: "13800138000".into(), email: "mark@example.com".into() };
    let outcome =
        installation.run_with(&["app", "add", "late", "--secret-stdin", "--may-token", "a,b"], "0123456789abcdef");
    assert_eq!(outcome.last_stdout_word(), "0123456789abcdef");
    let shared_secret = outcome.stdout.split_whitespace().nth(1).unwrap().to_owned();
    let app = MefpApp::new("late", (shared_secret, outcome.last_stdout_word()));
    let client = DialectClient::new(&server, app, &installation.run(&["token", "add", "late"]).last_stdout_word());
    for dialect in DialectKind::ALL {
        client.login(dialect, &person, "a-password").await.assert_success();
    }
    installation
        .run_with(&["user", "passwd", "mark", "--password-stdin"], "another-one\r\nnot this line\n")
        .assert_success();
    for dialect in DialectKind::ALL {
        assert!(!client.login(dialect, &person, "a-password").await.is_success(), "{dialect:?}");
        client.login(dialect, &person, "another-one").await.assert_success();
    }
    let readiness = client.send(reqwest::Method::GET, "/readyz", &[], String::new()).await;
    assert_eq!(readiness.status, 200, "{readiness:?}");
    installation.run(&["migrate"]).assert_success();
    installation.run(&["check"]).assert_success();
    server.stop();
}

#[tokio::test]
async fn users_with_imported_hashes_can_log_in() {
    let installation = Installation::new();
    let server = installation.start_up();
    let client = DialectClient::without_credentials(&server);
    let hashes = [
        ("md5ps", "secret-1", format!("$md5ps$6162${}", md5_hex("secret-1ab"))),
        ("md5sp", "secret-2", format!("$md5sp$6162${}", md5_hex("absecret-2").to_uppercase())),
        ("bcrypt", "U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW".to_owned()),
    ];
    for (name, password, hash) in &hashes {
        installation
            .run_with(&["user", "add", "--username", name, "--hash-stdin"], &format!("{hash}\n"))
            .assert_success();
        // A salted login needs the digest, which the first login with the password itself stores.
        client.login_as(DialectKind::Cloudbox, name, password).await.assert_is(200, "1002");
        client.login_as(DialectKind::Jwt, name, "wrong-1").await.assert_is(200, "-1");
        client.login_as(DialectKind::Jwt, name, password).await.assert_success();
        client.login_as(DialectKind::Cloudbox, name, password).await.assert_success();
    }
    // An unsalted md5 is the digest itself, so salted logins work at once.
    let digest = md5_hex("secret-3").to_uppercase();
    installation.run_with(&["user", "add", "--username", "md5", "--hash-stdin"], &digest).assert_success();
    client.login_as(DialectKind::Cloudbox, "md5", "wrong-1").await.assert_is(200, "1002");
    for dialect in [DialectKind::Cloudbox, DialectKind::Jwt] {
        client.login_as(dialect, "md5", "secret-3").await.assert_success();
    }
}

#[test]
fn migrate_is_idempotent_and_safe_to_run_concurrently() {
    let installation = Installation::new();
    let children: Vec<_> = (0..2).map(|_| installation.command(&["migrate"]).spawn().unwrap()).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    }
    let read_keys = || {
        let entries = std::fs::read_dir(installation.data().join("keys")).unwrap().map(|entry| entry.unwrap().path());
        let mut keys: Vec<_> = entries.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect();
        keys.sort();
        keys
    };
    let before = read_keys();
    assert!(before.len() >= 3, "{before:?}");
    installation.add_user("mark", "a-password", &[]);
    let output = installation.run(&["migrate"]).assert_success().stdout.clone();
    assert_eq!(output, installation.run(&["migrate"]).assert_success().stdout);
    assert_eq!(read_keys(), before);
    assert_eq!(installation.run(&["user", "list"]).assert_success().stdout.lines().count(), 1);
    #[cfg(unix)]
    for (path, _) in before {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", path.display());
    }
}

#[test]
fn check_prints_settings_and_reports_missing_keys_and_invalid_values() {
    let mut installation = Installation::new();
    let without_keys = installation.run(&["check"]);
    assert_eq!(without_keys.code, Some(2), "{without_keys:?}");
    assert!(without_keys.stderr.starts_with("error: ") && without_keys.stderr.lines().count() == 1, "{without_keys:?}");
    installation.run(&["migrate"]).assert_success();
    installation.set("STELE_MEFP_SECRET", "0123456789abcdef0123456789ABCDEF");
    installation.set("STELE_UNHEARD_OF", "1");
    let output = installation.run(&["check"]).assert_success().stdout.clone();
    for setting in stele::services::settings().into_iter().flatten() {
        let line = output.lines().find(|line| line.split(' ').next() == Some(setting.name()));
        assert!(line.is_some_and(|line| line.contains(&setting.help())), "{}", setting.name());
    }
    assert!(output.contains("STELE_UNHEARD_OF") && !output.contains("0123456789abcdef"), "{output}");
    for service in stele::services::ALL {
        assert!(output.contains(&format!("ok: {}'s settings", service.name)), "{output}");
    }
    installation.set("STELE_HASH_COST", "much");
    let failing = installation.run(&["check"]);
    assert_eq!((failing.code, failing.stderr.lines().count()), (Some(2), 1), "{failing:?}");
    assert!(failing.stderr.starts_with("error: STELE_HASH_COST: `much`"), "{failing:?}");
}

fn assert_graceful_shutdown_on(signal: Signal) {
    let installation = Installation::new();
    let mut server = installation.start_up();
    installation.add_user("mark", "a-password", &[]);
    let body = "account=mark&password=a-password";
    let head = format!(
        "POST /api/v1/Auth/Login HTTP/1.1\r\nhost: {}\r\ncontent-type: application/x-www-form-urlencoded\r\n\
         content-length: {}\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n",
        server.address(),
        body.len()
    );
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(TEST_TIMEOUT)).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert!(line.starts_with("HTTP/1.1 100"), "{line}");
    // The service reads the request now, so a graceful shutdown must answer it.
    stream.write_all(&body.as_bytes()[..9]).unwrap();
    server.signal(signal);
    let log = crate::support::eventually("the stop is logged", || {
        Some(server.log()).filter(|log| log.contains("shutting down: draining"))
    });
    assert!(!log.contains("ERROR"), "{log}");
    stream.write_all(&body.as_bytes()[9..]).unwrap();
    let mut response = String::new();
    reader.read_to_string(&mut response).unwrap();
    assert!(response.contains("HTTP/1.1 200") && response.contains(r#""code":0"#), "{response}");
    assert_eq!(server.wait_for_exit(), Some(0), "{}", server.log());
    assert!(TcpStream::connect(server.address()).is_err(), "the port is still open");
}

#[test]
fn sigint_drains_requests_and_exits_cleanly() {
    assert_graceful_shutdown_on(Signal::INT);
}

#[test]
fn sigterm_drains_requests_and_exits_cleanly() {
    assert_graceful_shutdown_on(Signal::TERM);
}

#[test]
fn sighup_reloads_routes_without_dropping_connections() {
    let mut installation = Installation::new();
    let routes = installation.path("routes.toml");
    let built_in = include_str!("../../../../gateway/routes.toml");
    std::fs::write(&routes, built_in).unwrap();
    installation.set("STELE_ROUTES", routes.to_str().unwrap());
    let server = installation.start_up();
    let wait_for_log = |text: &str| crate::support::eventually(text, || server.log().contains(text).then_some(()));
    let get = |path: &str| {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        response
    };
    assert!(get("/auth/x").contains("40400") && get("/door/x").contains("no_route"));
    std::fs::write(&routes, built_in.replace("\"/auth/\"", "\"/door/\"")).unwrap();
    server.signal(Signal::HUP);
    wait_for_log("the new routing table is in force");
    // The new table still leads to the services of this process, which trust only its own gateway.
    assert!(get("/door/x").contains("40400") && get("/auth/x").contains("no_route"));
    std::fs::write(&routes, "x = 1").unwrap();
    server.signal(Signal::HUP);
    wait_for_log("the old routing table stays in force");
    assert!(get("/door/x").contains("40400"));
    server.stop();
}
