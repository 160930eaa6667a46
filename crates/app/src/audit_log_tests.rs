//! Tests of the audit log writer: batches, retries, backpressure, merging, purge.

use std::net::IpAddr;
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use stele_core::Error;
use stele_core::audit_log::{AuditLogEntryId, AuditLogFilter, AuditLogOrder};
use stele_core::event::{Action, EntryPoint, Outcome, RequestId, RequestSource};
use stele_core::proof::ProofKind;
use stele_core::time::{SystemClock, Timestamp};
use stele_core::user::UserId;

use super::*;

/// A store in memory that can be made to fail, before or after it has stored the entries.
#[derive(Default)]
struct FakeAuditLogStore {
    entries: Mutex<Vec<AuditLogEntry>>,
    batches: Mutex<Vec<usize>>,
    fails: AtomicBool,
    stores_before_failing: AtomicBool,
    /// The number of expired entries that are left to delete.
    expired_entries: Mutex<u64>,
    /// The last time before which entries were deleted.
    deleted_before: Mutex<Option<Timestamp>>,
}

impl FakeAuditLogStore {
    fn stored_entries(&self) -> Vec<AuditLogEntry> {
        self.entries.lock().unwrap().clone()
    }
}

#[async_trait]
impl AuditLogStore for FakeAuditLogStore {
    async fn append(&self, entries: &[AuditLogEntry]) -> Result<()> {
        let fails = self.fails.load(Ordering::SeqCst);
        if !fails || self.stores_before_failing.load(Ordering::SeqCst) {
            let mut stored = self.entries.lock().unwrap();
            for entry in entries {
                // Only one of the last entries can be a duplicate.
                if !stored.iter().rev().take(8).any(|other| other.id == entry.id) {
                    stored.push(entry.clone());
                }
            }
            self.batches.lock().unwrap().push(entries.len());
        }
        if fails { Err(Error::unavailable("made to fail")) } else { Ok(()) }
    }

    async fn list(
        &self,
        _: &AuditLogFilter,
        _: AuditLogOrder,
        _: Option<AuditLogEntryId>,
        _: u32,
    ) -> Result<Vec<AuditLogEntry>> {
        Ok(Vec::new())
    }

    async fn delete_before(&self, before: Timestamp, limit: u32) -> Result<u64> {
        *self.deleted_before.lock().unwrap() = Some(before);
        let mut expired = self.expired_entries.lock().unwrap();
        let deleted = (*expired).min(limit.into());
        *expired -= deleted;
        Ok(deleted)
    }
}

fn audit_log_writer() -> (Arc<AuditLogWriter>, Arc<FakeAuditLogStore>, Metrics) {
    let (store, metrics) = (Arc::<FakeAuditLogStore>::default(), Metrics::default());
    (AuditLogWriter::new(store.clone(), Arc::new(SystemClock), AuditLogConfig::default(), &metrics), store, metrics)
}

fn login_event(outcome: Outcome, user: u8, address: u8) -> Event {
    let request = RequestId::parse(format!("r{user}")).unwrap();
    Event {
        at: Timestamp::from_secs(1),
        action: Action::Login(ProofKind::Raw),
        outcome,
        subject: Some(UserId::from_bytes([user; 16]).into()),
        entry_point: Some(EntryPoint {
            dialect: "portal",
            app: String::new(),
            client_token: String::new(),
            origin: None,
        }),
        client: Some(RequestSource {
            address: IpAddr::from([192, 0, 2, address]),
            request_id: request,
            client_name: None,
        }),
    }
}

fn with_address(address: IpAddr, event: Event) -> Event {
    Event { client: event.client.map(|client| RequestSource { address, ..client }), ..event }
}

fn with_subject(user: UserId, event: Event) -> Event {
    Event { subject: Some(user.into()), ..event }
}

#[tokio::test]
async fn events_are_written_in_batches_and_in_order() {
    let (writer, store, metrics) = audit_log_writer();
    let count = MAX_BATCH + 100;
    for n in 0..count {
        writer.record(login_event(Outcome::Done, u8::try_from(n % 200).unwrap(), 1));
    }
    assert!(metrics.render().unwrap().contains(&format!("stele_audit_pending {count}")));
    writer.flush().await.unwrap();
    let entries = store.stored_entries();
    assert_eq!(*store.batches.lock().unwrap(), [MAX_BATCH, 100]);
    assert!(entries.is_sorted_by_key(|entry| entry.id.seq) && entries.len() == count);
    let rendered = metrics.render().unwrap();
    assert!(
        rendered.contains("stele_audit_pending 0") && rendered.contains(&format!("stele_audit_written_total {count}"))
    );
}

