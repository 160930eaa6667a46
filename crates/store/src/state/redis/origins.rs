//! Rate limits of origins on a Redis Cluster, where they are in another slot than the account of an attempt.
//!
//! The origin is checked first. A wrong proof is counted there in the same script, before the account is asked, so that
//! the number of parallel guesses from an origin is exact. If the account then rejects the attempt, the count is
//! reverted. See `docs/adr/0048-split-cluster-attempts-by-account-and-origin.md`.

use std::time::Duration;

use stele_core::ports::LoginAttempt;
use stele_core::rate_limit_key::LoginAttemptKeys;
use stele_core::{Result, hex};

use super::script_call::{self, ScriptCall};
use super::scripts::{self, Script};
use super::{RedisStateStore, malformed_reply_error};

/// What the check of an origin does if no limit blocks the attempt.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum OriginAction {
    /// Changes nothing.
    Check,
    /// Counts a failure.
    CountFailure,
}

/// The result of the check of an origin.
pub(super) enum OriginCheck {
    /// The origin's limits reject the attempt for this long; nothing was counted.
    Blocked(Duration),
    /// The attempt may proceed.
    Passed(CountedFailure),
}

/// How to revert the failure that was counted at an origin, if one was.
#[must_use]
pub(super) struct CountedFailure(Option<Vec<String>>);

impl RedisStateStore {
    pub(super) async fn check_origin(&self, attempt: &LoginAttempt, action: OriginAction) -> Result<OriginCheck> {
        let call = self.origin_call(&scripts::CHECK_ORIGIN, attempt).flag(action == OriginAction::CountFailure);
        let mut reply: Vec<String> = self.run_script(&call).await?;
        let wait = reply.first().and_then(|wait| wait.parse().ok());
        let wait = wait.ok_or_else(|| malformed_reply_error("reply to a check of an origin"))?;
        if wait > 0 {
            return Ok(OriginCheck::Blocked(script_call::parse_retry_after(wait)));
        }
        reply.remove(0);
        let is_counted = action == OriginAction::CountFailure;
        Ok(OriginCheck::Passed(CountedFailure(is_counted.then_some(reply))))
    }

    /// Reverts the failure that was counted, if one was. Otherwise makes the same round trip, so that the time of a
    /// rejection does not show whether the proof was right. A failure is ignored: the guess stays counted.
    pub(super) async fn revert_failure(&self, attempt: &LoginAttempt, counted: CountedFailure) {
        let reverted = match counted.0 {
            Some(before) => {
                let call = self.origin_call(&scripts::REVERT_FAILURE, attempt);
                self.execute(before.into_iter().fold(call, ScriptCall::arg)).await
            }
            None => self.check_origin(attempt, OriginAction::Check).await.map(drop),
        };
        if let Err(error) = reverted {
            tracing::debug!(cause = %error, "a failure that the account rejected stays counted at the origin");
        }
    }

    /// The wait of the origin's limits; zero if none blocks.
    pub(super) async fn origin_wait(&self, attempt: &LoginAttempt) -> Result<Duration> {
        Ok(match self.check_origin(attempt, OriginAction::Check).await? {
            OriginCheck::Blocked(wait) => wait,
            OriginCheck::Passed(_) => Duration::ZERO,
        })
    }

    /// Builds the beginning of a call of a script on the origin's budgets: the keys and arguments that
    /// `check_origin.lua` lists.
    fn origin_call(&self, script: &'static Script, attempt: &LoginAttempt) -> ScriptCall {
        let LoginAttemptKeys { origins, .. } = LoginAttemptKeys::for_attempt(attempt);
        // The hash tag has 16 bits of the widest network's key: all networks around an origin are in one slot.
        let tag = origins.last().map_or(String::new(), |(widest, _)| hex::encode(&widest[..2]));
        let call = origins.iter().fold(ScriptCall::new(script), |call, (key, _)| {
            call.key(format!("{{{}:o{tag}}}:origin:{}", self.prefix, hex::encode(key)))
        });
        let limits: Vec<_> = origins.iter().map(|(_, limit)| *limit).collect();
        call.timestamp(attempt.now).failure_limits(&limits)
    }
}
