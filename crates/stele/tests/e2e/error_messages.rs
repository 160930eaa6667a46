//! Error messages of the command: one line on standard error that begins with `error: ` and names the fault. The exit
//! code is 2 for an invalid command line, setting, key, file or port, and 1 for an operation that was refused or
//! failed.

use std::fs::{read, read_dir, write};
use std::net::TcpListener;
use std::process::Command;

use crate::support::Installation;

const UP_ARGS: [&str; 3] = ["up", "--listen", "127.0.0.1:0"];

/// An installation that logs no warnings, so that standard error contains only the error.
fn installation_without_warnings() -> Installation {
    Installation::with_settings(&[("STELE_HASH_COST", "64,1,1,weak"), ("STELE_LOG", "error")])
}

fn initialized_installation() -> Installation {
    let installation = installation_without_warnings();
    installation.run(&["migrate"]).assert_success();
    installation
}

#[test]
fn an_invalid_command_line_prints_a_one_line_error() {
    let installation = initialized_installation();
    let add = ["user", "add", "--username", "mark"];
    let cases: [(&[&str], &[&str], &str); 16] = [
        (&[], &["--wrong"], "--wrong"),
        (&[], &["down"], "down"),
        (&[], &["user"], "user"),
        (&["up"], &["--listen"], "--listen"),
        (&["up"], &["extra"], "extra"),
        (&["user"], &["remove", "mark"], "remove"),
        (&["user"], &["show"], "USER"),
        (&["user"], &["passwd", "mark"], "--password-stdin"),
        (&["user"], &["add", "--password-stdin"], "--username"),
        (&add, &[], "--password-stdin"),
        (&add, &["--password-stdin", "--hash-stdin"], "--hash-stdin"),
        (&add, &["--password-stdin", "--role", "king"], "a role is admin or user"),
        (&add, &["--password-stdin", "--gender", "x"], "男"),
        (&add, &["--password-stdin", "--phone", "12"], "5 to 15 digits"),
        (&add, &["--password-stdin", "--email", "mark"], "e-mail"),
        (&add, &["--password-stdin", "--enterprise", "x"], "UUID"),
    ];
    for (command, wrong, message) in cases {
        installation.run_with(&[command, wrong].concat(), "a-password").assert_failed(2, message);
    }
    installation.run_with(&[&add[..], &["--password-stdin"]].concat(), "").assert_failed(2, "standard input is empty");
    installation
        .run_with(&[&add[..], &["--password-stdin"]].concat(), "\n")
        .assert_failed(2, "standard input is empty");
    for (hash, message) in [
        ("5f4dcc3b5aa765d61d8327deb882cf9", "not a hash that can be imported"),
        ("$md5ps$$5f4dcc3b5aa765d61d8327deb882cf99", "give its 32 hex digits alone"),
        ("$md5sp$$5f4dcc3b5aa765d61d8327deb882cf99", "give its 32 hex digits alone"),
    ] {
        installation.run_with(&[&add[..], &["--hash-stdin"]].concat(), hash).assert_failed(2, message);
    }
    installation
        .run_with(&[&add[..], &["--hash-stdin"]].concat(), "$argon2id$v=19$m=99999999,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g")
        .assert_failed(2, "hash");
    installation.run_with(&["app", "add", "melink", "--secret-stdin"], "short").assert_failed(2, "secret");
    installation.run(&["app", "add", ""]).assert_failed(2, "name");
    assert_eq!(installation.run(&["user", "list"]).assert_success().stdout, "");
}

#[test]
fn duplicate_or_unknown_users_print_a_one_line_error() {
    let installation = initialized_installation();
    installation.add_user("Mark", "a-password", &["--phone", "13800138000", "--email", "mark@example.com"]);
    installation.add_app("melink", "melink");
    installation.run(&["token", "add", "console"]).assert_success();
    let cases: [&[&str]; 5] = [
        &["--username", "mark"],
        &["--username", "MARK"],
        &["--username", "other", "--phone", "13800138000"],
        &["--username", "other", "--email", "MARK@example.com"],
        &["--username", "13800138000"],
    ];
    for options in cases {
        installation
            .run_with(&[&["user", "add", "--password-stdin"], options].concat(), "b-password")
            .assert_failed(1, "taken");
    }
    installation.run(&["app", "add", "melink"]).assert_failed(1, "melink");
    installation.run(&["token", "add", "console"]).assert_failed(1, "console");
    for command in ["show", "disable", "enable"] {
        for user in ["unknown", "100099", "0b922f14-d00b-11e7-aafd-525400bbac8e", "unknown@example.com"] {
            installation.run(&["user", command, user]).assert_failed(1, "user");
        }
    }
    installation.run_with(&["user", "passwd", "unknown", "--password-stdin"], "x").assert_failed(1, "user");
    assert_eq!(installation.run(&["user", "list"]).assert_success().stdout.lines().count(), 1);
}

