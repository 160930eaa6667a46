//! Use of a newer schema: after a later version has migrated the databases, this program opens them, reads and writes,
//! if the databases declare that it can.

use std::path::Path;

use diesel::sql_types::BigInt;
use diesel::{Connection, RunQueryDsl, SqliteConnection, dsl};
use stele_core::app::{App, ClientToken};
use stele_core::audit_log::{AuditLogFilter, AuditLogOrder};
use stele_core::oauth::OAuthClient;
use stele_core::ports::{
    AttemptOutcome, AuditLogStore, ClientAddition, KeyRetirement, KeyStore, OAuthRegistry, OriginTrustChange,
    ProofResult, ResealedUser, ResourceAddition, ResourceRemoval, StateStore, SuccessEffects, UsedProof, UserStore,
    VerifierStore,
};
use stele_core::seal::SealedSecret;
use stele_core::user::{NewUser, UserStatus};
use stele_store::{Database, DatabaseUrl, OpenError, SchemaState, SqliteStateStore};
use stele_testservers as servers;

use crate::audit_log::audit_entry;
use crate::oauth_registry::{client, resource};
use crate::opening::execute_sql;
use crate::support::*;

/// What the next version's migration could do: columns in every table, an index and a table; and its journal entry.
const NEXT_USERS_MIGRATION: &str = "
    ALTER TABLE users ADD COLUMN next_text TEXT NOT NULL DEFAULT '';
    ALTER TABLE identifiers ADD COLUMN next_number BIGINT NOT NULL DEFAULT 7;
    ALTER TABLE apps ADD COLUMN next_text TEXT;
    ALTER TABLE client_tokens ADD COLUMN next_text TEXT;
    ALTER TABLE keys ADD COLUMN next_text TEXT NOT NULL DEFAULT 'x';
    ALTER TABLE facts ADD COLUMN next_text TEXT;
    ALTER TABLE audit ADD COLUMN next_text TEXT NOT NULL DEFAULT '';
    ALTER TABLE used_proofs ADD COLUMN next_number BIGINT;
    ALTER TABLE oauth_clients ADD COLUMN next_text TEXT;
    ALTER TABLE oauth_resources ADD COLUMN next_text TEXT NOT NULL DEFAULT '';
    ALTER TABLE oauth_client_resources ADD COLUMN next_number BIGINT;
    CREATE INDEX next_index ON users (next_text);
    CREATE TABLE next_table (name TEXT NOT NULL PRIMARY KEY);
    INSERT INTO __diesel_schema_migrations (version) VALUES ('9998')";

const NEXT_STATE_MIGRATION: &str = "
    ALTER TABLE meta ADD COLUMN next_number BIGINT;
    ALTER TABLE budgets ADD COLUMN next_number BIGINT;
    ALTER TABLE known_origins ADD COLUMN next_number BIGINT;
    ALTER TABLE replays ADD COLUMN next_number BIGINT;
    ALTER TABLE sessions ADD COLUMN next_text TEXT NOT NULL DEFAULT '';
    ALTER TABLE codes ADD COLUMN next_number BIGINT;
    ALTER TABLE uses ADD COLUMN next_number BIGINT;
    ALTER TABLE tickets ADD COLUMN next_text TEXT NOT NULL DEFAULT '';
    ALTER TABLE captchas ADD COLUMN next_number BIGINT;
    CREATE TABLE next_table (name TEXT NOT NULL PRIMARY KEY);
    INSERT INTO __diesel_schema_migrations (version) VALUES ('9998')";

const DECLARED: &str = "SELECT value FROM facts WHERE name = 'oldest_program'";

fn declare(oldest_program: i64) -> String {
    format!("UPDATE facts SET value = {oldest_program} WHERE name = 'oldest_program'")
}

/// A database of each backend, and functions that run SQL on it.
struct TestDatabase {
    name: &'static str,
    database: Database,
    execute: Box<dyn Fn(&str)>,
    query_number: Box<dyn Fn(&str) -> i64>,
    _folder: Option<tempfile::TempDir>,
}

