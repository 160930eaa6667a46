//! Login attempts, verification codes and quotas in Redis: the calls that check a rate limit.

use stele_core::code::CodeKey;
use stele_core::ports::{
    AttemptOutcome, CodeVerification, CodeVerificationResult, LoginAttempt, NewCode, OnCodeMatch, OriginTrustChange,
    ProofResult, QuotaExceeded, QuotaUse, RateLimitDecision, SuccessEffects,
};
use stele_core::rate_limit_key::{LoginAttemptKeys, RateLimitKey, rate_limit_key};
use stele_core::time::Timestamp;
use stele_core::{Result, hex};

use super::script_call::{self, ScriptCall};
use super::scripts::{self, Script};
use super::{RedisStateStore, malformed_reply_error, records};

/// Reply of the scripts of this module: an outcome, and two numbers whose meaning depends on the outcome.
type ScriptReply = (String, i64, i64);

impl RedisStateStore {
    /// The Redis key of a counter, a code or an origin's trust: the hex digits of `key`, with the deployment's hash tag,
    /// so that one script can access all such keys.
    fn rate_limit_redis_key(&self, kind: &str, key: &RateLimitKey) -> String {
        self.hash_tagged_key(kind, hex::encode(key))
    }

    fn code_key(&self, key: &CodeKey) -> String {
        self.rate_limit_redis_key("code", &rate_limit_key("code", key.as_str()))
    }

    /// Builds the beginning of a call of a script that checks the rate limits first: the keys and arguments that
    /// `rate_limit.lua` lists. The caller adds the script's own.
    fn new_attempt_call(&self, script: &'static Script, attempt: &LoginAttempt) -> ScriptCall {
        let LoginAttemptKeys { account, trusted_origin, origins, origin_hash } = LoginAttemptKeys::for_attempt(attempt);
        let call = ScriptCall::new(script)
            .key(self.rate_limit_redis_key("known", &trusted_origin))
            .key(self.rate_limit_redis_key("account", &account))
            .key(self.rate_limit_redis_key("own", &trusted_origin));
        let call = origins.iter().fold(call, |call, (key, _)| call.key(self.rate_limit_redis_key("origin", key)));
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
        let (outcome, number, is_trusted): ScriptReply =
            self.run_script(&self.new_attempt_call(&scripts::CHECK_RATE_LIMIT, attempt)).await?;
        match (outcome.as_str(), u32::try_from(number)) {
            ("blocked", _) => {
                Ok(RateLimitDecision::RateLimited { retry_after: script_call::parse_retry_after(number) })
            }
            ("open", Ok(failures)) => Ok(RateLimitDecision::Allowed { failures, trusted_origin: is_trusted == 1 }),
            _ => Err(malformed_reply_error("reply to a rate limit check")),
        }
    }

    pub(super) async fn run_login_attempt(
        &self,
        attempt: &LoginAttempt,
        proof: &ProofResult,
    ) -> Result<AttemptOutcome> {
        let mut call = self.new_attempt_call(&scripts::RECORD_LOGIN_ATTEMPT, attempt).key(self.birth_key());
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
            call = call.key(self.hash_tagged_key("replay", hex::encode(&used_proof.key)));
        }
        if let Some(permit) = repeat_permit {
            call = call.key(self.hash_tagged_key("repeat", hex::encode(&permit.key)));
        }
        if let Some(code) = consumed_code {
            call = call.key(self.code_key(code));
        }
        call = match session {
            Some(new) if !self.is_cluster => {
                let call = call.key(self.session_key(&new.key)).key(self.session_index_key(new.session.user));
                records::with_new_session(call, new)
            }
            Some(_) | None => call.absent(),
        };
        let outcome = parse_attempt_outcome(self.run_script(&call).await?)?;
        // On a cluster, the session may be on another node, which takes further round trips. If one of them fails, the
        // login fails; the client has no token yet.
        if let (AttemptOutcome::Recorded, Some(new), true) = (outcome, session, self.is_cluster) {
            self.store_session(new, attempt.now).await?;
        }
        Ok(outcome)
    }

    pub(super) async fn run_code_verification(
        &self,
        attempt: &LoginAttempt,
        guess: &CodeVerification,
    ) -> Result<CodeVerificationResult> {
        let CodeVerification { candidates, epoch, on_match, max_attempts } = guess;
        let consume = *on_match == OnCodeMatch::Consume;
        let mut call =
            self.new_attempt_call(&scripts::VERIFY_CODE, attempt).arg(*epoch).flag(consume).arg(*max_attempts);
        for (key, tag) in candidates {
            call = call.key(self.code_key(key)).arg(tag.as_slice());
        }
        let (outcome, number, _): ScriptReply = self.run_script(&call).await?;
        match (outcome.as_str(), usize::try_from(number)) {
            ("blocked", _) => {
                Ok(CodeVerificationResult::RateLimited { retry_after: script_call::parse_retry_after(number) })
            }
            ("right", Ok(index)) if index < candidates.len() => Ok(CodeVerificationResult::Valid(index)),
            ("wrong", _) => Ok(CodeVerificationResult::Invalid),
            _ => Err(malformed_reply_error("reply to a code check")),
        }
    }

    pub(super) async fn run_quota_consumption(
        &self,
        uses: &[QuotaUse],
        code: Option<&NewCode>,
        now: Timestamp,
    ) -> Result<Option<QuotaExceeded>> {
        if uses.is_empty() && code.is_none() {
            return Ok(None);
        }
        let mut call = ScriptCall::new(&scripts::CONSUME_QUOTAS).timestamp(now).arg(uses.len());
        call = match code {
            Some(code) => call.arg(code.tag.as_slice()).arg(code.epoch).timestamp(code.expires),
            None => call.absent().absent().absent(),
        };
        for QuotaUse { key, quota } in uses {
            call = call
                .key(self.rate_limit_redis_key("use", &rate_limit_key("use", key)))
                .arg(quota.max)
                .duration(quota.window);
        }
        if let Some(code) = code {
            call = call.key(self.code_key(&code.key));
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
