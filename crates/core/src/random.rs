//! The injected source of randomness.

use crate::hex;

/// Gives random bytes. Injected, so that tests can pin what a service answers.
pub trait Random: Send + Sync {
    /// Fills `bytes` with cryptographically secure random bytes.
    fn fill(&self, bytes: &mut [u8]);

    /// 16 random bytes: 128 bits, as tokens and ids need.
    fn bits128(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        bytes
    }

    /// 32 lowercase hex digits holding 128 random bits.
    fn hex128(&self) -> String {
        hex::encode(&self.bits128())
    }

    /// A new epoch for a credential: 63 random bits, never 0. Random and not counted, so that an epoch whose row was
    /// lost in a failover or a restore is never reached again. See `docs/adr/0002-epochs-end-sessions.md`.
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

    /// A uniform number below `bound`, which must not be 0. Rejects rather than folds, so no value is likelier.
    fn uniform_below(&self, bound: u64) -> u64 {
        let zone = u64::MAX - u64::MAX % bound;
        loop {
            let mut bytes = [0; 8];
            self.fill(&mut bytes);
            let draw = u64::from_le_bytes(bytes);
            if draw < zone {
                return draw % bound;
            }
        }
    }
}

/// The operating system's generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsRandom;

impl Random for OsRandom {
    /// # Panics
    /// If the operating system cannot give random bytes: nothing here is safe without them.
    fn fill(&self, bytes: &mut [u8]) {
        if let Err(cause) = getrandom::fill(bytes) {
            panic!("the operating system gives no random bytes: {cause}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn epochs_are_positive_and_use_all_63_bits() {
        let epochs: HashSet<_> = (0..500).map(|_| OsRandom.new_epoch()).collect();
        assert_eq!(epochs.len(), 500);
        assert!(epochs.iter().all(|&epoch| epoch > 0));
        assert_eq!(epochs.iter().fold(0, |all, epoch| all | epoch), i64::MAX);
    }
}
