//! Disabling salted logins: no digest is sealed any more, and the stored sealed digests are erased.

use super::reseal::throttle;
use crate::Result;
use crate::ports::KeyStore;
use crate::time::Clock;

/// How many digests one transaction erases.
const BATCH_SIZE: u32 = 500;

/// Disables salted logins and erases every sealed digest, in batches whose sizes are passed to `progress`. Returns how
/// many digests were erased. An interrupted run can be repeated.
///
/// # Errors
/// `Unavailable`, `Internal`.
pub(super) async fn disable_salted_logins(
    keys: &dyn KeyStore,
    clock: &dyn Clock,
    progress: &mut (dyn FnMut(u64) + Send),
) -> Result<u64> {
    // Disables salted logins first, so that no process seals a digest again after it was erased.
    keys.disable_salted_logins(clock.now()).await?;
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