fn query_sqlite(path: &Path, sql: &str) -> i64 {
    let mut conn = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    diesel::select(dsl::sql::<BigInt>(&format!("({sql})"))).get_result(&mut conn).unwrap()
}

/// Migrated databases, with rows.
async fn migrated_databases() -> Vec<TestDatabase> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users.db");
    let queried_path = path.clone();
    let mut databases = vec![TestDatabase {
        name: "sqlite",
        database: Database::open(&DatabaseUrl::sqlite(&path)).unwrap(),
        execute: Box::new(move |sql| execute_sql(&path, sql)),
        query_number: Box::new(move |sql| query_sqlite(&queried_path, sql)),
        _folder: Some(folder),
    }];
    if servers::servers_available() {
        let url = servers::database_url();
        let queried_url = url.clone();
        databases.push(TestDatabase {
            name: "postgres",
            database: Database::open(&DatabaseUrl::parse(&url).unwrap()).unwrap(),
            execute: Box::new(move |sql| servers::execute(&url, sql)),
            query_number: Box::new(move |sql| query_postgres(&queried_url, sql)),
            _folder: None,
        });
    }
    for TestDatabase { database, .. } in &databases {
        database.migrate().await.unwrap();
        assert!(database.keys().add_key(&key_record("seal-7")).await.unwrap());
        database.users().add(&user_named("earlier")).await.unwrap().unwrap();
    }
    databases
}

fn query_postgres(url: &str, sql: &str) -> i64 {
    use diesel_async::AsyncPgConnection;
    use diesel_async::async_connection_wrapper::AsyncConnectionWrapper;
    let (url, sql) = (url.to_owned(), format!("({sql})"));
    // The wrapper blocks on a runtime of its own.
    let thread = std::thread::spawn(move || {
        let mut conn = AsyncConnectionWrapper::<AsyncPgConnection>::establish(&url).unwrap();
        diesel::select(dsl::sql::<BigInt>(&sql)).get_result(&mut conn).unwrap()
    });
    thread.join().unwrap()
}

/// Every write of the user store and the verifier store, and the reads that follow.
async fn use_user_store(users: &dyn UserStore, verifiers: &dyn VerifierStore) {
    let added = users.add(&NewUser { id: user_id(1), ..user_with_phone("13800138000") }).await.unwrap().unwrap();
    assert_eq!(users.find_by_identifier("13800138000").await.unwrap().unwrap().user, added);
    assert!(users.find_by_identifier("earlier").await.unwrap().is_some());
    assert!(users.find_by_identifier("unknown").await.unwrap().is_none());
    assert!(users.upgrade_credential(user_id(1), 0, "first", &credential("second")).await.unwrap());
    assert!(users.change_credential(user_id(1), 0, 5, &credential("third")).await.unwrap());
    assert!(users.set_status(user_id(1), UserStatus::Disabled, 6).await.unwrap());
    assert_eq!(users.list(0, 10).await.unwrap().len(), 2);
    let app = App {
        name: "app".to_owned(),
        secret: SealedSecret { key_id: 7, bytes: vec![1; 44] },
        may_token: Vec::new(),
        created_at: NOW,
    };
    assert!(users.add_app(&app).await.unwrap());
    assert_eq!(users.find_app("app").await.unwrap(), Some(app));
    let token = ClientToken { name: "client".to_owned(), hash: [1; 32], created_at: NOW };
    assert!(users.add_client_token(&token).await.unwrap());
    assert!(users.find_client_token(&[1; 32]).await.unwrap().is_some());
    let proof = UsedProof { key: [1; 32], expires: NOW };
    for is_new in [true, false] {
        assert_eq!(users.mark_proof_used(&proof).await.unwrap(), is_new);
    }
    assert_eq!(users.delete_expired_proofs(NOW, 10).await.unwrap(), 1);
    users.unmark_proof_used(&proof).await.unwrap();
    assert_eq!(verifiers.count_unwrapped().await.unwrap(), 0);
}

