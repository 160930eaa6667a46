use std::net::IpAddr;

use stele_core::event::{Client, Door, RequestId};
use stele_core::proof::ProofKind;
use stele_core::user::UserId;

use super::*;

const BUDGETS: Budgets = Budgets { origin: 10, guesses: 100, refusals: 50 };

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn event(act: Act, outcome: Outcome, user: Option<u16>, address: IpAddr, at: i64) -> Event {
    let user = user.map(|user| UserId::from_bytes([user.to_be_bytes(); 8].concat().try_into().unwrap()));
    Event {
        at: Timestamp::from_secs(at),
        act,
        outcome,
        subject: user.map(Subject::User),
        door: Some(Door { dialect: "portal", app: String::new(), origin: Some(Origin::address(address)) }),
        client: RequestId::parse("r").map(|request| Client { address, request }),
    }
}

fn guess(user: u16, address: IpAddr, at: i64) -> Event {
    event(Act::Login(ProofKind::Raw), Outcome::WrongPassword, Some(user), address, at)
}

fn refusal(address: IpAddr, at: i64) -> Event {
    event(Act::Login(ProofKind::Raw), Outcome::UnknownUser, None, address, at)
}

fn v4(host: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, host])
}

/// An address in the `network`-th /64.
fn v6(network: u16, host: u16) -> IpAddr {
    IpAddr::from([0x2001, 0xdb8, 0, network, 0, 0, 0, host])
}

/// Takes a failure down; whether it has an entry of its own.
fn take(merger: &mut Merger, event: Event, now: Instant) -> bool {
    let class = match stele_core::trail::Retention::of(&event) {
        stele_core::trail::Retention::Merge(class) => class,
        other => panic!("{other:?}"),
    };
    matches!(merger.take(class, event, now), Merged::Entry(_))
}

#[test]
fn the_first_has_an_entry_and_the_others_one_a_minute_that_says_how_many_and_when() {
    let now = Instant::now();
    let mut merger = Merger::new(BUDGETS, now);
    for host in 0..1_000 {
        assert_eq!(take(&mut merger, guess(1, v6(1, host), 100 + i64::from(host)), now), host == 0);
    }
    assert_eq!(merger.due(), Some(now + WINDOW));
    assert!(merger.end(now + WINDOW - secs(1)).is_empty());
    let entries = merger.end(now + WINDOW);
    let found: Vec<_> = entries.iter().map(|e| (&*e.act, &*e.result, e.times, e.first_at, e.id.at)).collect();
    let first = Some(Timestamp::from_secs(101));
    assert_eq!(found, [("login", "wrong_password", 999, first, Timestamp::from_secs(1_099))]);
    let Entry { address, subject, request, dialect, operator, .. } = &entries[0];
    assert_eq!((address.as_deref(), dialect.as_deref()), (Some("2001:db8:0:1::1"), Some("portal")));
    assert!(subject.is_some() && request.is_some() && operator.is_none());

    // It goes on: nothing but the count, a minute later. It ceases: nothing. Then it is new again.
    assert!(!take(&mut merger, guess(1, v6(1, 7), 2_000), now + WINDOW + secs(5)));
    let entries = merger.end(now + 2 * WINDOW);
    assert_eq!((entries.len(), entries[0].times, entries[0].first_at), (1, 1, None));
    assert!(merger.end(now + 3 * WINDOW).is_empty() && merger.due().is_none());
    assert!(take(&mut merger, guess(1, v6(1, 7), 3_000), now + 3 * WINDOW));
}

#[test]
fn what_the_limits_refuse_is_one_entry_of_an_origin_whatever_it_is_about() {
    let now = Instant::now();
    let mut merger = Merger::new(BUDGETS, now);
    let acts = [Act::Login(ProofKind::Raw), Act::CheckCode, Act::ChangePassword(ProofKind::Salted)];
    let mut own = 0;
    for n in 0..9_000_u16 {
        let act = acts[usize::from(n) % acts.len()];
        let user = (n % 2 == 0).then_some(n);
        own += usize::from(take(&mut merger, event(act, Outcome::TooMany, user, v6(1, n), 1), now));
    }
    let entries = merger.end(now + WINDOW);
    assert_eq!((own, entries.len()), (1, 1));
    let Entry { act, result, times, subject, proof, dialect, .. } = &entries[0];
    assert_eq!((&**act, &**result, *times), (VARIOUS, "too_many", 8_999));
    assert_eq!((subject, proof, dialect.as_deref()), (&None, &None, Some("portal")));
}

