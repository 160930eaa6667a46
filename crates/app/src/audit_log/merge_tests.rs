//! Tests of merging and rate limits, with the time passed as an argument.

use std::net::IpAddr;

use stele_core::event::{EntryPoint, RequestId, RequestSource};
use stele_core::proof::ProofKind;
use stele_core::user::UserId;

use super::*;

const RATE_LIMITS: AuditRateLimits = AuditRateLimits { per_origin: 10, guesses: 100, refusals: 50 };

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn event(action: Action, outcome: Outcome, user: Option<u16>, address: IpAddr, at: i64) -> Event {
    let user = user.map(|user| UserId::from_bytes([user.to_be_bytes(); 8].concat().try_into().unwrap()));
    Event {
        at: Timestamp::from_secs(at),
        action,
        outcome,
        subject: user.map(Subject::User),
        entry_point: Some(EntryPoint {
            dialect: "portal",
            app: String::new(),
            client_token: String::new(),
            origin: Some(Origin::from_address(address)),
        }),
        client: RequestId::parse("r").map(|request_id| RequestSource { address, request_id, client_name: None }),
    }
}

fn guess(user: u16, address: IpAddr, at: i64) -> Event {
    event(Action::Login(ProofKind::Raw), Outcome::WrongPassword, Some(user), address, at)
}

fn refusal(address: IpAddr, at: i64) -> Event {
    event(Action::Login(ProofKind::Raw), Outcome::UnknownUser, None, address, at)
}

fn v4(host: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, host])
}

/// An address in the `network`-th /64.
fn v6(network: u16, host: u16) -> IpAddr {
    IpAddr::from([0x2001, 0xdb8, 0, network, 0, 0, 0, host])
}

/// Records a failure. Returns whether the failure gets its own entry.
fn gets_own_entry(merger: &mut FailureMerger, event: Event, now: Instant) -> bool {
    let class = match stele_core::audit_log::AuditLogPolicy::for_event(&event) {
        stele_core::audit_log::AuditLogPolicy::Aggregate(class) => class,
        other => panic!("{other:?}"),
    };
    matches!(merger.record(class, event, now), MergeOutcome::OwnEntry(_))
}

#[test]
fn repeated_failures_are_merged_into_one_entry_a_minute() {
    let now = Instant::now();
    let mut merger = FailureMerger::new(RATE_LIMITS, now);
    for host in 0..1_000 {
        assert_eq!(gets_own_entry(&mut merger, guess(1, v6(1, host), 100 + i64::from(host)), now), host == 0);
    }
    assert_eq!(merger.next_deadline(), Some(now + MERGE_WINDOW));
    assert!(merger.close_ended_windows(now + MERGE_WINDOW - secs(1)).is_empty());
    let entries = merger.close_ended_windows(now + MERGE_WINDOW);
    let found: Vec<_> = entries.iter().map(|e| (&*e.action, &*e.result, e.count, e.first_at, e.id.at)).collect();
    let first = Some(Timestamp::from_secs(101));
    assert_eq!(found, [("login", "wrong_password", 999, first, Timestamp::from_secs(1_099))]);
    let AuditLogEntry { address, subject, request, dialect, operator, .. } = &entries[0];
    assert_eq!((address.as_deref(), dialect.as_deref()), (Some("2001:db8:0:1::1"), Some("portal")));
    assert!(subject.is_some() && request.is_some() && operator.is_none());

    // A repetition in the next window is counted. After a window without one, the failure counts as new.
    assert!(!gets_own_entry(&mut merger, guess(1, v6(1, 7), 2_000), now + MERGE_WINDOW + secs(5)));
    let entries = merger.close_ended_windows(now + 2 * MERGE_WINDOW);
    assert_eq!((entries.len(), entries[0].count, entries[0].first_at), (1, 1, None));
    assert!(merger.close_ended_windows(now + 3 * MERGE_WINDOW).is_empty() && merger.next_deadline().is_none());
    assert!(gets_own_entry(&mut merger, guess(1, v6(1, 7), 3_000), now + 3 * MERGE_WINDOW));
}

#[test]
fn rate_limited_requests_of_an_origin_share_one_entry() {
    let now = Instant::now();
    let mut merger = FailureMerger::new(RATE_LIMITS, now);
    let actions = [Action::Login(ProofKind::Raw), Action::CheckCode, Action::ChangePassword(ProofKind::Salted)];
    let mut recorded = 0;
    for n in 0..9_000_u16 {
        let action = actions[usize::from(n) % actions.len()];
        let user = (n % 2 == 0).then_some(n);
        recorded +=
            usize::from(gets_own_entry(&mut merger, event(action, Outcome::RateLimited, user, v6(1, n), 1), now));
    }
    let entries = merger.close_ended_windows(now + MERGE_WINDOW);
    assert_eq!((recorded, entries.len()), (1, 1));
    let AuditLogEntry { action, result, count, subject, proof, dialect, .. } = &entries[0];
    assert_eq!((&**action, &**result, *count), (VARIOUS_ACTIONS, "too_many", 8_999));
    assert_eq!((subject, proof, dialect.as_deref()), (&None, &None, Some("portal")));
}

