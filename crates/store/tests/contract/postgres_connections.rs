//! PostgreSQL connections of one process: their number never exceeds the bound, whatever is abandoned.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use stele_core::Error;
use stele_core::ports::{AuditLogStore, UserStore};
use stele_store::{Database, DatabaseUrl};
use stele_testservers::{Postgres, eventually, execute};
use tokio_postgres::NoTls;

use crate::audit_log::audit_entry;
use crate::support::*;

/// How long a fault lasts: longer than a call, and long enough for abandoned connections to add up.
const FAULT: Duration = Duration::from_secs(4);

/// A server with room for a few more connections than one process may take.
fn small_server() -> Postgres {
    let server = Postgres::start();
    let settings = "fsync = off\nmax_connections = 20\n";
    server.write_file("postgresql.auto.conf", settings);
    server.restart();
    server.execute("CREATE ROLE app LOGIN");
    server
}

/// A database of the role `app`, with the user `alice`. All connections of that role are this process's.
async fn database_of_app(server: &Postgres) -> (Database, Arc<dyn UserStore>) {
    let database = empty_database_of_app(server).await;
    let users = user_backend("postgres", &database, None).await.users;
    users.add(&user_named("alice")).await.unwrap().unwrap();
    (database, users)
}

async fn empty_database_of_app(server: &Postgres) -> Database {
    let url = server.new_database_url();
    let schema = url.rsplit("%3D").next().unwrap();
    server.execute(&format!("ALTER SCHEMA {schema} OWNER TO app"));
    let database = Database::open(&DatabaseUrl::parse(&url.replace("stele@", "app@")).unwrap()).unwrap();
    database.migrate().await.unwrap();
    database
}

