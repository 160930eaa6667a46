//! Migrations: each can be reverted and run again on a database with rows. Mobile numbers under the keys of earlier
//! versions are migrated.

use std::path::Path;

use diesel::backend::Backend;
use diesel::connection::SimpleConnection;
use diesel::sql_types::Text;
use diesel::{Connection, RunQueryDsl, SqliteConnection, dsl};
use diesel_async::AsyncPgConnection;
use diesel_async::async_connection_wrapper::AsyncConnectionWrapper;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use stele_core::app::{App, ClientToken};
use stele_core::audit_log::{AuditLogFilter, AuditLogOrder};
use stele_core::identifier::Phone;
use stele_core::oauth::ClientId;
use stele_core::ports::{
    AttemptOutcome, ClientAddition, LoginAttempt, OriginTrustChange, ProofResult, ResourceAddition, StateStore,
    SuccessEffects, UsedProof,
};
use stele_core::session::{NewSession, Ticket, TicketKind};
use stele_core::user::NewUser;
use stele_store::{Database, DatabaseUrl, SqliteStateStore};
use stele_testservers as servers;
use tokio::runtime::Runtime;

use crate::audit_log::audit_entry;
use crate::oauth_registry::{client, resource};
use crate::support::*;

type MigrationSet = fn() -> EmbeddedMigrations;
type PgConnection = AsyncConnectionWrapper<AsyncPgConnection>;

/// Runs all migrations one by one. Then reverts the last one, the last two, … all of them, and runs them again each
/// time. A revert must restore the schema before the migration. `fill` adds rows before each round; `check` verifies
/// them after it and gets the oldest reverted version. No check follows the last round, which drops all tables.
fn revert_and_rerun_all<DB: Backend, C: MigrationHarness<DB>>(
    conn: &mut C,
    source: MigrationSet,
    schema: fn(&mut C) -> String,
    fill: impl Fn(u8),
    check: impl Fn(u8, &str),
) {
    // Creates diesel's journal.
    assert_eq!(conn.applied_migrations().unwrap(), []);
    let mut schemas = vec![schema(conn)];
    while conn.has_pending_migration(source()).unwrap() {
        conn.run_next_migration(source()).unwrap();
        schemas.push(schema(conn));
    }
    let all = schemas.len() - 1;
    for round in 1..=all {
        let number = u8::try_from(round).unwrap();
        fill(number);
        let mut oldest = String::new();
        for remaining in (all - round..all).rev() {
            oldest = conn.revert_last_migration(source()).unwrap().to_string();
            assert_eq!(schema(conn), schemas[remaining], "{oldest} reverted");
        }
        conn.run_pending_migrations(source()).unwrap();
        assert_eq!(schema(conn), schemas[all], "{oldest} run again");
        if round < all {
            check(number, &oldest);
        }
    }
    fill(0);
}

/// A connection with the pragmas of the product.
fn connect_sqlite(path: &Path) -> SqliteConnection {
    std::fs::File::create(path).unwrap();
    let mut conn = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    conn.batch_execute("PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA foreign_keys = ON").unwrap();
    conn
}

/// The SQL of tables, indexes and triggers, without white space and quotes, which SQLite changes when a column is added
/// or dropped, or a table is renamed.
fn sqlite_schema(conn: &mut SqliteConnection) -> String {
    let lines = "(SELECT group_concat(line, char(10)) FROM (SELECT type || ' ' || name || ' ' || \
                 replace(replace(replace(coalesce(sql, ''), char(10), ''), ' ', ''), char(34), '') AS line \
                 FROM sqlite_master WHERE name NOT LIKE 'sqlite!_%' ESCAPE '!' ORDER BY 1))";
    diesel::select(dsl::sql::<Text>(lines)).get_result(conn).unwrap()
}

fn postgres_schema(conn: &mut PgConnection) -> String {
    let lines = "(SELECT string_agg(line, chr(10) ORDER BY line) FROM (\
                 SELECT concat_ws(' ', table_name, column_name, data_type, is_nullable, column_default) AS line \
                 FROM information_schema.columns WHERE table_schema = current_schema() \
                 UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = current_schema() \
                 UNION ALL SELECT conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint \
                 WHERE connamespace = current_schema()::regnamespace) AS lines)";
    diesel::select(dsl::sql::<Text>(lines)).get_result(conn).unwrap()
}

