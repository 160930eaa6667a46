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

/// Keeps what it is given; fails while it is told to, after having stored what it was given or before.
#[derive(Default)]
struct FakeAuditLogStore {
    entries: Mutex<Vec<AuditLogEntry>>,
    batches: Mutex<Vec<usize>>,
    fails: AtomicBool,
    stores_before_failing: AtomicBool,
    /// How many entries are too old, and before when that is.
    expired_entries: Mutex<u64>,
    forgotten_before: Mutex<Option<Timestamp>>,
}

impl FakeAuditLogStore {
    fn all(&self) -> Vec<AuditLogEntry> {
        self.entries.lock().unwrap().clone()
    }
}

#[async_trait]
impl AuditLogStore for FakeAuditLogStore {
    async fn append(&self, entries: &[AuditLogEntry]) -> Result<()> {
        let fails = self.fails.load(Ordering::SeqCst);
        if !fails || self.stores_before_failing.load(Ordering::SeqCst) {
            let mut kept = self.entries.lock().unwrap();
            for entry in entries {
                // Only the newest can be there already.
                if !kept.iter().rev().take(8).any(|other| other.id == entry.id) {
                    kept.push(entry.clone());
                }
            }
            self.batches.lock().unwrap().push(entries.len());
        }
        if fails { Err(Error::unavailable("told to")) } else { Ok(()) }
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
        *self.forgotten_before.lock().unwrap() = Some(before);
        let mut old = self.expired_entries.lock().unwrap();
        let gone = (*old).min(limit.into());
        *old -= gone;
        Ok(gone)
    }
}

fn audit_log_writer() -> (Arc<AuditLogWriter>, Arc<FakeAuditLogStore>, Metrics) {
    let (kept, metrics) = (Arc::<FakeAuditLogStore>::default(), Metrics::default());
    (
        AuditLogWriter::new(kept.clone(), Arc::new(SystemClock), None, AuditRateLimits::default(), &metrics),
        kept,
        metrics,
    )
}

fn login(outcome: Outcome, user: u8, address: u8) -> Event {
    let request = RequestId::parse(format!("r{user}")).unwrap();
    Event {
        at: Timestamp::from_secs(1),
        action: Action::Login(ProofKind::Raw),
        outcome,
        subject: Some(UserId::from_bytes([user; 16]).into()),
        entry_point: Some(EntryPoint { dialect: "portal", app: String::new(), origin: None }),
        client: Some(RequestSource { address: IpAddr::from([192, 0, 2, address]), request_id: request }),
    }
}

fn from_address(address: IpAddr, event: Event) -> Event {
    Event { client: event.client.map(|client| RequestSource { address, ..client }), ..event }
}

fn about_user(user: UserId, event: Event) -> Event {
    Event { subject: Some(user.into()), ..event }
}

#[tokio::test]
async fn events_are_written_in_batches_and_in_order() {
    let (trail, kept, metrics) = audit_log_writer();
    let many = MAX_BATCH + 100;
    for n in 0..many {
        trail.record(login(Outcome::Done, u8::try_from(n % 200).unwrap(), 1));
    }
    assert!(metrics.render().unwrap().contains(&format!("stele_audit_pending {many}")));
    trail.flush().await.unwrap();
    let entries = kept.all();
    assert_eq!(*kept.batches.lock().unwrap(), [MAX_BATCH, 100]);
    assert!(entries.is_sorted_by_key(|entry| entry.id.seq) && entries.len() == many);
    let rendered = metrics.render().unwrap();
    assert!(
        rendered.contains("stele_audit_pending 0") && rendered.contains(&format!("stele_audit_written_total {many}"))
    );
}

fn results(kept: &FakeAuditLogStore) -> Vec<(String, i64)> {
    kept.all().iter().map(|entry| (entry.result.to_string(), entry.count)).collect()
}

fn expected(all: &[(&str, i64)]) -> Vec<(String, i64)> {
    all.iter().map(|(result, times)| ((*result).to_owned(), *times)).collect()
}

