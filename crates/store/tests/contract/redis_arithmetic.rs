//! Lua and Rust come to the same numbers: whatever happens to both stores, they answer alike. The embedded one counts
//! with `stele_core::budget` itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use stele_core::code::{CodeKey, Purpose};
use stele_core::origin::Origin;
use stele_core::policy::Guessing;
use stele_core::ports::{
    Attempt, CodeGuess, CodeUse, NewCode, OriginTrust, RepeatPermit, ReplayMark, StateStore, Success, Use, Verdict,
};
use stele_core::rate_limit::{Cost, Quota, Schedule};
use stele_core::session::{NewSession, TokenKey};
use stele_core::time::Timestamp;
use stele_testservers as servers;

use crate::support::*;

#[derive(Clone, Debug)]
enum Act {
    Admit,
    Wrong,
    Right { replay: Option<u8>, repeat: Option<bool>, code: bool, origin_trust: OriginTrust, session: Option<u8> },
    Guess { tags: Vec<u8>, epoch: i64, on_right: CodeUse },
    Send { code: Option<u8>, max: u32 },
}

#[derive(Clone, Debug)]
struct Step {
    /// By how much the clock moves first, in microseconds.
    by: i64,
    account: u8,
    epoch: i64,
    origin: u8,
    /// How many seconds ago the proof was made.
    made: Option<u64>,
    act: Act,
}

fn span() -> impl Strategy<Value = Duration> {
    prop_oneof![1u64..5_000_000, 1_000_000u64..4_000_000_000].prop_map(Duration::from_micros)
}

fn schedule() -> impl Strategy<Value = Schedule> {
    let cost =
        prop_oneof![Just(Cost::RestOfWindow), (span(), span()).prop_map(|(base, cap)| Cost::Doubling { base, cap }),];
    (0u32..6, span(), cost).prop_map(|(free, window, cost)| Schedule { free, window, cost })
}

fn guessing() -> impl Strategy<Value = Guessing> {
    (schedule(), schedule(), schedule(), span()).prop_map(|(account, address, app, known_for)| Guessing {
        account,
        address,
        app,
        known_for,
        challenge_after: 5,
    })
}

fn step() -> impl Strategy<Value = Step> {
    let trust = prop_oneof![Just(OriginTrust::Unchanged), Just(OriginTrust::Trusted)];
    let on_right = prop_oneof![Just(CodeUse::Check), Just(CodeUse::Consume)];
    let act = prop_oneof![
        2 => Just(Act::Admit),
        6 => Just(Act::Wrong),
        4 => (proptest::option::of((0u8..3, proptest::option::of(any::<bool>()))), any::<bool>(), trust, proptest::option::of(0u8..2))
            .prop_map(|(replay, code, origin_trust, session)| {
                let (replay, repeat) = replay.map_or((None, None), |(mark, repeat)| (Some(mark), repeat));
                Act::Right { replay, repeat, code: code && session.is_some(), origin_trust, session }
            }),
        3 => (proptest::collection::vec(0u8..3, 1..3), 0i64..2, on_right)
            .prop_map(|(tags, epoch, on_right)| Act::Guess { tags, epoch, on_right }),
        2 => (proptest::option::of(0u8..3), 0u32..4).prop_map(|(code, max)| Act::Send { code, max }),
    ];
    let by = prop_oneof![
        3 => Just(0),
        3 => 0i64..5_000_000,
        2 => 0i64..5_000_000_000,
        1 => -5_000_000_000i64..0,
        1 => Just(1),
    ];
    (by, 0u8..2, 0i64..2, 0u8..3, proptest::option::weighted(0.3, 0u64..7_200), act)
        .prop_map(|(by, account, epoch, origin, made, act)| Step { by, account, epoch, origin, made, act })
}

