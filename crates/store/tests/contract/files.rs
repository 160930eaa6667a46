//! How databases are opened: what only files have, and what both have.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};
use stele_core::Error;
use stele_core::ports::{StateStore, Verdict};
use stele_store::{Database, OpenError, SchemaState, SqliteState, Target};
use stele_testservers as servers;

use crate::support::*;

fn state(path: &Path) -> Result<Arc<SqliteState>, OpenError> {
    SqliteState::open(path, &ManualClock::at(BIRTH))
}

fn users(path: &Path) -> Database {
    Database::open(&Target::sqlite(path)).unwrap()
}

pub(crate) fn execute(path: &Path, sql: &str) {
    let mut conn = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    conn.batch_execute(&format!("PRAGMA busy_timeout = 5000; {sql}")).unwrap();
}

const FROM_THE_FUTURE: &str = "INSERT INTO __diesel_schema_migrations (version) VALUES ('9999')";

#[tokio::test]
async fn a_schema_goes_from_empty_to_current_to_newer() {
    let dir = tempfile::tempdir().unwrap();
    // Odd characters are characters.
    let path = dir.path().join("用户 %41?#.db");
    let database = users(&path);
    assert_eq!(database.schema().await.unwrap(), SchemaState::Empty);
    assert!(!path.exists(), "asking makes no file");
    database.migrate().await.unwrap();
    database.migrate().await.unwrap();
    assert_eq!(database.schema().await.unwrap(), SchemaState::Current);
    SqliteConnection::establish(&format!("file:{}/%e7%94%a8%e6%88%b7 %2541%3f%23.db", dir.path().display()))
        .unwrap()
        .batch_execute(FROM_THE_FUTURE)
        .unwrap();
    assert_eq!(database.schema().await.unwrap(), SchemaState::Newer);
    assert!(matches!(database.migrate().await, Err(OpenError::Newer(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs PostgreSQL and Redis"]
async fn postgres_schemas_too_though_many_make_them_at_once() {
    for _ in 0..3 {
        let url = servers::database_url();
        let target = Target::parse(&url).unwrap();
        let database = Database::open(&target).unwrap();
        assert_eq!(database.schema().await.unwrap(), SchemaState::Empty);
        let migrating = (0..8).map(|_| {
            let database = Database::open(&target).unwrap();
            async move { database.migrate().await }
        });
        for migrated in all_at_once(migrating).await {
            migrated.unwrap();
        }
        assert_eq!(database.schema().await.unwrap(), SchemaState::Current);
        servers::execute(&url, FROM_THE_FUTURE);
        assert_eq!(database.schema().await.unwrap(), SchemaState::Newer);
        assert!(matches!(database.migrate().await, Err(OpenError::Newer(_))));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and Redis"]
async fn who_migrates_waits_for_who_was_first_and_not_for_who_is_gone() {
    let server = servers::Postgres::start();
    let (first, connection) = tokio_postgres::connect(&server.base_url(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    first.batch_execute("BEGIN; SELECT pg_advisory_xact_lock(495874794597)").await.unwrap();
    let url = server.url();
    let database = Database::open(&Target::parse(&url).unwrap()).unwrap();
    let migrating = tokio::spawn(async move { database.migrate().await.map(|()| database) });
    let started = std::time::Instant::now();
    let waiting = "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
    while first.query(waiting, &[]).await.unwrap().is_empty() {
        assert!(started.elapsed() < secs(10) && !migrating.is_finished());
    }
    drop(first);
    let database = migrating.await.unwrap().unwrap();
    assert_eq!(database.schema().await.unwrap(), SchemaState::Current);
}

#[tokio::test]
async fn a_schema_that_lacks_a_migration_is_older() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users.db");
    users(&path).migrate().await.unwrap();
    execute(&path, "UPDATE __diesel_schema_migrations SET version = '9999' WHERE version = '0002'");
    assert_eq!(users(&path).schema().await.unwrap(), SchemaState::Newer);
    execute(&path, "DELETE FROM __diesel_schema_migrations");
    assert_eq!(users(&path).schema().await.unwrap(), SchemaState::Empty);
    // What cannot be migrated stays as it was.
    assert!(matches!(users(&path).migrate().await, Err(OpenError::Migration { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_may_make_and_migrate_one_file_at_once() {
    for _ in 0..5 {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users.db");
        let migrating = (0..6).map(|_| {
            let database = users(&path);
            async move { database.migrate().await }
        });
        for migrated in all_at_once(migrating).await {
            migrated.unwrap();
        }
        let path = dir.path().join("state.db");
        let opening = (0..6).map(|_| {
            let path = path.clone();
            async move { state(&path).unwrap().birth().await.unwrap() }
        });
        assert_eq!(all_at_once(opening).await, [BIRTH; 6]);
    }
}

#[tokio::test]
async fn files_are_their_owners_alone() {
    let dir = tempfile::tempdir().unwrap();
    let database = users(&dir.path().join("users.db"));
    database.migrate().await.unwrap();
    assert!(database.keys().add_key(&key_record("seal-7")).await.unwrap());
    let users = database.users();
    users.add(&named("alice")).await.unwrap();
    let state = state(&dir.path().join("state.db")).unwrap();
    state.put_captcha(1, NOW).await.unwrap();
    let mut files = 0;
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{:?}", entry.file_name());
        files += 1;
    }
    assert_eq!(files, 6, "each has a -wal and a -shm");
}

#[tokio::test]
async fn what_is_not_a_database_is_told_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    for content in ["hello", "a text that is longer than the header of a database"] {
        let path = dir.path().join("file");
        std::fs::write(&path, content).unwrap();
        for error in [
            state(&path).err().unwrap(),
            users(&path).migrate().await.unwrap_err(),
            users(&path).schema().await.unwrap_err(),
        ] {
            assert!(matches!(error, OpenError::NotADatabase(_)), "{error}");
            assert!(error.to_string().contains(path.to_str().unwrap()));
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
    }
    for path in [dir.path().join("no/such/folder.db"), dir.path().to_owned()] {
        for error in [state(&path).err().unwrap(), users(&path).migrate().await.unwrap_err()] {
            assert!(matches!(error, OpenError::Unwritable { .. }), "{error}");
        }
    }
}

#[tokio::test]
async fn a_newer_state_store_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    drop(state(&path).unwrap());
    execute(&path, FROM_THE_FUTURE);
    assert!(matches!(state(&path), Err(OpenError::Newer(_))));
}

#[tokio::test]
async fn a_missing_database_is_unavailable_and_is_back_when_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users.db");
    let database = users(&path);
    let users = database.users();
    assert!(matches!(users.ping().await, Err(Error::Unavailable(_))));
    assert!(!path.exists(), "nothing but a migration makes the file");
    database.migrate().await.unwrap();
    users.ping().await.unwrap();
}

#[tokio::test]
async fn an_unreachable_server_is_told_without_its_password() {
    let target = Target::parse("postgres://stele:hunter2@127.0.0.1:1/stele").unwrap();
    let database = Database::open(&target).unwrap();
    for error in [database.schema().await.unwrap_err(), database.migrate().await.unwrap_err()] {
        let text = error.to_string();
        assert!(text.contains("127.0.0.1:1/stele") && !text.contains("hunter2"), "{text}");
    }
    let started = std::time::Instant::now();
    assert!(matches!(database.users().find("alice").await, Err(Error::Unavailable(_))));
    assert!(started.elapsed() < secs(4));
}

#[tokio::test]
async fn two_handles_on_one_file_share_everything() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let one = state(&path).unwrap();
    let two = SqliteState::open(&path, &ManualClock::at(NOW)).unwrap();
    assert_eq!(two.birth().await.unwrap(), BIRTH, "born once");
    one.open_session(&opening(1, session(NOW.after(secs(60))))).await.unwrap();
    assert!(two.session(&token(1), NOW).await.unwrap().is_some());
    let mut blocked = 0;
    for n in 0..8 {
        let store: &dyn StateStore = if n % 2 == 0 { &*one } else { &*two };
        let booked = store.settle(&attempt(home(), NOW), &Verdict::Wrong).await.unwrap();
        blocked += usize::from(booked != stele_core::ports::Settlement::Done);
    }
    assert_eq!(blocked, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_handles_accept_one_proof_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let stores = [state(&path).unwrap(), state(&path).unwrap()];
    for round in 0..20 {
        let logins = (0..16).map(|n| {
            let state = Arc::clone(&stores[n % 2]);
            let verdict = Verdict::Right(Box::new(once(round, NOW.after(secs(300)))));
            async move { state.settle(&attempt(home(), NOW), &verdict).await.unwrap() }
        });
        let booked = all_at_once(logins).await;
        let done = booked.iter().filter(|booked| **booked == stele_core::ports::Settlement::Done).count();
        assert_eq!(done, 1);
    }
}

#[tokio::test]
async fn state_survives_its_process() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let verdict = Verdict::Right(Box::new(once(1, NOW.after(secs(300)))));
    let first = state(&path).unwrap();
    first.settle(&attempt(home(), NOW), &verdict).await.unwrap();
    drop(first);
    let again = state(&path).unwrap().settle(&attempt(home(), NOW), &verdict).await.unwrap();
    assert_eq!(again, stele_core::ports::Settlement::Replayed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_do_not_wait_for_another_process_that_writes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let state = state(&path).unwrap();
    state.open_session(&opening(1, session(NOW.after(secs(60))))).await.unwrap();
    let mut other = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    other.batch_execute("BEGIN IMMEDIATE").unwrap();
    let started = std::time::Instant::now();
    assert!(state.session(&token(1), NOW).await.unwrap().is_some());
    assert!(started.elapsed() < secs(2));
    // Who writes waits, is told that the store is unavailable, and nothing has happened.
    assert!(matches!(state.end_session(&token(1), id(1)).await, Err(Error::Unavailable(_))));
    other.batch_execute("COMMIT").unwrap();
    assert!(state.session(&token(1), NOW).await.unwrap().is_some());
    assert!(state.end_session(&token(1), id(1)).await.unwrap());
}

#[tokio::test]
async fn an_emptied_state_store_fails_closed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let state = state(&path).unwrap();
    execute(&path, "DELETE FROM meta");
    assert!(matches!(state.birth().await, Err(Error::Internal(_))));
}
