//! Equivalence of Lua and Rust: random sequences of calls have the same results in Redis, on one server and on a
//! cluster of three masters, and in the embedded store, which uses `stele_core::rate_limit` directly.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use stele_core::code::{CodeKey, CodePurpose};
use stele_core::origin::Origin;
use stele_core::policy::LoginLimits;
use stele_core::ports::{
    CodeVerification, LoginAttempt, NewCode, OnCodeMatch, OriginTrustChange, ProofResult, QuotaUse, RepeatPermit,
    StateStore, SuccessEffects, UsedProof,
};
use stele_core::rate_limit::{FailureLimit, Penalty, Quota};
use stele_core::session::{NewSession, TokenKey};
use stele_core::time::Timestamp;
use stele_testservers as servers;

use crate::support::*;

#[derive(Clone, Debug)]
enum Operation {
    CheckRateLimit,
    RecordInvalid,
    RecordValid {
        used_proof: Option<u8>,
        permit_required: Option<bool>,
        code: bool,
        origin_trust: OriginTrustChange,
        session: Option<u8>,
    },
    VerifyCode {
        tags: Vec<u8>,
        epoch: i64,
        on_match: OnCodeMatch,
    },
    ConsumeQuotas {
        code: Option<u8>,
        max: u32,
    },
}

#[derive(Clone, Debug)]
struct Step {
    /// Microseconds by which the clock moves before the step.
    clock_step: i64,
    account: u8,
    epoch: i64,
    origin: u8,
    /// Age of the proof in seconds.
    proof_age: Option<u64>,
    operation: Operation,
}

fn duration() -> impl Strategy<Value = Duration> {
    prop_oneof![1u64..5_000_000, 1_000_000u64..4_000_000_000].prop_map(Duration::from_micros)
}

fn failure_limit() -> impl Strategy<Value = FailureLimit> {
    let penalty = prop_oneof![
        Just(Penalty::BlockUntilWindowEnds),
        (duration(), duration()).prop_map(|(base, cap)| Penalty::ExponentialBackoff { base, cap }),
    ];
    (0u32..6, duration(), penalty).prop_map(|(free, window, penalty)| FailureLimit {
        free_failures: free,
        window,
        penalty,
    })
}

