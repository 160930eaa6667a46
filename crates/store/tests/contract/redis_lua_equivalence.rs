//! Lua and Rust come to the same numbers: whatever happens to both stores, they answer alike. The embedded one counts
//! with `stele_core::budget` itself.

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
    Admit,
    Wrong,
    Right { replay: Option<u8>, repeat: Option<bool>, code: bool, origin_trust: OriginTrustChange, session: Option<u8> },
    Guess { tags: Vec<u8>, epoch: i64, on_right: OnCodeMatch },
    Send { code: Option<u8>, max: u32 },
}

#[derive(Clone, Debug)]
struct Step {
    /// By how much the clock moves first, in microseconds.
    clock_step: i64,
    account: u8,
    epoch: i64,
    origin: u8,
    /// How many seconds ago the proof was made.
    proof_age: Option<u64>,
    operation: Operation,
}

fn span() -> impl Strategy<Value = Duration> {
    prop_oneof![1u64..5_000_000, 1_000_000u64..4_000_000_000].prop_map(Duration::from_micros)
}

fn schedule() -> impl Strategy<Value = FailureLimit> {
    let cost = prop_oneof![
        Just(Penalty::BlockUntilWindowEnds),
        (span(), span()).prop_map(|(base, cap)| Penalty::ExponentialBackoff { base, cap }),
    ];
    (0u32..6, span(), cost).prop_map(|(free, window, cost)| FailureLimit { free_failures: free, window, penalty: cost })
}

fn guessing() -> impl Strategy<Value = LoginLimits> {
    (schedule(), schedule(), schedule(), span()).prop_map(|(account, address, app, known_for)| LoginLimits {
        account,
        address,
        app,
        trusted_origin_ttl: known_for,
        challenge_after: 5,
    })
}

fn step() -> impl Strategy<Value = Step> {
    let trust = prop_oneof![Just(OriginTrustChange::Keep), Just(OriginTrustChange::Trust)];
    let on_right = prop_oneof![Just(OnCodeMatch::Keep), Just(OnCodeMatch::Consume)];
    let act = prop_oneof![
        2 => Just(Operation::Admit),
        6 => Just(Operation::Wrong),
        4 => (proptest::option::of((0u8..3, proptest::option::of(any::<bool>()))), any::<bool>(), trust, proptest::option::of(0u8..2))
            .prop_map(|(replay, code, origin_trust, session)| {
                let (replay, repeat) = replay.map_or((None, None), |(mark, repeat)| (Some(mark), repeat));
                Operation::Right { replay, repeat, code: code && session.is_some(), origin_trust, session }
            }),
        3 => (proptest::collection::vec(0u8..3, 1..3), 0i64..2, on_right)
            .prop_map(|(tags, epoch, on_right)| Operation::Guess { tags, epoch, on_right }),
        2 => (proptest::option::of(0u8..3), 0u32..4).prop_map(|(code, max)| Operation::Send { code, max }),
    ];
    let by = prop_oneof![
        3 => Just(0),
        3 => 0i64..5_000_000,
        2 => 0i64..5_000_000_000,
        1 => -5_000_000_000i64..0,
        1 => Just(1),
    ];
    (by, 0u8..2, 0i64..2, 0u8..3, proptest::option::weighted(0.3, 0u64..7_200), act).prop_map(
        |(by, account, epoch, origin, made, act)| Step {
            clock_step: by,
            account,
            epoch,
            origin,
            proof_age: made,
            operation: act,
        },
    )
}

