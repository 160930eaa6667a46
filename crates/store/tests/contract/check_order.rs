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
struct RejectionCase {
    number: u8,
    is_blocked: bool,
    is_stale: bool,
    is_wrong: bool,
    is_replayed: bool,
    is_code_missing: bool,
    is_trusted: bool,
}

impl RejectionCase {
    fn from_bits(number: u8) -> Self {
        let is_set = |bit: u8| number & (1 << bit) != 0;
        Self {
            number,
            is_blocked: is_set(0),
            is_stale: is_set(1),
            is_wrong: is_set(2),
            is_replayed: is_set(3),
            is_code_missing: is_set(4),
            is_trusted: is_set(5),
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
        if self.is_trusted {
            let success = SuccessEffects { origin_trust: OriginTrustChange::Trust, ..SuccessEffects::default() };
            state.record_login_attempt(&self.attempt(), &valid(success)).await.unwrap();
        }
        if self.is_replayed {
            let success = SuccessEffects { used_proof: Some(self.used_proof()), ..SuccessEffects::default() };
            state.record_login_attempt(&self.attempt(), &valid(success)).await.unwrap();
        }
        if !self.is_code_missing {
            let expires = NOW.saturating_add(secs(600));
            let code = NewCode { key: self.code(), account: self.attempt().account, tag: [1; 32], epoch: 0, expires };
            assert_eq!(state.consume_quotas(&[] as &[QuotaUse], Some(&code), NOW).await.unwrap(), None);
        }
        for _ in 0..if self.is_blocked { 6 } else { 0 } {
            assert_eq!(
                state.record_login_attempt(&self.attempt(), &ProofResult::Invalid).await.unwrap(),
                AttemptOutcome::Recorded
            );
        }
    }

    /// The attempt of the case, and the result of its proof.
    fn attempt_and_proof(self) -> (LoginAttempt, ProofResult) {
        let attempt = LoginAttempt { proof_made_at: Some(if self.is_stale { BIRTH } else { NOW }), ..self.attempt() };
        let session = None::<NewSession>;
        let success = SuccessEffects {
            used_proof: Some(self.used_proof()),
            repeat_permit: None,
            consumed_code: Some(self.code()),
            origin_trust: OriginTrustChange::Trust,
            session,
        };
        (attempt, if self.is_wrong { ProofResult::Invalid } else { ProofResult::Valid(Box::new(success)) })
    }
}

/// The outcome by the rules of `stele_core::rate_limit`, and the decision of a rate limit check after it.
fn expected_result(case: RejectionCase) -> (AttemptOutcome, RateLimitDecision) {
    let (attempt, proof) = case.attempt_and_proof();
    let keys = LoginAttemptKeys::for_attempt(&attempt);
    let failed = (0..6).fold(FailureCounter::new(NOW), |counter, _| counter.with_failure(NOW, &attempt.limits.account));
    let account = if case.is_trusted { keys.trusted_origin } else { keys.account };
    let stored = |key: &_| {
        let is_stored = case.is_blocked && *key == account;
        Ok::<_, Infallible>(
            is_stored.then_some(StoredFailures { counter: failed, from_origin: if case.is_trusted { 0 } else { 6 } }),
        )
    };
    let origin_trust = if case.is_trusted { OriginTrust::Trusted } else { OriginTrust::Untrusted };
    let state = RateLimitState::load(&attempt, &keys, origin_trust, stored).unwrap();
    let take_code = |_: &CodeKey| Ok::<_, Infallible>(!case.is_code_missing);
    let failures_after = |state: &RateLimitState| match state.record_failure().first() {
        Some(CounterUpdate::Store { counter, .. }) => counter.failures,
        other => panic!("{other:?}"),
    };
    let proof_use = if case.is_replayed { ProofUse::Replayed } else { ProofUse::First };
    match state.decide_attempt(&attempt, &proof, BIRTH, proof_use, take_code).unwrap() {
        AttemptDecision::Reject(outcome) => (outcome, state.decide_admission()),
        AttemptDecision::CountFailure => (
            AttemptOutcome::Recorded,
            RateLimitDecision::Allowed { failures: failures_after(&state), trusted_origin: case.is_trusted },
        ),
        AttemptDecision::Accept => {
            (AttemptOutcome::Recorded, RateLimitDecision::Allowed { failures: 0, trusted_origin: true })
        }
    }
}

#[tokio::test]
async fn every_combination_of_rejection_reasons_is_decided_as_in_core() {
    for StateBackend { name, state, .. } in state_backends_with_cluster().await {
        for case in (0..64).map(RejectionCase::from_bits) {
            case.arrange(&*state).await;
            let (attempt, proof) = case.attempt_and_proof();
            let outcome = state.record_login_attempt(&attempt, &proof).await.unwrap();
            let decision = state.check_rate_limit(&case.attempt()).await.unwrap();
            assert_eq!((outcome, decision), expected_result(case), "{name} {case:?}");
        }
    }
}
