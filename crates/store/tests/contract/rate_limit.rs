//! Rate limits of login attempts (account lockout, brute force) and quotas.

use std::sync::Arc;

use stele_core::origin::Origin;
use stele_core::ports::{AttemptOutcome, LoginAttempt, ProofResult, QuotaUse, RateLimitDecision, StateStore};
use stele_core::rate_limit::Quota;
use stele_core::time::Timestamp;

use crate::support::*;

async fn record_failures(state: &dyn StateStore, attempt: &LoginAttempt, times: usize) {
    for n in 0..times {
        assert_eq!(
            state.record_login_attempt(attempt, &ProofResult::Invalid).await.unwrap(),
            AttemptOutcome::Recorded,
            "{n}"
        );
    }
}

/// The decision that allows an attempt from an origin that is not trusted.
fn allowed_untrusted(failures: u32) -> RateLimitDecision {
    RateLimitDecision::Allowed { failures, trusted_origin: false }
}

/// The decision that allows an attempt from a trusted origin.
fn allowed_trusted(failures: u32) -> RateLimitDecision {
    RateLimitDecision::Allowed { failures, trusted_origin: true }
}

#[tokio::test]
async fn each_failure_after_five_doubles_the_wait() {
    for StateBackend { name, state, .. } in state_backends_with_cluster().await {
        let mut at = attempt(home_origin(), NOW);
        assert_eq!(state.check_rate_limit(&at).await.unwrap(), allowed_untrusted(0), "{name}");
        record_failures(&*state, &at, 5).await;
        assert_eq!(state.check_rate_limit(&at).await.unwrap(), allowed_untrusted(5));
        for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
            record_failures(&*state, &at, 1).await;
            let retry_after = secs(wait);
            assert_eq!(state.check_rate_limit(&at).await.unwrap(), RateLimitDecision::RateLimited { retry_after });
            // During a wait no attempt is counted, and a correct password is rejected as well.
            for proof in [ProofResult::Invalid, accepted_and_trusted()] {
                assert_eq!(
                    state.record_login_attempt(&at, &proof).await.unwrap(),
                    AttemptOutcome::RateLimited { retry_after }
                );
            }
            at.now = at.now.saturating_add(retry_after);
        }
        at.now = NOW.saturating_add(secs(900));
        assert_eq!(state.check_rate_limit(&at).await.unwrap(), allowed_untrusted(0));
    }
}

#[tokio::test]
async fn untrusted_origins_share_one_account_budget() {
    for StateBackend { state, .. } in state_backends().await {
        record_failures(&*state, &attempt(home_origin(), NOW), 3).await;
        record_failures(&*state, &attempt(Origin::from_app("melink"), NOW), 3).await;
        let blocked = RateLimitDecision::RateLimited { retry_after: secs(1) };
        assert_eq!(state.check_rate_limit(&attempt(other_origin(), NOW)).await.unwrap(), blocked);
        let other = LoginAttempt { account: "user:bob".to_owned(), ..attempt(home_origin(), NOW) };
        assert_eq!(state.check_rate_limit(&other).await.unwrap(), allowed_untrusted(0));
    }
}

#[tokio::test]
async fn a_trusted_origin_has_its_own_budget() {
    for StateBackend { state, .. } in state_backends().await {
        assert_eq!(
            state.record_login_attempt(&attempt(home_origin(), NOW), &accepted_and_trusted()).await.unwrap(),
            AttemptOutcome::Recorded
        );
        // Failures from untrusted origins do not lock out the trusted one.
        record_failures(&*state, &attempt(other_origin(), NOW), 6).await;
        assert!(matches!(
            state.check_rate_limit(&attempt(other_origin(), NOW)).await.unwrap(),
            RateLimitDecision::RateLimited { .. }
        ));
        assert_eq!(state.check_rate_limit(&attempt(home_origin(), NOW)).await.unwrap(), allowed_trusted(0));
        // A success from the trusted origin does not clear the failures from untrusted origins.
        record_failures(&*state, &attempt(home_origin(), NOW), 2).await;
        assert_eq!(state.check_rate_limit(&attempt(home_origin(), NOW)).await.unwrap(), allowed_trusted(2));
        assert_eq!(
            state.record_login_attempt(&attempt(home_origin(), NOW), &accepted_and_trusted()).await.unwrap(),
            AttemptOutcome::Recorded
        );
        assert_eq!(state.check_rate_limit(&attempt(home_origin(), NOW)).await.unwrap(), allowed_trusted(0));
        assert!(matches!(
            state.check_rate_limit(&attempt(other_origin(), NOW)).await.unwrap(),
            RateLimitDecision::RateLimited { .. }
        ));
        // The trust is limited to this account, and expires.
        let other = LoginAttempt { account: "user:bob".to_owned(), ..attempt(home_origin(), NOW) };
        assert_eq!(state.check_rate_limit(&other).await.unwrap(), allowed_untrusted(0));
        let trust_ttl = attempt(home_origin(), NOW).limits.trusted_origin_ttl;
        let last = NOW.saturating_add(trust_ttl).saturating_sub(std::time::Duration::from_micros(1));
        assert_eq!(state.check_rate_limit(&attempt(home_origin(), last)).await.unwrap(), allowed_trusted(0));
        assert_eq!(
            state.check_rate_limit(&attempt(home_origin(), NOW.saturating_add(trust_ttl))).await.unwrap(),
            allowed_untrusted(0)
        );
    }
}

