//! The source of cryptographically secure randomness, which tests can replace.

use crate::hex;

/// A source of random bytes. Tests can inject a source with known output.
pub trait Random: Send + Sync {
    /// Fills `bytes` with cryptographically secure random bytes.
    fn fill(&self, bytes: &mut [u8]);

    /// 128 random bits, as tokens and ids need.
    fn bits128(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        bytes
    }

    /// 128 random bits as 32 lowercase hex digits.
    fn hex128(&self) -> String {
        hex::encode(&self.bits128())
    }

    /// A new epoch for a credential: 63 random bits, never 0. Epochs are random and not counted up, so that an epoch
    /// whose row was lost in a failover or a restore does not occur again (ADR 2).
    fn new_epoch(&self) -> i64 {
        loop {
            let mut bytes = [0; 8];
            self.fill(&mut bytes);
            let epoch = i64::from_le_bytes(bytes) & i64::MAX;
            if epoch != 0 {
                return epoch;
            }
        }
    }

    /// A new epoch for a credential that replaces another one because an old server said so: as
    /// [`Random::new_epoch`], but negative. The sign marks the difference from a password that was set here.
    fn new_epoch_from_old_server(&self) -> i64 {
        -self.new_epoch()
    }

    /// A uniformly distributed number below `bound`.
    ///
    /// # Panics
    /// If `bound` is 0.
    fn uniform_below(&self, bound: u64) -> u64 {
        // Draws above a multiple of `bound` are rejected, because reducing them modulo `bound` would favor small
        // numbers.
        let limit = u64::MAX - u64::MAX % bound;
        loop {
            let mut bytes = [0; 8];
            self.fill(&mut bytes);
            let draw = u64::from_le_bytes(bytes);
            if draw < limit {
                return draw % bound;
            }
        }
    }
}

/// The random generator of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsRandom;

impl Random for OsRandom {
    /// # Panics
    /// If the operating system cannot provide random bytes, without which no operation is secure.
    fn fill(&self, bytes: &mut [u8]) {
        if let Err(error) = getrandom::fill(bytes) {
            panic!("the operating system cannot provide random bytes: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn epochs_are_distinct_positive_and_use_all_63_bits() {
        let epochs: HashSet<_> = (0..500).map(|_| OsRandom.new_epoch()).collect();
        assert_eq!(epochs.len(), 500);
        assert!(epochs.iter().all(|&epoch| epoch > 0));
        assert_eq!(epochs.iter().fold(0, |all, epoch| all | epoch), i64::MAX);
    }
}
