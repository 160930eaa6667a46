//! The audit trail: what happened, as it is kept and found again.
//!
//! An [`AuditLogEntry`] is an [`Event`] with a name of its own, or a count of events. Words stay words, for a newer program may
//! have written some that this one does not know.

use std::borrow::Cow;

use strum::IntoStaticStr;

use crate::event::{Action, Event, Outcome, Subject};
use crate::time::Timestamp;

/// The act of an entry that counts failures of different acts.
pub const VARIOUS_ACTIONS: &str = "various";
/// The act of an entry that counts failures which exceeded the budgets and have no entry of their own.
pub const SUPPRESSED_FAILURES: &str = "not_kept";

/// How an event is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditLogPolicy {
    /// Not at all: it changed nothing and concerns no account.
    Discard,
    /// By an entry of its own at first; repetitions are counted in one entry a minute. It changed nothing, so a client
    /// can repeat it without end.
    Aggregate(FailureClass),
    /// By an entry of its own.
    Record,
}

/// The kinds of failures, each with a budget of entries of its own, so that none can hide the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr)]
pub enum FailureClass {
    /// A secret of an existing account was guessed at or used again: what the rate limits count.
    #[strum(serialize = "guesses")]
    Guess,
    /// Everything else: it costs a client nothing to cause.
    #[strum(serialize = "refusals")]
    Refusal,
}

impl FailureClass {
    /// A stable name, for metrics and the trail.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

impl AuditLogPolicy {
    /// How `event` is kept:
    ///
    /// | act | outcome | kept |
    /// | --- | --- | --- |
    /// | an administrator's | any | an entry each |
    /// | `issue_captcha` | ok | discarded |
    /// | `logout` | `not_authenticated` (no live session) | discarded |
    /// | `check_code` | ok (uses nothing up) | merged, as a refusal |
    /// | any other | ok | an entry each |
    /// | about an existing account | `wrong_password`, `wrong_code`, `challenge_failed`, `replayed`, `disabled` | merged, as a guess |
    /// | any | any other | merged, as a refusal |
    pub fn for_event(event: &Event) -> Self {
        use Outcome::{ChallengeFailed, Disabled, Done, NotAuthenticated, Replayed, WrongCode, WrongPassword};
        match (event.action, event.outcome) {
            _ if event.entry_point.is_none() => Self::Record,
            (Action::IssueCaptcha, Done) | (Action::Logout, NotAuthenticated) => Self::Discard,
            (Action::CheckCode, Done) => Self::Aggregate(FailureClass::Refusal),
            (_, Done) => Self::Record,
            (_, WrongPassword | WrongCode | ChallengeFailed | Replayed | Disabled) if event.subject.is_some() => {
                Self::Aggregate(FailureClass::Guess)
            }
            _ => Self::Aggregate(FailureClass::Refusal),
        }
    }
}

/// What an entry is called, and the order of the trail: by time, then by who wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AuditLogEntryId {
    /// When it ended; of several events, when the last did.
    pub at: Timestamp,
    /// The process that wrote it: a random number of its own.
    pub source: i64,
    /// That process's count.
    pub seq: i64,
}

/// A line of the trail. Never holds a secret, nor what a client typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditLogEntry {
    /// What it is called.
    pub id: AuditLogEntryId,
    /// Of several events, when the first ended.
    pub first_at: Option<Timestamp>,
    /// What was asked: a word of [`Action::as_str`], [`VARIOUS_ACTIONS`] or [`SUPPRESSED_FAILURES`].
    pub action: Cow<'static, str>,
    /// By what a password was proved, where one was: a word of [`crate::proof::ProofKind::as_str`].
    pub proof: Option<Cow<'static, str>>,
    /// What a code was sent for, where one was: a word of [`crate::code::CodePurpose::as_str`].
    pub purpose: Option<Cow<'static, str>>,
    /// How it ended: a word of [`Outcome::as_str`], or with [`SUPPRESSED_FAILURES`] one of [`FailureClass::as_str`].
    pub result: Cow<'static, str>,
    /// How many events it counts.
    pub count: i64,
    /// With [`SUPPRESSED_FAILURES`], from how many origins.
    pub origins: Option<i64>,
    /// By which door; `None` for what an administrator did.
    pub dialect: Option<Cow<'static, str>>,
    /// The app that called on the user's behalf, if one did.
    pub app: Option<String>,
    /// What it concerned: `user`, `app`, `client_token` or `key`, as far as that is known.
    pub subject_kind: Option<Cow<'static, str>>,
    /// Whom or what: a user's id, or a name.
    pub subject: Option<String>,
    /// The whole address of the client; of several events, of one of them.
    pub address: Option<String>,
    /// What logs call the request; of several events, the request of one of them.
    pub request: Option<String>,
    /// Who did what an administrator does: `uid:0@host`.
    pub operator: Option<String>,
}

