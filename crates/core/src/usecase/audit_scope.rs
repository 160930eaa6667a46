//! Tells of a use case once, however it ends.

use super::RequestInfo;
use crate::event::{Action, EntryPoint, Event, Outcome, Subject};
use crate::session::DialectName;
use crate::{Dependencies, Result};

/// A use case on its way. If it is dropped before its end, whoever asked has gone away, and that is what is told.
pub(super) struct AuditScope<'a> {
    deps: &'a Dependencies,
    action: Action,
    entry_point: Option<EntryPoint>,
    subject: Option<Subject>,
    is_finished: bool,
}

impl<'a> AuditScope<'a> {
    /// Over what `caller` asks.
    pub(super) fn start(deps: &'a Dependencies, act: Action, caller: &RequestInfo) -> Self {
        let door = EntryPoint { dialect: caller.dialect, app: caller.app.clone(), origin: Some(caller.origin.clone()) };
        Self { deps, action: act, entry_point: Some(door), subject: None, is_finished: false }
    }

    /// Over what is asked in `dialect`, and limited by nothing.
    pub(super) fn start_without_rate_limit(deps: &'a Dependencies, act: Action, dialect: DialectName) -> Self {
        let door = EntryPoint { dialect, app: String::new(), origin: None };
        Self { deps, action: act, entry_point: Some(door), subject: None, is_finished: false }
    }

    /// Over what an administrator does.
    pub(super) fn start_for_administrator(deps: &'a Dependencies, act: Action) -> Self {
        Self { deps, action: act, entry_point: None, subject: None, is_finished: false }
    }

    /// It turned out to concern `subject`.
    pub(super) fn set_subject(&mut self, subject: impl Into<Subject>) {
        self.subject = Some(subject.into());
    }

    /// It turned out to be `act`.
    pub(super) fn set_action(&mut self, act: Action) {
        self.action = act;
    }

    /// It has ended; gives the result back.
    pub(super) fn finish<T>(mut self, result: Result<T>) -> Result<T> {
        self.record(Outcome::from_result(&result));
        result
    }

    /// It has ended in a way that its result does not tell.
    pub(super) fn finish_with_outcome(mut self, outcome: Outcome) {
        self.record(outcome);
    }

    fn record(&mut self, outcome: Outcome) {
        self.is_finished = true;
        let (at, act) = (self.deps.now(), self.action);
        let (subject, door) = (self.subject.take(), self.entry_point.take());
        self.deps.events.record(Event { at, action: act, outcome, subject, entry_point: door, client: None });
    }
}

impl Drop for AuditScope<'_> {
    fn drop(&mut self) {
        if !self.is_finished {
            self.record(Outcome::ClientDisconnected);
        }
    }
}
