use std::net::IpAddr;
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use stele_core::Error;
use stele_core::event::{Client, Door, RequestId};
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
    (Trail::new(kept.clone(), Arc::new(SystemClock), None, &metrics), kept, metrics)
}

fn login(outcome: Outcome, user: u8, address: u8) -> Event {
    let request = RequestId::parse(&format!("r{user}")).unwrap();
    Event {
        at: Timestamp::from_secs(1),
        act: Act::Login(ProofKind::Raw),
        outcome,
        subject: Some(UserId::from_bytes([user; 16]).into()),
        door: Some(Door { dialect: "portal", app: String::new(), origin: None }),
        client: Some(Client { address: IpAddr::from([192, 0, 2, address]), request }),
    }
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

#[tokio::test]
async fn the_same_failure_over_and_over_is_one_entry_that_says_how_often() {
    let (trail, kept, _) = trail();
    for _ in 0..10_000 {
        trail.record(login(Outcome::TooMany, 1, 1));
        trail.record(login(Outcome::TooMany, 2, 1));
        trail.record(login(Outcome::TooMany, 1, 2));
    }
    trail.record(login(Outcome::WrongPassword, 1, 1));
    trail.record(login(Outcome::Done, 1, 1));
    trail.record(login(Outcome::Done, 1, 1));
    trail.flush().await.unwrap();
    let told: Vec<_> = kept.all().iter().map(|entry| (entry.result.to_string(), entry.times)).collect();
    let expected =
        [("too_many", 10_000), ("too_many", 10_000), ("too_many", 10_000), ("wrong_password", 1), ("ok", 1), ("ok", 1)];
    assert_eq!(told, expected.map(|(result, times)| (result.to_owned(), times)));
    trail.record(login(Outcome::TooMany, 1, 1));
    trail.flush().await.unwrap();
    assert_eq!(kept.all().last().unwrap().times, 1, "what is written is not counted on");
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
    assert!(metrics.render().unwrap().contains("stele_audit_lost_total 7"));
    kept.fails.store(false, Ordering::SeqCst);
    trail.flush().await.unwrap();
    assert!(!trail.is_full());
    assert_eq!(kept.batches.lock().unwrap().iter().sum::<usize>(), MOST);
}

#[tokio::test]
async fn drawing_a_captcha_is_not_kept_and_being_refused_one_is() {
    let (trail, kept, _) = trail();
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
    let trail = Trail::new(kept.clone(), Arc::new(SystemClock), Some(keep), &Metrics::default());
    *kept.old.lock().unwrap() = u64::from(FORGET.1) * 2 + 5;
    let writing = trail.clone();
    let writer = tokio::spawn(async move { writing.keep_up().await });
    sleep(FORGET.0 / 2).await;
    assert_eq!(*kept.old.lock().unwrap(), 0, "all at the first look");
    let before = SystemClock.now().before(keep).since(kept.forgotten_before.lock().unwrap().unwrap());
    assert!(before < Duration::from_secs(30), "{before:?}");
    writer.abort();
}
