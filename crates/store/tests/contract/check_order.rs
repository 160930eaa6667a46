//! The order of checks is `stele_core::rate_limit`'s in every store.

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

/// Reasons to refuse an attempt, and what it is counted by; each combination is one of 64 numbers.
#[derive(Clone, Copy, Debug)]
struct RefusalCase {
    number: u8,
    blocked: bool,
    stale: bool,
    wrong: bool,
    replayed: bool,
    code_gone: bool,
    known: bool,
}

impl RefusalCase {
    fn from_bits(number: u8) -> Self {
        let is = |bit: u8| number & (1 << bit) != 0;
        Self { number, blocked: is(0), stale: is(1), wrong: is(2), replayed: is(3), code_gone: is(4), known: is(5) }
    }

    fn attempt(self) -> LoginAttempt {
        let origin = Origin::from_address([192, 0, 2, self.number].into());
        LoginAttempt { account: format!("user:case-{}", self.number), ..attempt(origin, NOW) }
    }

    fn mark(self) -> UsedProof {
        UsedProof { key: [self.number; 32], expires: NOW.saturating_add(secs(600)) }
    }

    fn code(self) -> CodeKey {
        CodeKey::new("portal", CodePurpose::Any, &self.number.to_string())
    }

    /// Brings about what the case says.
    async fn arrange(self, state: &dyn StateStore) {
        let right = |success| ProofResult::Valid(Box::new(success));
        if self.known {
            let success = SuccessEffects { origin_trust: OriginTrustChange::Trust, ..SuccessEffects::default() };
            state.record_login_attempt(&self.attempt(), &right(success)).await.unwrap();
        }
        if self.replayed {
            let success = SuccessEffects { used_proof: Some(self.mark()), ..SuccessEffects::default() };
            state.record_login_attempt(&self.attempt(), &right(success)).await.unwrap();
        }
        if !self.code_gone {
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

    /// The attempt, and what became of the proof.
    fn attempt_and_proof(self) -> (LoginAttempt, ProofResult) {
        let attempt = LoginAttempt { proof_made_at: Some(if self.stale { BIRTH } else { NOW }), ..self.attempt() };
        let session = None::<NewSession>;
        let success = SuccessEffects {
            used_proof: Some(self.mark()),
            repeat_permit: None,
            consumed_code: Some(self.code()),
            origin_trust: OriginTrustChange::Trust,
            session,
        };
        (attempt, if self.wrong { ProofResult::Invalid } else { ProofResult::Valid(Box::new(success)) })
    }
}

/// What `core::rate_limit` says of the case, and what the limits say afterwards.
fn expected(case: RefusalCase) -> (AttemptOutcome, RateLimitDecision) {
    let (attempt, verdict) = case.attempt_and_proof();
    let keys = LoginAttemptKeys::for_attempt(&attempt);
    let failed = (0..6).fold(FailureCounter::new(NOW), |budget, _| budget.with_failure(NOW, &attempt.limits.account));
    let account = if case.known { keys.trusted_origin } else { keys.account };
    let stored = |key: &_| {
        let found = case.blocked && *key == account;
        Ok::<_, Infallible>(
            found.then_some(StoredFailures { counter: failed, from_origin: if case.known { 0 } else { 6 } }),
        )
    };
    let origin_trust = if case.known { OriginTrust::Trusted } else { OriginTrust::Untrusted };
    let state = RateLimitState::load(&attempt, &keys, origin_trust, stored).unwrap();
    let take_code = |_: &CodeKey| Ok::<_, Infallible>(!case.code_gone);
    let counted = |state: &RateLimitState| match state.record_failure().first() {
        Some(CounterUpdate::Store { counter: budget, .. }) => budget.failures,
        other => panic!("{other:?}"),
    };
    let proof_use = if case.replayed { ProofUse::Replayed } else { ProofUse::First };
    match state.decide_attempt(&attempt, &verdict, BIRTH, proof_use, take_code).unwrap() {
        AttemptDecision::Reject(settlement) => (settlement, state.decide_admission()),
        AttemptDecision::CountFailure => (
            AttemptOutcome::Recorded,
            RateLimitDecision::Allowed { failures: counted(&state), trusted_origin: case.known },
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
            let (attempt, verdict) = case.attempt_and_proof();
            let settlement = state.record_login_attempt(&attempt, &verdict).await.unwrap();
            let admission = state.check_rate_limit(&case.attempt()).await.unwrap();
            assert_eq!((settlement, admission), expected(case), "{name} {case:?}");
        }
    }
}