#[test]
fn unavailable_ports_print_a_one_line_error() {
    let mut installation = Installation::new();
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let busy_address = busy.local_addr().unwrap().to_string();
    installation.run(&["up", "--listen", &busy_address]).assert_failed(2, &busy_address);
    installation.run(&["up", "--listen", "nonsense"]).assert_failed(2, "`nonsense`");
    installation.run(&["up", "--listen", "192.0.2.1:80"]).assert_failed(2, "192.0.2.1:80");
    installation.set("STELE_ADMIN_LISTEN", &busy_address);
    installation.run(&UP_ARGS).assert_failed(2, "STELE_ADMIN_LISTEN");
    assert!(!installation.data().join("users.db").exists(), "the ports are bound before any file is created");
}

#[test]
fn unwritable_folders_print_a_one_line_error() {
    let installation = Installation::new();
    write(installation.path("file"), "").unwrap();
    for folder in [
        installation.path("file/below").to_str().unwrap(),
        installation.path("file").to_str().unwrap(),
        "/proc/stele",
        "/dev/null",
    ] {
        for command in [&UP_ARGS[..], &["migrate"], &["user", "list"], &["check"]] {
            let outcome = installation.run(&[command, &["--data", folder]].concat());
            assert_eq!(outcome.code, Some(2), "{folder}: {outcome:?}");
            assert!(
                outcome.stderr.starts_with("error: ") && outcome.stderr.lines().count() == 1,
                "{folder}: {outcome:?}"
            );
            assert!(outcome.stderr.contains(folder), "{folder}: {outcome:?}");
        }
    }
    // Only `up` and `migrate` create the data folder.
    for command in [&["user", "list"][..], &["app", "add", "x"], &["token", "add", "x"]] {
        installation.run(command).assert_failed(2, "data");
        assert!(!installation.data().exists(), "{command:?}");
    }
}

#[test]
fn damaged_keys_are_named_in_the_error() {
    let installation = initialized_installation();
    let keys: Vec<_> = read_dir(installation.data().join("keys")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(keys.len() >= 4, "{keys:?}");
    for key in keys {
        let good = read(&key).unwrap();
        let name = key.file_name().unwrap().to_str().unwrap();
        let damages: [&[u8]; 4] = [b"", b"damaged", &good[..good.len() / 2], &[0xff; 40]];
        for damage in damages {
            write(&key, damage).unwrap();
            installation.run(&UP_ARGS).assert_failed(2, name);
            if name.starts_with("seal-") || name == "mac.key" {
                installation.run(&["migrate"]).assert_failed(2, name);
            }
            assert_eq!(read(&key).unwrap(), damage, "a damaged key is not replaced");
        }
        write(&key, good).unwrap();
    }
    installation.run(&["migrate"]).assert_success();
}

#[test]
fn a_startup_error_is_one_line() {
    let installation = Installation::new();
    installation.run(&["migrate"]).assert_success();
    write(installation.data().join("state.db"), "this is no database, but a text that is longer than a header")
        .unwrap();
    installation.run(&UP_ARGS).assert_failed(2, "state.db");
}

#[test]
fn a_lost_key_is_not_regenerated_while_it_is_needed() {
    let installation = initialized_installation();
    installation.add_user("mark", "a-password", &[]);
    std::fs::remove_file(installation.data().join("keys/seal-1.key")).unwrap();
    installation.run(&["user", "list"]).assert_failed(2, "seal");
    installation.run(&["check"]).code.filter(|code| *code == 2).expect("the check fails");
    // `migrate` and `up` create missing keys, but not one that stored secrets need.
    installation.run(&["migrate"]).assert_failed(2, "restore it");
    installation.run(&["up", "--listen", "127.0.0.1:0"]).assert_failed(2, "restore it");
    assert!(!installation.data().join("keys/seal-1.key").exists());
}

#[test]
fn invalid_settings_are_named_in_the_error() {
    let mut installation = initialized_installation();
    let wrong = [
        ("STELE_LISTEN", "here"),
        ("STELE_ADMIN_LISTEN", "127.0.0.1"),
        ("STELE_DELIVERY", "pigeon"),
        ("STELE_TRUSTED_PROXIES", "10.0.0.0/33"),
        ("STELE_TIMESTAMP_SKEW", "-1s"),
        ("STELE_SESSION_TTL", "0"),
        ("STELE_SESSIONS_PER_USER", "0"),
        ("STELE_SESSIONS_PER_USER", "1000001"),
        ("STELE_PASSWORD_MIN", "0"),
        ("STELE_PASSWORD_LIST", "on"),
        ("STELE_SALTED", "perhaps"),
        ("STELE_CODE_TTL", "soon"),
        ("STELE_LIMIT_ACCOUNT", "-5"),
        ("STELE_LIMIT_WAIT", "1 fortnight"),
        ("STELE_HASH_COST", "1,2"),
        ("STELE_HASH_COST", "1,1,1"),
        ("STELE_HASH_COST", "19455,2,1"),
        ("STELE_HASH_COST", "262145,2,1"),
        ("STELE_HASH_SLOTS", "257"),
        ("STELE_HASH_SLOTS", "none"),
        ("STELE_HASH_SLOTS", "0"),
        ("STELE_HASH_QUEUE", "0"),
        ("STELE_WORKERS", "many"),
        ("STELE_LOG", "stele=loud"),
        ("STELE_LOG_FORMAT", "xml"),
        ("STELE_UPSTREAM_JWT", "ftp://x"),
        ("STELE_BODY_LIMIT", "big"),
        ("STELE_DEMO", "maybe"),
        ("STELE_TMS_PROOF", "none"),
        ("STELE_TMS_TZ", "Beijing"),
        ("STELE_TMS_REQUIRE_TOKEN", "2"),
        ("STELE_PORTAL_TELL_UNKNOWN", "x"),
        ("STELE_MEFP_SECRET", "short"),
        ("STELE_JWT_ALG", "none"),
        ("STELE_PUBLIC_URL", "nowhere"),
    ];
    for (name, value) in wrong {
        installation.set(name, value);
        // The command line has precedence, so `--listen` is left out where STELE_LISTEN is tested.
        let outcome = installation.run(if name == "STELE_LISTEN" { &UP_ARGS[..1] } else { &UP_ARGS });
        let stderr = outcome.stderr.clone();
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(2), ""), "{name}={value}: {outcome:?}");
        assert!(
            stderr.starts_with(&format!("error: {name}")) && stderr.lines().count() == 1,
            "{name}={value}: {stderr}"
        );
        installation.unset();
    }
    installation.set("STELE_MEFP_SECRET_FILE", "/nowhere/secret");
    installation.run(&UP_ARGS).assert_failed(2, "/nowhere/secret");
}

