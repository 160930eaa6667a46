//! Opening and migrating databases: file permissions, concurrent migrations, schema versions, and shared files.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};
use stele_core::Error;
use stele_core::ports::{ProofResult, StateStore};
use stele_store::{Database, DatabaseUrl, OpenError, SchemaState, SqliteStateStore};
use stele_testservers as servers;

use crate::support::*;

fn open_state(path: &Path) -> Result<Arc<SqliteStateStore>, OpenError> {
    SqliteStateStore::open(path, &ManualClock::at(BIRTH))
}

fn open_users(path: &Path) -> Database {
    Database::open(&DatabaseUrl::sqlite(path)).unwrap()
}

pub(crate) fn execute_sql(path: &Path, sql: &str) {
    let mut conn = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    conn.batch_execute(&format!("PRAGMA busy_timeout = 5000; {sql}")).unwrap();
}

/// A newer version's migration, after which earlier programs cannot use the schema.
const NEWER_MIGRATION: &str = "INSERT INTO __diesel_schema_migrations (version) VALUES ('9999'); \
                               UPDATE facts SET value = 9999 WHERE name = 'oldest_program'";

#[tokio::test]
async fn the_schema_state_is_empty_current_or_newer() {
    let dir = tempfile::tempdir().unwrap();
    // A path with characters that are special in URIs.
    let path = dir.path().join("用户 %41?#.db");
    let database = open_users(&path);
    assert_eq!(database.schema_state().await.unwrap(), SchemaState::Empty);
    assert!(!path.exists(), "reading the schema state creates no file");
    database.migrate().await.unwrap();
    database.migrate().await.unwrap();
    assert_eq!(database.schema_state().await.unwrap(), SchemaState::Current);
    SqliteConnection::establish(&format!("file:{}/%e7%94%a8%e6%88%b7 %2541%3f%23.db", dir.path().display()))
        .unwrap()
        .batch_execute(NEWER_MIGRATION)
        .unwrap();
    assert_eq!(database.schema_state().await.unwrap(), SchemaState::Newer);
    assert!(matches!(database.migrate().await, Err(OpenError::NewerSchema(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs PostgreSQL and Redis"]
async fn concurrent_postgres_migrations_yield_one_current_schema() {
    for _ in 0..3 {
        let url = servers::database_url();
        let parsed_url = DatabaseUrl::parse(&url).unwrap();
        let database = Database::open(&parsed_url).unwrap();
        assert_eq!(database.schema_state().await.unwrap(), SchemaState::Empty);
        let migrating = (0..8).map(|_| {
            let database = Database::open(&parsed_url).unwrap();
            async move { database.migrate().await }
        });
        for migrated in all_at_once(migrating).await {
            migrated.unwrap();
        }
        assert_eq!(database.schema_state().await.unwrap(), SchemaState::Current);
        servers::execute(&url, NEWER_MIGRATION);
        assert_eq!(database.schema_state().await.unwrap(), SchemaState::Newer);
        assert!(matches!(database.migrate().await, Err(OpenError::NewerSchema(_))));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_migration_waits_for_the_advisory_lock_until_its_holder_disconnects() {
    let server = servers::Postgres::start();
    let (lock_holder, connection) =
        tokio_postgres::connect(&server.default_database_url(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    lock_holder.batch_execute("BEGIN; SELECT pg_advisory_xact_lock(495874794597)").await.unwrap();
    let url = server.new_database_url();
    let database = Database::open(&DatabaseUrl::parse(&url).unwrap()).unwrap();
    let migrating = tokio::spawn(async move { database.migrate().await.map(|()| database) });
    let started = std::time::Instant::now();
    let waiting = "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
    while lock_holder.query(waiting, &[]).await.unwrap().is_empty() {
        assert!(started.elapsed() < secs(10) && !migrating.is_finished());
    }
    drop(lock_holder);
    let database = migrating.await.unwrap().unwrap();
    assert_eq!(database.schema_state().await.unwrap(), SchemaState::Current);
}

#[tokio::test]
async fn unknown_or_missing_migration_versions_are_detected() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users.db");
    open_users(&path).migrate().await.unwrap();
    execute_sql(&path, "UPDATE __diesel_schema_migrations SET version = '9999' WHERE version = '0002'");
    assert_eq!(open_users(&path).schema_state().await.unwrap(), SchemaState::Newer);
    execute_sql(&path, "DELETE FROM __diesel_schema_migrations");
    assert_eq!(open_users(&path).schema_state().await.unwrap(), SchemaState::Empty);
    // A failed migration changes nothing.
    assert!(matches!(open_users(&path).migrate().await, Err(OpenError::MigrationFailed { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_file_can_be_created_and_migrated_concurrently() {
    for _ in 0..5 {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users.db");
        let migrating = (0..6).map(|_| {
            let database = open_users(&path);
            async move { database.migrate().await }
        });
        for migrated in all_at_once(migrating).await {
            migrated.unwrap();
        }
        let path = dir.path().join("state.db");
        let opening = (0..6).map(|_| {
            let path = path.clone();
            async move { open_state(&path).unwrap().created_at().await.unwrap() }
        });
        assert_eq!(all_at_once(opening).await, [BIRTH; 6]);
    }
}

#[tokio::test]
async fn database_files_are_readable_by_their_owner_only() {
    let dir = tempfile::tempdir().unwrap();
    let database = open_users(&dir.path().join("users.db"));
    database.migrate().await.unwrap();
    assert!(database.keys().add_key(&key_record("seal-7")).await.unwrap());
    let users = database.users();
    users.add(&user_named("alice")).await.unwrap();
    let state = open_state(&dir.path().join("state.db")).unwrap();
    state.store_captcha(1, NOW).await.unwrap();
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
async fn a_file_that_is_not_a_database_is_rejected_and_unchanged() {
    let dir = tempfile::tempdir().unwrap();
    for content in ["hello", "a text that is longer than the header of a database"] {
        let path = dir.path().join("file");
        std::fs::write(&path, content).unwrap();
        for error in [
            open_state(&path).err().unwrap(),
            open_users(&path).migrate().await.unwrap_err(),
            open_users(&path).schema_state().await.unwrap_err(),
        ] {
            assert!(matches!(error, OpenError::NotADatabase(_)), "{error}");
            assert!(error.to_string().contains(path.to_str().unwrap()));
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
    }
    for path in [dir.path().join("no/such/folder.db"), dir.path().to_owned()] {
        for error in [open_state(&path).err().unwrap(), open_users(&path).migrate().await.unwrap_err()] {
            assert!(matches!(error, OpenError::Unwritable { .. }), "{error}");
        }
    }
}

#[tokio::test]
async fn a_state_store_with_a_newer_schema_is_rejected() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    drop(open_state(&path).unwrap());
    execute_sql(&path, &NEWER_MIGRATION.replace("facts", "meta").replace("name", "key"));
    assert!(matches!(open_state(&path), Err(OpenError::NewerSchema(_))));
}

#[tokio::test]
async fn a_missing_database_is_unavailable_until_it_is_migrated() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users.db");
    let database = open_users(&path);
    let users = database.users();
    assert!(matches!(users.ping().await, Err(Error::Unavailable(_))));
    assert!(!path.exists(), "only a migration creates the file");
    database.migrate().await.unwrap();
    users.ping().await.unwrap();
}

#[tokio::test]
async fn an_unreachable_server_error_omits_the_password() {
    let parsed_url = DatabaseUrl::parse("postgres://stele:hunter2@127.0.0.1:1/stele").unwrap();
    let database = Database::open(&parsed_url).unwrap();
    for error in [database.schema_state().await.unwrap_err(), database.migrate().await.unwrap_err()] {
        let text = error.to_string();
        assert!(text.contains("127.0.0.1:1/stele") && !text.contains("hunter2"), "{text}");
    }
    let started = std::time::Instant::now();
    assert!(matches!(database.users().find_by_identifier("alice").await, Err(Error::Unavailable(_))));
    assert!(started.elapsed() < secs(4));
}

#[tokio::test]
async fn two_handles_on_one_file_share_state() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let first = open_state(&path).unwrap();
    let second = SqliteStateStore::open(&path, &ManualClock::at(NOW)).unwrap();
    assert_eq!(second.created_at().await.unwrap(), BIRTH, "the first handle sets the birth");
    first.open_session(&new_session(1, session(NOW.saturating_add(secs(60))))).await.unwrap();
    assert!(second.find_session(&token_key(1), NOW).await.unwrap().is_some());
    let mut blocked = 0;
    for n in 0..8 {
        let store: &dyn StateStore = if n % 2 == 0 { &*first } else { &*second };
        let outcome = store.record_login_attempt(&attempt(home_origin(), NOW), &ProofResult::Invalid).await.unwrap();
        blocked += usize::from(outcome != stele_core::ports::AttemptOutcome::Recorded);
    }
    assert_eq!(blocked, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_handles_on_one_file_accept_a_proof_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let stores = [open_state(&path).unwrap(), open_state(&path).unwrap()];
    for round in 0..20 {
        let logins = (0..16).map(|n| {
            let state = Arc::clone(&stores[n % 2]);
            let proof = ProofResult::Valid(Box::new(one_time_success(round, NOW.saturating_add(secs(300)))));
            async move { state.record_login_attempt(&attempt(home_origin(), NOW), &proof).await.unwrap() }
        });
        let outcomes = all_at_once(logins).await;
        let accepted = outcomes.iter().filter(|outcome| **outcome == stele_core::ports::AttemptOutcome::Recorded);
        assert_eq!(accepted.count(), 1);
    }
}

#[tokio::test]
async fn a_used_proof_is_rejected_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let proof = ProofResult::Valid(Box::new(one_time_success(1, NOW.saturating_add(secs(300)))));
    let first = open_state(&path).unwrap();
    first.record_login_attempt(&attempt(home_origin(), NOW), &proof).await.unwrap();
    drop(first);
    let outcome = open_state(&path).unwrap().record_login_attempt(&attempt(home_origin(), NOW), &proof).await.unwrap();
    assert_eq!(outcome, stele_core::ports::AttemptOutcome::ProofReplayed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_in_another_process_delays_writes_but_not_reads() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let state = open_state(&path).unwrap();
    state.open_session(&new_session(1, session(NOW.saturating_add(secs(60))))).await.unwrap();
    let mut writer = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    writer.batch_execute("BEGIN IMMEDIATE").unwrap();
    let started = std::time::Instant::now();
    assert!(state.find_session(&token_key(1), NOW).await.unwrap().is_some());
    assert!(started.elapsed() < secs(2));
    // A write waits, fails as unavailable, and changes nothing.
    assert!(matches!(state.end_session(&token_key(1), user_id(1)).await, Err(Error::Unavailable(_))));
    writer.batch_execute("COMMIT").unwrap();
    assert!(state.find_session(&token_key(1), NOW).await.unwrap().is_some());
    assert!(state.end_session(&token_key(1), user_id(1)).await.unwrap());
}

#[tokio::test]
async fn a_state_store_without_a_birth_fails_closed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let state = open_state(&path).unwrap();
    execute_sql(&path, "DELETE FROM meta");
    assert!(matches!(state.created_at().await, Err(Error::Internal(_))));
}
