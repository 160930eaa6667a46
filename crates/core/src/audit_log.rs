//! The audit log: entries as they are stored and searched, and the policy that decides how each event is stored.
//!
//! An [`AuditLogEntry`] stands for one [`Event`], for several merged events, or for failures that exceeded the quota of
//! entries. Actions, outcomes and other words are stored as text, because a newer version may have written words that
//! this version does not know.

use std::borrow::Cow;

use strum::IntoStaticStr;

use crate::dialect_use::DialectUse;
use crate::event::{Action, Event, Outcome, Subject};
use crate::time::Timestamp;

/// The action of an entry that counts failures of different actions.
pub const VARIOUS_ACTIONS: &str = "various";
/// The action of an entry that counts failures which exceeded the quota of entries, and so have no entries themselves.
pub const SUPPRESSED_FAILURES: &str = "not_kept";

/// How an event is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditLogPolicy {
    /// The event is not stored: it changed nothing and concerns no account.
    Discard,
    /// The first event is stored as a separate entry, and its repetitions are merged into one entry a minute. The event
    /// changed nothing, so a client could repeat it without end.
    Aggregate(FailureClass),
    /// Each event is stored as a separate entry.
    Record,
}

/// The classes of failures. Each class has a separate quota of entries, so that a flood of one class cannot hide the
/// other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr)]
pub enum FailureClass {
    /// An attempt with a wrong or replayed secret of an existing account, or on a disabled account (brute force).
    #[strum(serialize = "guesses")]
    Guess,
    /// Any other failure, and a checked code, which changes nothing either. A client can cause these at no cost.
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
    /// Decides how `event` is stored:
    ///
    /// | action | outcome | stored |
    /// | --- | --- | --- |
    /// | an administrator's | any | a separate entry |
    /// | `issue_captcha` | ok | discarded |
    /// | `logout` | `not_authenticated` (no live session) | discarded |
    /// | `revoke_token` | `not_authenticated` (no access token of this server) | discarded |
    /// | `check_code` | ok (consumes nothing) | merged, as a refusal |
    /// | any other | ok | a separate entry |
    /// | about an existing account | `wrong_password`, `wrong_code`, `challenge_failed`, `replayed`, `disabled`, `invalid_client` | merged, as a guess |
    /// | any | any other | merged, as a refusal |
    pub fn for_event(event: &Event) -> Self {
        use Outcome::{
            ChallengeFailed, Disabled, Done, InvalidClient, NotAuthenticated, Replayed, WrongCode, WrongPassword,
        };
        match (event.action, event.outcome) {
            _ if event.entry_point.is_none() => Self::Record,
            (Action::IssueCaptcha, Done) | (Action::Logout | Action::RevokeToken, NotAuthenticated) => Self::Discard,
            (Action::CheckCode, Done) => Self::Aggregate(FailureClass::Refusal),
            (_, Done) => Self::Record,
            (_, WrongPassword | WrongCode | ChallengeFailed | Replayed | Disabled | InvalidClient)
                if event.subject.is_some() =>
            {
                Self::Aggregate(FailureClass::Guess)
            }
            _ => Self::Aggregate(FailureClass::Refusal),
        }
    }
}

/// An entry's id. Ids order the audit log: by time, then by the process that wrote the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AuditLogEntryId {
    /// When the use case ended; for merged events, when the last of them ended.
    pub at: Timestamp,
    /// A random number that identifies the process which wrote the entry.
    pub source: i64,
    /// The entry's sequence number in that process.
    pub seq: i64,
}

/// An entry of the audit log. It never holds a secret, nor text that a client typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditLogEntry {
    /// The entry's id.
    pub id: AuditLogEntryId,
    /// For merged events, when the first of them ended; `None` if the entry counts one event.
    pub first_at: Option<Timestamp>,
    /// The action: a word of [`Action::as_str`], [`VARIOUS_ACTIONS`] or [`SUPPRESSED_FAILURES`].
    pub action: Cow<'static, str>,
    /// The kind of password proof, if the action has one: a word of [`crate::proof::ProofKind::as_str`]; for an exchange,
    /// the type of the subject token: a word of [`crate::oauth::SubjectTokenType::name`].
    pub proof: Option<Cow<'static, str>>,
    /// The purpose of a code, if the action has one: a word of [`crate::code::CodePurpose::as_str`].
    pub purpose: Option<Cow<'static, str>>,
    /// The outcome: a word of [`Outcome::as_str`]; with [`SUPPRESSED_FAILURES`], one of [`FailureClass::as_str`].
    pub result: Cow<'static, str>,
    /// How many events the entry counts.
    pub count: i64,
    /// With [`SUPPRESSED_FAILURES`], the number of origins of the failures; `None` otherwise.
    pub origins: Option<i64>,
    /// The dialect; `None` for an administrator's action.
    pub dialect: Option<Cow<'static, str>>,
    /// The app that called on the user's behalf, if any.
    pub app: Option<String>,
    /// The kind of the subject, if known: `user`, `app`, `client_token`, `key`, `oauth_client`, `resource`, `import` or
    /// `dialect`.
    pub subject_kind: Option<Cow<'static, str>>,
    /// The subject: a user's id, or a record's name.
    pub subject: Option<String>,
    /// The client's full address; for merged events, that of one of them.
    pub address: Option<String>,
    /// The request id; for merged events, that of one of them.
    pub request: Option<String>,
    /// The operating-system account that ran an administrator's command, such as `uid:0@host`; `None` for a client's
    /// request.
    pub operator: Option<String>,
    /// The use of a dialect that the store counts together with this entry; `None` in entries that are read.
    pub dialect_use: Option<DialectUse>,
}