/// A superuser's connection that counts the connections of `app` until it is dropped.
struct ConnectionWatch {
    most: Arc<AtomicI64>,
    is_stopped: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl ConnectionWatch {
    fn start(server: &Postgres) -> Self {
        let (most, is_stopped) = (Arc::new(AtomicI64::new(-1)), Arc::new(AtomicBool::new(false)));
        let (url, shared) = (server.default_database_url(), (Arc::clone(&most), Arc::clone(&is_stopped)));
        let watch = async move || {
            let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
            tokio::spawn(connection);
            let count = client.prepare("SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'").await.unwrap();
            while !shared.1.load(Ordering::SeqCst) {
                let connections: i64 = client.query_one(&count, &[]).await.unwrap().get(0);
                shared.0.fetch_max(connections, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let thread = Some(std::thread::spawn(move || runtime.block_on(watch())));
        let this = Self { most, is_stopped, thread };
        assert!(eventually(|| this.most() >= 0), "the watch does not connect");
        this
    }

    fn most(&self) -> i64 {
        self.most.load(Ordering::SeqCst)
    }

    /// Checks that at least `least` connections were seen, and never more than `bound`.
    fn assert_within(mut self, least: i64, bound: usize) {
        self.is_stopped.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap();
        let (most, bound) = (self.most(), i64::try_from(bound).unwrap());
        assert!((least..=bound).contains(&most), "{most} connections, bound {bound}");
    }
}

/// Calls that follow each other in 40 tasks until `deadline`: reads, writes, or both.
async fn call_until(users: &Arc<dyn UserStore>, deadline: Instant, calls: [Call; 2]) {
    let tasks = (0..40).map(|task: usize| {
        let (users, call) = (Arc::clone(users), calls[task % 2]);
        async move {
            for n in 0.. {
                if Instant::now() >= deadline {
                    return;
                }
                let started = Instant::now();
                let error = match call {
                    Call::Read => users.find_by_identifier("alice").await.err(),
                    Call::Write => users.add(&user_named(&format!("new{task}x{n}"))).await.err(),
                };
                assert!(matches!(error, None | Some(Error::Unavailable(_))), "{error:?}");
                assert!(started.elapsed() < secs(3), "{:?}", started.elapsed());
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    });
    all_at_once(tasks).await;
}

#[derive(Clone, Copy)]
enum Call {
    Read,
    Write,
}

/// Checks that reads and writes succeed within two seconds.
async fn assert_recovers(users: &Arc<dyn UserStore>) {
    let started = Instant::now();
    loop {
        let read = users.find_by_identifier("alice").await;
        let written = users.add(&user_named(&format!("after{}", started.elapsed().as_micros()))).await;
        if read.is_ok() && written.is_ok() {
            return;
        }
        assert!(started.elapsed() < secs(2), "{read:?} {written:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn set_synchronous_standby(server: &Postgres, names: &str) {
    server.execute(&format!("ALTER SYSTEM SET synchronous_standby_names = '{names}'"));
    server.execute("SELECT pg_reload_conf()");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_dead_synchronous_standby_takes_no_further_connections() {
    let server = small_server();
    let (database, users) = database_of_app(&server).await;
    let audit_log = database.audit_log();
    let watch = ConnectionWatch::start(&server);
    set_synchronous_standby(&server, "nosuch");
    let deadline = Instant::now() + FAULT;
    let append = tokio::spawn(append_until(audit_log, deadline));
    let connect_as_other = tokio::task::spawn_blocking({
        let url = server.default_database_url();
        move || {
            while Instant::now() < deadline {
                execute(&url, "SELECT 1");
            }
        }
    });
    call_until(&users, deadline, [Call::Write, Call::Write]).await;
    append.await.unwrap();
    connect_as_other.await.unwrap();
    set_synchronous_standby(&server, "");
    assert_recovers(&users).await;
    watch.assert_within(9, Database::DEFAULT_CONNECTIONS);
}

async fn append_until(audit_log: Arc<dyn AuditLogStore>, deadline: Instant) {
    for seq in 0.. {
        if Instant::now() >= deadline {
            return;
        }
        let _ = audit_log.append(&[audit_entry(1, seq)]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and Redis"]
async fn the_audit_log_takes_one_connection_while_a_standby_is_dead() {
    let server = small_server();
    let database = empty_database_of_app(&server).await;
    let audit_log = database.audit_log();
    audit_log.append(&[audit_entry(1, 0)]).await.unwrap();
    let count = "ASSERT (SELECT count(*) FROM pg_stat_activity WHERE usename = 'app') = 1";
    // The connections of the migration are closed.
    server.execute(&format!(
        "DO $$ BEGIN FOR n IN 1..100 LOOP PERFORM pg_stat_clear_snapshot(); \
         EXIT WHEN (SELECT count(*) FROM pg_stat_activity WHERE usename = 'app') = 1; \
         PERFORM pg_sleep(0.05); END LOOP; {count}; END $$"
    ));
    let watch = ConnectionWatch::start(&server);
    set_synchronous_standby(&server, "nosuch");
    append_until(Arc::clone(&audit_log), Instant::now() + FAULT).await;
    set_synchronous_standby(&server, "");
    let started = Instant::now();
    while audit_log.append(&[audit_entry(2, 0)]).await.is_err() {
        assert!(started.elapsed() < secs(2));
    }
    watch.assert_within(1, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_repeated_audit_log_entry_waits_for_the_standby_as_the_first_time() {
    let server = small_server();
    let audit_log = empty_database_of_app(&server).await.audit_log();
    set_synchronous_standby(&server, "nosuch");
    let (started, mut seq) = (Instant::now(), 0);
    // The first entries may be written before the server has read its settings.
    while audit_log.append(&[audit_entry(1, seq)]).await.is_ok() {
        assert!(started.elapsed() < secs(5));
        seq += 1;
    }
    audit_log.append(&[audit_entry(1, seq)]).await.unwrap_err();
    set_synchronous_standby(&server, "");
    while let Err(error) = audit_log.append(&[audit_entry(1, seq)]).await {
        assert!(started.elapsed() < secs(15), "{error}");
    }
}

/// A connection, and the schema of the tables of `app`.
async fn connect_as_superuser(server: &Postgres) -> (tokio_postgres::Client, String) {
    let (client, connection) = tokio_postgres::connect(&server.default_database_url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    let table = "SELECT schemaname FROM pg_tables WHERE tablename = 'users' AND tableowner = 'app'";
    let schema = client.query_one(table, &[]).await.unwrap().get(0);
    (client, schema)
}

/// A transaction that locks the table `users` against reads and writes until it is dropped.
struct TableLock {
    _client: tokio_postgres::Client,
}

impl TableLock {
    async fn take(server: &Postgres) -> Self {
        let (client, schema) = connect_as_superuser(server).await;
        client.batch_execute(&format!("BEGIN; LOCK TABLE {schema}.users IN ACCESS EXCLUSIVE MODE")).await.unwrap();
        Self { _client: client }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_locked_table_takes_no_further_connections() {
    let server = small_server();
    let (_database, users) = database_of_app(&server).await;
    let watch = ConnectionWatch::start(&server);
    let lock = TableLock::take(&server).await;
    call_until(&users, Instant::now() + FAULT, [Call::Read, Call::Write]).await;
    drop(lock);
    assert_recovers(&users).await;
    watch.assert_within(9, Database::DEFAULT_CONNECTIONS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_frozen_server_takes_no_further_connections() {
    let server = small_server();
    let (_database, users) = database_of_app(&server).await;
    call_until(&users, Instant::now() + secs(1), [Call::Read, Call::Write]).await;
    let watch = ConnectionWatch::start(&server);
    server.pause();
    call_until(&users, Instant::now() + FAULT, [Call::Read, Call::Write]).await;
    server.resume();
    assert_recovers(&users).await;
    watch.assert_within(2, Database::DEFAULT_CONNECTIONS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and Redis"]
async fn dropped_calls_are_canceled_and_take_no_further_connections() {
    let server = small_server();
    let (_database, users) = database_of_app(&server).await;
    let watch = ConnectionWatch::start(&server);
    let lock = TableLock::take(&server).await;
    let deadline = Instant::now() + FAULT;
    for n in 0.. {
        if Instant::now() >= deadline {
            break;
        }
        let users = Arc::clone(&users);
        let call = tokio::spawn(async move {
            match n % 2 {
                0 => drop(users.find_by_identifier("alice").await),
                _ => drop(users.add(&user_named(&format!("new{n}"))).await),
            }
        });
        tokio::time::sleep(Duration::from_millis(10)).await;
        call.abort();
    }
    // Each dropped read of a shared connection is answered before the next one; the others are canceled.
    let is_inserting = "EXISTS (SELECT FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'INSERT%')";
    server.execute(&format!(
        "DO $$ BEGIN FOR n IN 1..100 LOOP PERFORM pg_stat_clear_snapshot(); EXIT WHEN NOT {is_inserting}; \
         PERFORM pg_sleep(0.05); END LOOP; ASSERT NOT {is_inserting}; END $$"
    ));
    drop(lock);
    assert_recovers(&users).await;
    watch.assert_within(2, Database::DEFAULT_CONNECTIONS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and Redis"]
async fn an_overloaded_pool_cancels_few_of_the_calls_that_it_serves() {
    let server = small_server();
    let (_database, users) = database_of_app(&server).await;
    let (client, schema) = connect_as_superuser(&server).await;
    let slow_inserts = "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS \
                        'BEGIN PERFORM pg_sleep(0.05); RETURN NEW; END'; \
                        CREATE TRIGGER slow BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION wait()";
    client.batch_execute(&format!("SET search_path = {schema}; {slow_inserts}")).await.unwrap();
    let deadline = Instant::now() + FAULT;
    // More calls than the pool serves in the time that they wait, spread over that time.
    let tasks = (0..400).map(|task| {
        let users = Arc::clone(&users);
        async move {
            tokio::time::sleep(Duration::from_millis(3) * task).await;
            let (mut succeeded, mut canceled) = (0, 0);
            for n in 0.. {
                match users.add(&user_named(&format!("new{task}x{n}"))).await {
                    _ if Instant::now() >= deadline => break,
                    Ok(_) => succeeded += 1,
                    Err(error) if error.to_string().contains("canceled") => canceled += 1,
                    Err(_) => {}
                }
            }
            (succeeded, canceled)
        }
    });
    let counts: Vec<(i32, i32)> = all_at_once(tasks).await;
    let (succeeded, canceled) = counts.iter().fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
    assert!(succeeded > 20 * canceled, "{succeeded} succeeded, {canceled} were canceled");
}

#[test]
#[ignore = "needs PostgreSQL and Redis"]
fn many_runtimes_share_the_connections_for_reads() {
    let new_runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = small_server();
    let main = new_runtime();
    let (_database, users) = main.block_on(database_of_app(&server));
    let watch = ConnectionWatch::start(&server);
    let deadline = Instant::now() + secs(2);
    // A runtime that ends takes along the connections that it drives.
    let all_have_read = Arc::new(tokio::sync::Barrier::new(12));
    let threads: Vec<_> = (0..12)
        .map(|_| {
            let (users, all_have_read) = (Arc::clone(&users), Arc::clone(&all_have_read));
            std::thread::spawn(move || {
                new_runtime().block_on(async {
                    while Instant::now() < deadline {
                        assert!(users.find_by_identifier("alice").await.unwrap().is_some());
                    }
                    all_have_read.wait().await;
                });
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    watch.assert_within(4, Database::DEFAULT_CONNECTIONS);
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_read_that_the_server_rejects_is_not_repeated_on_other_connections() {
    let server = small_server();
    let (_database, users) = database_of_app(&server).await;
    let (client, schema) = connect_as_superuser(&server).await;
    for _ in 0..4 {
        users.find_by_identifier("alice").await.unwrap().unwrap();
    }
    server.execute("ALTER SYSTEM SET log_connections = on");
    server.execute("SELECT pg_reload_conf()");
    client.batch_execute(&format!("REVOKE SELECT ON {schema}.users FROM app")).await.unwrap();
    for _ in 0..4 {
        users.find_by_identifier("alice").await.unwrap_err();
    }
    let connections = server.log().matches("connection authorized: user=app").count();
    assert!(connections <= 4, "{connections} connections for four reads");
    client.batch_execute(&format!("GRANT SELECT ON {schema}.users TO app")).await.unwrap();
    users.find_by_identifier("alice").await.unwrap().unwrap();
}
