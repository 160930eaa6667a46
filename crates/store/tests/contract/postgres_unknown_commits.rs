//! Writes without an answer: what was applied is answered as success, and what may be applied is logged.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use stele_core::Error;
use stele_core::ports::UserStore;
use stele_core::user::{User, UserStatus};
use stele_store::{Database, DatabaseUrl};
use stele_testservers::{Postgres, Proxy};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls};
use tracing::field::{Field, Visit};
use tracing::span;

use crate::support::*;

/// Collects the warnings of this process.
struct WarningLog;

fn warnings() -> &'static Mutex<Vec<HashMap<String, String>>> {
    static WARNINGS: OnceLock<Mutex<Vec<HashMap<String, String>>>> = OnceLock::new();
    WARNINGS.get_or_init(|| {
        tracing::subscriber::set_global_default(WarningLog).unwrap();
        Mutex::default()
    })
}

impl tracing::Subscriber for WarningLog {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::WARN
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        warnings().lock().unwrap().push(fields.0);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[derive(Default)]
struct Fields(HashMap<String, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }
}

/// The causes of the warnings that the commit of `operation` on `user` is unknown.
fn unknown_commits(operation: &str, user: &User) -> Vec<String> {
    let (warnings, subject) = (warnings().lock().unwrap(), user.id.0.to_string());
    let matching = warnings.iter().filter(|fields| {
        fields["message"].contains("commit outcome unknown")
            && fields["operation"] == operation
            && fields["subject"] == subject
    });
    matching.map(|fields| fields["cause"].clone()).collect()
}

/// A server with the user `alice`, reached through a proxy, and a connection beside it.
struct Lab {
    server: Postgres,
    proxy: Proxy,
    users: Arc<dyn UserStore>,
    alice: User,
    observer: Client,
}

impl Lab {
    async fn start() -> Self {
        warnings();
        let server = Postgres::start();
        server.write_file("postgresql.auto.conf", "fsync = off\nsynchronous_commit = on\n");
        server.restart();
        let proxy = Proxy::start(server.port());
        let url = server.new_database_url();
        let observer = connect(&url).await;
        let url = url.replace(&format!(":{}/", server.port()), &format!(":{}/", proxy.port()));
        let database = Database::open(&DatabaseUrl::parse(&url).unwrap()).unwrap();
        database.migrate().await.unwrap();
        let users = user_backend("postgres", &database, None).await.users;
        let alice = users.add(&user_named("alice")).await.unwrap().unwrap();
        users.find_by_identifier("alice").await.unwrap().unwrap();
        Self { server, proxy, users, alice, observer }
    }

    fn change_credential(&self, next_epoch: i64) -> JoinHandle<stele_core::Result<bool>> {
        let (users, alice) = (Arc::clone(&self.users), self.alice.id);
        tokio::spawn(async move { users.change_credential(alice, 0, next_epoch, &credential("second")).await })
    }

    async fn set_synchronous_standby(&self, names: &str) {
        self.server.execute(&format!("ALTER SYSTEM SET synchronous_standby_names = '{names}'"));
        self.server.execute("SELECT pg_reload_conf()");
        self.wait_until(&format!("SELECT current_setting('synchronous_standby_names') = '{names}'")).await;
        if names == "nosuch" {
            self.wait_until_commits_wait_for_a_standby().await;
        }
    }