fn stored_results(store: &FakeAuditLogStore) -> Vec<(String, i64)> {
    store.stored_entries().iter().map(|entry| (entry.result.to_string(), entry.count)).collect()
}

fn expected_results(results: &[(&str, i64)]) -> Vec<(String, i64)> {
    results.iter().map(|(result, count)| ((*result).to_owned(), *count)).collect()
}

#[tokio::test(start_paused = true)]
async fn repeated_failures_are_written_as_one_entry_with_a_count() {
    let (writer, store, metrics) = audit_log_writer();
    let task = tokio::spawn({
        let writer = writer.clone();
        async move { writer.run().await }
    });
    for user in 0..100 {
        for _ in 0..100 {
            writer.record(login_event(Outcome::RateLimited, user, 1));
        }
        writer.record(login_event(Outcome::RateLimited, user, 2));
    }
    writer.record(login_event(Outcome::WrongPassword, 1, 1));
    writer.record(login_event(Outcome::Done, 1, 1));
    writer.record(login_event(Outcome::Done, 1, 1));
    // The first failure of each kind is written without the delay of merging, like a success.
    sleep(BATCH_DELAY * 2).await;
    let first = [("too_many", 1), ("too_many", 1), ("wrong_password", 1), ("ok", 1), ("ok", 1)];
    assert_eq!(stored_results(&store), expected_results(&first));
    sleep(failure_merging::MERGE_WINDOW - BATCH_DELAY).await;
    assert_eq!(stored_results(&store)[5..], expected_results(&[("too_many", 9_999), ("too_many", 99)]));
    assert!(metrics.render().unwrap().contains("stele_audit_merged_total 10098"));
    // Without events, nothing is written.
    let batches = store.batches.lock().unwrap().len();
    sleep(failure_merging::MERGE_WINDOW * 5).await;
    assert_eq!(store.batches.lock().unwrap().len(), batches);
    task.abort();
}

/// Returns the event of the request with this number.
type Flood<'a> = &'a dyn Fn(u16) -> Event;