#[test]
fn an_origin_has_a_budget_and_what_exceeds_it_is_counted() {
    let now = Instant::now();
    let mut merger = Merger::new(BUDGETS, now);
    // One address, as many accounts as there are, a new one each time.
    let own = (0..5_000).filter(|&user| take(&mut merger, guess(user, v4(1), i64::from(user)), now)).count();
    assert_eq!(own, 10);
    assert!(take(&mut merger, guess(1, v4(2), 1), now), "another has its own");
    assert!(take(&mut merger, refusal(v4(1), 1), now), "and so has what is no guess");
    let entries = merger.end(now + WINDOW);
    let found: Vec<_> = entries.iter().map(|e| (&*e.act, &*e.result, e.times, e.origins)).collect();
    assert_eq!(found, [("not_kept", "guesses", 4_990, Some(1))]);
    assert_eq!(entries[0].first_at, Some(Timestamp::from_secs(10)));
    // It comes back evenly, ten in an hour.
    assert_eq!((0..100).filter(|&user| take(&mut merger, guess(user, v4(1), 1), now + secs(1_801))).count(), 5);
}

#[test]
fn from_however_many_origins_the_budgets_hold_and_noise_hides_no_guess() {
    let now = Instant::now();
    let mut merger = Merger::new(BUDGETS, now);
    let own = (0..60_000).filter(|&network| take(&mut merger, refusal(v6(network, 1), 1), now)).count();
    assert_eq!(own, 50);
    assert!(take(&mut merger, guess(1, v6(1, 1), 1), now), "the guess among the noise");
    let own = (0..60_000).filter(|&network| take(&mut merger, guess(2, v6(network, 1), 1), now)).count();
    assert_eq!(own, 99);
    assert!(merger.windows.len() <= 150 && merger.by_origin.len() <= 150, "memory is bounded by the budgets");
    let entries = merger.end(now + WINDOW);
    let mut found: Vec<_> = entries.iter().map(|e| (&*e.result, e.times, e.origins)).collect();
    found.sort_unstable();
    let most = i64::try_from(MOST_ORIGINS).unwrap();
    assert_eq!(found, [("guesses", 59_901, Some(most)), ("refusals", 59_950, Some(most))]);
}

#[test]
fn a_flood_for_a_day_leaves_what_the_budgets_say() {
    let now = Instant::now();
    let mut merger = Merger::new(BUDGETS, now);
    let (mut entries, mut failures, mut counted) = (0, 0, 0);
    for minute in 0..1_440_u64 {
        let now = now + secs(60 * minute);
        let ended = merger.end(now);
        entries += ended.len();
        counted += ended.iter().map(|entry| entry.times).sum::<i64>();
        for network in 0..100_u16 {
            for event in [refusal(v6(network, 1), 1), refusal(v6(network, 2), 1), guess(network, v6(network, 1), 1)] {
                failures += 1;
                let own = take(&mut merger, event, now);
                (entries, counted) = (entries + usize::from(own), counted + i64::from(own));
            }
        }
    }
    counted += merger.end_all().iter().map(|entry| entry.times).sum::<i64>();
    assert_eq!(counted, failures, "each is counted once");
    // A full budget and 24 hours of it, and two entries a minute that say what exceeded it.
    assert!(entries <= 25 * (100 + 50) + 2 * 1_440, "{entries}");
    assert!(merger.by_origin.len() <= 2 * FEW, "{}", merger.by_origin.len());
}

#[test]
fn origins_with_their_whole_budget_are_forgotten() {
    let now = Instant::now();
    let many = Budgets { origin: 10, guesses: 1_000_000, refusals: 1_000_000 };
    let mut merger = Merger::new(many, now);
    for hour in 0..20_u16 {
        for network in 0..1_000 {
            take(&mut merger, refusal(v6(hour * 1_000 + network, 1), 1), now + secs(3_601 * u64::from(hour)));
        }
        merger.end(now + secs(3_601 * u64::from(hour) + 61));
    }
    assert!(merger.by_origin.len() <= 2 * FEW, "{}", merger.by_origin.len());
    assert!(merger.windows.is_empty() && merger.ends.is_empty());
}

#[test]
fn an_app_counts_as_one_origin_with_ten_times_the_budget() {
    let now = Instant::now();
    let mut merger = Merger::new(Budgets { guesses: 10_000, ..BUDGETS }, now);
    let through = |app: &str, user: u16| {
        let door = Door { dialect: "mefp", app: app.to_owned(), origin: Some(Origin::app(app)) };
        Event { door: Some(door), ..guess(user, v6(user, 1), 1) }
    };
    assert_eq!((0..1_000).filter(|&user| take(&mut merger, through("melink", user), now)).count(), 100);
    assert!(take(&mut merger, through("other", 1), now));
}
