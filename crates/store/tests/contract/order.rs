//! The order of checks is `stele_core::rate_limit`'s in every store.

use std::convert::Infallible;

use stele_core::code::{CodeKey, Purpose};
use stele_core::limit_key::AttemptKeys;
use stele_core::origin::Origin;
use stele_core::ports::{
    Admission, Attempt, NewCode, OriginTrust, ReplayMark, Settlement, StateStore, Success, Use, Verdict,
};
use stele_core::rate_limit::{Budget, Change, Decision, RateLimitState, StoredBudget};
use stele_core::session::NewSession;

use crate::support::*;

/// Reasons to refuse an attempt, and what it is counted by; each combination is one of 64 numbers.
#[derive(Clone, Copy, Debug)]
struct Case {
    number: u8,
    blocked: bool,
    stale: bool,
    wrong: bool,
    replayed: bool,
    code_gone: bool,
    known: bool,
}

impl Case {
    fn of(number: u8) -> Self {
        let is = |bit: u8| number & (1 << bit) != 0;
        Self { number, blocked: is(0), stale: is(1), wrong: is(2), replayed: is(3), code_gone: is(4), known: is(5) }
    }

    fn attempt(self) -> Attempt {
        let origin = Origin::address([192, 0, 2, self.number].into());
        Attempt { account: format!("user:case-{}", self.number), ..attempt(origin, NOW) }
    }

    fn mark(self) -> ReplayMark {
        ReplayMark { key: [self.number; 32], expires: NOW.after(secs(600)) }
    }

    fn code(self) -> CodeKey {
        CodeKey::new("portal", Purpose::Any, &self.number.to_string())
    }

    /// Brings about what the case says.
    async fn arrange(self, state: &dyn StateStore) {
        let right = |success| Verdict::Right(Box::new(success));
        if self.known {
            let success = Success { origin_trust: OriginTrust::Trusted, ..Success::default() };
            state.settle(&self.attempt(), &right(success)).await.unwrap();
        }
        if self.replayed {
            let success = Success { replay: Some(self.mark()), ..Success::default() };
            state.settle(&self.attempt(), &right(success)).await.unwrap();
        }
        if !self.code_gone {
            let code = NewCode { key: self.code(), tag: [1; 32], epoch: 0, expires: NOW.after(secs(600)) };
            assert_eq!(state.send_code(&[] as &[Use], Some(&code), NOW).await.unwrap(), None);
        }
        for _ in 0..if self.blocked { 6 } else { 0 } {
            assert_eq!(state.settle(&self.attempt(), &Verdict::Wrong).await.unwrap(), Settlement::Done);
        }
    }

    /// The attempt, and what became of the proof.
    fn tried(self) -> (Attempt, Verdict) {
        let attempt = Attempt { proof_made: Some(if self.stale { BIRTH } else { NOW }), ..self.attempt() };
        let session = None::<NewSession>;
        let success = Success {
            replay: Some(self.mark()),
            repeat: None,
            code: Some(self.code()),
            origin_trust: OriginTrust::Trusted,
            session,
        };
        (attempt, if self.wrong { Verdict::Wrong } else { Verdict::Right(Box::new(success)) })
    }
}

/// What `core::rate_limit` says of the case, and what the limits say afterwards.
fn expected(case: Case) -> (Settlement, Admission) {
    let (attempt, verdict) = case.tried();
    let keys = AttemptKeys::of(&attempt);
    let failed = (0..6).fold(Budget::fresh(NOW), |budget, _| budget.fail(NOW, &attempt.limits.account));
    let account = if case.known { keys.known } else { keys.account };
    let stored = |key: &_| {
        let found = case.blocked && *key == account;
        Ok::<_, Infallible>(found.then_some(StoredBudget { budget: failed, own: if case.known { 0 } else { 6 } }))
    };
    let state = RateLimitState::read(&attempt, &keys, case.known, stored).unwrap();
    let take_code = |_: &CodeKey| Ok::<_, Infallible>(!case.code_gone);
    let counted = |state: &RateLimitState| match state.fail().first() {
        Some(Change::Write { budget, .. }) => budget.failures,
        other => panic!("{other:?}"),
    };
    match state.decide(&attempt, &verdict, BIRTH, case.replayed, take_code).unwrap() {
        Decision::Refuse(settlement) => (settlement, state.admission()),
        Decision::CountFailure => (Settlement::Done, Admission::Open { failures: counted(&state), known: case.known }),
        Decision::Accept => (Settlement::Done, Admission::Open { failures: 0, known: true }),
    }
}

#[tokio::test]
async fn every_combination_of_refusals_is_answered_in_the_order_of_core() {
    for StateBackend { name, state, .. } in state_backends().await {
        for case in (0..64).map(Case::of) {
            case.arrange(&*state).await;
            let (attempt, verdict) = case.tried();
            let settlement = state.settle(&attempt, &verdict).await.unwrap();
            let admission = state.admit(&case.attempt()).await.unwrap();
            assert_eq!((settlement, admission), expected(case), "{name} {case:?}");
        }
    }
}
