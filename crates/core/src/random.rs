//! The injected source of randomness.

use std::cell::RefCell;

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
    fn epoch(&self) -> i64 {
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

/// The operating system's generator, asked for a kilobyte at a time by each thread: for what must not be met twice, but
/// is no secret. Secrets come from [`OsRandom`], which leaves nothing of what is to come in memory.
#[derive(Clone, Copy, Debug, Default)]
pub struct PooledRandom;

/// Bytes that were not given yet, from `.1` on.
struct Pool([u8; 1024], usize);

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool([0; 1024], 1024)) };
}

impl Random for PooledRandom {
    /// # Panics
    /// If the operating system cannot give random bytes.
    fn fill(&self, bytes: &mut [u8]) {
        POOL.with_borrow_mut(|Pool(pool, at)| {
            for chunk in bytes.chunks_mut(pool.len()) {
                if pool.len() - *at < chunk.len() {
                    OsRandom.fill(pool);
                    *at = 0;
                }
                chunk.copy_from_slice(&pool[*at..*at + chunk.len()]);
                *at += chunk.len();
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn an_epoch_is_positive_and_spread_over_63_bits() {
        let epochs: HashSet<_> = (0..500).map(|_| PooledRandom.epoch()).collect();
        assert_eq!(epochs.len(), 500);
        assert!(epochs.iter().all(|&epoch| epoch > 0));
        assert_eq!(epochs.iter().fold(0, |all, epoch| all | epoch), i64::MAX);
    }

    #[test]
    fn a_pool_gives_nothing_twice() {
        let give = || (0..500).map(|_| PooledRandom.bits128()).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(give)).collect();
        let given: HashSet<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(given.len(), 2_000);
        let mut long = [0; 5_000];
        PooledRandom.fill(&mut long);
        let parts: HashSet<&[u8]> = long.chunks(8).collect();
        assert_eq!(parts.len(), 625);
    }
}
