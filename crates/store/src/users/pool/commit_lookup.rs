//! Looks up a change whose commit is unknown, before the call is answered.

use std::fmt;

use stele_core::{Error, Result};

use super::call::{CallError, UnknownCause, UnknownOutcome};

/// A change that was found: its row's number, and what the server says about the commit.
pub(in crate::users) type FoundChange = (i64, bool, bool);

/// Whether the server waits for no synchronous standby: what is visible is then committed for good. Otherwise a commit
/// whose wait was canceled is visible, too, though a failover would lose it.
pub(in crate::users) const IS_UNREPLICATED: &str =
    "coalesce(current_setting('synchronous_standby_names', true), '') = ''";

/// Whether the server has run without a crash for longer than a call takes: a restart makes visible what was waiting
/// for a synchronous standby. A crash resets the server's statistics.
pub(in crate::users) const IS_UP_LONG: &str = "pg_postmaster_start_time() < now() - interval '15 seconds' \
     AND (SELECT coalesce(stats_reset, '-infinity') FROM pg_stat_bgwriter) < now() - interval '15 seconds'";

impl CallError {
    /// Logs an unknown outcome of `operation`, which cannot be looked up.
    pub(in crate::users) fn log_unknown(self, operation: &'static str) -> Self {
        if let Self::OutcomeUnknown(UnknownOutcome { cause, .. }) = &self {
            tracing::warn!(operation, %cause, "commit outcome unknown: the change may be applied");
        }
        self
    }
}

impl UnknownOutcome {
    /// Whether a lookup can settle the outcome.
    pub(in crate::users) fn can_be_settled(&self) -> bool {
        !matches!(self.cause, UnknownCause::NotReplicated)
    }

    /// The number of the changed row if `found` shows that the change is applied. Otherwise logs that the outcome of
    /// `operation` on `subject` (a user id or a name, no secret) is unknown.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the outcome stays unknown.
    pub(in crate::users) fn settle(
        self,
        found: Result<Option<FoundChange>>,
        operation: &'static str,
        subject: &dyn fmt::Display,
    ) -> Result<i64> {
        let lookup = match found {
            Ok(Some((number, is_unreplicated, is_up_long))) => {
                let was_never_canceled = matches!(self.cause, UnknownCause::ConnectionLost(_)) && is_up_long;
                if is_unreplicated || was_never_canceled {
                    tracing::info!(operation, %subject, cause = %self.cause, "a change without an answer was applied");
                    return Ok(number);
                }
                "visible, but perhaps not on the synchronous standby".to_owned()
            }
            Ok(None) if self.can_be_settled() => "not visible yet".to_owned(),
            Ok(None) => "not needed".to_owned(),
            Err(error) => format!("failed: {error}"),
        };
        let cause = &self.cause;
        tracing::warn!(operation, %subject, %cause, lookup, "commit outcome unknown: the change may be applied");
        Err(Error::unavailable(format!("{operation}: {cause}; whether the change was made is unknown")))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    fn settle(cause: UnknownCause, found: Result<Option<FoundChange>>) -> Result<i64> {
        let unknown = UnknownOutcome { cause, lookup_deadline: Instant::now() };
        unknown.settle(found, "change_credential", &"user")
    }

    fn connection_lost() -> UnknownCause {
        UnknownCause::ConnectionLost("closed".to_owned())
    }

    fn connection_ended() -> UnknownCause {
        UnknownCause::ConnectionEnded("terminated by an administrator".to_owned())
    }

    #[test]
    fn a_visible_change_is_applied_if_no_standby_is_waited_for() {
        for cause in [connection_lost(), connection_ended(), UnknownCause::NoAnswer] {
            assert_eq!(settle(cause, Ok(Some((5, true, false)))).unwrap(), 5);
        }
    }

    #[test]
    fn with_a_standby_a_visible_change_is_applied_only_if_its_wait_was_not_canceled() {
        assert_eq!(settle(connection_lost(), Ok(Some((5, false, true)))).unwrap(), 5);
        settle(connection_lost(), Ok(Some((5, false, false)))).unwrap_err();
        for cause in [connection_ended(), UnknownCause::NoAnswer] {
            settle(cause, Ok(Some((5, false, true)))).unwrap_err();
        }
    }

    #[test]
    fn an_outcome_that_was_not_found_stays_unknown() {
        for cause in [connection_lost(), connection_ended(), UnknownCause::NoAnswer, UnknownCause::NotReplicated] {
            let error = settle(cause, Ok(None)).unwrap_err();
            assert!(matches!(&error, Error::Unavailable(cause) if cause.to_string().contains("unknown")), "{error}");
        }
        settle(connection_lost(), Err(Error::unavailable("no connection"))).unwrap_err();
    }
}
