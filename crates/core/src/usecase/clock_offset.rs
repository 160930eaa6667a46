//! Logs wrong clocks of clients, which a correct but stale salted proof reveals.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use super::proof_verification::verify_salted;
use crate::Dependencies;
use crate::proof::SaltedProof;
use crate::time::Timestamp;
use crate::user::Account;

/// At most one line is logged in this interval by a process.
const LOG_INTERVAL_SECONDS: u64 = 60;
/// An offset this near to whole hours looks like a wrong time zone. It need not be exact, because the clock may also be
/// off by minutes.
const TIME_ZONE_TOLERANCE_SECONDS: u64 = 300;
const HOUR_SECONDS: u64 = 3_600;

static LAST_LOGGED: AtomicI64 = AtomicI64::new(i64::MIN);

/// Logs the clock offset of a client whose stale proof `salted` is correct. The response does not depend on the result,
/// and verification does the same work for a wrong proof and for an unknown account (user enumeration).
pub(super) async fn log_clock_offset(
    deps: &Dependencies,
    account: Option<&Account>,
    salted: SaltedProof,
    now: Timestamp,
) {
    let (Ok(true), Some(skew)) = (verify_salted(deps, account, salted).await, deps.policy.max_clock_skew) else {
        return;
    };
    let last = LAST_LOGGED.load(Ordering::Relaxed);
    if now.as_secs().abs_diff(last) < LOG_INTERVAL_SECONDS
        || LAST_LOGGED.compare_exchange(last, now.as_secs(), Ordering::Relaxed, Ordering::Relaxed).is_err()
    {
        return;
    }
    let ahead_seconds = salted.made_at().as_secs().saturating_sub(now.as_secs());
    tracing::warn!(
        offset_seconds = ahead_seconds,
        "a client's clock is off, so its correct proof is stale: {}",
        describe_offset(ahead_seconds, skew)
    );
}

/// Describes the offset and the setting to change. `ahead_seconds` is how far the client's clock is ahead of this
/// server's; negative if it is behind.
fn describe_offset(ahead_seconds: i64, skew: Duration) -> String {
    let offset = ahead_seconds.unsigned_abs();
    let direction = if ahead_seconds < 0 { "behind" } else { "ahead of" };
    let (hours, minutes, seconds) = (offset / HOUR_SECONDS, offset / 60 % 60, offset % 60);
    let zone = match offset.saturating_add(TIME_ZONE_TOLERANCE_SECONDS) / HOUR_SECONDS {
        hours @ 1..=14 if offset.abs_diff(hours * HOUR_SECONDS) <= TIME_ZONE_TOLERANCE_SECONDS => {
            format!(", as if local time were sent for UTC ({hours} h)")
        }
        _ => String::new(),
    };
    let sufficient_minutes = offset.saturating_add(skew.as_secs()).div_ceil(60);
    format!(
        "the proof's timestamp is {hours} h {minutes} min {seconds} s {direction} this server's clock{zone}; \
         STELE_TIMESTAMP_SKEW={sufficient_minutes}m accepts such clients, and extends the replay \
         protection of proofs by as much"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_hour_offset_of_a_time_zone_is_reported_as_local_time() {
        let skew = Duration::from_secs(300);
        let text = describe_offset(28_812, skew);
        assert!(
            text.contains("8 h 0 min 12 s ahead of")
                && text.contains("(8 h)")
                && text.contains("STELE_TIMESTAMP_SKEW=486m"),
            "{text}"
        );
        let text = describe_offset(-28_600, skew);
        assert!(text.contains("7 h 56 min 40 s behind") && text.contains("(8 h)"), "{text}");
        for other in [1_800, 5_400, 20 * 3_600, 86_400 * 365, i64::MAX, i64::MIN + 1] {
            assert!(!describe_offset(other, skew).contains("UTC"), "{other}");
        }
    }
}
