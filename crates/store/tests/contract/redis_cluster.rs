//! A Redis Cluster of three masters: parallel guesses at two instances do not exceed a limit, although the account and
//! the origin of an attempt are in different slots.

use std::sync::Arc;

use stele_core::origin::Origin;
use stele_core::ports::{
    AttemptOutcome, CodeVerification, CodeVerificationResult, LoginAttempt, NewCode, OnCodeMatch, ProofResult,
    StateStore,
};
use stele_store::RedisStateStore;
use stele_testservers::{self as servers, RedisCluster};

use crate::support::*;

/// The state stores of two instances on one cluster.
async fn two_instances() -> [Arc<RedisStateStore>; 2] {
    let url = servers::redis_cluster_url();
    [redis_state(&url, BIRTH).await, redis_state(&url, BIRTH).await]
}

fn attempt_at(account: usize, origin: Origin) -> LoginAttempt {
    LoginAttempt { account: format!("user:{account}"), ..attempt(origin, NOW) }
}

/// Makes the attempts with wrong proofs at once, at both instances in turn. Returns how many were recorded; the others
/// were rejected by a rate limit.
async fn guess_in_parallel(instances: &[Arc<RedisStateStore>; 2], attempts: Vec<LoginAttempt>) -> usize {
    let guesses = attempts.into_iter().enumerate().map(|(n, attempt)| {
        let state = Arc::clone(&instances[n % 2]);
        async move { state.record_login_attempt(&attempt, &ProofResult::Invalid).await.unwrap() }
    });
    let outcomes = all_at_once(guesses).await;
    let recorded = outcomes.iter().filter(|outcome| **outcome == AttemptOutcome::Recorded).count();
    let limited = outcomes.iter().filter(|outcome| matches!(outcome, AttemptOutcome::RateLimited { .. })).count();
    assert_eq!(recorded + limited, outcomes.len(), "{outcomes:?}");
    recorded
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs PostgreSQL and Redis"]
async fn parallel_guesses_from_an_address_over_many_accounts_do_not_exceed_its_limit() {
    let instances = two_instances().await;
    let origin = Origin::from_address([203, 0, 113, 1].into());
    let attempts = (0..1_000).map(|account| attempt_at(account, origin.clone())).collect();
    assert_eq!(guess_in_parallel(&instances, attempts).await, 100);
    // A right proof from the address is rejected as well, whatever its account.
    let right = instances[0].record_login_attempt(&attempt_at(5_000, origin), &accepted_and_trusted()).await.unwrap();
    assert_eq!(right, AttemptOutcome::RateLimited { retry_after: secs(900) });

    // 150 /56 of one /48, which has four times the limit of a /64.
    let attempts = (0..1_200).map(|n: usize| {
        let address = format!("2001:db8:7:{:x}::1", n % 150 * 256).parse().unwrap();
        attempt_at(10_000 + n, Origin::from_address(address))
    });
    assert_eq!(guess_in_parallel(&instances, attempts.collect()).await, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs PostgreSQL and Redis"]
async fn guesses_that_the_account_rejects_are_not_counted_at_the_origin() {
    let instances = two_instances().await;
    let origin = Origin::from_address([203, 0, 113, 2].into());
    let attempts = (0..90).map(|_| attempt_at(1, origin.clone())).collect();
    assert_eq!(guess_in_parallel(&instances, attempts).await, 6, "the account's limit");
    let attempts = (0..300).map(|n| attempt_at(100 + n, origin.clone())).collect();
    assert_eq!(guess_in_parallel(&instances, attempts).await, 94, "the rest of the address's limit");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs PostgreSQL and Redis"]
async fn parallel_guesses_at_codes_do_not_exceed_a_limit() {
    let instances = two_instances().await;
    let origin = Origin::from_address([203, 0, 113, 3].into());
    let guess = |subject: usize, tag: u8| CodeVerification {
        candidates: vec![(code_key(&format!("code-{subject}")), [tag; 32])],
        epoch: 0,
        on_match: OnCodeMatch::Consume,
        max_attempts: 5,
    };
    let store_code = async |account: usize| {
        let code = NewCode { account: format!("user:{account}"), ..code(&format!("code-{account}"), 1) };
        assert_eq!(instances[0].consume_quotas(&[], Some(&code), NOW).await.unwrap(), None);
    };
    let guess_all = async |attempts: Vec<(LoginAttempt, CodeVerification)>| {
        let guesses = attempts.into_iter().enumerate().map(|(n, (attempt, guess))| {
            let state = Arc::clone(&instances[n % 2]);
            async move { state.verify_code(&attempt, &guess).await.unwrap() }
        });
        all_at_once(guesses).await
    };
    let count = |results: &[CodeVerificationResult], expected: CodeVerificationResult| {
        results.iter().filter(|result| **result == expected).count()
    };

    // One address, many accounts: the address's limit.
    let wrong = (0..600).map(|n| (attempt_at(n, origin.clone()), guess(n, 9))).collect();
    assert_eq!(count(&guess_all(wrong).await, CodeVerificationResult::Invalid), 100);

    // One account, many addresses: five guesses at the code, six at the account.
    store_code(20_000).await;
    let from = |n: u8| Origin::from_address([198, 18, 0, n].into());
    let wrong = (0..200).map(|n| (attempt_at(20_000, from(n)), guess(20_000, 9))).collect();
    assert_eq!(count(&guess_all(wrong).await, CodeVerificationResult::Invalid), 6);

    // Two right guesses at once: one is accepted, and the other is counted as wrong.
    store_code(30_000).await;
    let right = (0..2).map(|n| (attempt_at(30_000, from(n)), guess(30_000, 1))).collect();
    let results = guess_all(right).await;
    assert_eq!(count(&results, CodeVerificationResult::Valid(0)), 1, "{results:?}");
    assert_eq!(count(&results, CodeVerificationResult::Invalid), 1, "{results:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_redirection_without_a_host_leads_to_the_same_host() {
    let cluster = RedisCluster::start(3, 0);
    cluster.set_config("cluster-preferred-endpoint-type", "unknown-endpoint");
    let state = redis_state(&cluster.url(), BIRTH).await;
    let attempt = attempt_at(1, Origin::from_address([203, 0, 113, 4].into()));
    assert_eq!(state.record_login_attempt(&attempt, &ProofResult::Invalid).await.unwrap(), AttemptOutcome::Recorded);
    let (node, counter) = (0..3)
        .find_map(|node| Some((node, cluster.master(node).key_ttls(":account:").pop()?.0)))
        .expect("the failure was counted");
    let slot = cluster.slot(&counter);
    tokio::task::block_in_place(|| cluster.move_slots(slot..slot + 1, (node + 1) % 3));
    assert_eq!(state.record_login_attempt(&attempt, &ProofResult::Invalid).await.unwrap(), AttemptOutcome::Recorded);
    assert_eq!(cluster.master((node + 1) % 3).key_ttls(":account:")[0].0, counter);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_user_with_the_documented_rights_logs_in_and_finds_a_session_that_is_being_moved() {
    let cluster = RedisCluster::start(3, 0);
    for node in cluster.nodes() {
        let rights =
            "~stele* ~{stele* +@read +@write +@scripting +@connection +info +time +cluster|info +cluster|slots";
        let reply = node.command(&format!("ACL SETUSER stele on >hunter2 {rights}"));
        assert!(reply.contains("OK"), "{reply}");
    }
    let state = redis_state(&cluster.url().replace("://", "://stele:hunter2@"), BIRTH).await;
    assert_eq!(StateStore::misconfiguration(&*state), None);
    let attempt = LoginAttempt { proof_made_at: Some(NOW), ..attempt_at(1, Origin::from_app("app")) };
    let recorded = state.record_login_attempt(&attempt, &accepted_and_trusted()).await.unwrap();
    assert_eq!(recorded, AttemptOutcome::Recorded);
    let new = new_session(1, session(NOW.saturating_add(secs(600))));
    state.open_session(&new).await.unwrap();
    let (node, slot) = (0..3)
        .find_map(|node| Some((node, cluster.slot(&cluster.master(node).key_ttls(":session:").pop()?.0))))
        .expect("the session was stored");
    let target = (node + 1) % 3;
    cluster.begin_migration(slot, node, target);
    while cluster.migrate_keys(cluster.master(node), cluster.master(target), slot, 100) > 0 {}
    // The source redirects (`ASK`).
    assert_eq!(state.find_session(&new.key, NOW).await.unwrap(), Some(new.session));
}