impl AuditLogEntry {
    /// The entry of `event`, written as number `seq` by the process `source`. `operator` runs that process, and is
    /// recorded for an administrator's action.
    pub fn new(event: Event, source: i64, seq: i64, operator: &str) -> Self {
        let to_cow = Cow::Borrowed;
        let dialect_use = DialectUse::of_event(&event);
        let (proof, purpose) = match event.action {
            Action::Login(proof) | Action::ChangePassword(proof) => (Some(to_cow(proof.as_str())), None),
            Action::SendCode(purpose) => (None, Some(to_cow(purpose.as_str()))),
            Action::ExchangeToken(token_type) => (Some(to_cow(token_type.name())), None),
            _ => (None, None),
        };
        let (subject_kind, subject) =
            event.subject.map(|subject| (to_cow(subject.kind()), subject.into_text())).unzip();
        let (address, request) =
            event.client.map(|client| (client.address.to_string(), client.request_id.as_str().to_owned())).unzip();
        let operator = event.entry_point.is_none().then(|| operator.to_owned());
        let (dialect, app) =
            event.entry_point.map(|entry_point| (to_cow(entry_point.dialect), entry_point.app)).unzip();
        Self {
            id: AuditLogEntryId { at: event.at, source, seq },
            first_at: None,
            action: to_cow(event.action.as_str()),
            proof,
            purpose,
            result: to_cow(event.outcome.as_str()),
            count: 1,
            origins: None,
            dialect,
            app: app.filter(|app: &String| !app.is_empty()),
            subject_kind,
            subject,
            address,
            request,
            operator,
            dialect_use,
        }
    }

    /// An entry which records that failures of `class` from `origins` origins exceeded the quota of entries. The caller
    /// sets the id and the count later.
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
            dialect_use: None,
        }
    }

    /// This entry as the count of `times` merged events, the first of which ended at `first` and the last at `last`.
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
            Self::OAuthClient(_) => "oauth_client",
            Self::Resource(_) => "resource",
            Self::Import(_) => "import",
            Self::Dialect(_) => "dialect",
        }
    }

    fn into_text(self) -> String {
        match self {
            Self::User(id) => id.to_string(),
            Self::App(name)
            | Self::ClientToken(name)
            | Self::Key(name)
            | Self::OAuthClient(name)
            | Self::Resource(name)
            | Self::Import(name)
            | Self::Dialect(name) => name.into_text(),
        }
    }
}

/// A search in the audit log. An entry matches if all conditions hold; an empty list and `None` are no condition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditLogFilter {
    /// The entry's time is at or after this time.
    pub since: Option<Timestamp>,
    /// The entry's time is before this time.
    pub until: Option<Timestamp>,
    /// The action is one of these.
    pub actions: Vec<String>,
    /// The outcome is one of these.
    pub results: Vec<String>,
    /// The outcome is none of these.
    pub excluded_results: Vec<String>,
    /// The dialect is one of these.
    pub dialects: Vec<String>,
    /// The app is this one.
    pub app: Option<String>,
    /// The subject has this user id or record name.
    pub subject: Option<String>,
    /// The client address is this one.
    pub address: Option<String>,
    /// The request id is this one.
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
    fn an_entry_records_its_event_a_merge_count_and_the_operator() {
        let user = UserId::from_bytes([7; 16]);
        let event = Event {
            at: Timestamp::from_secs(5),
            action: Action::Login(ProofKind::Salted),
            outcome: Outcome::WrongPassword,
            subject: Some(user.into()),
            entry_point: Some(EntryPoint {
                dialect: "mefp",
                app: "melink".to_owned(),
                client_token: String::new(),
                origin: None,
            }),
            client: RequestId::parse("r-1").map(|request_id| RequestSource {
                address: IpAddr::from([192, 0, 2, 1]),
                request_id,
                client_name: None,
            }),
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
    fn each_event_is_recorded_aggregated_or_discarded_by_action_and_outcome() {
        let entry_point =
            Some(EntryPoint { dialect: "jwt", app: String::new(), client_token: String::new(), origin: None });
        let user = Subject::User(UserId::from_bytes([7; 16]));
        let policy_for = |action, outcome, subject: Option<&Subject>| {
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
        let guesses = ["wrong_password", "wrong_code", "challenge_failed", "replayed", "disabled", "invalid_client"];
        for action in Action::all() {
            for outcome in Outcome::all() {
                let (with_subject, without_subject) =
                    (policy_for(action, outcome, Some(&user)), policy_for(action, outcome, None));
                let expected = match (action.as_str(), outcome.as_str()) {
                    ("logout" | "revoke_token", "not_authenticated") | ("issue_captcha", "ok") => {
                        [AuditLogPolicy::Discard; 2]
                    }
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