    /// Commits wait only once the checkpointer has read the setting, which may be after the sessions have.
    async fn wait_until_commits_wait_for_a_standby(&self) {
        let is_waiting = "FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query LIKE '%probe%'";
        loop {
            let url = self.server.default_database_url();
            let commit = "SELECT pg_logical_emit_message(true, 'probe', '')";
            let probe = tokio::spawn(async move { connect(&url).await.batch_execute(commit).await });
            while !probe.is_finished() {
                if self.observer.query_one(&format!("SELECT EXISTS (SELECT {is_waiting})"), &[]).await.unwrap().get(0) {
                    self.server.execute(&format!("SELECT pg_terminate_backend(pid) {is_waiting}"));
                    return;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    }

    /// Locks the user's row against changes until the transaction ends.
    async fn lock_row(&self) -> Client {
        let lock_holder = connect(&self.server.default_database_url()).await;
        let schema: String = self.observer.query_one("SELECT current_schema()::text", &[]).await.unwrap().get(0);
        lock_holder.batch_execute(&format!("BEGIN; SELECT FROM {schema}.users FOR UPDATE")).await.unwrap();
        lock_holder
    }

    /// Waits until a change waits for the lock, and lets it be applied without its answer.
    async fn apply_without_answer(&self, lock_holder: Client, epoch: i64) {
        self.wait_until(IS_STATEMENT_WAITING).await;
        self.proxy.mute();
        lock_holder.batch_execute("ROLLBACK").await.unwrap();
        self.wait_until(&format!("SELECT epoch = {epoch} FROM users WHERE name = 'alice'")).await;
    }

    async fn epoch(&self) -> i64 {
        self.observer.query_one("SELECT epoch FROM users WHERE name = 'alice'", &[]).await.unwrap().get(0)
    }

    /// Waits until a query returns `true`.
    async fn wait_until(&self, condition: &str) {
        let deadline = Instant::now() + secs(10);
        while !self.observer.query_one(condition, &[]).await.unwrap().get::<_, bool>(0) {
            assert!(Instant::now() < deadline, "{condition}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    fn unknown_commits(&self, operation: &str) -> Vec<String> {
        unknown_commits(operation, &self.alice)
    }
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

const IS_STATEMENT_WAITING: &str = "SELECT EXISTS (SELECT FROM pg_stat_activity \
     WHERE pid <> pg_backend_pid() AND state = 'active' AND query LIKE 'UPDATE%' AND wait_event_type = 'Lock')";

const IS_NO_STATEMENT_WAITING: &str = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity \
     WHERE pid <> pg_backend_pid() AND state = 'active' AND query LIKE 'UPDATE%')";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and Redis"]
async fn an_applied_change_without_an_answer_succeeds() {
    let lab = Lab::start().await;
    let lock_holder = lab.lock_row().await;
    let change = lab.change_credential(7);
    lab.apply_without_answer(lock_holder, 7).await;
    lab.proxy.cut();
    assert!(change.await.unwrap().unwrap());
    assert!(lab.unknown_commits("change_credential").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and Redis"]
async fn an_applied_status_without_an_answer_succeeds() {
    let lab = Lab::start().await;
    let lock_holder = lab.lock_row().await;
    let (users, alice) = (Arc::clone(&lab.users), lab.alice.id);
    let disable = tokio::spawn(async move { users.set_status(alice, UserStatus::Disabled, 8).await });
    lab.apply_without_answer(lock_holder, 8).await;
    lab.proxy.cut();
    assert!(disable.await.unwrap().unwrap());
    assert!(lab.unknown_commits("set_status").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and Redis"]
async fn an_added_user_without_an_answer_is_found() {
    let lab = Lab::start().await;
    // The commit takes long enough to cut off its answer.
    let slow_commit = "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS \
                       'BEGIN PERFORM pg_sleep(0.3); RETURN NULL; END'; \
                       CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON users DEFERRABLE INITIALLY DEFERRED \
                       FOR EACH ROW EXECUTE FUNCTION wait()";
    lab.observer.batch_execute(slow_commit).await.unwrap();
    let (users, bob) = (Arc::clone(&lab.users), user_named("bob"));
    let id = bob.id;
    let add = tokio::spawn(async move { users.add(&bob).await });
    let is_committing = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE state = 'active' AND query = 'COMMIT')";
    lab.wait_until(is_committing).await;
    lab.proxy.mute();
    lab.wait_until("SELECT EXISTS (SELECT FROM users WHERE name = 'bob')").await;
    lab.proxy.cut();
    assert_eq!(add.await.unwrap().unwrap().unwrap().id, id);
    assert_eq!(lab.users.find_by_identifier("bob").await.unwrap().unwrap().user.id, id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_change_that_may_follow_is_logged_once() {
    let lab = Lab::start().await;
    let lock_holder = lab.lock_row().await;
    let change = lab.change_credential(7);
    lab.wait_until(IS_STATEMENT_WAITING).await;
    lab.proxy.cut();
    let error = change.await.unwrap().unwrap_err();
    assert!(matches!(&error, Error::Unavailable(cause) if cause.to_string().contains("unknown")), "{error}");
    assert_eq!(lab.unknown_commits("change_credential").len(), 1);
    drop(lock_holder);
    // The next change works, whether or not the first one was applied.
    lab.wait_until(IS_NO_STATEMENT_WAITING).await;
    let epoch = lab.epoch().await;
    assert!(lab.users.change_credential(lab.alice.id, epoch, 9, &credential("third")).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_change_that_waits_too_long_for_a_lock_is_never_applied() {
    let lab = Lab::start().await;
    let lock_holder = lab.lock_row().await;
    let started = Instant::now();
    let changes: Vec<_> = (10..30).map(|epoch| lab.change_credential(epoch)).collect();
    for change in changes {
        let error = change.await.unwrap().unwrap_err();
        assert!(matches!(error, Error::Unavailable(_)), "{error}");
    }
    assert!(started.elapsed() < secs(2), "{:?}", started.elapsed());
    // Nothing waits for the lock any more, while it is still held.
    lab.wait_until(IS_NO_STATEMENT_WAITING).await;
    lock_holder.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(lab.epoch().await, 0);
    assert!(lab.unknown_commits("change_credential").is_empty(), "a canceled statement has a known outcome");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_change_that_no_standby_confirmed_is_not_answered_as_success() {
    let lab = Lab::start().await;
    // The server's settings do not hide its warning.
    lab.server.execute("ALTER SYSTEM SET client_min_messages = error");
    lab.set_synchronous_standby("nosuch").await;
    let started = Instant::now();
    let error = lab.change_credential(7).await.unwrap().unwrap_err();
    assert!(started.elapsed() < secs(2), "{:?}", started.elapsed());
    assert!(matches!(&error, Error::Unavailable(cause) if cause.to_string().contains("standby")), "{error}");
    // The change is on the primary, and the log says so.
    lab.wait_until("SELECT epoch = 7 FROM users WHERE name = 'alice'").await;
    let causes = lab.unknown_commits("change_credential");
    assert!(causes.len() == 1 && causes[0].contains("standby"), "{causes:?}");
    lab.set_synchronous_standby("").await;
    assert!(lab.users.change_credential(lab.alice.id, 7, 8, &credential("third")).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_change_whose_wait_for_a_standby_is_terminated_is_not_looked_up() {
    let lab = Lab::start().await;
    lab.set_synchronous_standby("nosuch").await;
    let change = lab.change_credential(7);
    let is_waiting = "wait_event = 'SyncRep' AND query LIKE 'UPDATE%'";
    lab.wait_until(&format!("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE {is_waiting})")).await;
    lab.server.execute(&format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {is_waiting}"));
    let error = change.await.unwrap().unwrap_err();
    assert!(matches!(&error, Error::Unavailable(cause) if cause.to_string().contains("standby")), "{error}");
    let causes = lab.unknown_commits("change_credential");
    assert!(causes.len() == 1 && causes[0].contains("standby"), "{causes:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_commit_whose_server_is_killed_before_the_answer_is_logged() {
    let lab = Lab::start().await;
    let lock_holder = lab.lock_row().await;
    let change = lab.change_credential(7);
    lab.apply_without_answer(lock_holder, 7).await;
    lab.server.kill();
    lab.proxy.resume();
    let error = change.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
    assert_eq!(lab.unknown_commits("change_credential").len(), 1);
    lab.server.restart();
    let started = Instant::now();
    let account = loop {
        match lab.users.find_by_identifier("alice").await {
            Ok(account) => break account.unwrap(),
            Err(error) => assert!(started.elapsed() < secs(5), "{error}"),
        }
    };
    assert_eq!(account.epoch, 7, "the change was committed before the server was killed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_change_is_confirmed_again_when_the_standby_returns() {
    let lab = Lab::start().await;
    let standby = lab.server.start_standby();
    lab.set_synchronous_standby("*").await;
    lab.wait_until("SELECT EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync')").await;
    assert!(lab.users.change_credential(lab.alice.id, 0, 6, &credential("second")).await.unwrap());
    standby.pause();
    let error = lab.users.change_credential(lab.alice.id, 6, 7, &credential("third")).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
    let causes = lab.unknown_commits("change_credential");
    assert!(causes.len() == 1 && causes[0].contains("standby"), "{causes:?}");
    standby.resume();
    let started = Instant::now();
    let mut epoch = 7;
    while !matches!(lab.users.change_credential(lab.alice.id, epoch, 8, &credential("fourth")).await, Ok(true)) {
        assert!(started.elapsed() < secs(5));
        epoch = lab.epoch().await;
    }
}