/// Every write of the key store, after [`use_user_store`], and of the audit log.
async fn use_key_store(keys: &dyn KeyStore, audit_log: &dyn AuditLogStore) {
    assert!(keys.add_key(&key_record("seal-8")).await.unwrap());
    keys.set_fingerprint("seal-8", &[1; 32]).await.unwrap();
    let old = SealedSecret { key_id: 7, bytes: b"third".to_vec() };
    let new = SealedSecret { key_id: 8, bytes: b"third".to_vec() };
    let change = ResealedUser { id: user_id(1), old, new };
    assert_eq!(keys.reseal_users(&[change]).await.unwrap(), 1);
    let app_secret = |key_id| SealedSecret { key_id, bytes: vec![1; 44] };
    assert!(keys.reseal_app("app", &app_secret(7), &app_secret(8)).await.unwrap());
    keys.record_salted_logins(&[user_id(1)], NOW).await.unwrap();
    assert_eq!(keys.salted_login_usage(NOW).await.unwrap().recent_users, 1);
    assert!(keys.disable_salted_logins(NOW).await.unwrap() && keys.enable_salted_logins().await.unwrap());
    assert_eq!(keys.erase_sealed_digests(10).await.unwrap(), 2);
    assert_eq!(keys.retire_key("seal-7").await.unwrap(), KeyRetirement::Retired);
    audit_log.append(&[audit_entry(1, 1), audit_entry(2, 2)]).await.unwrap();
    let listed = audit_log.list(&AuditLogFilter::default(), AuditLogOrder::OldestFirst, None, 10).await.unwrap();
    assert_eq!(listed.len(), 2);
    assert_eq!(audit_log.delete_before(NOW.saturating_add(secs(1_000)), 10).await.unwrap(), 2);
}

/// Every write of the registry of clients.
async fn use_oauth_registry(oauth: &dyn OAuthRegistry) {
    let (orders, web) = (resource("orders"), client("web", &["orders"]));
    assert_eq!(oauth.add_resource(&orders).await.unwrap(), ResourceAddition::Added);
    assert_eq!(oauth.add_client(&web).await.unwrap(), ClientAddition::Added);
    let (new_orders, new_web) = (resource("orders").secrets, client("web", &[]).secrets);
    assert!(oauth.replace_resource_secrets(&orders.name, &orders.secrets, &new_orders).await.unwrap());
    assert!(oauth.replace_client_secrets(&web.id, &web.secrets, &new_web).await.unwrap());
    assert_eq!(oauth.list_clients(None, 10).await.unwrap(), [OAuthClient { secrets: new_web, ..web.clone() }]);
    assert!(oauth.remove_client(&web.id).await.unwrap());
    assert_eq!(oauth.remove_resource(&orders.name).await.unwrap(), ResourceRemoval::Removed);
}

#[tokio::test]
async fn an_earlier_program_uses_a_newer_schema_that_declares_it() {
    for TestDatabase { name, database, execute, query_number, .. } in migrated_databases().await {
        execute(NEXT_USERS_MIGRATION);
        assert_eq!(database.schema_state().await.unwrap(), SchemaState::NewerCompatible, "{name}");
        use_user_store(database.users().as_ref(), database.verifiers().as_ref()).await;
        use_key_store(database.keys().as_ref(), database.audit_log().as_ref()).await;
        use_oauth_registry(database.oauth_registry().as_ref()).await;
        // Its migration changes nothing.
        let count_versions = "SELECT count(*) FROM __diesel_schema_migrations";
        let (versions, declared) = (query_number(count_versions), query_number(DECLARED));
        database.migrate().await.unwrap();
        assert_eq!((query_number(count_versions), query_number(DECLARED)), (versions, declared), "{name}");
        assert_eq!(database.schema_state().await.unwrap(), SchemaState::NewerCompatible, "{name}");
    }
}

