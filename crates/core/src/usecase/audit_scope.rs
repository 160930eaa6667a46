//! Audit scope: a guard that records exactly one audit event for a use case, whether it succeeds, fails or is
//! cancelled.

use super::RequestInfo;
use crate::event::{Action, EntryPoint, Event, Outcome, Subject};
use crate::oauth::{OAuthError, OAuthResult};
use crate::session::DialectName;
use crate::user::Account;
use crate::{Dependencies, Result};

/// A use case in progress. If the scope is dropped before it is finished, the use case was cancelled because the client
/// disconnected, and the scope records [`Outcome::ClientDisconnected`].
pub(super) struct AuditScope<'a> {
    deps: &'a Dependencies,
    action: Action,
    entry_point: Option<EntryPoint>,
    subject: Option<Subject>,
    has_common_password: bool,
    is_finished: bool,
}

impl<'a> AuditScope<'a> {
    /// Starts the scope of a use case that `caller` requests.
    pub(super) fn start(deps: &'a Dependencies, action: Action, caller: &RequestInfo) -> Self {
        Self {
            deps,
            action,
            entry_point: Some(caller.entry_point()),
            subject: None,
            has_common_password: false,
            is_finished: false,
        }
    }

    /// Starts the scope of a use case that a client requests in `dialect` and that no rate limit counts.
    pub(super) fn start_without_rate_limit(deps: &'a Dependencies, action: Action, dialect: DialectName) -> Self {
        let entry_point = EntryPoint { dialect, app: String::new(), client_token: String::new(), origin: None };
        Self {
            deps,
            action,
            entry_point: Some(entry_point),
            subject: None,
            has_common_password: false,
            is_finished: false,
        }
    }

    /// Starts the scope of a use case that an administrator requests.
    pub(super) fn start_for_administrator(deps: &'a Dependencies, action: Action) -> Self {
        Self { deps, action, entry_point: None, subject: None, has_common_password: false, is_finished: false }
    }

    /// Sets the user or record that the event concerns, once it is known.
    pub(super) fn set_subject(&mut self, subject: impl Into<Subject>) {
        self.subject = Some(subject.into());
    }

    /// Sets the user of `account` as the subject, if the account exists.
    pub(super) fn set_account(&mut self, account: Option<&Account>) {
        if let Some(account) = account {
            self.set_subject(account.user.id);
        }
    }

    /// Replaces the action by a more precise one, once the kind of a proof is known.
    pub(super) fn set_action(&mut self, action: Action) {
        self.action = action;
    }

    /// Notes that the new password is a common one, which is reported if the use case succeeds.
    pub(super) fn set_common_password(&mut self) {
        self.has_common_password = true;
    }

    /// Records the outcome of `result`, and returns `result`.
    pub(super) fn finish<T>(mut self, result: Result<T>) -> Result<T> {
        self.record(Outcome::from_result(&result));
        result
    }

    /// As [`AuditScope::finish`], for the result of an OAuth use case.
    pub(super) fn finish_oauth<T>(mut self, result: OAuthResult<T>) -> OAuthResult<T> {
        self.record(result.as_ref().map_or_else(OAuthError::outcome, |_| Outcome::Done));
        result
    }

    /// Records an outcome that differs from the result that the client gets.
    pub(super) fn finish_with_outcome(mut self, outcome: Outcome) {
        self.record(outcome);
    }

    fn record(&mut self, outcome: Outcome) {
        self.is_finished = true;
        let (at, action) = (self.deps.now(), self.action);
        let (subject, entry_point) = (self.subject.take(), self.entry_point.take());
        let event = Event { at, action, outcome, subject, entry_point, client: None };
        if self.has_common_password && outcome == Outcome::Done {
            self.deps.events.common_password_set(&event);
        }
        self.deps.events.record(event);
    }
}

impl Drop for AuditScope<'_> {
    fn drop(&mut self) {
        if !self.is_finished {
            self.record(Outcome::ClientDisconnected);
        }
    }
}
