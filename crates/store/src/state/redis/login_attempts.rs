//! Login attempts, verification codes and quotas in Redis: the calls that check a rate limit. On one server each is one
//! script. On a cluster the origin's limits are in another slot than the account: `origins.rs`.

use std::time::Duration;

use stele_core::Result;
use stele_core::ports::{
    AttemptOutcome, CodeVerification, CodeVerificationResult, LoginAttempt, NewCode, OnCodeMatch, OriginTrustChange,
    ProofResult, QuotaExceeded, QuotaUse, RateLimitDecision, SuccessEffects,
};
use stele_core::rate_limit_key::{LoginAttemptKeys, rate_limit_key};
use stele_core::time::Timestamp;

use super::origins::{OriginAction, OriginCheck};
use super::script_call::{self, ScriptCall};
use super::scripts::{self, Script};
use super::{AccountSlot, RedisStateStore, malformed_reply_error, records};

/// Reply of the scripts of this module: an outcome, and two numbers whose meaning depends on the outcome.
type ScriptReply = (String, i64, i64);

/// The part of `verify_code.lua` that a call runs.
#[derive(Clone, Copy)]
enum CodeCheck {
    /// Checks the guess and records it.
    CheckAndRecord,
    /// Checks the guess and changes nothing.
    Peek,
    /// Records a guess that was right when it was peeked at, if it still is.
    RecordRight,
    /// Records a guess that was wrong when it was peeked at.
    RecordWrong,
}

/// The reply of `verify_code.lua`.
enum CodeCheckReply {
    Blocked(Duration),
    Right(usize),
    Wrong,
    /// The guess was right when it was peeked at, and is wrong now. Nothing was recorded.
    Changed,
}

impl RedisStateStore {
    /// Builds the beginning of a call of a script that checks the rate limits first: the keys and arguments that
    /// `rate_limit.lua` lists. The caller adds the script's own.
    fn new_attempt_call(&self, script: &'static Script, slot: AccountSlot<'_>, attempt: &LoginAttempt) -> ScriptCall {
        let LoginAttemptKeys { account, trusted_origin, mut origins, origin_hash } =
            LoginAttemptKeys::for_attempt(attempt);
        if self.is_cluster() {
            origins.clear();
        }
        let call = ScriptCall::new(script)
            .in_bucket(slot.bucket)
            .key(slot.key("known", &trusted_origin))
            .key(slot.key("account", &account))
            .key(slot.key("own", &trusted_origin));
        let call = origins.iter().fold(call, |call, (key, _)| call.key(slot.key("origin", key)));
        let origin_limits: Vec<_> = origins.iter().map(|(_, limit)| *limit).collect();
        // The field of the account's counter with this origin's share of the failures.
        let origin_share_field = [b"o".as_slice(), &origin_hash].concat();
        call.timestamp(attempt.now)
            .failure_limits(&[attempt.limits.account])
            .failure_limits(&origin_limits)
            .duration(attempt.limits.trusted_origin_ttl)
            .arg(origin_share_field)
    }

    pub(super) async fn run_rate_limit_check(&self, attempt: &LoginAttempt) -> Result<RateLimitDecision> {
        if !self.is_cluster() {
            return self.check_account(attempt).await;
        }
        let (account, origin_wait) = futures_util::try_join!(self.check_account(attempt), self.origin_wait(attempt))?;
        Ok(match account {
            RateLimitDecision::RateLimited { retry_after } => {
                RateLimitDecision::RateLimited { retry_after: retry_after.max(origin_wait) }
            }
            RateLimitDecision::Allowed { .. } if !origin_wait.is_zero() => {
                RateLimitDecision::RateLimited { retry_after: origin_wait }
            }
            RateLimitDecision::Allowed { .. } => account,
        })
    }

    /// Checks the account's rate limits; on one server, also the origin's.
    async fn check_account(&self, attempt: &LoginAttempt) -> Result<RateLimitDecision> {
        let slot = self.account_slot(&attempt.account);
        let (outcome, number, is_trusted): ScriptReply =
            self.run_script(&self.new_attempt_call(&scripts::CHECK_RATE_LIMIT, slot, attempt)).await?;
        match (outcome.as_str(), u32::try_from(number)) {
            ("blocked", _) => {
                Ok(RateLimitDecision::RateLimited { retry_after: script_call::parse_retry_after(number) })
            }
            ("open", Ok(failures)) => Ok(RateLimitDecision::Allowed { failures, trusted_origin: is_trusted == 1 }),
            _ => Err(malformed_reply_error("reply to a rate limit check")),
        }
    }

    /// The wait of the account's rate limits; zero if none blocks.
    async fn account_wait(&self, attempt: &LoginAttempt) -> Result<Duration> {
        Ok(match self.check_account(attempt).await? {
            RateLimitDecision::RateLimited { retry_after } => retry_after,
            RateLimitDecision::Allowed { .. } => Duration::ZERO,
        })
    }

