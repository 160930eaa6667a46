//! The source or the target goes away in the middle of an import, and a full disk under the target.

use std::fmt::Write as _;

use stele_testkit::servers::{Mariadb, Postgres, execute};

use super::fixture::{BATCH, ImportFixture, assert_ended, assert_interrupted};
use crate::client::md5_hex;
use crate::full_disk::SmallFileSystem;
use crate::support::eventually;

/// Rows enough that no buffer between the source and the import holds them all.
const ROWS: u64 = 30_000;

const QUERY: &str = "query = \"SELECT user_id, user_name, mobile, memo, password FROM users ORDER BY user_id\"";

fn source_table() -> Vec<String> {
    let create = "CREATE TABLE users (user_id INTEGER PRIMARY KEY, user_name VARCHAR(64), mobile VARCHAR(32), \
                  memo VARCHAR(1000), password VARCHAR(64))";
    let mut statements = vec![create.to_owned()];
    for start in (0..ROWS).step_by(5_000) {
        let mut sql = "INSERT INTO users VALUES ".to_owned();
        for n in start..start + 5_000 {
            let (comma, memo) = (if n == start { "" } else { "," }, "x".repeat(800));
            write!(sql, "{comma}({n}, 'user{n}', NULL, '{memo}', '{}')", md5_hex("123456")).unwrap();
        }
        statements.push(sql);
    }
    statements
}

/// Kills the source in the middle of a run, starts it again, and resumes.
fn lose_source(fixture: &ImportFixture, url: &str, kill: impl FnOnce(), restart: impl FnOnce()) {
    let run = fixture.spawn_run(url);
    eventually("the first batches", || (fixture.added() >= 2 * BATCH).then_some(()));
    kill();
    let added = assert_interrupted(&ImportFixture::output_of(run), "cannot read");
    assert!(added < ROWS, "the rest of the table is not its end");
    assert_eq!(fixture.added(), added);
    fixture.assert_whole();
    // While the source is away, nothing changes.
    let unreachable = fixture.import_from("run", url);
    assert_eq!((unreachable.code, unreachable.stdout.as_str()), (Some(2), ""), "{unreachable:?}");
    assert_eq!(fixture.added(), added);
    restart();
    assert_ended(&fixture.import_from("run", url), 0, &format!("added {ROWS} same 0 merged 0 refused 0"));
    fixture.assert_whole();
    assert_eq!(fixture.value("(SELECT count(*) FROM import_runs)"), "1");
}

#[test]
#[ignore = "needs MariaDB"]
fn a_mariadb_source_that_goes_away_interrupts_the_import_which_resumes() {
    let source = Mariadb::start();
    // As any server but those of tests: an acknowledged row survives a kill.
    source.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 1");
    source.execute("CREATE DATABASE old CHARACTER SET utf8mb4");
    let table = source_table();
    source.execute(&format!("USE old; SET GLOBAL max_allowed_packet = 64 * 1048576; {};", table[0]));
    for insert in &table[1..] {
        source.execute(&format!("USE old; {insert}"));
    }
    let fixture = ImportFixture::on_sqlite();
    fixture.write_map("mysql", QUERY);
    lose_source(&fixture, &source.url("old"), || source.kill(), || source.restart());
}

#[test]
#[ignore = "needs PostgreSQL and Redis"]
fn a_postgresql_source_that_goes_away_interrupts_the_import_which_resumes() {
    let source = Postgres::start();
    let url = source.default_database_url();
    source_table().iter().for_each(|sql| execute(&url, sql));
    // Without it, the last rows may be lost by the kill: the server's commits are asynchronous.
    execute(&url, "CHECKPOINT");
    let fixture = ImportFixture::on_sqlite();
    fixture.write_map("postgres", QUERY);
    lose_source(&fixture, &url, || source.kill(), || source.restart());
}

#[test]
#[ignore = "needs PostgreSQL and Redis"]
fn a_postgresql_target_that_goes_away_interrupts_the_import_which_resumes() {
    let target = Postgres::start();
    // As any server but those of tests: an acknowledged batch survives a kill.
    target.execute("ALTER SYSTEM SET synchronous_commit = on");
    target.execute("SELECT pg_reload_conf()");
    let fixture = ImportFixture::on_postgres_at(&target.default_database_url());
    let count = 40 * BATCH;
    fixture.write_users(count);
    for (wanted, kill) in [(2 * BATCH, true), (6 * BATCH, false)] {
        let run = fixture.spawn_run("users.csv");
        eventually("some batches", || (fixture.added() >= wanted).then_some(()));
        if kill {
            target.kill();
        } else {
            target.stop();
        }
        let added = assert_interrupted(&ImportFixture::output_of(run), "interrupted: ");
        assert!(added < count, "success is not reported for a part");
        target.restart();
        // The last commit may have been applied although its confirmation was lost.
        let stored = fixture.added();
        assert!(stored == added || stored == added + BATCH, "{stored} {added}");
        fixture.assert_whole();
    }
    assert_ended(&fixture.import("run"), 0, &format!("added {count} same 0 merged 0 refused 0"));
    fixture.assert_whole();
}

#[test]
fn a_full_disk_interrupts_the_import_which_resumes_when_there_is_space() {
    let mut fixture = ImportFixture::on_sqlite();
    let data = fixture.installation.path("small");
    let disk = SmallFileSystem::mount(data.clone(), 96 * 1_024);
    fixture.installation.set("STELE_DATA", data.to_str().unwrap());
    fixture.set_sqlite_file(data.join("users.db"));
    fixture.installation.run(&["migrate"]).assert_success();
    let count = 12 * BATCH;
    fixture.write_users(count);
    disk.fill_but(2 * 1_024);
    let run = fixture.import("run");
    let added = assert_interrupted(&run, "the disk is full");
    assert!((1..count).contains(&added), "{added}");
    let check = fixture.import("check");
    assert!(matches!(check.code, Some(1 | 2)) && check.stderr.contains("disk is full"), "{check:?}");
    disk.free_space();
    assert_eq!(fixture.added(), added);
    fixture.assert_whole();
    assert_ended(&fixture.import("run"), 0, &format!("added {count} same 0 merged 0 refused 0"));
    fixture.assert_whole();
    let left: Vec<_> = std::fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with("import-check")), "{left:?}");
}
