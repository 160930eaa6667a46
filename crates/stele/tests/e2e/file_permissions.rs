//! File permissions and symbolic links of the data folder, and control characters in stored texts.

use std::fs::{self, Permissions, create_dir, rename, set_permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use crate::support::Installation;

const UP_ARGS: [&str; 3] = ["up", "--listen", "127.0.0.1:0"];

fn initialized_installation() -> Installation {
    let installation = Installation::with_settings(&[("STELE_HASH_COST", "64,1,1,weak"), ("STELE_LOG", "error")]);
    installation.run(&["migrate"]).assert_success();
    installation.add_user("mark", "a-password", &[]);
    // `stele up` creates the state store and the outbox.
    installation.start_up().stop();
    installation
}

fn set_mode(path: &Path, mode: u32) {
    set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_symlinked_store_is_rejected() {
    let installation = initialized_installation();
    let elsewhere = installation.path("elsewhere");
    create_dir(&elsewhere).unwrap();
    for name in ["users.db", "state.db", "users.db-wal", "outbox.jsonl"] {
        let (file, target) = (installation.data().join(name), elsewhere.join(name));
        if file.exists() {
            rename(&file, &target).unwrap();
        } else {
            fs::write(&target, "").unwrap();
        }
        symlink(&target, &file).unwrap();
        for command in [&UP_ARGS[..], &["check"]] {
            let outcome = installation.run(command);
            assert_eq!(outcome.code, Some(2), "{name}: {outcome:?}");
            assert!(outcome.stderr.contains(name) && outcome.stderr.contains("symbolic link"), "{outcome:?}");
        }
        fs::remove_file(&file).unwrap();
        rename(&target, &file).unwrap();
        if name == "users.db-wal" {
            fs::remove_file(&file).unwrap();
        }
    }
    installation.run(&["check"]).assert_success();
}

#[test]
fn files_accessible_to_others_are_reported_with_the_remedy() {
    let installation = initialized_installation();
    let checked = installation.run(&["check"]);
    assert!(checked.assert_success().stdout.contains("ok: no other user can access the files"), "{checked:?}");
    for (name, private_mode, mode, is_error) in [
        ("users.db", 0o600, 0o640, false),
        ("users.db", 0o600, 0o604, true),
        ("state.db", 0o600, 0o640, false),
        ("state.db", 0o600, 0o644, true),
        ("outbox.jsonl", 0o600, 0o644, true),
        ("keys", 0o700, 0o755, false),
        ("keys", 0o700, 0o770, true),
        ("keys/seal-1.key", 0o600, 0o640, true),
        ("keys/mac.key", 0o600, 0o644, true),
        (".", 0o700, 0o750, false),
        (".", 0o700, 0o777, true),
    ] {
        let path = installation.data().join(name);
        set_mode(&path, mode);
        let outcome = installation.run(&["check"]);
        let text = if is_error { &outcome.stderr } else { &outcome.stdout };
        assert_eq!(outcome.code, Some(if is_error { 2 } else { 0 }), "{name} {mode:o}: {outcome:?}");
        assert!(text.contains(&format!("chmod {private_mode:o}")), "{name} {mode:o}: {outcome:?}");
        set_mode(&path, private_mode);
    }
    for name in ["outbox.jsonl", "keys/seal-1.key", "keys/mac.key"] {
        set_mode(&installation.data().join(name), 0o644);
        installation.run(&UP_ARGS).assert_failed(2, "chmod 600");
        set_mode(&installation.data().join(name), 0o600);
    }
}

#[test]
fn invisible_characters_are_rejected_in_identifiers_and_profiles() {
    let installation = initialized_installation();
    let add = |options: &[&str]| {
        installation.run_with(&[&["user", "add", "--password-stdin", "--username"], options].concat(), "a-password")
    };
    for hidden in ["\u{202e}", "\u{200b}", "\u{2066}", "\u{1b}", "\u{9b}", "\u{2028}", "\u{e0041}"] {
        let name = format!("ma{hidden}rk");
        let mail = format!("{name}@example.com");
        add(&[&name]).assert_failed(2, "visible");
        add(&["other", "--email", &mail]).assert_failed(2, "e-mail");
        add(&["other", "--real-name", &name]).assert_failed(2, "invisible character");
        for command in [["app", "add"], ["token", "add"]] {
            installation.run(&[command[0], command[1], &name]).assert_failed(2, "name");
        }
        // The error repeats the argument with control characters escaped.
        let line = installation.run(&["user", "show", &name]).stderr;
        assert!(!line.contains(hidden), "{line:?}");
        let line = installation.run(&["user", &name]).stderr;
        assert!(!line.contains(hidden), "{line:?}");
    }
    add(&["欧阳", "--real-name", "👨\u{200d}👩\u{200d}👧"]).assert_success();
}

/// Control characters that an earlier version stored are shown escaped.
#[test]
fn stored_control_characters_are_escaped_in_output() {
    let installation = initialized_installation();
    installation.add_user("evil", "a-password", &["--real-name", "MARKER", "--phone", "13800138000"]);
    let text = "\u{202e}\u{1b}\u{9b}";
    let bytes = fs::read(installation.data().join("users.db")).unwrap();
    // Replaces six bytes by six: U+202E has three, ESC one, U+009B two.
    let offsets: Vec<_> = bytes.windows(6).enumerate().filter(|(_, w)| *w == b"MARKER").map(|(at, _)| at).collect();
    assert!(!offsets.is_empty(), "the WAL was checkpointed into the file when the command ended");
    let mut changed = bytes;
    for at in offsets {
        changed[at..at + 6].copy_from_slice(text.as_bytes());
    }
    fs::write(installation.data().join("users.db"), changed).unwrap();
    for command in [&["user", "show", "evil"][..], &["user", "list", "--json"]] {
        let shown = installation.run(command).assert_success().stdout.clone();
        assert!(shown.contains(r"\u202e\u001b\u009b"), "{shown:?}");
        assert!(!shown.contains(['\u{202e}', '\u{1b}', '\u{9b}']), "{shown:?}");
        let value: serde_json::Value = match command {
            ["user", "show", _] => serde_json::from_str(&shown).unwrap(),
            _ => serde_json::from_str(shown.lines().last().unwrap()).unwrap(),
        };
        assert_eq!(value["real_name"], text);
    }
}

#[test]
fn a_secret_is_read_from_standard_input() {
    let installation = initialized_installation();
    let added = installation.run_with(&["app", "add", "melink", "--secret-stdin"], "0123456789abcdef\n");
    assert_eq!(added.last_stdout_word(), "0123456789abcdef");
    installation.run_with(&["app", "add", "other", "--secret-stdin"], "").assert_failed(2, "standard input is empty");
    installation.run_with(&["app", "add", "other", "--secret-stdin"], "short").assert_failed(2, "secret");
    let warned = installation.run(&["app", "add", "other", "--secret", "fedcba9876543210"]);
    assert_eq!(warned.code, Some(0), "{warned:?}");
    assert!(warned.stderr.starts_with("warning: ") && warned.stderr.contains("--secret-stdin"), "{warned:?}");
    installation
        .run(&["app", "add", "third", "--secret-stdin", "--secret", "fedcba9876543210"])
        .assert_failed(2, "--secret");
}
