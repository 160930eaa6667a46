//! Ledger of answered successes. What a client was answered must hold after the fault (nothing lost); an answer that
//! contradicts an earlier one is a violation (nothing impossible). A write without a definite answer is unknown until a
//! later login shows whether it took effect.

use std::time::Duration;

/// Time since the start of the round.
pub(crate) type At = Duration;

/// What an answer contradicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum ViolationKind {
    /// The password of the last answered change, or of the registration, is rejected.
    PasswordLost,
    /// An answered registration has left no user.
    RegistrationLost,
    /// A session that nothing has ended is dead, where the state store promises that it survives.
    SessionLost,
    /// A password that an answered change has replaced is accepted.
    ReplacedPasswordAccepted,
    /// A proof is accepted a second time.
    ProofAcceptedTwice,
    /// A code is accepted a second time.
    CodeAcceptedTwice,
    /// A session is ended by a second call, after an answered logout.
    EndedSessionAlive,
    /// A session from before an answered change of the password is alive.
    RevokedSessionAlive,
}

impl ViolationKind {
    /// Whether something answered is gone; otherwise, something was answered that cannot be.
    pub(crate) fn is_loss(self) -> bool {
        matches!(self, Self::PasswordLost | Self::RegistrationLost | Self::SessionLost)
    }

    /// The name in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::PasswordLost => "password lost",
            Self::RegistrationLost => "registration lost",
            Self::SessionLost => "session lost",
            Self::ReplacedPasswordAccepted => "replaced password accepted",
            Self::ProofAcceptedTwice => "proof accepted twice",
            Self::CodeAcceptedTwice => "code accepted twice",
            Self::EndedSessionAlive => "ended session alive",
            Self::RevokedSessionAlive => "revoked session alive",
        }
    }
}

/// A contradiction, with the user and the time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) kind: ViolationKind,
    pub(crate) user: String,
    pub(crate) at: At,
}

/// The answer to a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WriteAnswer {
    /// The write was done.
    Done,
    /// The write was not done, for the reason that the password is wrong.
    WrongPassword,
    /// The write was not done, for another reason.
    Refused,
    /// A 5xx or no answer: the write may have taken effect, or may still do so. Contains the request's id, if there was
    /// a response.
    Unknown(Option<String>),
}

/// Whether a login accepted a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PasswordCheck {
    Accepted,
    Rejected,
}

/// What became of a write without a definite answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It did not take effect.
    Nothing,
    /// It took effect. The time is the shortest that it can have taken after the client had given up: zero unless the
    /// previous state was seen after that.
    Happened { after_at_least: Duration },
}

/// A kind of write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnknownWriteKind {
    Change,
    Registration,
}

/// A write without a definite answer, once its effect is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnknownWrite {
    pub(crate) what: UnknownWriteKind,
    pub(crate) request_id: Option<String>,
    pub(crate) at: At,
    pub(crate) effect: Effect,
}

#[derive(Clone, Debug)]
struct PendingChange {
    password: String,
    request_id: Option<String>,
    at: At,
    previous_accepted_at: Option<At>,
}

impl PendingChange {
    fn into_unknown_write(self, effect: Effect) -> UnknownWrite {
        UnknownWrite { what: UnknownWriteKind::Change, request_id: self.request_id, at: self.at, effect }
    }
}

/// A user's passwords, as answers say.
#[derive(Clone, Debug)]
pub(crate) struct UserRecord {
    pub(crate) phone: String,
    pub(crate) id: String,
    current: String,
    /// Passwords that are replaced, or whose change can no longer take effect.
    invalid: Vec<String>,
    /// Changes of the current password without a definite answer. At most one of them takes effect: each replaces the
    /// password that it was sent with.
    pending: Vec<PendingChange>,
    /// Number of changes that took effect.
    revision: usize,
    /// Incremented whenever sessions may have been revoked by a write whose outcome was not answered.
    uncertain_revocations: u32,
    resolved: Vec<UnknownWrite>,
}

impl UserRecord {
    pub(crate) fn new(phone: String, id: String, password: String) -> Self {
        Self {
            phone,
            id,
            current: password,
            invalid: Vec::new(),
            pending: Vec::new(),
            revision: 0,
            uncertain_revocations: 0,
            resolved: Vec::new(),
        }
    }

    /// The password of the last answered change.
    pub(crate) fn current_password(&self) -> &str {
        &self.current
    }

    /// A password that must be rejected.
    pub(crate) fn invalid_password(&self) -> Option<&str> {
        self.invalid.last().map(String::as_str)
    }

    /// The passwords of changes whose effect is not known, the latest first.
    pub(crate) fn pending_passwords(&self) -> Vec<String> {
        self.pending.iter().rev().map(|change| change.password.clone()).collect()
    }

