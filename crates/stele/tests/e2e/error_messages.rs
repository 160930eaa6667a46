//! What the command cannot do, it says in one line on standard error that begins with `error: ` and names what is at
//! fault; the exit code is 2 for the command line, a setting, a key, a file or a port, and 1 for what was asked.

use std::fs::{read, read_dir, write};
use std::net::TcpListener;
use std::process::Command;

use crate::support::Installation;

const UP_ARGS: [&str; 3] = ["up", "--listen", "127.0.0.1:0"];

/// A home where warnings do not come before the error.
fn installation_without_warnings() -> Installation {
    Installation::with_settings(&[("STELE_HASH_COST", "64,1,1,weak"), ("STELE_LOG", "error")])
}

fn initialized_installation() -> Installation {
    let home = installation_without_warnings();
    home.run(&["migrate"]).assert_success();
    home
}

#[test]
fn an_invalid_command_line_prints_a_one_line_error() {
    let home = initialized_installation();
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
    for (command, wrong, told) in cases {
        home.run_with(&[command, wrong].concat(), "a-password").assert_failed(2, told);
    }
    home.run_with(&[&add[..], &["--password-stdin"]].concat(), "").assert_failed(2, "standard input is empty");
    home.run_with(&[&add[..], &["--password-stdin"]].concat(), "\n").assert_failed(2, "standard input is empty");
    for (hash, message) in [
        ("5f4dcc3b5aa765d61d8327deb882cf9", "not a hash that can be imported"),
        ("$md5ps$$5f4dcc3b5aa765d61d8327deb882cf99", "give its 32 hex digits alone"),
        ("$md5sp$$5f4dcc3b5aa765d61d8327deb882cf99", "give its 32 hex digits alone"),
    ] {
        home.run_with(&[&add[..], &["--hash-stdin"]].concat(), hash).assert_failed(2, message);
    }
    home.run_with(&[&add[..], &["--hash-stdin"]].concat(), "$argon2id$v=19$m=99999999,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g")
        .assert_failed(2, "hash");
    home.run_with(&["app", "add", "melink", "--secret-stdin"], "short").assert_failed(2, "secret");
    home.run(&["app", "add", ""]).assert_failed(2, "name");
    assert_eq!(home.run(&["user", "list"]).assert_success().stdout, "");
}

#[test]
fn duplicate_or_unknown_users_print_a_one_line_error() {
    let home = initialized_installation();
    home.add_user("Mark", "a-password", &["--phone", "13800138000", "--email", "mark@example.com"]);
    home.add_app("melink", "melink");
    home.run(&["token", "add", "console"]).assert_success();
    let cases: [&[&str]; 5] = [
        &["--username", "mark"],
        &["--username", "MARK"],
        &["--username", "other", "--phone", "13800138000"],
        &["--username", "other", "--email", "MARK@example.com"],
        &["--username", "13800138000"],
    ];
    for options in cases {
        home.run_with(&[&["user", "add", "--password-stdin"], options].concat(), "b-password")
            .assert_failed(1, "taken");
    }
    home.run(&["app", "add", "melink"]).assert_failed(1, "melink");
    home.run(&["token", "add", "console"]).assert_failed(1, "console");
    for command in ["show", "disable", "enable"] {
        for user in ["nobody", "100099", "0b922f14-d00b-11e7-aafd-525400bbac8e", "nobody@example.com"] {
            home.run(&["user", command, user]).assert_failed(1, "user");
        }
    }
    home.run_with(&["user", "passwd", "nobody", "--password-stdin"], "x").assert_failed(1, "user");
    assert_eq!(home.run(&["user", "list"]).assert_success().stdout.lines().count(), 1);
}

#[test]
fn unavailable_ports_print_a_one_line_error() {
    let mut home = Installation::new();
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = busy.local_addr().unwrap().to_string();
    home.run(&["up", "--listen", &taken]).assert_failed(2, &taken);
    home.run(&["up", "--listen", "nonsense"]).assert_failed(2, "`nonsense`");
    home.run(&["up", "--listen", "192.0.2.1:80"]).assert_failed(2, "192.0.2.1:80");
    home.set("STELE_ADMIN_LISTEN", &taken);
    home.run(&UP_ARGS).assert_failed(2, "STELE_ADMIN_LISTEN");
    assert!(!home.data().join("users.db").exists(), "a port is asked for before anything is made");
}

#[test]
fn unwritable_folders_print_a_one_line_error() {
    let home = Installation::new();
    write(home.path("file"), "").unwrap();
    for folder in
        [home.path("file/below").to_str().unwrap(), home.path("file").to_str().unwrap(), "/proc/stele", "/dev/null"]
    {
        for command in [&UP_ARGS[..], &["migrate"], &["user", "list"], &["check"]] {
            let outcome = home.run(&[command, &["--data", folder]].concat());
            assert_eq!(outcome.code, Some(2), "{folder}: {outcome:?}");
            assert!(
                outcome.stderr.starts_with("error: ") && outcome.stderr.lines().count() == 1,
                "{folder}: {outcome:?}"
            );
            assert!(outcome.stderr.contains(folder), "{folder}: {outcome:?}");
        }
    }
    // Only `up` and `migrate` make a folder.
    for command in [&["user", "list"][..], &["app", "add", "x"], &["token", "add", "x"]] {
        home.run(command).assert_failed(2, "data");
        assert!(!home.data().exists(), "{command:?}");
    }
}

