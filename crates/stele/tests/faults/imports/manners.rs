//! How the command behaves: signals, two runs at a time, closed pipes, progress, faults of the map, passwords of sources,
//! and the audit log.

use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::fixture::{BATCH, HoldPoint, ImportFixture, assert_ended, assert_interrupted};
use crate::support::{KillOnDrop, eventually};

const COUNT: u64 = 20 * BATCH;

#[test]
fn a_signal_stops_an_import_between_two_batches() {
    let fixture = ImportFixture::on_sqlite();
    fixture.write_users(COUNT);
    for (signal, wanted) in [(Signal::TERM, BATCH), (Signal::INT, 4 * BATCH)] {
        let run = fixture.spawn_run("users.csv");
        eventually("some batches", || (fixture.added() >= wanted).then_some(()));
        kill_process(Pid::from_child(&run.0), signal).unwrap();
        let added = assert_interrupted(&ImportFixture::output_of(run), "stopped by a signal");
        assert!(added < COUNT && added.is_multiple_of(BATCH), "{added}");
        assert_eq!(fixture.added(), added);
        fixture.assert_whole();
    }
    assert_ended(&fixture.import("run"), 0, &format!("added {COUNT} same 0 merged 0 refused 0"));
}

/// The second run, an undo and a check while a run is held; `status` shows the run.
fn assert_one_at_a_time(fixture: &ImportFixture) {
    fixture.write_users(2 * BATCH);
    fixture.hold(HoldPoint::BatchBoundary, BATCH);
    let mut run = fixture.spawn_run("users.csv");
    fixture.wait_until_held(BATCH);
    let second = fixture.import("run");
    assert_eq!((second.code, second.stdout.as_str()), (Some(1), ""), "{second:?}");
    assert!(second.stderr.contains("another process imports from old"), "{second:?}");
    let undo = fixture.installation.run(&["import", "undo", "--source", "old"]);
    assert!(undo.code == Some(1) && undo.stderr.contains("another process imports from old"), "{undo:?}");
    assert_eq!(fixture.added(), BATCH, "status shows a run of another process");
    // A check writes nothing, and another source is not concerned.
    assert_ended(&fixture.import("check"), 0, &format!("added {BATCH} same {BATCH} merged 0 refused 0"));
    run.0.kill().unwrap();
    run.0.wait().unwrap();
    fixture.release();
    // The lock ends with the process.
    assert_ended(&fixture.import("run"), 0, &format!("added {} same 0 merged 0 refused 0", 2 * BATCH));
    fixture.assert_whole();
}

#[test]
fn one_process_at_a_time_imports_from_a_source_into_sqlite() {
    assert_one_at_a_time(&ImportFixture::on_sqlite());
}

#[test]
#[ignore = "needs PostgreSQL and Redis"]
fn one_process_at_a_time_imports_from_a_source_into_postgresql() {
    let mut fixture = ImportFixture::on_postgres();
    // The least: the lock needs a connection of its own beside them.
    fixture.installation.set("STELE_DATABASE_CONNECTIONS", "3");
    assert_one_at_a_time(&fixture);
}

#[test]
fn a_listing_into_a_closed_pipe_ends_quietly() {
    let fixture = ImportFixture::on_sqlite();
    fixture.write_users(4 * BATCH);
    let args = ["import", "check", "--source", "old", "--map", "map.toml", "--json", "users.csv"];
    let mut check = KillOnDrop(fixture.installation.command(&args).spawn().unwrap());
    drop(check.0.stdout.take());
    let output = ImportFixture::output_of(check);
    assert_eq!((output.code, output.stderr.as_str()), (Some(0), ""), "{output:?}");
}