fn attempt_at_account(n: u8) -> LoginAttempt {
    LoginAttempt { account: format!("user:{n}"), ..attempt(home_origin(), NOW) }
}

fn one_time_success_of(n: u8) -> SuccessEffects {
    one_time_success(n, NOW.saturating_add(secs(300)))
}

fn ticket() -> Ticket {
    let (source, audience, expires) = (String::new(), "to".to_owned(), NOW.saturating_add(secs(600)));
    Ticket { kind: TicketKind::Reset, user: user_id(1), epoch: 0, source, audience, expires }
}

async fn fill_state(state: &SqliteStateStore, n: u8) {
    let success = SuccessEffects {
        session: Some(new_session(n, session(NOW.saturating_add(secs(600))))),
        origin_trust: OriginTrustChange::Trust,
        ..one_time_success_of(n)
    };
    let outcome =
        state.record_login_attempt(&attempt_at_account(n), &ProofResult::Valid(Box::new(success))).await.unwrap();
    assert_eq!(outcome, AttemptOutcome::Recorded, "{n}");
    let elsewhere = LoginAttempt { origin: other_origin(), ..attempt_at_account(n) };
    state.record_login_attempt(&elsewhere, &ProofResult::Invalid).await.unwrap();
    let quota = stele_core::rate_limit::Quota { max: 5, window: secs(3_600) };
    let uses = [stele_core::ports::QuotaUse { key: format!("to:{n}"), quota }];
    assert_eq!(state.consume_quotas(&uses, Some(&code("alice", n)), NOW).await.unwrap(), None);
    state.store_ticket(&token_key(n), &ticket()).await.unwrap();
    state.store_captcha(n.into(), NOW.saturating_add(secs(600))).await.unwrap();
    assert!(state.count_captcha_view(n.into(), 5, NOW).await.unwrap());
}

/// Counters may be lost. Sessions, tickets, captchas and used proofs must be retained.
async fn check_state(state: &SqliteStateStore, n: u8) {
    assert_eq!(state.created_at().await.unwrap(), BIRTH);
    let again = state
        .record_login_attempt(&attempt_at_account(n), &ProofResult::Valid(Box::new(one_time_success_of(n))))
        .await
        .unwrap();
    assert_eq!(again, AttemptOutcome::ProofReplayed, "{n}");
    assert_eq!(
        state.find_session(&token_key(n), NOW).await.unwrap(),
        Some(session(NOW.saturating_add(secs(600)))),
        "{n}"
    );
    let redeemed = state.redeem_ticket(&token_key(n), TicketKind::Reset, "to", NOW).await.unwrap();
    assert_eq!(redeemed, Some(ticket()), "{n}");
    assert!(
        state.count_captcha_view(n.into(), 5, NOW).await.unwrap()
            && state.consume_captcha(n.into(), NOW).await.unwrap()
    );
    // The session limit still finds the user's sessions.
    let excess = NewSession { max_per_user: 1, ..new_session(100 + n, session(NOW.saturating_add(secs(600)))) };
    state.open_session(&excess).await.unwrap();
    assert_eq!(state.find_session(&token_key(n), NOW).await.unwrap(), None, "{n}");
}

#[test]
fn embedded_state_migrations_are_reversible_with_data() {
    const ALL: EmbeddedMigrations = embed_migrations!("migrations/state-sqlite");
    let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
    let path = dir.path().join("state.db");
    let mut conn = connect_sqlite(&path);
    let open = || SqliteStateStore::open(&path, &ManualClock::at(BIRTH)).unwrap();
    let fill = |n| runtime.block_on(fill_state(&open(), n));
    let check = |n, _: &str| runtime.block_on(check_state(&open(), n));
    revert_and_rerun_all(&mut conn, || ALL, sqlite_schema, fill, check);
}

fn new_user(n: u8) -> NewUser {
    let phone = Phone::parse_provisioned(&format!("1380000000{n}"));
    NewUser { id: user_id(n + 1), phone, ..user_named(&format!("user{n}")) }
}

fn used_proof(n: u8) -> UsedProof {
    UsedProof { key: [n; 32], expires: NOW.saturating_add(secs(300)) }
}