#[test]
fn damaged_keys_are_named_in_the_error() {
    let home = initialized_installation();
    let keys: Vec<_> = read_dir(home.data().join("keys")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(keys.len() >= 4, "{keys:?}");
    for key in keys {
        let good = read(&key).unwrap();
        let name = key.file_name().unwrap().to_str().unwrap();
        let damages: [&[u8]; 4] = [b"", b"damaged", &good[..good.len() / 2], &[0xff; 40]];
        for damage in damages {
            write(&key, damage).unwrap();
            home.run(&UP_ARGS).assert_failed(2, name);
            if name.starts_with("seal-") || name == "mac.key" {
                home.run(&["migrate"]).assert_failed(2, name);
            }
            assert_eq!(read(&key).unwrap(), damage, "a damaged key is not replaced");
        }
        write(&key, good).unwrap();
    }
    home.run(&["migrate"]).assert_success();
}

#[test]
fn a_startup_error_is_one_line() {
    let home = Installation::new();
    home.run(&["migrate"]).assert_success();
    write(home.data().join("state.db"), "this is no database, but a text that is longer than a header").unwrap();
    home.run(&UP_ARGS).assert_failed(2, "state.db");
}

#[test]
fn a_lost_key_is_not_regenerated_while_it_is_needed() {
    let home = initialized_installation();
    home.add_user("mark", "a-password", &[]);
    std::fs::remove_file(home.data().join("keys/seal-1.key")).unwrap();
    home.run(&["user", "list"]).assert_failed(2, "seal");
    home.run(&["check"]).code.filter(|code| *code == 2).expect("the check fails");
    // Neither does what makes missing keys make this one: it would open nothing.
    home.run(&["migrate"]).assert_failed(2, "restore it");
    home.run(&["up", "--listen", "127.0.0.1:0"]).assert_failed(2, "restore it");
    assert!(!home.data().join("keys/seal-1.key").exists());
}

#[test]
fn invalid_settings_are_named_in_the_error() {
    let mut home = initialized_installation();
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
        home.set(name, value);
        // Whatever is on the command line wins, so the address is left to the setting.
        let outcome = home.run(if name == "STELE_LISTEN" { &UP_ARGS[..1] } else { &UP_ARGS });
        let stderr = outcome.stderr.clone();
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(2), ""), "{name}={value}: {outcome:?}");
        assert!(
            stderr.starts_with(&format!("error: {name}")) && stderr.lines().count() == 1,
            "{name}={value}: {stderr}"
        );
        home.unset();
    }
    home.set("STELE_MEFP_SECRET_FILE", "/nowhere/secret");
    home.run(&UP_ARGS).assert_failed(2, "/nowhere/secret");
}

#[test]
fn unreadable_files_are_named_in_the_error() {
    let mut home = initialized_installation();
    let config = home.path("stele.toml");
    let with_config = [&UP_ARGS[..], &["--config", config.to_str().unwrap()]].concat();
    home.run(&with_config).assert_failed(2, "stele.toml");
    for malformed in ["hash_cost = ", "[[", "hash_cost = \"64,1,1,weak\"\nhash_cost = \"64,1,1,weak\"\n", "\u{0}"] {
        write(&config, malformed).unwrap();
        home.run(&with_config).assert_failed(2, "stele.toml");
    }
    write(&config, "unheard_of = 1\n").unwrap();
    home.run(&with_config).assert_failed(2, "unheard_of");
    write(&config, "jwt_alg = \"HS256\"\n").unwrap();
    home.run(&with_config).assert_failed(2, "HS256");
    let routes = home.path("routes.toml");
    home.set("STELE_ROUTES", routes.to_str().unwrap());
    home.run(&UP_ARGS).assert_failed(2, "routes.toml");
    let cases = [
        ("[[route]]\nprefix = \"/a/\"\nservise = \"x\"\n", "routes.toml:3"),
        ("", "routes.toml"),
        ("[[", "routes.toml"),
    ];
    for (text, told) in cases {
        write(&routes, text).unwrap();
        home.run(&UP_ARGS).assert_failed(2, told);
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
        // `migrate` brings the users' database up to date; short-lived state is made where it is opened.
        let commands: [&[&str]; 4] = [&["user", "list"], &["check"], &UP_ARGS, &["migrate"]];
        let commands = if file == "users.db" { &commands[..] } else { &commands[..3] };
        let home = initialized_installation();
        write(home.data().join(file), "no database, but a text longer than a header\n".repeat(99)).unwrap();
        for command in commands {
            let outcome = home.run(command);
            let one_line = outcome.stderr.starts_with("error: ") && outcome.stderr.lines().count() == 1;
            assert!(one_line && outcome.code == Some(2) && outcome.stderr.contains(file), "{command:?}: {outcome:?}");
        }
        // One that a newer version has brought further.
        let home = initialized_installation();
        home.run(&["user", "list"]).assert_success();
        execute_sql(
            &home.data().join(file),
            "INSERT INTO __diesel_schema_migrations (version) VALUES ('99991231235959')",
        );
        for command in commands {
            let outcome = home.run(command);
            let one_line = outcome.stderr.starts_with("error: ") && outcome.stderr.lines().count() == 1;
            assert!(
                one_line && outcome.code == Some(2) && outcome.stderr.contains("newer"),
                "{command:?}: {outcome:?}"
            );
        }
    }
}