    pub(super) async fn run_login_attempt(
        &self,
        attempt: &LoginAttempt,
        proof: &ProofResult,
    ) -> Result<AttemptOutcome> {
        if !self.is_cluster() {
            return self.record_at_account(attempt, proof).await;
        }
        let action = match proof {
            ProofResult::Invalid => OriginAction::CountFailure,
            ProofResult::Valid(_) => OriginAction::Check,
        };
        let counted = match self.check_origin(attempt, action).await? {
            OriginCheck::Blocked(wait) => {
                return Ok(AttemptOutcome::RateLimited { retry_after: wait.max(self.account_wait(attempt).await?) });
            }
            OriginCheck::Passed(counted) => counted,
        };
        let outcome = self.record_at_account(attempt, proof).await;
        if let Ok(AttemptOutcome::RateLimited { .. } | AttemptOutcome::ProofStale) | Err(_) = outcome {
            self.revert_failure(attempt, counted).await;
        }
        let outcome = outcome?;
        // The session is in other slots. If one of them fails, the login fails; the client has no token yet.
        if let (AttemptOutcome::Recorded, ProofResult::Valid(success)) = (outcome, proof)
            && let Some(new) = &success.session
        {
            self.store_session(new, attempt.now).await?;
        }
        Ok(outcome)
    }

    /// Records an attempt at the account; on one server, also at the origin, with the session.
    async fn record_at_account(&self, attempt: &LoginAttempt, proof: &ProofResult) -> Result<AttemptOutcome> {
        let slot = self.account_slot(&attempt.account);
        let mut call = self.new_attempt_call(&scripts::RECORD_LOGIN_ATTEMPT, slot, attempt).key(slot.birth_key());
        call = match attempt.proof_made_at {
            Some(made_at) => call.arg(made_at.as_secs()),
            None => call.absent(),
        };
        let ProofResult::Valid(success) = proof else {
            return parse_attempt_outcome(self.run_script(&call.arg("wrong")).await?);
        };
        let SuccessEffects { used_proof, repeat_permit, consumed_code, origin_trust, session } = &**success;
        call = call
            .arg("right")
            .optional_timestamp(used_proof.as_ref().map(|proof| proof.expires))
            .flag(consumed_code.is_some())
            .flag(*origin_trust == OriginTrustChange::Trust)
            .optional_timestamp(repeat_permit.as_ref().map(|permit| permit.expires))
            .flag(repeat_permit.as_ref().is_some_and(|permit| permit.is_required));
        if let Some(used_proof) = used_proof {
            call = call.key(slot.key("replay", &used_proof.key));
        }
        if let Some(permit) = repeat_permit {
            call = call.key(slot.key("repeat", &permit.key));
        }
        if let Some(code) = consumed_code {
            call = call.key(slot.code_key(code));
        }
        call = match session {
            Some(new) if !self.is_cluster() => {
                let call = call.key(self.session_key(&new.key)).key(self.session_index_key(new.session.user));
                records::with_new_session(call, new)
            }
            Some(_) | None => call.absent(),
        };
        parse_attempt_outcome(self.run_script(&call).await?)
    }

    pub(super) async fn run_code_verification(
        &self,
        attempt: &LoginAttempt,
        guess: &CodeVerification,
    ) -> Result<CodeVerificationResult> {
        if !self.is_cluster() {
            let reply = self.check_code(attempt, guess, CodeCheck::CheckAndRecord).await?;
            return Ok(match reply {
                CodeCheckReply::Blocked(retry_after) => CodeVerificationResult::RateLimited { retry_after },
                CodeCheckReply::Right(index) => CodeVerificationResult::Valid(index),
                CodeCheckReply::Wrong | CodeCheckReply::Changed => CodeVerificationResult::Invalid,
            });
        }
        let peeked = self.check_code(attempt, guess, CodeCheck::Peek).await?;
        if let CodeCheckReply::Blocked(wait) = peeked {
            let retry_after = wait.max(self.origin_wait(attempt).await?);
            return Ok(CodeVerificationResult::RateLimited { retry_after });
        }
        if let CodeCheckReply::Right(_) = peeked {
            match self.record_guess(attempt, guess, CodeCheck::RecordRight).await? {
                // The code was used or invalidated meanwhile.
                CodeCheckReply::Changed => {}
                CodeCheckReply::Right(index) => return Ok(CodeVerificationResult::Valid(index)),
                CodeCheckReply::Blocked(retry_after) => return Ok(CodeVerificationResult::RateLimited { retry_after }),
                CodeCheckReply::Wrong => return Err(malformed_reply_error("reply to a code check")),
            }
        }
        Ok(match self.record_guess(attempt, guess, CodeCheck::RecordWrong).await? {
            CodeCheckReply::Blocked(retry_after) => CodeVerificationResult::RateLimited { retry_after },
            CodeCheckReply::Wrong => CodeVerificationResult::Invalid,
            CodeCheckReply::Right(_) | CodeCheckReply::Changed => {
                return Err(malformed_reply_error("reply to a code check"));
            }
        })
    }