/// What `state` answers at each step, in words.
async fn run_steps(state: &dyn StateStore, round: u64, limits: LoginLimits, steps: &[Step]) -> Vec<String> {
    let (mut now, mut answers) = (NOW, Vec::new());
    let mark = |n: u8| {
        let mut key = [n; 32];
        key[..8].copy_from_slice(&round.to_be_bytes());
        key
    };
    let code_at = |n: usize| CodeKey::new("portal", CodePurpose::Any, &format!("{round}:{n}"));
    for Step { clock_step: by, account, epoch, origin, proof_age: made, operation: act } in steps {
        now = Timestamp::from_micros(now.as_micros() + by);
        let until = now.saturating_add(secs(3_000));
        let origin = match origin {
            2 => Origin::from_app(&format!("app{round}")),
            n => Origin::from_address(format!("2001:db8:{round:x}:{n}::").parse().unwrap()),
        };
        let proof_made = made.map(|ago| now.saturating_sub(secs(ago)));
        let attempt = LoginAttempt {
            account: format!("user:{round}:{account}"),
            epoch: *epoch,
            origin,
            now,
            proof_made_at: proof_made,
            limits,
        };
        let answer = match act {
            Operation::Admit => format!("{:?}", state.check_rate_limit(&attempt).await.unwrap()),
            Operation::Wrong => {
                format!("{:?}", state.record_login_attempt(&attempt, &ProofResult::Invalid).await.unwrap())
            }
            Operation::Right { replay, repeat, code, origin_trust: trust, session: number } => {
                let token = number.map(|n| TokenKey(mark(n)));
                let success = SuccessEffects {
                    used_proof: replay.map(|n| UsedProof { key: mark(n), expires: until }),
                    repeat_permit: repeat.zip(*replay).map(|(needed, n)| RepeatPermit {
                        key: mark(n + 100),
                        expires: now.saturating_add(secs(2)),
                        required: needed,
                    }),
                    consumed_code: code.then(|| code_at(0)),
                    origin_trust: *trust,
                    session: token.map(|key| NewSession { key, session: session(until), max_per_user: 10_000 }),
                };
                let settled =
                    state.record_login_attempt(&attempt, &ProofResult::Valid(Box::new(success))).await.unwrap();
                let opened = match token {
                    Some(token) => state.find_session(&token, now).await.unwrap(),
                    None => None,
                };
                format!("{settled:?} {opened:?}")
            }
            Operation::Guess { tags, epoch, on_right } => {
                let candidates = tags.iter().enumerate().map(|(n, tag)| (code_at(n), [*tag; 32])).collect();
                let guess = CodeVerification { candidates, epoch: *epoch, on_match: *on_right, max_attempts: 3 };
                format!("{:?}", state.verify_code(&attempt, &guess).await.unwrap())
            }
            Operation::Send { code, max } => {
                let quota = Quota { max: *max, window: limits.trusted_origin_ttl };
                let uses = [
                    QuotaUse { key: format!("to:{round}:{account}"), quota },
                    QuotaUse { key: format!("from:{round}"), quota: Quota { max: 5, ..quota } },
                ];
                let code =
                    code.map(|n| NewCode { key: code_at(usize::from(n % 2)), tag: [n; 32], epoch: 0, expires: until });
                format!("{:?}", state.consume_quotas(&uses, code.as_ref(), now).await.unwrap())
            }
        };
        answers.push(format!("{act:?}: {answer}"));
    }
    answers
}

#[test]
#[ignore = "needs PostgreSQL and Redis"]
fn redis_and_the_embedded_store_give_equal_results() {
    static ROUND: AtomicU64 = AtomicU64::new(0);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (one, cluster) = (servers::redis_url(), servers::redis_cluster_url());
    let [one, cluster] = [one, cluster].map(|url| runtime.block_on(redis_state(&url, BIRTH)));
    let (embedded, _dir) = sqlite_state();
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(150) };
    proptest!(config, |(limits in guessing(), steps in proptest::collection::vec(step(), 1..60))| {
        let round = ROUND.fetch_add(1, Ordering::SeqCst);
        let expected = runtime.block_on(run_steps(&*embedded, round, limits, &steps));
        for shared in [&one, &cluster] {
            prop_assert_eq!(&runtime.block_on(run_steps(&**shared, round, limits, &steps)), &expected);
        }
    });
}
