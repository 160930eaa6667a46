//! Cancelled calls of the user store on SQLite: the client has disconnected, or a worker stops. Each test uses
//! single-threaded runtimes, as actix's workers do.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};
use stele_core::ports::UserStore;
use stele_core::user::{NewUser, UserStatus};
use stele_store::{Database, DatabaseUrl};
use tempfile::TempDir;

use crate::support::*;

async fn sqlite_user_store() -> (Arc<dyn UserStore>, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let database = Database::open(&DatabaseUrl::sqlite(dir.path().join("users.db"))).unwrap();
    database.migrate().await.unwrap();
    (user_backend("sqlite", &database, None).await.users, dir)
}

/// Polls `future` up to `polls` times, each after a wake-up, and then drops it. Returns its output if it is complete.
async fn poll_then_drop<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let (mut future, mut polls_left) = (pin!(future), polls);
    poll_fn(|context| {
        polls_left -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if polls_left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

async fn wait_until_disabled(users: &dyn UserStore, name: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !users.find_by_identifier(name).await.unwrap().unwrap().user.disabled {
        assert!(Instant::now() < deadline, "the cancelled write was not completed");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_started_write_completes_after_its_caller_is_dropped() {
    let (users, dir) = sqlite_user_store().await;
    let alice = users.add(&user_named("alice")).await.unwrap().unwrap().id;
    let mut lock_holder = SqliteConnection::establish(dir.path().join("users.db").to_str().unwrap()).unwrap();
    // Holds the write lock, so that the write is still in progress when its caller is dropped.
    lock_holder.batch_execute("PRAGMA busy_timeout = 5000; BEGIN IMMEDIATE").unwrap();
    assert!(poll_then_drop(users.set_status(alice, UserStatus::Disabled, 1), 1).await.is_none());
    lock_holder.batch_execute("COMMIT").unwrap();
    wait_until_disabled(users.as_ref(), "alice").await;
    lock_holder.batch_execute("BEGIN IMMEDIATE").unwrap();
    for _ in 0..20 {
        assert!(poll_then_drop(users.set_status(alice, UserStatus::Disabled, 1), 1).await.is_none());
    }
    lock_holder.batch_execute("COMMIT").unwrap();
    let many = (0..16).map(|_| users.set_status(alice, UserStatus::Disabled, 1));
    assert!(futures_util::future::join_all(many).await.into_iter().all(|done| done.unwrap()));
}

#[tokio::test]
async fn a_cancelled_multi_statement_write_is_atomic() {
    let (users, _dir) = sqlite_user_store().await;
    for polls in 1..100 {
        let (name, phone) = (format!("user{polls}"), format!("1380013{polls:04}"));
        let new = NewUser { phone: user_with_phone(&phone).phone, ..user_named(&name) };
        let output = poll_then_drop(users.add(&new), polls).await;
        // The cancelled call left no lock behind.
        users.add(&user_named(&format!("next{polls}"))).await.unwrap().unwrap();
        let found = [users.find_by_identifier(&name).await.unwrap(), users.find_by_identifier(&phone).await.unwrap()];
        let [by_name, by_phone] = found.map(|account| account.map(|account| account.user.id));
        assert!(by_name.is_some() && by_name == by_phone, "cancelled after {polls} polls");
        if let Some(output) = output {
            assert_eq!(by_name, Some(output.unwrap().unwrap().id));
            return;
        }
    }
    panic!("the call never completes");
}

#[test]
fn a_stopped_runtime_does_not_affect_other_runtimes() {
    let new_runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (stopped, remaining) = (new_runtime(), new_runtime());
    let (users, _dir) = stopped.block_on(sqlite_user_store());
    let alice = stopped.block_on(users.add(&user_named("alice"))).unwrap().unwrap().id;
    let users_for_task = users.clone();
    stopped.spawn(async move { users_for_task.set_status(alice, UserStatus::Disabled, 1).await });
    stopped.block_on(tokio::task::yield_now());
    drop(stopped);
    remaining.block_on(async {
        let epoch = async || users.find_by_identifier("alice").await.unwrap().unwrap().epoch;
        let before = epoch().await;
        assert!(users.set_status(alice, UserStatus::Active, 2).await.unwrap());
        assert!((0..=1).contains(&before) && epoch().await == 2, "{before}");
    });
}