impl AuditLogEntry {
    /// The entry of `event`, written by a process that `operator` runs.
    pub fn new(event: Event, source: i64, seq: i64, operator: &str) -> Self {
        let word = Cow::Borrowed;
        let (proof, purpose) = match event.action {
            Action::Login(proof) | Action::ChangePassword(proof) => (Some(word(proof.as_str())), None),
            Action::SendCode(purpose) => (None, Some(word(purpose.as_str()))),
            _ => (None, None),
        };
        let (subject_kind, subject) = match event.subject {
            Some(subject) => {
                let kind = word(subject.kind());
                (Some(kind), Some(subject.into_text()))
            }
            None => (None, None),
        };
        let (address, request) = match event.client {
            Some(client) => (Some(client.address.to_string()), Some(client.request_id.as_str().to_owned())),
            None => (None, None),
        };
        let operator = event.entry_point.is_none().then(|| operator.to_owned());
        let (dialect, app) = match event.entry_point {
            Some(door) => (Some(word(door.dialect)), Some(door.app).filter(|app| !app.is_empty())),
            None => (None, None),
        };
        Self {
            id: AuditLogEntryId { at: event.at, source, seq },
            first_at: None,
            action: word(event.action.as_str()),
            proof,
            purpose,
            result: word(event.outcome.as_str()),
            count: 1,
            origins: None,
            dialect,
            app,
            subject_kind,
            subject,
            address,
            request,
            operator,
        }
    }

    /// An entry that says that failures of `class` from `origins` origins exceeded the budgets; it needs a name.
    pub fn suppressed(class: FailureClass, origins: i64) -> Self {
        Self {
            id: AuditLogEntryId { at: Timestamp::from_micros(0), source: 0, seq: 0 },
            first_at: None,
            action: Cow::Borrowed(SUPPRESSED_FAILURES),
            proof: None,
            purpose: None,
            result: Cow::Borrowed(class.as_str()),
            count: 0,
            origins: Some(origins),
            dialect: None,
            app: None,
            subject_kind: None,
            subject: None,
            address: None,
            request: None,
            operator: None,
        }
    }

    /// This entry, counting `times` events, of which the first ended at `first` and the last at `last`.
    #[must_use]
    pub fn aggregating(mut self, times: i64, first: Timestamp, last: Timestamp) -> Self {
        self.count = times;
        self.first_at = (times > 1).then_some(first);
        self.id.at = last;
        self
    }
}

impl Subject {
    /// A stable name of what it is, for the trail.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::App(_) => "app",
            Self::ClientToken(_) => "client_token",
            Self::Key(_) => "key",
        }
    }

    fn into_text(self) -> String {
        match self {
            Self::User(id) => id.to_string(),
            Self::App(name) | Self::ClientToken(name) | Self::Key(name) => name.into_text(),
        }
    }
}

/// What to find. Every field narrows; an empty list does not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditLogFilter {
    /// At or after this instant.
    pub since: Option<Timestamp>,
    /// Before this instant.
    pub until: Option<Timestamp>,
    /// Of one of these acts.
    pub actions: Vec<String>,
    /// That ended in one of these ways.
    pub results: Vec<String>,
    /// That ended in any way but these.
    pub excluded_results: Vec<String>,
    /// Through one of these doors.
    pub dialects: Vec<String>,
    /// Through this app.
    pub app: Option<String>,
    /// Concerning this user (an id) or record (a name).
    pub subject: Option<String>,
    /// From this address.
    pub address: Option<String>,
    /// Within this request.
    pub request: Option<String>,
}

