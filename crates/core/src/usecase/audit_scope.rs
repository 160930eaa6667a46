//! Audit scope: records exactly one audit event for a use case, however it ends.

use super::RequestInfo;
use crate::event::{Action, EntryPoint, Event, Outcome, Subject};
use crate::session::DialectName;
use crate::{Dependencies, Result};

/// A use case in progress. If it is dropped before it finished, the client has disconnected, and that is recorded.
pub(super) struct AuditScope<'a> {
    deps: &'a Dependencies,
    action: Action,
    entry_point: Option<EntryPoint>,
    subject: Option<Subject>,
    is_finished: bool,
}

impl<'a> AuditScope<'a> {
    /// A use case that `caller` requests.
    pub(super) fn start(deps: &'a Dependencies, action: Action, caller: &RequestInfo) -> Self {
        let entry_point =
            EntryPoint { dialect: caller.dialect, app: caller.app.clone(), origin: Some(caller.origin.clone()) };
        Self { deps, action, entry_point: Some(entry_point), subject: None, is_finished: false }
    }

    /// A use case in `dialect` that has no rate limit.
    pub(super) fn start_without_rate_limit(deps: &'a Dependencies, action: Action, dialect: DialectName) -> Self {
        let entry_point = EntryPoint { dialect, app: String::new(), origin: None };
        Self { deps, action, entry_point: Some(entry_point), subject: None, is_finished: false }
    }

    /// A use case of an administrator.
    pub(super) fn start_for_administrator(deps: &'a Dependencies, action: Action) -> Self {
        Self { deps, action, entry_point: None, subject: None, is_finished: false }
    }

    /// Sets the subject, once it is known.
    pub(super) fn set_subject(&mut self, subject: impl Into<Subject>) {
        self.subject = Some(subject.into());
    }

    /// Replaces the action by a more precise one.
    pub(super) fn set_action(&mut self, action: Action) {
        self.action = action;
    }

    /// Records the outcome of `result`, and returns it.
    pub(super) fn finish<T>(mut self, result: Result<T>) -> Result<T> {
        self.record(Outcome::from_result(&result));
        result
    }

    /// Records an outcome that the result does not show.
    pub(super) fn finish_with_outcome(mut self, outcome: Outcome) {
        self.record(outcome);
    }

    fn record(&mut self, outcome: Outcome) {
        self.is_finished = true;
        let (at, action) = (self.deps.now(), self.action);
        let (subject, entry_point) = (self.subject.take(), self.entry_point.take());
        self.deps.events.record(Event { at, action, outcome, subject, entry_point, client: None });
    }
}

impl Drop for AuditScope<'_> {
    fn drop(&mut self) {
        if !self.is_finished {
            self.record(Outcome::ClientDisconnected);
        }
    }
}
