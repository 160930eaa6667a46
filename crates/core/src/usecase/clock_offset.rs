//! What a client's clock shows, in the log: a right proof that is stale comes from a user, and from a clock that is off.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use super::prove::check_salted;
use crate::Deps;
use crate::proof::Salted;
use crate::time::Timestamp;
use crate::user::Account;

/// The log has one line in so many seconds.
const PAUSE: u64 = 60;
/// How near to whole hours an offset is a time zone, in seconds: client clocks are off by minutes as well.
const NEAR: u64 = 300;
const HOUR: u64 = 3_600;

static LAST: AtomicI64 = AtomicI64::new(i64::MIN);

/// Logs by how much the clock is off that made `salted`, if it is right. Costs the same if it is wrong or there is no such
/// account, and the client learns nothing of it.
pub(super) async fn log(deps: &Deps, account: Option<&Account>, salted: Salted, now: Timestamp) {
    let (Ok(true), Some(skew)) = (check_salted(deps, account, salted).await, deps.policy.skew) else { return };
    let last = LAST.load(Ordering::Relaxed);
    if now.as_secs().abs_diff(last) < PAUSE
        || LAST.compare_exchange(last, now.as_secs(), Ordering::Relaxed, Ordering::Relaxed).is_err()
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
    let (hours, minutes, seconds) = (off / HOUR, off / 60 % 60, off % 60);
    let zone = match off.saturating_add(NEAR) / HOUR {
        hours @ 1..=14 if off.abs_diff(hours * HOUR) <= NEAR => {
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
    fn an_offset_of_whole_hours_is_named_with_the_setting_that_takes_it() {
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
