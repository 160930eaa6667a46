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

    /// A uniform number below `bound`, which must not be 0. Rejects rather than folds, so no value is likelier.
    fn below(&self, bound: u64) -> u64 {
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