async fn fill_users(database: &Database, n: u8) {
    let (users, keys, audit_log) = (database.users(), database.keys(), database.audit_log());
    // From the second round on, the migration has added it, because rows are sealed under it.
    keys.add_key(&key_record("seal-7")).await.unwrap();
    assert!(keys.add_key(&key_record(&format!("jwt-eddsa-{n}"))).await.unwrap());
    let added = users.add(&new_user(n)).await.unwrap().unwrap();
    assert!(n > 0 || added.number == 100_001, "numbers start again at the first: {}", added.number);
    let sealed_secret = credential("first").sealed.unwrap();
    let app = App { name: format!("app{n}"), secret: sealed_secret, may_token: Vec::new(), created_at: NOW };
    assert!(users.add_app(&app).await.unwrap());
    let token = ClientToken { name: format!("token{n}"), hash: [n; 32], created_at: NOW };
    assert!(users.add_client_token(&token).await.unwrap());
    assert!(users.mark_proof_used(&used_proof(n)).await.unwrap());
    let (oauth, resource_name) = (database.oauth_registry(), format!("resource{n}"));
    assert_eq!(oauth.add_resource(&resource(&resource_name)).await.unwrap(), ResourceAddition::Added);
    let added = oauth.add_client(&client(&format!("client{n}"), &[&resource_name])).await.unwrap();
    assert_eq!(added, ClientAddition::Added);
    audit_log.append(&[audit_entry(n.into(), n.into())]).await.unwrap();
}

async fn check_users(database: &Database, n: u8, oldest: &str) {
    let (users, keys, audit_log) = (database.users(), database.keys(), database.audit_log());
    let account = users.find_by_identifier(&format!("user{n}")).await.unwrap().unwrap();
    assert_eq!((account.user.id, account.credential), (user_id(n + 1), credential("first")));
    assert_eq!(users.find_by_identifier(&format!("1380000000{n}")).await.unwrap().unwrap().user.id, user_id(n + 1));
    assert!(users.find_by_identifier("no-such").await.unwrap().is_none());
    assert!(users.find_app(&format!("app{n}")).await.unwrap().is_some());
    assert_eq!(users.find_client_token(&[n; 32]).await.unwrap().unwrap().name, format!("token{n}"));
    // The migration registers a key under which rows are sealed.
    let keys = keys.keys().await.unwrap();
    assert!(keys.iter().any(|key| key.name == "seal-7"), "{n}");
    assert_eq!(keys.contains(&key_record(&format!("jwt-eddsa-{n}"))), oldest > "0002", "{n}");
    // Reverting a migration drops the tables that it created.
    assert_eq!(users.mark_proof_used(&used_proof(n)).await.unwrap(), oldest <= "0010", "{n}");
    let client = database.oauth_registry().find_client(&ClientId::parse(&format!("client{n}")).unwrap()).await.unwrap();
    assert_eq!(client.is_some(), oldest > "0020", "{n}");
    let found = audit_log.list(&AuditLogFilter::default(), AuditLogOrder::OldestFirst, None, 100).await.unwrap();
    assert_eq!(found.contains(&audit_entry(n.into(), n.into())), oldest > "0003", "{n}");
}

/// Identifier keys as earlier versions stored them, by user number (from 100001).
const EARLIER_KEYS: &str = "
    UPDATE identifiers SET key = '8613800138001' WHERE key = '13800138001';
    UPDATE identifiers SET key = '008613800138002' WHERE key = '13800138002';
    UPDATE identifiers SET key = '138-0013 8003' WHERE key = '13800138003';
    INSERT INTO identifiers (key, number) VALUES
        ('+86 138-0013-8004', 100004), ('8613800138004', 100005), ('+1 415-555-0123', 100005), ('86138@qq.com', 100005),
        ('0086 13800138006', 100001), ('8613800138006', 100002), ('86138001380077', 100003), ('862112345678', 100003)
";