fn login_limits() -> impl Strategy<Value = LoginLimits> {
    (failure_limit(), failure_limit(), failure_limit(), duration()).prop_map(
        |(account, address, app, trusted_origin_ttl)| LoginLimits {
            account,
            address,
            app,
            trusted_origin_ttl,
            challenge_after: 5,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let trust = prop_oneof![Just(OriginTrustChange::Keep), Just(OriginTrustChange::Trust)];
    let on_match = prop_oneof![Just(OnCodeMatch::Keep), Just(OnCodeMatch::Consume)];
    let operation = prop_oneof![
        2 => Just(Operation::CheckRateLimit),
        6 => Just(Operation::RecordInvalid),
        4 => (proptest::option::of((0u8..3, proptest::option::of(any::<bool>()))), any::<bool>(), trust, proptest::option::of(0u8..2))
            .prop_map(|(proof, code, origin_trust, session)| {
                let (used_proof, permit_required) = proof.map_or((None, None), |(n, required)| (Some(n), required));
                Operation::RecordValid { used_proof, permit_required, code: code && session.is_some(), origin_trust, session }
            }),
        3 => (proptest::collection::vec(0u8..3, 1..3), 0i64..2, on_match)
            .prop_map(|(tags, epoch, on_match)| Operation::VerifyCode { tags, epoch, on_match }),
        2 => (proptest::option::of(0u8..3), 0u32..4).prop_map(|(code, max)| Operation::ConsumeQuotas { code, max }),
    ];
    let clock_step = prop_oneof![
        3 => Just(0),
        3 => 0i64..5_000_000,
        2 => 0i64..5_000_000_000,
        1 => -5_000_000_000i64..0,
        1 => Just(1),
    ];
    (clock_step, 0u8..2, 0i64..2, 0u8..3, proptest::option::weighted(0.3, 0u64..7_200), operation).prop_map(
        |(clock_step, account, epoch, origin, proof_age, operation)| Step {
            clock_step,
            account,
            epoch,
            origin,
            proof_age,
            operation,
        },
    )
}

/// Runs the steps on `state`. Returns the result of each as text.
async fn run_steps(state: &dyn StateStore, round: u64, limits: LoginLimits, steps: &[Step]) -> Vec<String> {
    let (mut now, mut results) = (NOW, Vec::new());
    let unique_key = |n: u8| {
        let mut key = [n; 32];
        key[..8].copy_from_slice(&round.to_be_bytes());
        key
    };
    // On a cluster, a code is found only by attempts at its account.
    let code_at = |account: u8, n: usize| CodeKey::new("portal", CodePurpose::Any, &format!("{round}:{account}:{n}"));
    for Step { clock_step, account, epoch, origin, proof_age, operation } in steps {
        now = Timestamp::from_micros(now.as_micros() + clock_step);
        let until = now.saturating_add(secs(3_000));
        let origin = match origin {
            2 => Origin::from_app(&format!("app{round}")),
            n => Origin::from_address(format!("2001:db8:{round:x}:{n}::").parse().unwrap()),
        };
        let proof_made_at = proof_age.map(|age| now.saturating_sub(secs(age)));
        let attempt = LoginAttempt {
            account: format!("user:{round}:{account}"),
            epoch: *epoch,
            origin,
            now,
            proof_made_at,
            limits,
        };
        let result = match operation {
            Operation::CheckRateLimit => format!("{:?}", state.check_rate_limit(&attempt).await.unwrap()),
            Operation::RecordInvalid => {
                format!("{:?}", state.record_login_attempt(&attempt, &ProofResult::Invalid).await.unwrap())
            }
            Operation::RecordValid { used_proof, permit_required, code, origin_trust, session: number } => {
                let token = number.map(|n| TokenKey(unique_key(n)));
                // The key of a proof contains its account.
                let proof_key = |n: u8| unique_key(n + 10 * account);
                let success = SuccessEffects {
                    used_proof: used_proof.map(|n| UsedProof { key: proof_key(n), expires: until }),
                    repeat_permit: permit_required.zip(*used_proof).map(|(is_required, n)| RepeatPermit {
                        key: proof_key(n + 100),
                        expires: now.saturating_add(secs(2)),
                        is_required,
                    }),
                    consumed_code: code.then(|| code_at(*account, 0)),
                    origin_trust: *origin_trust,
                    session: token.map(|key| NewSession { key, session: session(until), max_per_user: 10_000 }),
                };
                let outcome =
                    state.record_login_attempt(&attempt, &ProofResult::Valid(Box::new(success))).await.unwrap();
                let session = match token {
                    Some(token) => state.find_session(&token, now).await.unwrap(),
                    None => None,
                };
                format!("{outcome:?} {session:?}")
            }
            Operation::VerifyCode { tags, epoch, on_match } => {
                let candidates = tags.iter().enumerate().map(|(n, tag)| (code_at(*account, n), [*tag; 32])).collect();
                let guess = CodeVerification { candidates, epoch: *epoch, on_match: *on_match, max_attempts: 3 };
                format!("{:?}", state.verify_code(&attempt, &guess).await.unwrap())
            }
            Operation::ConsumeQuotas { code, max } => {
                let quota = Quota { max: *max, window: limits.trusted_origin_ttl };
                let uses = [
                    QuotaUse { key: format!("to:{round}:{account}"), quota },
                    QuotaUse { key: format!("from:{round}"), quota: Quota { max: 5, ..quota } },
                ];
                let code = code.map(|n| NewCode {
                    key: code_at(*account, usize::from(n % 2)),
                    account: attempt.account.clone(),
                    tag: [n; 32],
                    epoch: 0,
                    expires: until,
                });
                format!("{:?}", state.consume_quotas(&uses, code.as_ref(), now).await.unwrap())
            }
        };
        results.push(format!("{operation:?}: {result}"));
    }
    results
}

#[test]
#[ignore = "needs PostgreSQL and Redis"]
fn redis_and_the_embedded_store_give_equal_results() {
    static ROUND: AtomicU64 = AtomicU64::new(0);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (single, cluster) = (servers::redis_url(), servers::redis_cluster_url());
    let [single, cluster] = [single, cluster].map(|url| runtime.block_on(redis_state(&url, BIRTH)));
    let (embedded, _dir) = sqlite_state();
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(150) };
    proptest!(config, |(limits in login_limits(), steps in proptest::collection::vec(step(), 1..60))| {
        let round = ROUND.fetch_add(1, Ordering::SeqCst);
        let expected = runtime.block_on(run_steps(&*embedded, round, limits, &steps));
        for redis in [&single, &cluster] {
            prop_assert_eq!(&runtime.block_on(run_steps(&**redis, round, limits, &steps)), &expected);
        }
    });
}
