//! The audit log: entries as they are stored and searched, and the policy that decides which events get one.
//!
//! An [`AuditLogEntry`] is an [`Event`] with an id, or a count of merged events. Words are stored as text, because a
//! newer version may have written some that this one does not know.

use std::borrow::Cow;

use strum::IntoStaticStr;

use crate::event::{Action, Event, Outcome, Subject};
use crate::time::Timestamp;

/// The action of an entry that counts failures of different actions.
pub const VARIOUS_ACTIONS: &str = "various";
/// The action of an entry that counts failures which exceeded the quota of entries and have no entry of their own.
pub const SUPPRESSED_FAILURES: &str = "not_kept";

/// How an event is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditLogPolicy {
    /// Not stored: it changed nothing and concerns no account.
    Discard,
    /// First by an entry of its own; repetitions are merged into one entry a minute. It changed nothing, so a client
    /// could repeat it without end.
    Aggregate(FailureClass),
    /// By an entry of its own.
    Record,
}

/// The classes of failures. Each has its own quota of entries, so that a flood of one cannot hide the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr)]
pub enum FailureClass {
    /// A wrong guess at, or a reuse of, a secret of an existing account: what the rate limits count.
    #[strum(serialize = "guesses")]
    Guess,
    /// Any other failure: a client can cause it at no cost.
    #[strum(serialize = "refusals")]
    Refusal,
}

impl FailureClass {
    /// The name in metrics and the audit log.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

impl AuditLogPolicy {
    /// How `event` is stored:
    ///
    /// | action | outcome | stored |
    /// | --- | --- | --- |
    /// | an administrator's | any | an entry each |
    /// | `issue_captcha` | ok | discarded |
    /// | `logout` | `not_authenticated` (no live session) | discarded |
    /// | `check_code` | ok (consumes nothing) | merged, as a refusal |
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

/// An entry's id. Ids order the audit log: by time, then by the process that wrote the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AuditLogEntryId {
    /// When the event ended; of merged events, when the last ended.
    pub at: Timestamp,
    /// The process that wrote the entry: a random number.
    pub source: i64,
    /// The entry's sequence number in that process.
    pub seq: i64,
}

/// An entry of the audit log. Never holds a secret, nor what a client typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditLogEntry {
    /// The entry's id.
    pub id: AuditLogEntryId,
    /// Of merged events, when the first ended.
    pub first_at: Option<Timestamp>,
    /// The action: a word of [`Action::as_str`], [`VARIOUS_ACTIONS`] or [`SUPPRESSED_FAILURES`].
    pub action: Cow<'static, str>,
    /// The kind of password proof, if the action has one: a word of [`crate::proof::ProofKind::as_str`].
    pub proof: Option<Cow<'static, str>>,
    /// The purpose of a code, if the action has one: a word of [`crate::code::CodePurpose::as_str`].
    pub purpose: Option<Cow<'static, str>>,
    /// The outcome: a word of [`Outcome::as_str`]; with [`SUPPRESSED_FAILURES`], one of [`FailureClass::as_str`].
    pub result: Cow<'static, str>,
    /// How many events the entry counts.
    pub count: i64,
    /// With [`SUPPRESSED_FAILURES`], from how many origins they came.
    pub origins: Option<i64>,
    /// The dialect; `None` for an administrator's action.
    pub dialect: Option<Cow<'static, str>>,
    /// The app that called on the user's behalf, if any.
    pub app: Option<String>,
    /// The kind of the subject, if known: `user`, `app`, `client_token` or `key`.
    pub subject_kind: Option<Cow<'static, str>>,
    /// The subject: a user's id, or a record's name.
    pub subject: Option<String>,
    /// The client's full address; of merged events, of one of them.
    pub address: Option<String>,
    /// The request id; of merged events, of one of them.
    pub request: Option<String>,
    /// The operating-system account that ran an administrator's command: `uid:0@host`.
    pub operator: Option<String>,
}

