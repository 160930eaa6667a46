//! Ending salted logins: no digest is sealed any more, and sealed digests are erased.

use super::reseal::throttle;
use crate::Result;
use crate::ports::KeyStore;
use crate::time::Clock;

/// How many rows one transaction erases.
const BATCH_SIZE: u32 = 500;

/// Ends salted logins and erases every sealed digest, in batches whose sizes are passed to `progress`. May be
/// interrupted and run again. Returns how many were erased.
///
/// # Errors
/// `Unavailable`, `Internal`.
pub(super) async fn end_salted(
    keys: &dyn KeyStore,
    clock: &dyn Clock,
    progress: &mut (dyn FnMut(u64) + Send),
) -> Result<u64> {
    // End first, so that no digest is sealed after it was erased.
    keys.end_salted(clock.now()).await?;
    let mut erased = 0;
    loop {
        let batch_start = clock.now();
        match keys.erase_sealed_digests(BATCH_SIZE).await? {
            0 => return Ok(erased),
            count => {
                erased += count;
                progress(count);
            }
        }
        throttle(clock, batch_start).await;
    }
}
