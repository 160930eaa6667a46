//! Order of checks of a login attempt: every store follows `stele_core::rate_limit`.

use std::convert::Infallible;

use stele_core::code::{CodeKey, CodePurpose};
use stele_core::origin::Origin;
use stele_core::ports::{
    AttemptOutcome, LoginAttempt, NewCode, OriginTrustChange, ProofResult, QuotaUse, RateLimitDecision, StateStore,
    SuccessEffects, UsedProof,
};
use stele_core::rate_limit::{
    AttemptDecision, CounterUpdate, FailureCounter, OriginTrust, ProofUse, RateLimitState, StoredFailures,
};
use stele_core::rate_limit_key::LoginAttemptKeys;
use stele_core::session::NewSession;

use crate::support::*;

/// A combination of reasons to reject an attempt, and whether its origin is trusted. `number` encodes it in six bits.
#[derive(Clone, Copy, Debug)]
struct RefusalCase {
    number: u8,
    blocked: bool,
    stale: bool,
    wrong: bool,
    replayed: bool,
    code_missing: bool,
    trusted: bool,
}

impl RefusalCase {
    fn from_bits(number: u8) -> Self {
        let bit = |bit: u8| number & (1 << bit) != 0;
        Self {
            number,
            blocked: bit(0),
            stale: bit(1),
            wrong: bit(2),
            replayed: bit(3),
            code_missing: bit(4),
            trusted: bit(5),
        }
    }

    fn attempt(self) -> LoginAttempt {
        let origin = Origin::from_address([192, 0, 2, self.number].into());
        LoginAttempt { account: format!("user:case-{}", self.number), ..attempt(origin, NOW) }
    }

    fn used_proof(self) -> UsedProof {
        UsedProof { key: [self.number; 32], expires: NOW.saturating_add(secs(600)) }
    }

    fn code(self) -> CodeKey {
        CodeKey::new("portal", CodePurpose::Any, &self.number.to_string())
    }

    /// Puts the store into the state of the case.
    async fn arrange(self, state: &dyn StateStore) {
        let valid = |success| ProofResult::Valid(Box::new(success));
        if self.trusted {
            let success = SuccessEffects { origin_trust: OriginTrustChange::Trust, ..SuccessEffects::default() };
            state.record_login_attempt(&self.attempt(), &valid(success)).await.unwrap();
        }
        if self.replayed {
            let success = SuccessEffects { used_proof: Some(self.used_proof()), ..SuccessEffects::default() };
            state.record_login_attempt(&self.attempt(), &valid(success)).await.unwrap();
        }
        if !self.code_missing {
            let code = NewCode { key: self.code(), tag: [1; 32], epoch: 0, expires: NOW.saturating_add(secs(600)) };
            assert_eq!(state.consume_quotas(&[] as &[QuotaUse], Some(&code), NOW).await.unwrap(), None);
        }
        for _ in 0..if self.blocked { 6 } else { 0 } {
            assert_eq!(
                state.record_login_attempt(&self.attempt(), &ProofResult::Invalid).await.unwrap(),
                AttemptOutcome::Recorded
            );
        }
    }

    /// The attempt of the case, and the result of its proof.
    fn attempt_and_proof(self) -> (LoginAttempt, ProofResult) {
        let attempt = LoginAttempt { proof_made_at: Some(if self.stale { BIRTH } else { NOW }), ..self.attempt() };
        let session = None::<NewSession>;
        let success = SuccessEffects {
            used_proof: Some(self.used_proof()),
            repeat_permit: None,
            consumed_code: Some(self.code()),
            origin_trust: OriginTrustChange::Trust,
            session,
        };
        (attempt, if self.wrong { ProofResult::Invalid } else { ProofResult::Valid(Box::new(success)) })
    }
}

/// The decision of `stele_core::rate_limit` for the case, and the rate limit decision afterwards.
fn expected(case: RefusalCase) -> (AttemptOutcome, RateLimitDecision) {
    let (attempt, proof) = case.attempt_and_proof();
    let keys = LoginAttemptKeys::for_attempt(&attempt);
    let failed = (0..6).fold(FailureCounter::new(NOW), |counter, _| counter.with_failure(NOW, &attempt.limits.account));
    let account = if case.trusted { keys.trusted_origin } else { keys.account };
    let stored = |key: &_| {
        let is_stored = case.blocked && *key == account;
        Ok::<_, Infallible>(
            is_stored.then_some(StoredFailures { counter: failed, from_origin: if case.trusted { 0 } else { 6 } }),
        )
    };
    let origin_trust = if case.trusted { OriginTrust::Trusted } else { OriginTrust::Untrusted };
    let state = RateLimitState::load(&attempt, &keys, origin_trust, stored).unwrap();
    let take_code = |_: &CodeKey| Ok::<_, Infallible>(!case.code_missing);
    let failures_after = |state: &RateLimitState| match state.record_failure().first() {
        Some(CounterUpdate::Store { counter, .. }) => counter.failures,
        other => panic!("{other:?}"),
    };
    let proof_use = if case.replayed { ProofUse::Replayed } else { ProofUse::First };
    match state.decide_attempt(&attempt, &proof, BIRTH, proof_use, take_code).unwrap() {
        AttemptDecision::Reject(outcome) => (outcome, state.decide_admission()),
        AttemptDecision::CountFailure => (
            AttemptOutcome::Recorded,
            RateLimitDecision::Allowed { failures: failures_after(&state), trusted_origin: case.trusted },
        ),
        AttemptDecision::Accept => {
            (AttemptOutcome::Recorded, RateLimitDecision::Allowed { failures: 0, trusted_origin: true })
        }
    }
}

#[tokio::test]
async fn every_combination_of_refusals_is_decided_as_in_core() {
    for StateBackend { name, state, .. } in state_backends().await {
        for case in (0..64).map(RefusalCase::from_bits) {
            case.arrange(&*state).await;
            let (attempt, proof) = case.attempt_and_proof();
            let outcome = state.record_login_attempt(&attempt, &proof).await.unwrap();
            let decision = state.check_rate_limit(&case.attempt()).await.unwrap();
            assert_eq!((outcome, decision), expected(case), "{name} {case:?}");
        }
    }
}