impl AuditLogEntry {
    /// The entry of `event`, written by a process that `operator` runs.
    pub fn new(event: Event, source: i64, seq: i64, operator: &str) -> Self {
        let static_text = Cow::Borrowed;
        let (proof, purpose) = match event.action {
            Action::Login(proof) | Action::ChangePassword(proof) => (Some(static_text(proof.as_str())), None),
            Action::SendCode(purpose) => (None, Some(static_text(purpose.as_str()))),
            _ => (None, None),
        };
        let (subject_kind, subject) = match event.subject {
            Some(subject) => {
                let kind = static_text(subject.kind());
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
            Some(entry_point) => {
                (Some(static_text(entry_point.dialect)), Some(entry_point.app).filter(|app| !app.is_empty()))
            }
            None => (None, None),
        };
        Self {
            id: AuditLogEntryId { at: event.at, source, seq },
            first_at: None,
            action: static_text(event.action.as_str()),
            proof,
            purpose,
            result: static_text(event.outcome.as_str()),
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

    /// An entry which says that failures of `class` from `origins` origins exceeded the quota. Its id is set later.
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

    /// This entry, counting `times` events, the first of which ended at `first` and the last at `last`.
    #[must_use]
    pub fn aggregating(mut self, times: i64, first: Timestamp, last: Timestamp) -> Self {
        self.count = times;
        self.first_at = (times > 1).then_some(first);
        self.id.at = last;
        self
    }
}

impl Subject {
    /// The subject's kind in the audit log.
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

/// A search in the audit log. All conditions must hold; an empty list is no condition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditLogFilter {
    /// At or after this time.
    pub since: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
    /// One of these actions.
    pub actions: Vec<String>,
    /// One of these outcomes.
    pub results: Vec<String>,
    /// None of these outcomes.
    pub excluded_results: Vec<String>,
    /// In one of these dialects.
    pub dialects: Vec<String>,
    /// Through this app.
    pub app: Option<String>,
    /// With this subject: a user's id, or a record's name.
    pub subject: Option<String>,
    /// From this client address.
    pub address: Option<String>,
    /// With this request id.
    pub request: Option<String>,
}

/// The order of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditLogOrder {
    /// Oldest entry first.
    OldestFirst,
    /// Newest entry first.
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

        let merged = entry.aggregating(3, Timestamp::from_secs(1), Timestamp::from_secs(9));
        assert_eq!((merged.count, merged.first_at), (3, Some(Timestamp::from_secs(1))));
        assert_eq!(merged.id.at, Timestamp::from_secs(9));

        let event = Event { action: Action::AddUser, entry_point: None, client: None, ..event };
        let entry = AuditLogEntry::new(event, 8, 10, "uid:0@host");
        assert_eq!((entry.dialect, entry.operator.as_deref()), (None, Some("uid:0@host")));
    }

    #[test]
    fn only_events_without_effect_are_aggregated_or_discarded() {
        let entry_point = Some(EntryPoint { dialect: "jwt", app: String::new(), origin: None });
        let user = Subject::User(UserId::from_bytes([7; 16]));
        let policy = |action, outcome, subject: Option<&Subject>| {
            let (at, subject) = (Timestamp::from_secs(5), subject.cloned());
            AuditLogPolicy::for_event(&Event {
                at,
                action,
                outcome,
                subject,
                entry_point: entry_point.clone(),
                client: None,
            })
        };
        let guesses = ["wrong_password", "wrong_code", "challenge_failed", "replayed", "disabled"];
        for action in Action::all() {
            for outcome in Outcome::all() {
                let (with_subject, without_subject) =
                    (policy(action, outcome, Some(&user)), policy(action, outcome, None));
                let expected = match (action.as_str(), outcome.as_str()) {
                    ("logout", "not_authenticated") | ("issue_captcha", "ok") => [AuditLogPolicy::Discard; 2],
                    ("check_code", "ok") => [AuditLogPolicy::Aggregate(FailureClass::Refusal); 2],
                    (_, "ok") => [AuditLogPolicy::Record; 2],
                    (_, guess) if guesses.contains(&guess) => [
                        AuditLogPolicy::Aggregate(FailureClass::Guess),
                        AuditLogPolicy::Aggregate(FailureClass::Refusal),
                    ],
                    _ => [AuditLogPolicy::Aggregate(FailureClass::Refusal); 2],
                };
                assert_eq!([with_subject, without_subject], expected, "{action:?} {outcome:?}");
                let administrative = Event::by_administrator(Timestamp::from_secs(5), action, outcome, None);
                assert_eq!(
                    AuditLogPolicy::for_event(&administrative),
                    AuditLogPolicy::Record,
                    "{action:?} {outcome:?}"
                );
            }
        }
    }
}
