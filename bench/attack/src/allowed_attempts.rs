//! Password guesses, failures and codes that the rate limits allow (`docs/RATE-LIMITS.md`), computed independently of
//! the product.

use std::time::Duration;

/// Failures of an account before the first wait begins.
const FREE_FAILURES: u64 = 5;
/// The longest wait after a failure, in seconds.
const MAX_WAIT_SECONDS: u64 = 60;
/// Most failures of an address in 15 minutes.
pub(crate) const FAILURES_PER_ADDRESS: u64 = 100;
/// Most failures of a MeFP app in 15 minutes.
pub(crate) const FAILURES_PER_APP: u64 = 1_000;
/// Most codes to one recipient in an hour.
pub(crate) const CODES_PER_RECIPIENT: u64 = 5;
/// Most codes requested by one address in an hour.
pub(crate) const CODES_PER_ADDRESS: u64 = 30;

/// The most guesses at one account that may be verified within `time` of the first one: five without a wait, one that
/// starts the first wait, and one after each wait. The first wait is 1 s; each further one is double the previous one,
/// up to a minute. `time` must be below 15 minutes, after which the bucket is empty again.
pub(crate) fn allowed_guesses_at_account(time: Duration) -> u64 {
    let (mut allowed, mut wait, mut next_guess_at) = (FREE_FAILURES + 1, 1, 1);
    while next_guess_at <= time.as_secs() {
        allowed += 1;
        wait = (wait * 2).min(MAX_WAIT_SECONDS);
        next_guess_at += wait;
    }
    allowed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_guesses_are_immediate_and_each_wait_doubles_up_to_a_minute() {
        let allowed_after = |millis| allowed_guesses_at_account(Duration::from_millis(millis));
        assert_eq!(
            [0, 999, 1_000, 2_999, 3_000, 7_000, 15_000, 31_000, 62_999].map(allowed_after),
            [6, 6, 7, 7, 8, 9, 10, 11, 11]
        );
        assert_eq!([63_000, 122_999, 123_000, 182_999, 183_000].map(allowed_after), [12, 12, 13, 13, 14]);
    }
}