#[tokio::test(start_paused = true)]
async fn repeated_failures_are_written_as_one_entry_with_a_count() {
    let (trail, kept, metrics) = audit_log_writer();
    let writing = trail.clone();
    let writer = tokio::spawn(async move { writing.run().await });
    for user in 0..100 {
        for _ in 0..100 {
            trail.record(login(Outcome::RateLimited, user, 1));
        }
        trail.record(login(Outcome::RateLimited, user, 2));
    }
    trail.record(login(Outcome::WrongPassword, 1, 1));
    trail.record(login(Outcome::Done, 1, 1));
    trail.record(login(Outcome::Done, 1, 1));
    // The first of its kind is in the trail as soon as what succeeded.
    sleep(BATCH_DELAY * 2).await;
    let first = [("too_many", 1), ("too_many", 1), ("wrong_password", 1), ("ok", 1), ("ok", 1)];
    assert_eq!(results(&kept), expected(&first));
    sleep(failure_merging::MERGE_WINDOW - BATCH_DELAY).await;
    assert_eq!(results(&kept)[5..], expected(&[("too_many", 9_999), ("too_many", 99)]));
    assert!(metrics.render().unwrap().contains("stele_audit_merged_total 10098"));
    // Nothing happens, and nothing is written.
    let batches = kept.batches.lock().unwrap().len();
    sleep(failure_merging::MERGE_WINDOW * 5).await;
    assert_eq!(kept.batches.lock().unwrap().len(), batches);
    writer.abort();
}

/// The event of each request, by its number.
type Flood<'a> = &'a dyn Fn(u16) -> Event;