#[test]
fn progress_is_one_line_of_json_a_second_unless_it_is_on_a_terminal() {
    let fixture = ImportFixture::on_sqlite();
    fixture.write_users(2 * COUNT);
    let run = ImportFixture::output_of(fixture.spawn_run("users.csv"));
    assert_ended(&run, 0, &format!("added {} same 0 merged 0 refused 0", 2 * COUNT));
    let mut seconds = Vec::new();
    for line in run.stderr.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(line["added"].as_u64().unwrap() <= 2 * COUNT && line["fraction"].as_f64().unwrap() <= 1.0, "{line}");
        seconds.push(line["seconds"].as_u64().unwrap());
    }
    seconds.dedup();
    assert_eq!(seconds.len(), run.stderr.lines().count(), "one line a second: {}", run.stderr);
}

#[test]
fn a_fault_of_the_map_or_the_source_starts_no_run() {
    let fixture = ImportFixture::on_sqlite();
    fixture.write_users(2);
    assert_ended(&fixture.import("run"), 0, "added 2 same 0 merged 0 refused 0");
    let map = std::fs::read_to_string(fixture.installation.path("map.toml")).unwrap();
    let write_map = |text: String| std::fs::write(fixture.installation.path("map.toml"), text).unwrap();
    write_map(map.replace("\"mobile\"", "\"tel\""));
    fixture.import("run").assert_failed(2, "its columns are user_id, user_name, mobile, memo, password");
    write_map(map.replace("phone =", "phon ="));
    fixture.import("run").assert_failed(2, "map.toml: line 7: unknown key `phon`: did you mean `phone`?");
    write_map(map);
    fixture.import_from("run", "missing.csv").assert_failed(2, "missing.csv");
    // The faults have left no run that hides the complete one.
    let undone = fixture.installation.run(&["import", "undo", "--source", "old"]).assert_success().stdout.clone();
    assert_eq!(undone, "removed 2 kept 0\n");
}

#[test]
fn the_password_of_a_source_is_in_no_output() {
    let mut fixture = ImportFixture::on_sqlite();
    fixture.installation.set("STELE_LOG", "trace");
    // Nothing listens there. Some characters end the login of a URL, and make its rest a host, a port or a path.
    for format in ["mysql", "postgres"] {
        fixture.write_map(format, "query = \"SELECT 1\"");
        for password in
            ["hunter2", "hunter2/x", "hunter2#x", "hunter2?x", "hunter2@x", "hunter2:x", "hunter2%", "[hunter2"]
        {
            let url = format!("{format}://reader:{password}@127.0.0.1:1/old?sslmode=hunter2&pool_min=hunter2");
            std::fs::write(fixture.installation.path("url"), format!("{url}\n")).unwrap();
            for from in [url.as_str(), "@url"] {
                for command in ["check", "run"] {
                    let output = fixture.import_from(command, from);
                    assert_eq!(output.code, Some(2), "{output:?}");
                    let text = output.stdout + &output.stderr;
                    assert!(!text.contains("hunter2"), "{format} {password}: {text}");
                }
            }
        }
    }
}

#[test]
fn a_location_is_read_from_a_file() {
    let fixture = ImportFixture::on_sqlite();
    fixture.write_users(1);
    std::fs::write(fixture.installation.path("location"), "users.csv\n").unwrap();
    assert_ended(&fixture.import_from("run", "@location"), 0, "added 1 same 0 merged 0 refused 0");
    fixture.import_from("run", "@nothing").assert_failed(2, "check the path after @");
    std::fs::write(fixture.installation.path("location"), "\n").unwrap();
    fixture.import_from("run", "@location").assert_failed(2, "write a path or URL into its first line");
}

