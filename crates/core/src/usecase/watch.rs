//! Tells of a use case once, however it ends.

use super::Caller;
use crate::event::{Act, Door, Event, Outcome, Subject};
use crate::session::Dialect;
use crate::{Deps, Result};

/// A use case on its way. If it is dropped before its end, whoever asked has gone away, and that is what is told.
pub(super) struct Watch<'a> {
    deps: &'a Deps,
    act: Act,
    door: Option<Door>,
    subject: Option<Subject>,
    ended: bool,
}

impl<'a> Watch<'a> {
    /// Over what `caller` asks.
    pub(super) fn over(deps: &'a Deps, act: Act, caller: &Caller) -> Self {
        let door = Door { dialect: caller.dialect, app: caller.app.clone(), origin: Some(caller.origin.clone()) };
        Self { deps, act, door: Some(door), subject: None, ended: false }
    }

    /// Over what is asked in `dialect`, and limited by nothing.
    pub(super) fn unlimited(deps: &'a Deps, act: Act, dialect: Dialect) -> Self {
        let door = Door { dialect, app: String::new(), origin: None };
        Self { deps, act, door: Some(door), subject: None, ended: false }
    }

    /// Over what an administrator does.
    pub(super) fn administrative(deps: &'a Deps, act: Act) -> Self {
        Self { deps, act, door: None, subject: None, ended: false }
    }

    /// It turned out to concern `subject`.
    pub(super) fn concerns(&mut self, subject: impl Into<Subject>) {
        self.subject = Some(subject.into());
    }

    /// It turned out to be `act`.
    pub(super) fn is(&mut self, act: Act) {
        self.act = act;
    }

    /// It has ended; gives the result back.
    pub(super) fn end<T>(mut self, result: Result<T>) -> Result<T> {
        self.tell(Outcome::of(&result));
        result
    }

    /// It has ended in a way that its result does not tell.
    pub(super) fn end_as(mut self, outcome: Outcome) {
        self.tell(outcome);
    }

    fn tell(&mut self, outcome: Outcome) {
        self.ended = true;
        let (at, act) = (self.deps.now(), self.act);
        let (subject, door) = (self.subject.take(), self.door.take());
        self.deps.events.record(Event { at, act, outcome, subject, door, client: None });
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.tell(Outcome::Abandoned);
        }
    }
}