#[test]
fn failures_over_the_origin_rate_limit_are_only_counted() {
    let now = Instant::now();
    let mut merger = FailureMerger::new(RATE_LIMITS, now);
    // One address, another account each time.
    let recorded =
        (0..5_000).filter(|&user| gets_own_entry(&mut merger, guess(user, v4(1), i64::from(user)), now)).count();
    assert_eq!(recorded, 10);
    assert!(gets_own_entry(&mut merger, guess(1, v4(2), 1), now), "another address has its own bucket");
    assert!(gets_own_entry(&mut merger, refusal(v4(1), 1), now), "other rejections have their own bucket");
    let entries = merger.close_ended_windows(now + MERGE_WINDOW);
    let found: Vec<_> = entries.iter().map(|e| (&*e.action, &*e.result, e.count, e.origins)).collect();
    assert_eq!(found, [("not_kept", "guesses", 4_990, Some(1))]);
    assert_eq!(entries[0].first_at, Some(Timestamp::from_secs(10)));
    // The bucket refills evenly, ten an hour.
    assert_eq!(
        (0..100).filter(|&user| gets_own_entry(&mut merger, guess(user, v4(1), 1), now + secs(1_801))).count(),
        5
    );
}

#[test]
fn rejections_from_many_origins_neither_exceed_the_rate_limit_nor_hide_guesses() {
    let now = Instant::now();
    let mut merger = FailureMerger::new(RATE_LIMITS, now);
    let recorded = (0..60_000).filter(|&network| gets_own_entry(&mut merger, refusal(v6(network, 1), 1), now)).count();
    assert_eq!(recorded, 50);
    assert!(gets_own_entry(&mut merger, guess(1, v6(1, 1), 1), now), "the guess among the noise");
    let recorded = (0..60_000).filter(|&network| gets_own_entry(&mut merger, guess(2, v6(network, 1), 1), now)).count();
    assert_eq!(recorded, 99);
    assert!(merger.windows.len() <= 150 && merger.origin_buckets.len() <= 150, "memory is bounded by the rate limits");
    let entries = merger.close_ended_windows(now + MERGE_WINDOW);
    let mut found: Vec<_> = entries.iter().map(|e| (&*e.result, e.count, e.origins)).collect();
    found.sort_unstable();
    let max_origins = i64::try_from(MAX_COUNTED_ORIGINS).unwrap();
    assert_eq!(found, [("guesses", 59_901, Some(max_origins)), ("refusals", 59_950, Some(max_origins))]);
}

#[test]
fn entries_of_a_day_long_flood_stay_within_the_rate_limits() {
    let start = Instant::now();
    let mut merger = FailureMerger::new(RATE_LIMITS, start);
    let (mut entries, mut failures, mut counted) = (0, 0, 0);
    for minute in 0..1_440_u64 {
        let now = start + secs(60 * minute);
        let ended = merger.close_ended_windows(now);
        entries += ended.len();
        counted += ended.iter().map(|entry| entry.count).sum::<i64>();
        for network in 0..100_u16 {
            for event in [refusal(v6(network, 1), 1), refusal(v6(network, 2), 1), guess(network, v6(network, 1), 1)] {
                failures += 1;
                let has_own_entry = gets_own_entry(&mut merger, event, now);
                (entries, counted) = (entries + usize::from(has_own_entry), counted + i64::from(has_own_entry));
            }
        }
    }
    counted += merger.close_all_windows().iter().map(|entry| entry.count).sum::<i64>();
    assert_eq!(counted, failures, "each failure is counted once");
    // Full buckets and 24 hours of refill, and two entries a minute about suppressed failures.
    assert!(entries <= 25 * (100 + 50) + 2 * 1_440, "{entries}");
    assert!(merger.origin_buckets.len() <= 2 * MIN_SWEEP_SIZE, "{}", merger.origin_buckets.len());
}

#[test]
fn origins_with_full_buckets_are_removed() {
    let now = Instant::now();
    let high_limits = AuditRateLimits { per_origin: 10, guesses: 1_000_000, refusals: 1_000_000 };
    let mut merger = FailureMerger::new(high_limits, now);
    for hour in 0..20_u16 {
        for network in 0..1_000 {
            gets_own_entry(&mut merger, refusal(v6(hour * 1_000 + network, 1), 1), now + secs(3_601 * u64::from(hour)));
        }
        merger.close_ended_windows(now + secs(3_601 * u64::from(hour) + 61));
    }
    assert!(merger.origin_buckets.len() <= 2 * MIN_SWEEP_SIZE, "{}", merger.origin_buckets.len());
    assert!(merger.windows.is_empty() && merger.window_ends.is_empty());
}

#[test]
fn an_app_is_one_origin_with_ten_times_the_rate_limit() {
    let now = Instant::now();
    let mut merger = FailureMerger::new(AuditRateLimits { guesses: 10_000, ..RATE_LIMITS }, now);
    let guess_through = |app: &str, user: u16| {
        let (app, client_token, origin) = (app.to_owned(), String::new(), Some(Origin::from_app(app)));
        let entry_point = EntryPoint { dialect: "mefp", app, client_token, origin };
        Event { entry_point: Some(entry_point), ..guess(user, v6(user, 1), 1) }
    };
    assert_eq!((0..1_000).filter(|&user| gets_own_entry(&mut merger, guess_through("melink", user), now)).count(), 100);
    assert!(gets_own_entry(&mut merger, guess_through("other", 1), now));
}