    /// Records the answer to a change of the current password to `password`.
    pub(crate) fn record_change(&mut self, password: String, answer: WriteAnswer, at: At) -> Option<ViolationKind> {
        match answer {
            WriteAnswer::Done => {
                self.replace_current(password);
                None
            }
            WriteAnswer::WrongPassword => self.pending.is_empty().then_some(ViolationKind::PasswordLost),
            WriteAnswer::Refused => None,
            WriteAnswer::Unknown(request_id) => {
                self.uncertain_revocations += 1;
                self.pending.push(PendingChange { password, request_id, at, previous_accepted_at: None });
                None
            }
        }
    }

    /// Makes `password` the current one. Pending changes of the one before can no longer take effect.
    fn replace_current(&mut self, password: String) {
        self.revision += 1;
        for change in std::mem::take(&mut self.pending) {
            self.invalid.push(change.password.clone());
            self.resolved.push(change.into_unknown_write(Effect::Nothing));
        }
        self.invalid.push(std::mem::replace(&mut self.current, password));
    }

    /// Records whether a login accepted `password`.
    pub(crate) fn record_login(&mut self, password: &str, check: PasswordCheck, at: At) -> Option<ViolationKind> {
        match check {
            PasswordCheck::Accepted => {
                if let Some(index) = self.pending.iter().position(|change| change.password == password) {
                    self.resolve_as_effective(index);
                    return None;
                }
                for change in &mut self.pending {
                    change.previous_accepted_at = Some(at);
                }
                (password != self.current).then_some(ViolationKind::ReplacedPasswordAccepted)
            }
            PasswordCheck::Rejected => {
                let is_loss = password == self.current && self.pending.is_empty();
                is_loss.then_some(ViolationKind::PasswordLost)
            }
        }
    }

    fn resolve_as_effective(&mut self, index: usize) {
        let change = self.pending.remove(index);
        let after_at_least = change.previous_accepted_at.map_or(Duration::ZERO, |seen| seen.saturating_sub(change.at));
        self.replace_current(change.password.clone());
        self.uncertain_revocations += 1;
        self.resolved.push(change.into_unknown_write(Effect::Happened { after_at_least }));
    }

    /// All unknown changes, after the last login with each possible password. Changes that are still pending have not
    /// taken effect.
    pub(crate) fn into_unknown_changes(mut self) -> Vec<UnknownWrite> {
        let pending = self.pending.into_iter().map(|change| change.into_unknown_write(Effect::Nothing));
        self.resolved.extend(pending);
        self.resolved
    }
}

/// A session, as answers say.
#[derive(Clone, Debug)]
pub(crate) struct SessionRecord {
    pub(crate) token: String,
    /// Index of the user in the client's list.
    pub(crate) user: usize,
    revision: usize,
    uncertain_revocations: u32,
    /// The user's revision up to which it may be alive: a change that was pending when it was opened may have taken
    /// effect before.
    alive_up_to: usize,
    end: SessionEnd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SessionEnd {
    Open,
    Answered,
    Unknown,
}

/// The answer to a logout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogoutAnswer {
    /// The session was alive, and has ended.
    Ended,
    /// There was no such session.
    Dead,
    /// A 5xx or no answer.
    Unknown,
}

impl SessionRecord {
    /// A session that an answered login or change of `user` opened.
    pub(crate) fn open(token: String, user_index: usize, user: &UserRecord) -> Self {
        let revision = user.revision;
        Self {
            token,
            user: user_index,
            revision,
            uncertain_revocations: user.uncertain_revocations,
            alive_up_to: revision + usize::from(!user.pending.is_empty()),
            end: SessionEnd::Open,
        }
    }

    /// Whether neither a logout nor a change of the password has been sent since it was opened.
    pub(crate) fn must_be_alive(&self, user: &UserRecord) -> bool {
        self.end == SessionEnd::Open
            && self.revision == user.revision
            && self.uncertain_revocations == user.uncertain_revocations
            && user.pending.is_empty()
    }

    /// Whether an answer says that it has ended.
    pub(crate) fn must_be_dead(&self, user: &UserRecord) -> bool {
        self.end == SessionEnd::Answered || user.revision > self.alive_up_to
    }

    /// Records the answer to a logout with this session's token.
    pub(crate) fn record_logout(&mut self, user: &UserRecord, answer: LogoutAnswer) -> Option<ViolationKind> {
        let violation = match answer {
            LogoutAnswer::Ended if self.end == SessionEnd::Answered => Some(ViolationKind::EndedSessionAlive),
            LogoutAnswer::Ended if self.must_be_dead(user) => Some(ViolationKind::RevokedSessionAlive),
            LogoutAnswer::Dead if self.must_be_alive(user) => Some(ViolationKind::SessionLost),
            LogoutAnswer::Ended | LogoutAnswer::Dead | LogoutAnswer::Unknown => None,
        };
        match answer {
            LogoutAnswer::Ended | LogoutAnswer::Dead => self.end = SessionEnd::Answered,
            LogoutAnswer::Unknown if self.end == SessionEnd::Open => self.end = SessionEnd::Unknown,
            LogoutAnswer::Unknown => {}
        }
        violation
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
