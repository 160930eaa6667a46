//! What the rate limits allow a guesser (`docs/RATE-LIMITS.md`), in figures of this command's own.

use std::time::Duration;

/// An account's free failures.
const FREE_FAILURES: u64 = 5;
/// The longest wait, in seconds.
const MAX_WAIT_SECONDS: u64 = 60;
/// An address's failures in 15 minutes.
pub(crate) const FAILURES_PER_ADDRESS: u64 = 100;
/// A MeFP app's failures in 15 minutes.
pub(crate) const FAILURES_PER_APP: u64 = 1_000;
/// Codes to one recipient in an hour.
pub(crate) const CODES_PER_RECIPIENT: u64 = 5;
/// Codes for one address in an hour.
pub(crate) const CODES_PER_ADDRESS: u64 = 30;

/// How many guesses at one account may be looked at within `time` of the first, if that is less than the 15 minutes
/// after which a count begins anew: five that are free, one that begins the wait, and one after each wait, of 1 s at
/// first and double each time, to a minute.
pub(crate) fn allowed_guesses_at_account(time: Duration) -> u64 {
    let (mut allowed, mut wait, mut at) = (FREE_FAILURES + 1, 1, 1);
    while at <= time.as_secs() {
        allowed += 1;
        wait = (wait * 2).min(MAX_WAIT_SECONDS);
        at += wait;
    }
    allowed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_guesses_are_free_and_each_wait_doubles() {
        let after = |millis| allowed_guesses_at_account(Duration::from_millis(millis));
        assert_eq!(
            [0, 999, 1_000, 2_999, 3_000, 7_000, 15_000, 31_000, 62_999].map(after),
            [6, 6, 7, 7, 8, 9, 10, 11, 11]
        );
        assert_eq!([63_000, 122_999, 123_000, 182_999, 183_000].map(after), [12, 12, 13, 13, 14]);
    }
}
