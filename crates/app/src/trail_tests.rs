use std::net::IpAddr;
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use stele_core::Error;
use stele_core::event::{Act, Client, Door, Outcome, RequestId};
use stele_core::proof::ProofKind;
use stele_core::time::{SystemClock, Timestamp};
use stele_core::trail::{EntryId, Filter, Order};
use stele_core::user::UserId;

use super::*;

/// Keeps what it is given; fails while it is told to, after having stored what it was given or before.
#[derive(Default)]
struct Kept {
    entries: Mutex<Vec<Entry>>,
    batches: Mutex<Vec<usize>>,
    fails: AtomicBool,
    stores_before_it_fails: AtomicBool,
    /// How many entries are too old, and before when that is.
    old: Mutex<u64>,
    forgotten_before: Mutex<Option<Timestamp>>,
}

impl Kept {
    fn all(&self) -> Vec<Entry> {
        self.entries.lock().unwrap().clone()
    }
}

#[async_trait]
impl TrailStore for Kept {
    async fn append(&self, entries: &[Entry]) -> Result<()> {
        let fails = self.fails.load(Ordering::SeqCst);
        if !fails || self.stores_before_it_fails.load(Ordering::SeqCst) {
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

    async fn page(&self, _: &Filter, _: Order, _: Option<EntryId>, _: u32) -> Result<Vec<Entry>> {
        Ok(Vec::new())
    }

    async fn forget(&self, before: Timestamp, limit: u32) -> Result<u64> {
        *self.forgotten_before.lock().unwrap() = Some(before);
        let mut old = self.old.lock().unwrap();
        let gone = (*old).min(limit.into());
        *old -= gone;
        Ok(gone)
    }
}

fn trail() -> (Arc<Trail>, Arc<Kept>, Metrics) {
    let (kept, metrics) = (Arc::<Kept>::default(), Metrics::default());
    (Trail::new(kept.clone(), Arc::new(SystemClock), None, Budgets::default(), &metrics), kept, metrics)
}

fn login(outcome: Outcome, user: u8, address: u8) -> Event {
    let request = RequestId::parse(format!("r{user}")).unwrap();
    Event {
        at: Timestamp::from_secs(1),
        act: Act::Login(ProofKind::Raw),
        outcome,
        subject: Some(UserId::from_bytes([user; 16]).into()),
        door: Some(Door { dialect: "portal", app: String::new(), origin: None }),
        client: Some(Client { address: IpAddr::from([192, 0, 2, address]), request }),
    }
}

fn from(address: IpAddr, event: Event) -> Event {
    Event { client: event.client.map(|client| Client { address, ..client }), ..event }
}

fn about(user: UserId, event: Event) -> Event {
    Event { subject: Some(user.into()), ..event }
}

#[tokio::test]
async fn what_is_told_is_written_in_batches_and_in_order() {
    let (trail, kept, metrics) = trail();
    let many = BATCH + 100;
    for n in 0..many {
        trail.record(login(Outcome::Done, u8::try_from(n % 200).unwrap(), 1));
    }
    assert!(metrics.render().unwrap().contains(&format!("stele_audit_pending {many}")));
    trail.flush().await.unwrap();
    let entries = kept.all();
    assert_eq!(*kept.batches.lock().unwrap(), [BATCH, 100]);
    assert!(entries.is_sorted_by_key(|entry| entry.id.seq) && entries.len() == many);
    let told = metrics.render().unwrap();
    assert!(told.contains("stele_audit_pending 0") && told.contains(&format!("stele_audit_written_total {many}")));
}

fn results(kept: &Kept) -> Vec<(String, i64)> {
    kept.all().iter().map(|entry| (entry.result.to_string(), entry.times)).collect()
}

fn expected(all: &[(&str, i64)]) -> Vec<(String, i64)> {
    all.iter().map(|(result, times)| ((*result).to_owned(), *times)).collect()
}

#[tokio::test(start_paused = true)]
async fn the_same_failure_over_and_over_is_one_entry_that_says_how_often() {
    let (trail, kept, metrics) = trail();
    let writing = trail.clone();
    let writer = tokio::spawn(async move { writing.keep_up().await });
    for user in 0..100 {
        for _ in 0..100 {
            trail.record(login(Outcome::TooMany, user, 1));
        }
        trail.record(login(Outcome::TooMany, user, 2));
    }
    trail.record(login(Outcome::WrongPassword, 1, 1));
    trail.record(login(Outcome::Done, 1, 1));
    trail.record(login(Outcome::Done, 1, 1));
    // The first of its kind is in the trail as soon as what succeeded.
    sleep(GATHER * 2).await;
    let first = [("too_many", 1), ("too_many", 1), ("wrong_password", 1), ("ok", 1), ("ok", 1)];
    assert_eq!(results(&kept), expected(&first));
    sleep(merge::WINDOW - GATHER).await;
    assert_eq!(results(&kept)[5..], expected(&[("too_many", 9_999), ("too_many", 99)]));
    assert!(metrics.render().unwrap().contains("stele_audit_merged_total 10098"));
    // Nothing happens, and nothing is written.
    let batches = kept.batches.lock().unwrap().len();
    sleep(merge::WINDOW * 5).await;
    assert_eq!(kept.batches.lock().unwrap().len(), batches);
    writer.abort();
}

/// The event of each request, by its number.
type Flood<'a> = &'a dyn Fn(u16) -> Event;

#[tokio::test(start_paused = true)]
async fn a_flood_from_one_network_or_from_many_leaves_a_few_entries() {
    // 60,000 refused requests each: from one /64 by as many addresses, from one IPv4 address about as many accounts,
    // and from as many /64s.
    let user = |n: u16| UserId::from_bytes([n.to_be_bytes(); 8].concat().try_into().unwrap());
    let v6 = |network, host| IpAddr::from([0x2001, 0xdb8, 0, network, 0, 0, 0, host]);
    let floods: [(&str, Flood<'_>, usize); 4] = [
        ("one /64", &|n| from(v6(1, n), login(Outcome::TooMany, 1, 1)), 2),
        ("one IPv4 address", &|n| about(user(n), login(Outcome::WrongPassword, 1, 1)), 241),
        ("1,000 origins", &|n| from(v6(n % 1_000, n), login(Outcome::TooMany, 1, 1)), 1_832),
        ("60,000 origins", &|n| from(v6(n, 1), login(Outcome::Stale, 1, 1)), 1_801),
    ];
    for (name, flood, most) in floods {
        let (trail, kept, _) = trail();
        (0..60_000).for_each(|n| trail.record(flood(n)));
        assert!(!trail.is_full(), "{name}");
        trail.flush().await.unwrap();
        sleep(merge::WINDOW + GATHER).await;
        trail.flush().await.unwrap();
        trail.drain().await;
        let entries = kept.all();
        assert!(entries.len() <= most, "{name}: {}", entries.len());
        assert_eq!(entries.iter().map(|entry| entry.times).sum::<i64>(), 60_000, "{name}: each is counted");
    }
}

#[tokio::test]
async fn a_process_that_stops_writes_what_it_counted() {
    let (trail, kept, _) = trail();
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
async fn it_says_whether_it_can_be_written() {
    let (trail, kept, _) = trail();
    trail.record(login(Outcome::Done, 1, 1));
    kept.fails.store(true, Ordering::SeqCst);
    trail.flush().await.unwrap_err();
    assert!(trail.is_failing());
    kept.fails.store(false, Ordering::SeqCst);
    trail.flush().await.unwrap();
    assert!(!trail.is_failing());
}

#[tokio::test]
async fn what_could_not_be_written_is_written_once_when_it_can() {
    for stores in [false, true] {
        let (trail, kept, _) = trail();
        kept.fails.store(true, Ordering::SeqCst);
        kept.stores_before_it_fails.store(stores, Ordering::SeqCst);
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
async fn while_nothing_can_be_written_it_fills_up_and_what_was_under_way_still_fits() {
    let (trail, kept, metrics) = trail();
    kept.fails.store(true, Ordering::SeqCst);
    let some = || trail.record(login(Outcome::Done, 1, 1));
    (1..FULL).for_each(|_| some());
    trail.flush().await.unwrap_err();
    assert!(!trail.is_full());
    some();
    assert!(trail.is_full());
    (FULL..MOST + 5).for_each(|_| some());
    trail.record(login(Outcome::TooMany, 1, 1));
    trail.record(login(Outcome::TooMany, 1, 1));
    // The second is counted with the first: that it happened is not lost.
    assert!(metrics.render().unwrap().contains("stele_audit_lost_total 6"));
    kept.fails.store(false, Ordering::SeqCst);
    trail.flush().await.unwrap();
    assert!(!trail.is_full());
    assert_eq!(kept.batches.lock().unwrap().iter().sum::<usize>(), MOST);
}

#[tokio::test]
async fn what_changes_nothing_is_not_kept_and_being_refused_is() {
    let (trail, kept, _) = trail();
    trail.record(Event { act: Act::Logout, ..login(Outcome::NotAuthenticated, 1, 1) });
    for outcome in [Outcome::Done, Outcome::TooMany] {
        trail.record(Event { act: Act::IssueCaptcha, ..login(outcome, 1, 1) });
    }
    trail.flush().await.unwrap();
    let results: Vec<_> = kept.all().iter().map(|entry| entry.result.to_string()).collect();
    assert_eq!(results, ["too_many"]);
}

#[tokio::test(start_paused = true)]
async fn nothing_waits_longer_than_it_is_gathered_for() {
    let (trail, kept, _) = trail();
    let writing = trail.clone();
    let writer = tokio::spawn(async move { writing.keep_up().await });
    for _ in 0..3 {
        let before = kept.all().len();
        trail.record(login(Outcome::Done, 1, 1));
        let begun = tokio::time::Instant::now();
        while kept.all().len() == before {
            sleep(Duration::from_millis(1)).await;
        }
        assert!(begun.elapsed() <= GATHER + Duration::from_millis(2), "{:?}", begun.elapsed());
        sleep(Duration::from_secs(1)).await;
    }
    writer.abort();
}

#[tokio::test(start_paused = true)]
async fn what_is_older_than_it_is_kept_is_forgotten_to_the_last() {
    let kept = Arc::<Kept>::default();
    let keep = Duration::from_secs(7 * 86_400);
    let trail = Trail::new(kept.clone(), Arc::new(SystemClock), Some(keep), Budgets::default(), &Metrics::default());
    *kept.old.lock().unwrap() = u64::from(FORGET.1) * 2 + 5;
    let writing = trail.clone();
    let writer = tokio::spawn(async move { writing.keep_up().await });
    sleep(FORGET.0 / 2).await;
    assert_eq!(*kept.old.lock().unwrap(), 0, "all at the first look");
    let before = SystemClock.now().before(keep).since(kept.forgotten_before.lock().unwrap().unwrap());
    assert!(before < Duration::from_secs(30), "{before:?}");
    writer.abort();
}