#[test]
fn imports_and_exports_are_in_the_audit_log_with_their_counts() {
    let fixture = ImportFixture::on_sqlite();
    fixture.write_users(3);
    assert_ended(&fixture.import("check"), 0, "added 3 same 0 merged 0 refused 0");
    assert_ended(&fixture.import("run"), 0, "added 3 same 0 merged 0 refused 0");
    let export = ["export", "--source", "old", "--map", "map.toml", "--with-digests"];
    fixture.installation.run_with(&export, "no\n").assert_failed(2, "confirm with `yes`");
    fixture.installation.run_with(&export, "yes\n").assert_success();
    fixture.installation.run(&export[..5]).assert_success();
    fixture.installation.run(&["import", "undo", "--source", "old"]).assert_success();
    let audit = fixture.installation.run(&["audit", "--json"]).assert_success().stdout.clone();
    let entries: Vec<Value> = audit.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let word = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    let seen: Vec<_> = entries.iter().map(|entry| (word(entry, "act"), word(entry, "subject"))).collect();
    let run = "old run 1: added 3 same 0 merged 0 refused 0";
    let expected = [("import_users", run), ("export_digests", "old"), ("export_users", "old"), ("undo_import", run)];
    assert_eq!(seen, expected.map(|(act, subject)| (act.to_owned(), subject.to_owned())));
    assert!(entries.iter().all(|entry| word(entry, "operator").contains("uid:") && word(entry, "result") == "ok"));
}

#[test]
fn what_a_killed_check_leaves_is_removed_by_the_next_one() {
    let fixture = ImportFixture::on_sqlite();
    fixture.write_users(COUNT);
    let scratch_folders = || {
        let names = std::fs::read_dir(fixture.installation.data()).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with("import-check-")).count()
    };
    let args = ["import", "check", "--source", "old", "--map", "map.toml", "users.csv"];
    let start = || KillOnDrop(fixture.installation.command(&args).spawn().unwrap());
    let mut killed = start();
    eventually("a scratch folder", || (scratch_folders() == 1).then_some(()));
    killed.0.kill().unwrap();
    killed.0.wait().unwrap();
    assert_eq!(scratch_folders(), 1);
    // Those of checks that go on stay.
    let (first, second) = (start(), start());
    for check in [first, second] {
        assert_ended(&ImportFixture::output_of(check), 0, &format!("added {COUNT} same 0 merged 0 refused 0"));
    }
    assert_eq!(scratch_folders(), 0);
}

#[test]
fn help_teaches_by_examples() {
    let fixture = ImportFixture::on_sqlite();
    let help = fixture.installation.run(&["import", "--help"]).assert_success().stdout.clone();
    for part in ["stele import check --source", "--prove", "mysql://", "@FILE", "stele import undo"] {
        assert!(help.contains(part), "{part}: {help}");
    }
}

#[test]
fn the_first_import_declares_that_earlier_programs_cannot_use_the_database() {
    let fixture = ImportFixture::on_sqlite();
    let declared = "(SELECT value FROM facts WHERE name = 'oldest_program')";
    let before: i64 = fixture.value(declared).parse().unwrap();
    assert!(before < 17, "migrating alone leaves the way back open");
    fixture.write_users(1);
    fixture.import("check");
    assert_eq!(fixture.value(declared), before.to_string());
    fixture.import("run");
    assert_eq!(fixture.value(declared), "17");
}

#[test]
fn a_terminal_gets_a_bar_and_no_json() {
    let fixture = ImportFixture::on_sqlite();
    fixture.write_users(4 * BATCH);
    let args = ["import", "run", "--source", "old", "--map", "map.toml", "users.csv"];
    let stele = fixture.installation.command(&args);
    let words: Vec<_> = std::iter::once(stele.get_program()).chain(stele.get_args()).collect();
    let line = words.iter().map(|word| format!("'{}'", word.to_str().unwrap())).collect::<Vec<_>>().join(" ");
    // util-linux's `script` runs the command on a terminal of its own.
    let mut script = std::process::Command::new("script");
    script.args(["-qec", &line, "/dev/null"]).env("TERM", "xterm").current_dir(fixture.installation.path(""));
    script.envs(stele.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = script.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("added 2000 same 0 merged 0 refused 0"), "{text}");
    assert!(text.contains('%') && !text.contains("\"seconds\""), "{text}");
}