#[tokio::test(start_paused = true)]
async fn a_flood_of_failures_leaves_a_bounded_number_of_entries() {
    // 60,000 refused requests each: from one /64 by as many addresses, from one IPv4 address about as many accounts,
    // and from as many /64s.
    let user = |n: u16| UserId::from_bytes([n.to_be_bytes(); 8].concat().try_into().unwrap());
    let v6 = |network, host| IpAddr::from([0x2001, 0xdb8, 0, network, 0, 0, 0, host]);
    let floods: [(&str, Flood<'_>, usize); 4] = [
        ("one /64", &|n| from_address(v6(1, n), login(Outcome::RateLimited, 1, 1)), 2),
        ("one IPv4 address", &|n| about_user(user(n), login(Outcome::WrongPassword, 1, 1)), 241),
        ("1,000 origins", &|n| from_address(v6(n % 1_000, n), login(Outcome::RateLimited, 1, 1)), 1_832),
        ("60,000 origins", &|n| from_address(v6(n, 1), login(Outcome::Stale, 1, 1)), 1_801),
    ];
    for (name, flood, most) in floods {
        let (trail, kept, _) = audit_log_writer();
        (0..60_000).for_each(|n| trail.record(flood(n)));
        assert!(!trail.is_full(), "{name}");
        trail.flush().await.unwrap();
        sleep(failure_merging::MERGE_WINDOW + BATCH_DELAY).await;
        trail.flush().await.unwrap();
        trail.drain().await;
        let entries = kept.all();
        assert!(entries.len() <= most, "{name}: {}", entries.len());
        assert_eq!(entries.iter().map(|entry| entry.count).sum::<i64>(), 60_000, "{name}: each is counted");
    }
}

#[tokio::test]
async fn draining_writes_the_counted_failures() {
    let (trail, kept, _) = audit_log_writer();
    for _ in 0..10 {
        trail.record(login(Outcome::WrongPassword, 1, 1));
    }
    kept.fails.store(true, Ordering::SeqCst);
    trail.flush().await.unwrap_err();
    kept.fails.store(false, Ordering::SeqCst);
    trail.drain().await;
    assert_eq!(results(&kept), expected(&[("wrong_password", 1), ("wrong_password", 9)]));
}

#[tokio::test]
async fn a_failed_write_is_reported_until_the_next_success() {
    let (trail, kept, _) = audit_log_writer();
    trail.record(login(Outcome::Done, 1, 1));
    kept.fails.store(true, Ordering::SeqCst);
    trail.flush().await.unwrap_err();
    assert!(trail.is_failing());
    kept.fails.store(false, Ordering::SeqCst);
    trail.flush().await.unwrap();
    assert!(!trail.is_failing());
}

#[tokio::test]
async fn a_failed_batch_is_retried_without_duplicates() {
    for stores in [false, true] {
        let (trail, kept, _) = audit_log_writer();
        kept.fails.store(true, Ordering::SeqCst);
        kept.stores_before_failing.store(stores, Ordering::SeqCst);
        trail.record(login(Outcome::Done, 1, 1));
        trail.flush().await.unwrap_err();
        trail.record(login(Outcome::Done, 2, 1));
        trail.flush().await.unwrap_err();
        kept.fails.store(false, Ordering::SeqCst);
        trail.record(login(Outcome::Done, 3, 1));
        trail.flush().await.unwrap();
        let seqs: Vec<_> = kept.all().iter().map(|entry| entry.id.seq).collect();
        assert_eq!(seqs, [1, 2, 3], "stored before it failed: {stores}");
    }
}

#[tokio::test]
async fn an_unwritable_log_applies_backpressure_and_still_accepts_events_in_flight() {
    let (trail, kept, metrics) = audit_log_writer();
    kept.fails.store(true, Ordering::SeqCst);
    let some = || trail.record(login(Outcome::Done, 1, 1));
    (1..BACKPRESSURE_THRESHOLD).for_each(|_| some());
    trail.flush().await.unwrap_err();
    assert!(!trail.is_full());
    some();
    assert!(trail.is_full());
    (BACKPRESSURE_THRESHOLD..QUEUE_CAPACITY + 5).for_each(|_| some());
    trail.record(login(Outcome::RateLimited, 1, 1));
    trail.record(login(Outcome::RateLimited, 1, 1));
    // The second is counted with the first: that it happened is not lost.
    assert!(metrics.render().unwrap().contains("stele_audit_lost_total 6"));
    kept.fails.store(false, Ordering::SeqCst);
    trail.flush().await.unwrap();
    assert!(!trail.is_full());
    assert_eq!(kept.batches.lock().unwrap().iter().sum::<usize>(), QUEUE_CAPACITY);
}

#[tokio::test]
async fn failed_logouts_and_issued_captchas_are_not_logged_but_refusals_are() {
    let (trail, kept, _) = audit_log_writer();
    trail.record(Event { action: Action::Logout, ..login(Outcome::NotAuthenticated, 1, 1) });
    for outcome in [Outcome::Done, Outcome::RateLimited] {
        trail.record(Event { action: Action::IssueCaptcha, ..login(outcome, 1, 1) });
    }
    trail.flush().await.unwrap();
    let results: Vec<_> = kept.all().iter().map(|entry| entry.result.to_string()).collect();
    assert_eq!(results, ["too_many"]);
}

#[tokio::test(start_paused = true)]
async fn an_event_is_written_within_the_batch_delay() {
    let (trail, kept, _) = audit_log_writer();
    let writing = trail.clone();
    let writer = tokio::spawn(async move { writing.run().await });
    for _ in 0..3 {
        let before = kept.all().len();
        trail.record(login(Outcome::Done, 1, 1));
        let begun = tokio::time::Instant::now();
        while kept.all().len() == before {
            sleep(Duration::from_millis(1)).await;
        }
        assert!(begun.elapsed() <= BATCH_DELAY + Duration::from_millis(2), "{:?}", begun.elapsed());
        sleep(Duration::from_secs(1)).await;
    }
    writer.abort();
}

#[tokio::test(start_paused = true)]
async fn entries_older_than_the_retention_are_all_purged() {
    let kept = Arc::<FakeAuditLogStore>::default();
    let keep = Duration::from_secs(7 * 86_400);
    let trail = AuditLogWriter::new(
        kept.clone(),
        Arc::new(SystemClock),
        Some(keep),
        AuditRateLimits::default(),
        &Metrics::default(),
    );
    *kept.expired_entries.lock().unwrap() = u64::from(PURGE.1) * 2 + 5;
    let writing = trail.clone();
    let writer = tokio::spawn(async move { writing.run().await });
    sleep(PURGE.0 / 2).await;
    assert_eq!(*kept.expired_entries.lock().unwrap(), 0, "all at the first look");
    let before = SystemClock
        .now()
        .saturating_sub(keep)
        .saturating_duration_since(kept.forgotten_before.lock().unwrap().unwrap());
    assert!(before < Duration::from_secs(30), "{before:?}");
    writer.abort();
}