/// In which order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditLogOrder {
    /// As it happened.
    OldestFirst,
    /// Backwards.
    NewestFirst,
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::event::{EntryPoint, Outcome, RequestId, RequestSource};
    use crate::proof::ProofKind;
    use crate::user::UserId;

    #[test]
    fn an_entry_records_subject_entry_point_proof_and_client() {
        let user = UserId::from_bytes([7; 16]);
        let event = Event {
            at: Timestamp::from_secs(5),
            action: Action::Login(ProofKind::Salted),
            outcome: Outcome::WrongPassword,
            subject: Some(user.into()),
            entry_point: Some(EntryPoint { dialect: "mefp", app: "melink".to_owned(), origin: None }),
            client: RequestId::parse("r-1")
                .map(|request| RequestSource { address: IpAddr::from([192, 0, 2, 1]), request_id: request }),
        };
        let entry = AuditLogEntry::new(event.clone(), 8, 9, "uid:0@host");
        assert_eq!(entry.id, AuditLogEntryId { at: Timestamp::from_secs(5), source: 8, seq: 9 });
        let words = (&*entry.action, entry.proof.as_deref(), &*entry.result, entry.count);
        assert_eq!(words, ("login", Some("salted"), "wrong_password", 1));
        assert_eq!((entry.dialect.as_deref(), entry.app.as_deref()), (Some("mefp"), Some("melink")));
        assert_eq!(entry.subject, Some(user.to_string()));
        assert_eq!((entry.subject_kind.as_deref(), entry.operator.as_deref()), (Some("user"), None));
        assert_eq!((entry.address.as_deref(), entry.request.as_deref()), (Some("192.0.2.1"), Some("r-1")));

        let counted = entry.aggregating(3, Timestamp::from_secs(1), Timestamp::from_secs(9));
        assert_eq!((counted.count, counted.first_at), (3, Some(Timestamp::from_secs(1))));
        assert_eq!(counted.id.at, Timestamp::from_secs(9));

        let event = Event { action: Action::AddUser, entry_point: None, client: None, ..event };
        let entry = AuditLogEntry::new(event, 8, 10, "uid:0@host");
        assert_eq!((entry.dialect, entry.operator.as_deref()), (None, Some("uid:0@host")));
    }

    #[test]
    fn only_events_without_effect_are_aggregated_or_discarded() {
        let door = Some(EntryPoint { dialect: "jwt", app: String::new(), origin: None });
        let user = Subject::User(UserId::from_bytes([7; 16]));
        let kept = |act, outcome, subject: Option<&Subject>| {
            let (at, subject) = (Timestamp::from_secs(5), subject.cloned());
            AuditLogPolicy::for_event(&Event {
                at,
                action: act,
                outcome,
                subject,
                entry_point: door.clone(),
                client: None,
            })
        };
        let guesses = ["wrong_password", "wrong_code", "challenge_failed", "replayed", "disabled"];
        for act in Action::all() {
            for outcome in Outcome::all() {
                let (of_user, of_none) = (kept(act, outcome, Some(&user)), kept(act, outcome, None));
                let expected = match (act.as_str(), outcome.as_str()) {
                    ("logout", "not_authenticated") | ("issue_captcha", "ok") => [AuditLogPolicy::Discard; 2],
                    ("check_code", "ok") => [AuditLogPolicy::Aggregate(FailureClass::Refusal); 2],
                    (_, "ok") => [AuditLogPolicy::Record; 2],
                    (_, guess) if guesses.contains(&guess) => [
                        AuditLogPolicy::Aggregate(FailureClass::Guess),
                        AuditLogPolicy::Aggregate(FailureClass::Refusal),
                    ],
                    _ => [AuditLogPolicy::Aggregate(FailureClass::Refusal); 2],
                };
                assert_eq!([of_user, of_none], expected, "{act:?} {outcome:?}");
                let administrative = Event::by_administrator(Timestamp::from_secs(5), act, outcome, None);
                assert_eq!(AuditLogPolicy::for_event(&administrative), AuditLogPolicy::Record, "{act:?} {outcome:?}");
            }
        }
    }
}