    /// Records a guess that was peeked at, first at the origin, then at the account.
    async fn record_guess(
        &self,
        attempt: &LoginAttempt,
        guess: &CodeVerification,
        check: CodeCheck,
    ) -> Result<CodeCheckReply> {
        let action = match check {
            CodeCheck::RecordWrong => OriginAction::CountFailure,
            _ => OriginAction::Check,
        };
        let counted = match self.check_origin(attempt, action).await? {
            // The account did not block the attempt a round trip before.
            OriginCheck::Blocked(wait) => return Ok(CodeCheckReply::Blocked(wait)),
            OriginCheck::Passed(counted) => counted,
        };
        let reply = self.check_code(attempt, guess, check).await;
        if let Ok(CodeCheckReply::Blocked(_)) | Err(_) = reply {
            self.revert_failure(attempt, counted).await;
        }
        reply
    }

    async fn check_code(
        &self,
        attempt: &LoginAttempt,
        guess: &CodeVerification,
        check: CodeCheck,
    ) -> Result<CodeCheckReply> {
        let CodeVerification { candidates, epoch, on_match, max_attempts } = guess;
        let slot = self.account_slot(&attempt.account);
        let mut call = self
            .new_attempt_call(&scripts::VERIFY_CODE, slot, attempt)
            .arg(*epoch)
            .flag(*on_match == OnCodeMatch::Consume)
            .arg(*max_attempts)
            .arg(match check {
                CodeCheck::CheckAndRecord => "",
                CodeCheck::Peek => "peek",
                CodeCheck::RecordRight => "right",
                CodeCheck::RecordWrong => "wrong",
            });
        for (key, tag) in candidates {
            call = call.key(slot.code_key(key)).arg(tag.as_slice());
        }
        let (outcome, number, _): ScriptReply = self.run_script(&call).await?;
        match (outcome.as_str(), usize::try_from(number)) {
            ("blocked", _) => Ok(CodeCheckReply::Blocked(script_call::parse_retry_after(number))),
            ("right", Ok(index)) if index < candidates.len() => Ok(CodeCheckReply::Right(index)),
            ("wrong", _) => Ok(CodeCheckReply::Wrong),
            ("changed", _) => Ok(CodeCheckReply::Changed),
            _ => Err(malformed_reply_error("reply to a code check")),
        }
    }

    /// On a cluster, the code is stored after the quotas are consumed. If that fails, the uses stay counted.
    pub(super) async fn run_quota_consumption(
        &self,
        uses: &[QuotaUse],
        code: Option<&NewCode>,
        now: Timestamp,
    ) -> Result<Option<QuotaExceeded>> {
        let (own_code, separate_code) = if self.is_cluster() { (None, code) } else { (code, None) };
        if !uses.is_empty() || own_code.is_some() {
            let exceeded = self.consume_quotas_with(uses, own_code, now).await?;
            if exceeded.is_some() {
                return Ok(exceeded);
            }
        }
        if let Some(code) = separate_code {
            let slot = self.account_slot(&code.account);
            let call = ScriptCall::new(&scripts::STORE_CODE)
                .in_bucket(slot.bucket)
                .key(slot.code_key(&code.key))
                .timestamp(now)
                .arg(code.tag.as_slice())
                .arg(code.epoch)
                .timestamp(code.expires);
            self.execute(call).await?;
        }
        Ok(None)
    }

    async fn consume_quotas_with(
        &self,
        uses: &[QuotaUse],
        code: Option<&NewCode>,
        now: Timestamp,
    ) -> Result<Option<QuotaExceeded>> {
        // Quotas have one tag in common, on a cluster as well: a use counts in all of them or in none.
        let slot = AccountSlot { tag: &self.prefix, bucket: None };
        let mut call = ScriptCall::new(&scripts::CONSUME_QUOTAS).timestamp(now).arg(uses.len());
        call = match code {
            Some(code) => call.arg(code.tag.as_slice()).arg(code.epoch).timestamp(code.expires),
            None => call.absent().absent().absent(),
        };
        for QuotaUse { key, quota } in uses {
            call = call.key(slot.key("use", &rate_limit_key("use", key))).arg(quota.max).duration(quota.window);
        }
        if let Some(code) = code {
            call = call.key(slot.code_key(&code.key));
        }
        let (outcome, number, index): ScriptReply = self.run_script(&call).await?;
        match (outcome.as_str(), usize::try_from(index)) {
            ("blocked", Ok(index)) => {
                Ok(Some(QuotaExceeded { retry_after: script_call::parse_retry_after(number), index }))
            }
            ("done", _) => Ok(None),
            _ => Err(malformed_reply_error("reply to a quota check")),
        }
    }
}

fn parse_attempt_outcome((outcome, number, _): ScriptReply) -> Result<AttemptOutcome> {
    match outcome.as_str() {
        "done" => Ok(AttemptOutcome::Recorded),
        "blocked" => Ok(AttemptOutcome::RateLimited { retry_after: script_call::parse_retry_after(number) }),
        "stale" => Ok(AttemptOutcome::ProofStale),
        "replayed" => Ok(AttemptOutcome::ProofReplayed),
        "codegone" => Ok(AttemptOutcome::CodeConsumed),
        _ => Err(malformed_reply_error("reply to a login attempt")),
    }
}