/// What `state` answers at each step, in words.
async fn play(state: &dyn StateStore, round: u64, limits: Guessing, steps: &[Step]) -> Vec<String> {
    let (mut now, mut answers) = (NOW, Vec::new());
    let mark = |n: u8| {
        let mut key = [n; 32];
        key[..8].copy_from_slice(&round.to_be_bytes());
        key
    };
    let code_at = |n: usize| CodeKey::new("portal", Purpose::Any, &format!("{round}:{n}"));
    for Step { by, account, epoch, origin, made, act } in steps {
        now = Timestamp::from_micros(now.as_micros() + by);
        let until = now.after(secs(3_000));
        let origin = match origin {
            2 => Origin::app(&format!("app{round}")),
            n => Origin::address(format!("2001:db8:{round:x}:{n}::").parse().unwrap()),
        };
        let proof_made = made.map(|ago| now.before(secs(ago)));
        let attempt =
            Attempt { account: format!("user:{round}:{account}"), epoch: *epoch, origin, now, proof_made, limits };
        let answer = match act {
            Act::Admit => format!("{:?}", state.admit(&attempt).await.unwrap()),
            Act::Wrong => format!("{:?}", state.settle(&attempt, &Verdict::Wrong).await.unwrap()),
            Act::Right { replay, repeat, code, origin_trust: trust, session: number } => {
                let token = number.map(|n| TokenKey(mark(n)));
                let success = Success {
                    replay: replay.map(|n| ReplayMark { key: mark(n), expires: until }),
                    repeat: repeat.zip(*replay).map(|(needed, n)| RepeatPermit {
                        key: mark(n + 100),
                        expires: now.after(secs(2)),
                        needed,
                    }),
                    code: code.then(|| code_at(0)),
                    origin_trust: *trust,
                    session: token.map(|key| NewSession { key, session: session(until), per_user: 10_000 }),
                };
                let settled = state.settle(&attempt, &Verdict::Right(Box::new(success))).await.unwrap();
                let opened = match token {
                    Some(token) => state.session(&token, now).await.unwrap(),
                    None => None,
                };
                format!("{settled:?} {opened:?}")
            }
            Act::Guess { tags, epoch, on_right } => {
                let candidates = tags.iter().enumerate().map(|(n, tag)| (code_at(n), [*tag; 32])).collect();
                let guess = CodeGuess { candidates, epoch: *epoch, on_right: *on_right, max_tries: 3 };
                format!("{:?}", state.guess_code(&attempt, &guess).await.unwrap())
            }
            Act::Send { code, max } => {
                let quota = Quota { max: *max, window: limits.known_for };
                let uses = [
                    Use { key: format!("to:{round}:{account}"), quota },
                    Use { key: format!("from:{round}"), quota: Quota { max: 5, ..quota } },
                ];
                let code =
                    code.map(|n| NewCode { key: code_at(usize::from(n % 2)), tag: [n; 32], epoch: 0, expires: until });
                format!("{:?}", state.send_code(&uses, code.as_ref(), now).await.unwrap())
            }
        };
        answers.push(format!("{act:?}: {answer}"));
    }
    answers
}

#[test]
#[ignore = "needs PostgreSQL and Redis"]
fn redis_answers_what_the_embedded_store_answers() {
    static ROUND: AtomicU64 = AtomicU64::new(0);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (one, cluster) = (servers::redis_url(), servers::redis_cluster_url());
    let [one, cluster] = [one, cluster].map(|url| runtime.block_on(redis_state(&url, BIRTH)));
    let (embedded, _dir) = sqlite_state();
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(150) };
    proptest!(config, |(limits in guessing(), steps in proptest::collection::vec(step(), 1..60))| {
        let round = ROUND.fetch_add(1, Ordering::SeqCst);
        let expected = runtime.block_on(play(&*embedded, round, limits, &steps));
        for shared in [&one, &cluster] {
            prop_assert_eq!(&runtime.block_on(play(&**shared, round, limits, &steps)), &expected);
        }
    });
}
