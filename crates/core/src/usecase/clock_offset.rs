//! What a client's clock shows, in the log: a right proof that is stale comes from a user, and from a clock that is off.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use super::proof_verification::verify_salted;
use crate::Dependencies;
use crate::proof::SaltedProof;
use crate::time::Timestamp;
use crate::user::Account;

/// The log has one line in so many seconds.
const LOG_INTERVAL_SECONDS: u64 = 60;
/// How near to whole hours an offset is a time zone, in seconds: client clocks are off by minutes as well.
const TIME_ZONE_TOLERANCE_SECONDS: u64 = 300;
const HOUR_SECONDS: u64 = 3_600;

static LAST_LOGGED: AtomicI64 = AtomicI64::new(i64::MIN);

/// Logs by how much the clock is off that made `salted`, if it is right. Costs the same if it is wrong or there is no such
/// account, and the client learns nothing of it.
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
    let ahead = salted.made_at().as_secs().saturating_sub(now.as_secs());
    tracing::warn!(offset_seconds = ahead, "a right proof is stale: {}", describe(ahead, skew));
}

/// `ahead`: by how many seconds the client's clock is ahead of this one.
fn describe(ahead: i64, skew: Duration) -> String {
    let off = ahead.unsigned_abs();
    let side = if ahead < 0 { "behind" } else { "ahead of" };
    let (hours, minutes, seconds) = (off / HOUR_SECONDS, off / 60 % 60, off % 60);
    let zone = match off.saturating_add(TIME_ZONE_TOLERANCE_SECONDS) / HOUR_SECONDS {
        hours @ 1..=14 if off.abs_diff(hours * HOUR_SECONDS) <= TIME_ZONE_TOLERANCE_SECONDS => {
            format!(", as if local time were sent for UTC ({hours} h)")
        }
        _ => String::new(),
    };
    let enough = off.saturating_add(skew.as_secs()).div_ceil(60);
    format!(
        "its timestamp is {hours} h {minutes} min {seconds} s {side} this server's clock{zone}; STELE_TIMESTAMP_SKEW={enough}m accepts \
         such clients, and remembers their proofs as long"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_hour_offset_is_reported_with_the_skew_setting_to_use() {
        let skew = Duration::from_secs(300);
        let text = describe(28_812, skew);
        assert!(
            text.contains("8 h 0 min 12 s ahead of")
                && text.contains("(8 h)")
                && text.contains("STELE_TIMESTAMP_SKEW=486m"),
            "{text}"
        );
        let text = describe(-28_600, skew);
        assert!(text.contains("7 h 56 min 40 s behind") && text.contains("(8 h)"), "{text}");
        for other in [1_800, 5_400, 20 * 3_600, 86_400 * 365, i64::MAX, i64::MIN + 1] {
            assert!(!describe(other, skew).contains("UTC"), "{other}");
        }
    }
}