#[tokio::test(start_paused = true)]
async fn a_flood_of_failures_leaves_a_bounded_number_of_entries() {
    // 60,000 rejected requests each: from as many addresses of one /64, from one IPv4 address about as many accounts,
    // and from many /64s.
    let user_id = |n: u16| UserId::from_bytes([n.to_be_bytes(); 8].concat().try_into().unwrap());
    let v6 = |network, host| IpAddr::from([0x2001, 0xdb8, 0, network, 0, 0, 0, host]);
    let floods: [(&str, Flood<'_>, usize); 4] = [
        ("one /64", &|n| with_address(v6(1, n), login_event(Outcome::RateLimited, 1, 1)), 2),
        ("one IPv4 address", &|n| with_subject(user_id(n), login_event(Outcome::WrongPassword, 1, 1)), 241),
        ("1,000 origins", &|n| with_address(v6(n % 1_000, n), login_event(Outcome::RateLimited, 1, 1)), 1_832),
        ("60,000 origins", &|n| with_address(v6(n, 1), login_event(Outcome::Stale, 1, 1)), 1_801),
    ];
    for (name, flood, max_entries) in floods {
        let (writer, store, _) = audit_log_writer();
        (0..60_000).for_each(|n| writer.record(flood(n)));
        assert!(!writer.is_full(), "{name}");
        writer.flush().await.unwrap();
        sleep(failure_merging::MERGE_WINDOW + BATCH_DELAY).await;
        writer.flush().await.unwrap();
        writer.drain().await;
        let entries = store.stored_entries();
        assert!(entries.len() <= max_entries, "{name}: {}", entries.len());
        assert_eq!(entries.iter().map(|entry| entry.count).sum::<i64>(), 60_000, "{name}: each failure is counted");
    }
}

#[tokio::test]
async fn draining_writes_the_counted_failures() {
    let (writer, store, _) = audit_log_writer();
    for _ in 0..10 {
        writer.record(login_event(Outcome::WrongPassword, 1, 1));
    }
    store.fails.store(true, Ordering::SeqCst);
    writer.flush().await.unwrap_err();
    store.fails.store(false, Ordering::SeqCst);
    writer.drain().await;
    assert_eq!(stored_results(&store), expected_results(&[("wrong_password", 1), ("wrong_password", 9)]));
}

#[tokio::test]
async fn a_failed_write_is_reported_until_the_next_success() {
    let (writer, store, _) = audit_log_writer();
    writer.record(login_event(Outcome::Done, 1, 1));
    store.fails.store(true, Ordering::SeqCst);
    writer.flush().await.unwrap_err();
    assert!(writer.is_failing());
    store.fails.store(false, Ordering::SeqCst);
    writer.flush().await.unwrap();
    assert!(!writer.is_failing());
}

#[tokio::test]
async fn a_failed_batch_is_retried_without_duplicates() {
    for stores_before_failing in [false, true] {
        let (writer, store, _) = audit_log_writer();
        store.fails.store(true, Ordering::SeqCst);
        store.stores_before_failing.store(stores_before_failing, Ordering::SeqCst);
        writer.record(login_event(Outcome::Done, 1, 1));
        writer.flush().await.unwrap_err();
        writer.record(login_event(Outcome::Done, 2, 1));
        writer.flush().await.unwrap_err();
        store.fails.store(false, Ordering::SeqCst);
        writer.record(login_event(Outcome::Done, 3, 1));
        writer.flush().await.unwrap();
        let seqs: Vec<_> = store.stored_entries().iter().map(|entry| entry.id.seq).collect();
        assert_eq!(seqs, [1, 2, 3], "stores before failing: {stores_before_failing}");
    }
}

#[tokio::test]
async fn an_unwritable_log_applies_backpressure_and_still_accepts_events_in_flight() {
    let (writer, store, metrics) = audit_log_writer();
    store.fails.store(true, Ordering::SeqCst);
    let record = || writer.record(login_event(Outcome::Done, 1, 1));
    (1..BACKPRESSURE_THRESHOLD).for_each(|_| record());
    writer.flush().await.unwrap_err();
    assert!(!writer.is_full());
    record();
    assert!(writer.is_full());
    (BACKPRESSURE_THRESHOLD..QUEUE_CAPACITY + 5).for_each(|_| record());
    writer.record(login_event(Outcome::RateLimited, 1, 1));
    writer.record(login_event(Outcome::RateLimited, 1, 1));
    // The second rate-limited request is counted as a repetition of the first, so it is not lost.
    assert!(metrics.render().unwrap().contains("stele_audit_lost_total 6"));
    store.fails.store(false, Ordering::SeqCst);
    writer.flush().await.unwrap();
    assert!(!writer.is_full());
    assert_eq!(store.batches.lock().unwrap().iter().sum::<usize>(), QUEUE_CAPACITY);
}

#[tokio::test]
async fn failed_logouts_and_issued_captchas_are_not_logged_but_rejections_are() {
    let (writer, store, _) = audit_log_writer();
    writer.record(Event { action: Action::Logout, ..login_event(Outcome::NotAuthenticated, 1, 1) });
    for outcome in [Outcome::Done, Outcome::RateLimited] {
        writer.record(Event { action: Action::IssueCaptcha, ..login_event(outcome, 1, 1) });
    }
    writer.flush().await.unwrap();
    let results: Vec<_> = store.stored_entries().iter().map(|entry| entry.result.to_string()).collect();
    assert_eq!(results, ["too_many"]);
}

#[tokio::test(start_paused = true)]
async fn an_event_is_written_within_the_batch_delay() {
    let (writer, store, _) = audit_log_writer();
    let task = tokio::spawn({
        let writer = writer.clone();
        async move { writer.run().await }
    });
    for _ in 0..3 {
        let before = store.stored_entries().len();
        writer.record(login_event(Outcome::Done, 1, 1));
        let recorded_at = tokio::time::Instant::now();
        while store.stored_entries().len() == before {
            sleep(Duration::from_millis(1)).await;
        }
        let delay = recorded_at.elapsed();
        assert!(delay <= BATCH_DELAY + Duration::from_millis(2), "{delay:?}");
        sleep(Duration::from_secs(1)).await;
    }
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn entries_older_than_the_retention_are_all_purged() {
    let store = Arc::<FakeAuditLogStore>::default();
    let retention = Duration::from_secs(7 * 86_400);
    let config = AuditLogConfig { retention: Some(retention), ..AuditLogConfig::default() };
    let writer = AuditLogWriter::new(store.clone(), Arc::new(SystemClock), config, &Metrics::default());
    *store.expired_entries.lock().unwrap() = u64::from(PURGE_BATCH) * 2 + 5;
    let task = tokio::spawn({
        let writer = writer.clone();
        async move { writer.run().await }
    });
    sleep(PURGE_INTERVAL / 2).await;
    assert_eq!(*store.expired_entries.lock().unwrap(), 0, "all are deleted in the first pass");
    let deleted_before = store.deleted_before.lock().unwrap().unwrap();
    let difference = SystemClock.now().saturating_sub(retention).saturating_duration_since(deleted_before);
    assert!(difference < Duration::from_secs(30), "{difference:?}");
    task.abort();
}