#[tokio::test]
async fn an_earlier_program_rejects_a_newer_schema_that_excludes_it() {
    for TestDatabase { name, database, execute, .. } in migrated_databases().await {
        execute(NEXT_USERS_MIGRATION);
        execute(&declare(9_998));
        assert_eq!(database.schema_state().await.unwrap(), SchemaState::Newer, "{name}");
        let error = database.migrate().await.unwrap_err();
        assert!(matches!(error, OpenError::NewerSchema(_)) && !error.to_string().contains('\n'), "{name}: {error}");
        // A version without declarations has migrated.
        execute("DELETE FROM facts WHERE name = 'oldest_program'");
        assert_eq!(database.schema_state().await.unwrap(), SchemaState::Newer, "{name}");
    }
}

#[tokio::test]
async fn a_migration_declares_the_oldest_program_and_never_lowers_it() {
    for TestDatabase { name, database, execute, query_number, .. } in migrated_databases().await {
        assert_eq!(query_number(DECLARED), 14, "{name}");
        // A database that an earlier version has migrated gets the declaration at the next migration.
        execute("DELETE FROM facts");
        assert_eq!(database.schema_state().await.unwrap(), SchemaState::Current, "{name}");
        database.migrate().await.unwrap();
        assert_eq!(query_number(DECLARED), 14, "{name}");
        for (declared, after) in [(13, 14), (15, 15)] {
            execute(&declare(declared));
            database.migrate().await.unwrap();
            assert_eq!(query_number(DECLARED), after, "{name}");
        }
        assert_eq!(database.schema_state().await.unwrap(), SchemaState::Current, "{name}");
    }
}

/// Every write of the state store.
async fn use_state_store(state: &dyn StateStore) {
    let success = SuccessEffects {
        session: Some(new_session(1, session(NOW.saturating_add(secs(600))))),
        origin_trust: OriginTrustChange::Trust,
        ..one_time_success(1, NOW.saturating_add(secs(600)))
    };
    let proof = ProofResult::Valid(Box::new(success));
    for expected in [AttemptOutcome::Recorded, AttemptOutcome::ProofReplayed] {
        assert_eq!(state.record_login_attempt(&attempt(home_origin(), NOW), &proof).await.unwrap(), expected);
    }
    state.record_login_attempt(&attempt(other_origin(), NOW), &ProofResult::Invalid).await.unwrap();
    let quota = stele_core::rate_limit::Quota { max: 5, window: secs(3_600) };
    let uses = [stele_core::ports::QuotaUse { key: "to".to_owned(), quota }];
    assert_eq!(state.consume_quotas(&uses, None, NOW).await.unwrap(), None);
    store_one_time_data(state).await;
    assert!(state.count_captcha_view(1, 5, NOW).await.unwrap());
    consume_one_time_data(state).await;
    let used = state.find_session(&token_key(1), NOW).await.unwrap().unwrap();
    state.touch_session(&token_key(1), &used).await.unwrap();
    state.set_session_epoch(&token_key(1), 4).await.unwrap();
    state.open_session(&new_session(2, session(NOW.saturating_add(secs(600))))).await.unwrap();
    assert!(state.end_session(&token_key(1), user_id(1)).await.unwrap());
    assert_eq!(state.end_sessions(user_id(1), NOW).await.unwrap(), 1);
    state.revoke_token(&token_key(3), NOW.saturating_add(secs(300))).await.unwrap();
    state.delete_expired(NOW.saturating_add(secs(100_000_000))).await.unwrap();
}

#[tokio::test]
async fn an_earlier_program_uses_a_newer_state_file_that_declares_it() {
    let (state, folder) = sqlite_state();
    let path = folder.path().join("state.db");
    let open = || SqliteStateStore::open(&path, &ManualClock::at(NOW));
    drop(state);
    assert_eq!(query_sqlite(&path, "SELECT value FROM meta WHERE key = 'oldest_program'"), 5);
    execute_sql(&path, NEXT_STATE_MIGRATION);
    let state = open().unwrap();
    assert_eq!(state.created_at().await.unwrap(), BIRTH);
    use_state_store(state.as_ref()).await;
    drop(state);
    execute_sql(&path, "UPDATE meta SET value = 9998 WHERE key = 'oldest_program'");
    assert!(matches!(open(), Err(OpenError::NewerSchema(_))));
}
