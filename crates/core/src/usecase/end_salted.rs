//! Ending salted dialects: nothing is sealed for them any more, and what was is erased.

use super::reseal::throttle;
use crate::Result;
use crate::ports::KeyStore;
use crate::time::Clock;

/// How many rows are erased at once.
const BATCH_SIZE: u32 = 500;

/// Ends salted dialects and erases every sealed digest, telling `progress` how many at a time. What was done already
/// is not done again, so it may be stopped anywhere. Gives how many were erased.
///
/// # Errors
/// Faults of ours.
pub(super) async fn end_salted(
    keys: &dyn KeyStore,
    clock: &dyn Clock,
    progress: &mut (dyn FnMut(u64) + Send),
) -> Result<u64> {
    // First, so that what is erased stays erased.
    keys.end_salted(clock.now()).await?;
    let mut erased = 0;
    loop {
        let begun = clock.now();
        match keys.erase_sealed_digests(BATCH_SIZE).await? {
            0 => return Ok(erased),
            some => {
                erased += some;
                progress(some);
            }
        }
        throttle(clock, begun).await;
    }
}
