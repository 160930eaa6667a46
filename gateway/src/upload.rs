//! A request's body on its way to a service: counted, timed, never held as a whole.

use std::time::Duration;

use tokio::time::Instant;

use crate::refusal::Cause;
use crate::wire::body::{Body, Coding};
use crate::wire::request::Framing;

/// The body of one request.
#[derive(Debug)]
pub(crate) struct Upload {
    body: Body,
    coding: Coding,
    left: u64,
    /// Some of it was refused, and the rest is not read.
    refused: bool,
    /// When all of it must have come.
    pub(crate) due: Instant,
}

impl Upload {
    /// A body that began at `begun` and may have `most` bytes, and take `time`.
    pub(crate) fn new(framing: Framing, most: u64, begun: Instant, time: Duration) -> Self {
        Self { body: framing.body(), coding: framing.coding(), left: most, refused: false, due: begun + time }
    }

    /// Whether the client has sent all of it, and nothing is wrong with it.
    pub(crate) fn is_over(&self) -> bool {
        self.body.is_over() && !self.refused
    }

    /// Takes what has come of it, and writes it to `out` as the service gets it.
    pub(crate) fn relay(&mut self, come: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<(), Cause> {
        let relayed = self.body.relay(come, self.coding, out).map_err(|_| Cause::BadRequest);
        let left = relayed.and_then(|content| self.left.checked_sub(content).ok_or(Cause::TooLarge));
        self.refused |= left.is_err();
        self.left = left?;
        Ok(())
    }
}
