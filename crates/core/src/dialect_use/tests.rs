//! Tests of the use of dialects: which events count, and each user's days.

use super::*;
use crate::event::{EntryPoint, RequestId, RequestSource};
use crate::proof::ProofKind;

const TODAY: UtcDay = UtcDay::from_number(20_000);

fn event(action: Action, outcome: Outcome, app: &str, client_token: &str, configured: Option<&str>) -> Event {
    let client = RequestSource {
        address: [192, 0, 2, 1].into(),
        request_id: RequestId::parse("r").unwrap(),
        client_name: configured.and_then(ClientName::parse),
    };
    let entry_point =
        EntryPoint { dialect: "tms", app: app.to_owned(), client_token: client_token.to_owned(), origin: None };
    Event {
        at: Timestamp::from_secs(5),
        action,
        outcome,
        subject: Some(UserId::from_bytes([7; 16]).into()),
        entry_point: Some(entry_point),
        client: Some(client),
    }
}

fn client_and_proof(event: &Event) -> Option<(String, &'static str)> {
    DialectUse::of_event(event).map(|dialect_use| (dialect_use.client.as_str().to_owned(), dialect_use.proof))
}

#[test]
fn events_that_open_a_session_count_and_name_the_client() {
    let login = Action::Login(ProofKind::Salted);
    let some = |client: &str, proof| Some((client.to_owned(), proof));
    assert_eq!(client_and_proof(&event(login, Outcome::Done, "", "", None)), some("other", "salted"));
    assert_eq!(client_and_proof(&event(login, Outcome::Done, "", "", Some("kiosk"))), some("kiosk", "salted"));
    assert_eq!(client_and_proof(&event(login, Outcome::Done, "", "pos", Some("kiosk"))), some("pos", "salted"));
    assert_eq!(client_and_proof(&event(login, Outcome::Done, "melink", "", Some("kiosk"))), some("melink", "salted"));
    let change = Action::ChangePassword(ProofKind::Raw);
    assert_eq!(client_and_proof(&event(change, Outcome::Done, "", "", None)), some("other", "raw"));
    assert_eq!(client_and_proof(&event(Action::Register, Outcome::Done, "melink", "", None)), some("melink", "code"));
    assert_eq!(client_and_proof(&event(Action::Register, Outcome::Done, "", "", None)), None);
    assert_eq!(client_and_proof(&event(login, Outcome::WrongPassword, "", "", None)), None);
    assert_eq!(client_and_proof(&event(Action::Logout, Outcome::Done, "", "", None)), None);
    let without_user = Event { subject: None, ..event(login, Outcome::Done, "", "", None) };
    assert_eq!(client_and_proof(&without_user), None);
    let outside_of_requests = Event { client: None, ..event(login, Outcome::Done, "", "", None) };
    assert_eq!(client_and_proof(&outside_of_requests), some("other", "salted"));
}

#[test]
fn client_names_are_those_of_apps() {
    assert_eq!(ClientName::parse("a.B-9_").unwrap().as_str(), "a.B-9_");
    for bad in ["", "a b", "ü", &"x".repeat(65)] {
        assert_eq!(ClientName::parse(bad), None, "{bad}");
    }
}

#[test]
fn days_begin_at_midnight_utc() {
    let noon = Timestamp::parse("2026-11-27T12:00:00Z").unwrap();
    let day = UtcDay::of(noon);
    assert_eq!((day.to_string().as_str(), day.start()), ("2026-11-27", Timestamp::parse("2026-11-27").unwrap()));
    assert_eq!(UtcDay::of(Timestamp::parse("2026-11-27T23:59:59.999999Z").unwrap()), day);
    assert_eq!(UtcDay::of(Timestamp::parse("2026-11-28T07:59:00+08:00").unwrap()), day);
    assert_eq!(UtcDay::of(Timestamp::parse("2026-11-28T08:00:00+08:00").unwrap()), day.plus(1));
    assert_eq!(UtcDay::of(Timestamp::from_micros(-1)), UtcDay::from_number(-1));
}

/// The activity after one use at the start of each day.
fn activity(days: &[i64]) -> (Vec<DayCount>, UserActivity) {
    let mut counts = vec![DayCount::First];
    let first = TODAY.plus(days[0]);
    let mut activity = UserActivity::new(first, first.start(), first.start());
    for day in &days[1..] {
        let day = TODAY.plus(*day);
        let (count, changed) = activity.with_uses(day, day.start(), day.start());
        counts.push(count);
        activity = changed.unwrap_or(activity);
    }
    (counts, activity)
}

#[test]
fn each_day_counts_once_in_any_order() {
    use DayCount::{First, Repeated};
    assert_eq!(activity(&[0, 0, 1, 1, 0]).0, [First, Repeated, First, Repeated, Repeated]);
    // Yesterday's batch of another instance arrives after today's.
    assert_eq!(activity(&[1, 0, 0, 1]).0, [First, First, Repeated, Repeated]);
    assert_eq!(activity(&[-62, 0, -62, -61]).0, [First, First, Repeated, First]);
    // Beyond what is remembered, a day counts as counted.
    assert_eq!(activity(&[0, -63, 63, 0]).0, [First, Repeated, First, Repeated]);
    assert_eq!(activity(&[0, 62, 0, 124, 62]).0, [First, First, Repeated, First, Repeated]);
    assert_eq!(activity(&[0, 500, 437]).1.days, 1);
    let (_, two_days) = activity(&[1, 0]);
    assert_eq!((two_days.first_at, two_days.last_at), (TODAY.start(), TODAY.plus(1).start()));
    assert_eq!((two_days.last_day, two_days.days), (TODAY.plus(1), 0b11));
}

#[test]
fn a_repeated_use_is_stored_only_if_the_last_one_is_an_hour_old() {
    let start = TODAY.start();
    let activity = UserActivity::new(TODAY, start, start);
    let at = |seconds| start.saturating_add(Duration::from_secs(seconds));
    assert_eq!(activity.with_uses(TODAY, at(3_600), at(3_600)), (DayCount::Repeated, None));
    let later = UserActivity { last_at: at(3_601), ..activity };
    assert_eq!(activity.with_uses(TODAY, at(3_601), at(3_601)), (DayCount::Repeated, Some(later)));
}

#[test]
fn days_of_use_are_counted_in_a_window() {
    let (_, activity) = activity(&[-62, -30, -29, -1, 0]);
    let used = |today: i64, window| activity.days_used(TODAY.plus(today), window);
    assert_eq!([used(0, 1), used(0, 2), used(0, 30), used(0, 31), used(0, 63)], [1, 2, 3, 4, 5]);
    assert_eq!([used(1, 1), used(1, 2), used(28, 30), used(29, 30), used(30, 30), used(400, 63)], [0, 1, 2, 1, 0, 0]);
}
