//! Clock, random source and code delivery under the control of a test.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use stele_core::mac::sha256;
use stele_core::ports::{CodeMessage, Delivery};
use stele_core::random::Random;
use stele_core::time::{Clock, Timestamp};

/// A clock that only moves when a test moves it.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `now`.
    pub fn at(now: Timestamp) -> Self {
        Self(AtomicI64::new(now.as_micros()))
    }

    /// Moves the clock forward by `span`.
    pub fn advance(&self, span: Duration) {
        self.0.fetch_add(i64::try_from(span.as_micros()).unwrap(), Ordering::SeqCst);
    }

    /// Sets the clock.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.as_micros(), Ordering::SeqCst);
    }

    /// The time of this clock.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Self::now(self)
    }

    fn is_system_clock(&self) -> bool {
        false
    }
}

/// A deterministic random source, with the same bytes in every run: SHA-256 of a counter. For tests only.
#[derive(Debug, Default)]
pub struct SeededRandom(AtomicU64);

impl SeededRandom {
    /// The random sequence with number `n`. Sequences do not overlap; the default has number 0.
    pub fn stream(n: u64) -> Self {
        Self(AtomicU64::new(n << 32))
    }
}

impl Random for SeededRandom {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(32) {
            let block = sha256(&self.0.fetch_add(1, Ordering::SeqCst).to_be_bytes());
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
    }
}

/// A verification code that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentCode {
    /// The recipient's phone or e-mail address, as the client wrote it.
    pub to: String,
    /// The purpose of the code.
    pub purpose: &'static str,
    /// The dialect that sent it.
    pub dialect: &'static str,
    /// The code.
    pub code: String,
}

/// Records codes instead of sending them.
#[derive(Debug, Default)]
pub struct RecordingDelivery(Mutex<Vec<SentCode>>);

impl RecordingDelivery {
    /// All codes sent, oldest first.
    pub fn sent_codes(&self) -> Vec<SentCode> {
        self.0.lock().unwrap().clone()
    }
}

impl Delivery for RecordingDelivery {
    fn dispatch(&self, message: CodeMessage) -> stele_core::Result<()> {
        self.0.lock().unwrap().push(SentCode {
            to: message.to.identifier().text().to_owned(),
            purpose: message.purpose.as_str(),
            dialect: message.dialect,
            code: message.code.expose().to_owned(),
        });
        Ok(())
    }
}
