//! The audit trail: what happened, as it is kept and found again.
//!
//! An [`Entry`] is an [`Event`] with a name of its own. Words stay words, for a newer program may have written some
//! that this one does not know.

use std::borrow::Cow;

use crate::event::{Act, Event, Subject};
use crate::time::Timestamp;

/// What an entry is called, and the order of the trail: by time, then by who wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryId {
    /// When it ended.
    pub at: Timestamp,
    /// The process that wrote it: a random number of its own.
    pub source: i64,
    /// That process's count.
    pub seq: i64,
}

/// A line of the trail. Never holds a secret, nor what a client typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is called.
    pub id: EntryId,
    /// What was asked: a word of [`Act::as_str`].
    pub act: Cow<'static, str>,
    /// By what a password was proved, where one was: a word of [`crate::proof::ProofKind::as_str`].
    pub proof: Option<Cow<'static, str>>,
    /// What a code was sent for, where one was: a word of [`crate::code::Purpose::as_str`].
    pub purpose: Option<Cow<'static, str>>,
    /// How it ended: a word of [`crate::event::Outcome::as_str`].
    pub result: Cow<'static, str>,
    /// How often, where refusals of the same kind are told as one.
    pub times: i64,
    /// By which door; `None` for what an administrator did.
    pub dialect: Option<Cow<'static, str>>,
    /// The app that called on the user's behalf, if one did.
    pub app: Option<String>,
    /// What it concerned: `user`, `app`, `client_token` or `key`, as far as that is known.
    pub subject_kind: Option<Cow<'static, str>>,
    /// Whom or what: a user's id, or a name.
    pub subject: Option<String>,
    /// The whole address of whoever asked.
    pub address: Option<String>,
    /// What logs call the request.
    pub request: Option<String>,
    /// Who did what an administrator does: `uid:0@host`.
    pub operator: Option<String>,
}

impl Entry {
    /// The entry of `event`, which came `times` times, written by a process that `operator` runs.
    pub fn new(event: Event, times: u32, source: i64, seq: i64, operator: &str) -> Self {
        let word = Cow::Borrowed;
        let (proof, purpose) = match event.act {
            Act::Login(proof) | Act::ChangePassword(proof) => (Some(word(proof.as_str())), None),
            Act::SendCode(purpose) => (None, Some(word(purpose.as_str()))),
            _ => (None, None),
        };
        let (subject_kind, subject) = match event.subject {
            Some(subject) => {
                let kind = word(subject.kind());
                (Some(kind), Some(subject.into_name()))
            }
            None => (None, None),
        };
        let (address, request) = match event.client {
            Some(client) => (Some(client.address.to_string()), Some(client.request.as_str().to_owned())),
            None => (None, None),
        };
        let operator = event.door.is_none().then(|| operator.to_owned());
        let (dialect, app) = match event.door {
            Some(door) => (Some(word(door.dialect)), Some(door.app).filter(|app| !app.is_empty())),
            None => (None, None),
        };
        Self {
            id: EntryId { at: event.at, source, seq },
            act: word(event.act.as_str()),
            proof,
            purpose,
            result: word(event.outcome.as_str()),
            times: times.into(),
            dialect,
            app,
            subject_kind,
            subject,
            address,
            request,
            operator,
        }
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

    fn into_name(self) -> String {
        match self {
            Self::User(id) => id.to_string(),
            Self::App(name) | Self::ClientToken(name) | Self::Key(name) => name.into_text(),
        }
    }
}

/// What to find. Every field narrows; an empty list does not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// At or after this instant.
    pub since: Option<Timestamp>,
    /// Before this instant.
    pub until: Option<Timestamp>,
    /// Of one of these acts.
    pub acts: Vec<String>,
    /// That ended in one of these ways.
    pub results: Vec<String>,
    /// That ended in any way but these.
    pub but_results: Vec<String>,
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
pub enum Order {
    /// As it happened.
    OldestFirst,
    /// Backwards.
    NewestFirst,
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::event::{Client, Door, Outcome, RequestId};
    use crate::proof::ProofKind;
    use crate::user::UserId;

    #[test]
    fn an_entry_tells_who_by_which_door_with_what_from_where() {
        let user = UserId::from_bytes([7; 16]);
        let event = Event {
            at: Timestamp::from_secs(5),
            act: Act::Login(ProofKind::Salted),
            outcome: Outcome::WrongPassword,
            subject: Some(user.into()),
            door: Some(Door { dialect: "mefp", app: "melink".to_owned(), origin: None }),
            client: RequestId::parse("r-1").map(|request| Client { address: IpAddr::from([192, 0, 2, 1]), request }),
        };
        let entry = Entry::new(event.clone(), 3, 8, 9, "uid:0@host");
        assert_eq!(entry.id, EntryId { at: Timestamp::from_secs(5), source: 8, seq: 9 });
        let words = (&*entry.act, entry.proof.as_deref(), &*entry.result, entry.times);
        assert_eq!(words, ("login", Some("salted"), "wrong_password", 3));
        assert_eq!((entry.dialect.as_deref(), entry.app.as_deref()), (Some("mefp"), Some("melink")));
        assert_eq!(entry.subject, Some(user.to_string()));
        assert_eq!((entry.subject_kind.as_deref(), entry.operator), (Some("user"), None));
        assert_eq!((entry.address.as_deref(), entry.request.as_deref()), (Some("192.0.2.1"), Some("r-1")));

        let event = Event { act: Act::AddUser, door: None, client: None, ..event };
        let entry = Entry::new(event, 1, 8, 10, "uid:0@host");
        assert_eq!((entry.dialect, entry.operator.as_deref()), (None, Some("uid:0@host")));
    }
}