#[tokio::test]
async fn each_login_renews_the_trust_in_its_origin() {
    for StateBackend { name, state, .. } in state_backends().await {
        let trust_ttl = attempt(home_origin(), NOW).limits.trusted_origin_ttl;
        // The second login is too early to extend the trust, by a thousandth of its duration; the third extends it.
        let (soon, later) = (NOW.saturating_add(trust_ttl / 1_000), NOW.saturating_add(trust_ttl / 2));
        for at in [NOW, soon, later] {
            assert_eq!(
                state.record_login_attempt(&attempt(home_origin(), at), &accepted_and_trusted()).await.unwrap(),
                AttemptOutcome::Recorded,
                "{name}"
            );
            let last =
                at.saturating_add(trust_ttl - trust_ttl / 1_000).saturating_sub(std::time::Duration::from_micros(1));
            assert_eq!(
                state.check_rate_limit(&attempt(home_origin(), last)).await.unwrap(),
                allowed_trusted(0),
                "{name}"
            );
        }
        assert_eq!(
            state.check_rate_limit(&attempt(home_origin(), later.saturating_add(trust_ttl))).await.unwrap(),
            allowed_untrusted(0),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_trusted_origin_loses_trust_when_the_epoch_changes() {
    for StateBackend { name, state, .. } in state_backends().await {
        let attempt_in_epoch = |epoch| LoginAttempt { epoch, ..attempt(home_origin(), NOW) };
        assert_eq!(
            state.record_login_attempt(&attempt_in_epoch(7), &accepted_and_trusted()).await.unwrap(),
            AttemptOutcome::Recorded
        );
        record_failures(&*state, &attempt_in_epoch(7), 2).await;
        assert_eq!(state.check_rate_limit(&attempt_in_epoch(7)).await.unwrap(), allowed_trusted(2), "{name}");
        // After a password change the origin, perhaps an attacker's, is no longer trusted.
        assert_eq!(state.check_rate_limit(&attempt_in_epoch(8)).await.unwrap(), allowed_untrusted(0), "{name}");
        record_failures(&*state, &LoginAttempt { epoch: 8, ..attempt(other_origin(), NOW) }, 6).await;
        assert!(
            matches!(
                state.check_rate_limit(&attempt_in_epoch(8)).await.unwrap(),
                RateLimitDecision::RateLimited { .. }
            ),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_success_resets_the_account_budget_but_not_the_address_budget() {
    for StateBackend { state, .. } in state_backends().await {
        for round in 0..20 {
            record_failures(&*state, &attempt(home_origin(), NOW), 5).await;
            if round < 19 {
                assert_eq!(
                    state.record_login_attempt(&attempt(home_origin(), NOW), &accepted_and_trusted()).await.unwrap(),
                    AttemptOutcome::Recorded
                );
            }
        }
        let blocked = RateLimitDecision::RateLimited { retry_after: secs(900) };
        assert_eq!(state.check_rate_limit(&attempt(home_origin(), NOW)).await.unwrap(), blocked);
        let other = LoginAttempt { account: "user:bob".to_owned(), ..attempt(home_origin(), NOW) };
        assert_eq!(state.check_rate_limit(&other).await.unwrap(), blocked);
        assert!(matches!(
            state.check_rate_limit(&attempt(other_origin(), NOW)).await.unwrap(),
            RateLimitDecision::Allowed { .. }
        ));
        assert!(matches!(
            state.check_rate_limit(&attempt(home_origin(), NOW.saturating_add(secs(900)))).await.unwrap(),
            RateLimitDecision::Allowed { .. }
        ));
    }
}

#[tokio::test]
async fn a_success_without_effects_resets_no_budget() {
    for StateBackend { state, .. } in state_backends().await {
        record_failures(&*state, &attempt(home_origin(), NOW), 4).await;
        let valid = ProofResult::Valid(Box::default());
        assert_eq!(
            state.record_login_attempt(&attempt(home_origin(), NOW), &valid).await.unwrap(),
            AttemptOutcome::Recorded
        );
        assert_eq!(state.check_rate_limit(&attempt(home_origin(), NOW)).await.unwrap(), allowed_untrusted(4));
    }
}

#[tokio::test]
async fn an_app_is_rate_limited_after_a_thousand_failures() {
    for StateBackend { state, .. } in state_backends_with_cluster().await {
        let app = Origin::from_app("melink");
        for n in 0..1_000 {
            let at = LoginAttempt { account: format!("user:{n}"), ..attempt(app.clone(), NOW) };
            record_failures(&*state, &at, 1).await;
        }
        let blocked = RateLimitDecision::RateLimited { retry_after: secs(900) };
        assert_eq!(state.check_rate_limit(&attempt(app, NOW)).await.unwrap(), blocked);
        assert_eq!(
            state.check_rate_limit(&attempt(Origin::from_app("other"), NOW)).await.unwrap(),
            allowed_untrusted(0)
        );
    }
}

#[tokio::test]
async fn ipv6_origins_are_rate_limited_by_network() {
    for StateBackend { state, .. } in state_backends_with_cluster().await {
        let attempt_from = |address: &str| attempt(Origin::from_address(address.parse().unwrap()), NOW);
        assert_eq!(
            state.record_login_attempt(&attempt_from("2001:db8:1:2::1"), &accepted_and_trusted()).await.unwrap(),
            AttemptOutcome::Recorded
        );
        assert_eq!(state.check_rate_limit(&attempt_from("2001:db8:1:2:ffff::9")).await.unwrap(), allowed_trusted(0));
        assert_eq!(state.check_rate_limit(&attempt_from("2001:db8:1:3::1")).await.unwrap(), allowed_untrusted(0));
        for n in 0..100 {
            let at = LoginAttempt { account: format!("user:{n}"), ..attempt_from(&format!("2001:db8:1:2::{n:x}")) };
            record_failures(&*state, &at, 1).await;
        }
        assert!(matches!(
            state.check_rate_limit(&attempt_from("2001:db8:1:2::abcd")).await.unwrap(),
            RateLimitDecision::RateLimited { .. }
        ));
        assert_eq!(state.check_rate_limit(&attempt_from("2001:db8:1:3::1")).await.unwrap(), allowed_untrusted(0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_failures_are_all_counted_until_the_account_is_blocked() {
    for StateBackend { state, .. } in state_backends_with_cluster().await {
        let failing = (0..200).map(|n: u32| {
            let (state, origin) = (Arc::clone(&state), Origin::from_address([10, 0, 0, n as u8].into()));
            async move { state.record_login_attempt(&attempt(origin, NOW), &ProofResult::Invalid).await.unwrap() }
        });
        let recorded =
            all_at_once(failing).await.into_iter().filter(|outcome| *outcome == AttemptOutcome::Recorded).count();
        assert_eq!(recorded, 6);
    }
}

#[tokio::test]
async fn a_clock_set_back_does_not_extend_a_wait_beyond_the_maximum() {
    for StateBackend { state, .. } in state_backends().await {
        record_failures(&*state, &attempt(home_origin(), NOW.saturating_add(secs(7_200))), 6).await;
        let RateLimitDecision::RateLimited { retry_after } =
            state.check_rate_limit(&attempt(home_origin(), NOW)).await.unwrap()
        else {
            panic!("the wait has ended")
        };
        assert!(retry_after <= secs(900));
    }
}

fn uses_of(keys: &[(&str, u32)]) -> Vec<QuotaUse> {
    let quota = |max| Quota { max, window: secs(3_600) };
    keys.iter().map(|&(key, max)| QuotaUse { key: key.to_owned(), quota: quota(max) }).collect()
}

#[tokio::test]
async fn quota_windows_start_at_the_first_use() {
    for StateBackend { state, .. } in state_backends().await {
        let uses = uses_of(&[("to:alice", 2), ("from:home", 3)]);
        let send = async |keys: &[QuotaUse], now: Timestamp| {
            state.consume_quotas(keys, None, now).await.unwrap().map(|exceeded| exceeded.retry_after)
        };
        assert_eq!(send(&uses, NOW).await, None);
        assert_eq!(send(&uses, NOW.saturating_add(secs(600))).await, None);
        let limited_at = NOW.saturating_add(secs(1_200));
        assert_eq!(send(&uses, limited_at).await, Some(secs(2_400)));
        // A rejected send is counted in no quota.
        assert_eq!(send(&uses_of(&[("to:bob", 2), ("from:home", 3)]), limited_at).await, None);
        assert_eq!(send(&uses_of(&[("to:bob", 2), ("from:home", 3)]), limited_at).await, Some(secs(2_400)));
        assert_eq!(send(&uses_of(&[("to:bob", 2)]), limited_at).await, None);
        assert_eq!(send(&uses, NOW.saturating_add(secs(3_600))).await, None);
        // Of several exceeded quotas, the longest wait is returned.
        let both = uses_of(&[("to:alice", 0), ("to:bob", 2)]);
        assert_eq!(send(&both, NOW.saturating_add(secs(3_600))).await, Some(secs(3_600)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_uses_do_not_exceed_the_quota() {
    for StateBackend { state, .. } in state_backends_with_cluster().await {
        let sending = (0..64).map(|_| {
            let state = Arc::clone(&state);
            async move { state.consume_quotas(&uses_of(&[("to:alice", 5)]), None, NOW).await.unwrap().is_none() }
        });
        assert_eq!(all_at_once(sending).await.into_iter().filter(|&sent| sent).count(), 5);
    }
}

#[tokio::test]
async fn a_success_clears_only_the_failures_of_its_own_origin() {
    for StateBackend { name, state, .. } in state_backends_with_cluster().await {
        let home = attempt(home_origin(), NOW);
        let other = attempt(other_origin(), NOW);
        record_failures(&*state, &other, 3).await;
        record_failures(&*state, &home, 1).await;
        assert_eq!(state.check_rate_limit(&other).await.unwrap(), allowed_untrusted(4), "{name}");
        assert_eq!(state.record_login_attempt(&home, &accepted_and_trusted()).await.unwrap(), AttemptOutcome::Recorded);
        // Clears the failures from this origin, and retains those from the other one.
        assert_eq!(state.check_rate_limit(&other).await.unwrap(), allowed_untrusted(3), "{name}");
        assert_eq!(
            state.record_login_attempt(&other, &accepted_and_trusted()).await.unwrap(),
            AttemptOutcome::Recorded
        );
        let third = attempt(Origin::from_app("melink"), NOW);
        assert_eq!(state.check_rate_limit(&third).await.unwrap(), allowed_untrusted(0), "{name}");
        // In a later window, the failures of an earlier one do not count as the origin's.
        record_failures(&*state, &third, 2).await;
        let later = |at: &LoginAttempt| LoginAttempt { now: NOW.saturating_add(secs(900)), ..at.clone() };
        let fourth = later(&attempt(Origin::from_app("fourth"), NOW));
        record_failures(&*state, &fourth, 2).await;
        assert_eq!(
            state.record_login_attempt(&later(&third), &accepted_and_trusted()).await.unwrap(),
            AttemptOutcome::Recorded
        );
        assert_eq!(state.check_rate_limit(&fourth).await.unwrap(), allowed_untrusted(2), "{name}");
    }
}

#[tokio::test]
async fn wider_ipv6_networks_have_larger_budgets() {
    for StateBackend { name, state, .. } in state_backends_with_cluster().await {
        let attempt_from = |address: &str, n: u32| LoginAttempt {
            account: format!("user:{n}"),
            ..attempt(Origin::from_address(address.parse().unwrap()), NOW)
        };
        let mut n = 0;
        let mut count_recorded = async |networks: &[&str]| {
            let mut recorded = 0;
            for network in networks {
                for _ in 0..150 {
                    n += 1;
                    let outcome =
                        state.record_login_attempt(&attempt_from(network, n), &ProofResult::Invalid).await.unwrap();
                    recorded += u32::from(outcome == AttemptOutcome::Recorded);
                }
            }
            recorded
        };
        // Rejected attempts count in no budget: the 50 of the first /64 do not count against its /56 and /48.
        assert_eq!(count_recorded(&["2001:db8:1:100::"]).await, 100, "{name}");
        assert_eq!(count_recorded(&["2001:db8:1:101::", "2001:db8:1:1ff::"]).await, 100, "{name}");
        assert_eq!(count_recorded(&["2001:db8:1:200::", "2001:db8:1:300::", "2001:db8:1:ffff::"]).await, 200, "{name}");
        assert_eq!(count_recorded(&["2001:db8:2::", "192.0.2.77", "192.0.2.78"]).await, 300, "{name}");
    }
}