#[test]
fn unreadable_files_are_named_in_the_error() {
    let mut installation = initialized_installation();
    let config = installation.path("stele.toml");
    let with_config = [&UP_ARGS[..], &["--config", config.to_str().unwrap()]].concat();
    installation.run(&with_config).assert_failed(2, "stele.toml");
    for malformed in ["hash_cost = ", "[[", "hash_cost = \"64,1,1,weak\"\nhash_cost = \"64,1,1,weak\"\n", "\u{0}"] {
        write(&config, malformed).unwrap();
        installation.run(&with_config).assert_failed(2, "stele.toml");
    }
    write(&config, "unheard_of = 1\n").unwrap();
    installation.run(&with_config).assert_failed(2, "unheard_of");
    write(&config, "jwt_alg = \"HS256\"\n").unwrap();
    installation.run(&with_config).assert_failed(2, "HS256");
    let routes = installation.path("routes.toml");
    installation.set("STELE_ROUTES", routes.to_str().unwrap());
    installation.run(&UP_ARGS).assert_failed(2, "routes.toml");
    let cases = [
        ("[[route]]\nprefix = \"/a/\"\nservise = \"x\"\n", "routes.toml:3"),
        ("", "routes.toml"),
        ("[[", "routes.toml"),
    ];
    for (text, message) in cases {
        write(&routes, text).unwrap();
        installation.run(&UP_ARGS).assert_failed(2, message);
    }
}

fn execute_sql(file: &std::path::Path, statement: &str) {
    let script = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.executescript(sys.argv[2]); c.close()";
    let status = Command::new("python3").args(["-c", script]).arg(file).arg(statement).status().unwrap();
    assert!(status.success());
}

#[test]
fn unreadable_and_newer_databases_are_rejected() {
    for file in ["users.db", "state.db"] {
        // `migrate` opens only the user store. The state store is created by the first command that opens it.
        let commands: [&[&str]; 4] = [&["user", "list"], &["check"], &UP_ARGS, &["migrate"]];
        let commands = if file == "users.db" { &commands[..] } else { &commands[..3] };
        let installation = initialized_installation();
        write(installation.data().join(file), "no database, but a text longer than a header\n".repeat(99)).unwrap();
        for command in commands {
            let outcome = installation.run(command);
            let is_one_line = outcome.stderr.starts_with("error: ") && outcome.stderr.lines().count() == 1;
            assert!(
                is_one_line && outcome.code == Some(2) && outcome.stderr.contains(file),
                "{command:?}: {outcome:?}"
            );
        }
        // A database with the schema of a newer version, which this program cannot use.
        let installation = initialized_installation();
        installation.run(&["user", "list"]).assert_success();
        let declaration = match file {
            "users.db" => "UPDATE facts SET value = 9998 WHERE name = 'oldest_program'",
            _ => "UPDATE meta SET value = 9998 WHERE key = 'oldest_program'",
        };
        execute_sql(
            &installation.data().join(file),
            &format!("INSERT INTO __diesel_schema_migrations (version) VALUES ('9998'); {declaration}"),
        );
        for command in commands {
            let outcome = installation.run(command);
            let is_one_line = outcome.stderr.starts_with("error: ") && outcome.stderr.lines().count() == 1;
            assert!(
                is_one_line && outcome.code == Some(2) && outcome.stderr.contains("newer"),
                "{command:?}: {outcome:?}"
            );
        }
    }
}