/// Identifiers and the user they find after the migration of [`EARLIER_KEYS`]. A mobile number that two users have
/// finds the first one.
const MIGRATED_KEYS: [(&str, Option<i64>); 17] = [
    ("13800138001", Some(100_001)),
    ("8613800138001", None),
    ("13800138002", Some(100_002)),
    ("008613800138002", None),
    ("13800138003", Some(100_003)),
    ("138-0013 8003", None),
    ("13800138004", Some(100_004)),
    ("+86 138-0013-8004", None),
    ("8613800138004", Some(100_005)),
    ("+1 415-555-0123", Some(100_005)),
    ("86138@qq.com", Some(100_005)),
    ("13800138005", Some(100_005)),
    ("13800138006", Some(100_001)),
    ("0086 13800138006", None),
    ("8613800138006", Some(100_002)),
    ("86138001380077", Some(100_003)),
    ("862112345678", Some(100_003)),
];

/// Checks that mobile numbers that earlier versions stored under other keys than their 11 digits are found.
fn check_migrated_mobile_keys<DB: Backend, C: MigrationHarness<DB> + SimpleConnection>(
    conn: &mut C,
    source: MigrationSet,
    open: impl Fn() -> Database,
    runtime: &Runtime,
) {
    conn.run_pending_migrations(source()).unwrap();
    runtime.block_on(async {
        let database = open();
        database.keys().add_key(&key_record("seal-7")).await.unwrap();
        for n in 1..=5 {
            database.users().add(&user_with_phone(&format!("1380013800{n}"))).await.unwrap().unwrap();
        }
    });
    while conn.revert_last_migration(source()).unwrap().to_string().as_str() > "0014" {}
    conn.batch_execute(EARLIER_KEYS).unwrap();
    conn.run_pending_migrations(source()).unwrap();
    runtime.block_on(async {
        let users = open().users();
        for (key, number) in MIGRATED_KEYS {
            let found = users.find_by_identifier(key).await.unwrap().map(|account| account.user.number);
            assert_eq!(found, number, "{key}");
        }
    });
}

#[test]
fn mobile_numbers_under_legacy_keys_are_found_after_migration_in_sqlite() {
    const ALL: EmbeddedMigrations = embed_migrations!("migrations/users-sqlite");
    let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
    let path = dir.path().join("users.db");
    check_migrated_mobile_keys(
        &mut connect_sqlite(&path),
        || ALL,
        || Database::open(&DatabaseUrl::sqlite(&path)).unwrap(),
        &runtime,
    );
}

#[test]
#[ignore = "needs PostgreSQL and Redis"]
fn mobile_numbers_under_legacy_keys_are_found_after_migration_in_postgres() {
    const ALL: EmbeddedMigrations = embed_migrations!("migrations/users-postgres");
    let (runtime, url) = (Runtime::new().unwrap(), servers::database_url());
    let mut conn = PgConnection::establish(&url).unwrap();
    let database_url = DatabaseUrl::parse(&url).unwrap();
    // Opened on the runtime that drives its connections.
    check_migrated_mobile_keys(&mut conn, || ALL, || Database::open(&database_url).unwrap(), &runtime);
}

#[test]
fn sqlite_user_migrations_are_reversible_with_data() {
    const ALL: EmbeddedMigrations = embed_migrations!("migrations/users-sqlite");
    let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
    let path = dir.path().join("users.db");
    let mut conn = connect_sqlite(&path);
    let open = || Database::open(&DatabaseUrl::sqlite(&path)).unwrap();
    let fill = |n| runtime.block_on(fill_users(&open(), n));
    let check = |n, oldest: &str| runtime.block_on(check_users(&open(), n, oldest));
    revert_and_rerun_all(&mut conn, || ALL, sqlite_schema, fill, check);
}

#[test]
#[ignore = "needs PostgreSQL and Redis"]
fn postgres_user_migrations_are_reversible_with_data() {
    const ALL: EmbeddedMigrations = embed_migrations!("migrations/users-postgres");
    let (runtime, url) = (Runtime::new().unwrap(), servers::database_url());
    let mut conn = PgConnection::establish(&url).unwrap();
    let database_url = DatabaseUrl::parse(&url).unwrap();
    let open = || Database::open(&database_url).unwrap();
    let fill = |n| runtime.block_on(async { fill_users(&open(), n).await });
    let check = |n, oldest: &str| runtime.block_on(async { check_users(&open(), n, oldest).await });
    revert_and_rerun_all(&mut conn, || ALL, postgres_schema, fill, check);
}
