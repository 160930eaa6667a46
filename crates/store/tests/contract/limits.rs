use std::sync::Arc;

use stele_core::origin::Origin;
use stele_core::ports::{Admission, Attempt, Settlement, StateStore, Use, Verdict};
use stele_core::rate_limit::Quota;
use stele_core::time::Timestamp;

use crate::support::*;

async fn fail(state: &dyn StateStore, attempt: &Attempt, times: usize) {
    for n in 0..times {
        assert_eq!(state.settle(attempt, &Verdict::Wrong).await.unwrap(), Settlement::Done, "{n}");
    }
}

fn open(failures: u32, known: bool) -> Admission {
    Admission::Open { failures, known }
}

#[tokio::test]
async fn after_five_failures_each_doubles_a_wait() {
    for StateBackend { name, state, .. } in state_backends().await {
        let mut at = attempt(home(), NOW);
        assert_eq!(state.admit(&at).await.unwrap(), open(0, false), "{name}");
        fail(&*state, &at, 5).await;
        assert_eq!(state.admit(&at).await.unwrap(), open(5, false));
        for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
            fail(&*state, &at, 1).await;
            let retry_after = secs(wait);
            assert_eq!(state.admit(&at).await.unwrap(), Admission::Blocked { retry_after });
            // Nothing is counted during a wait, and the right password does not help.
            for verdict in [Verdict::Wrong, welcome()] {
                assert_eq!(state.settle(&at, &verdict).await.unwrap(), Settlement::Blocked { retry_after });
            }
            at.now = at.now.after(retry_after);
        }
        at.now = NOW.after(secs(900));
        assert_eq!(state.admit(&at).await.unwrap(), open(0, false));
    }
}

#[tokio::test]
async fn an_account_has_one_budget_for_all_who_are_unknown_to_it() {
    for StateBackend { state, .. } in state_backends().await {
        fail(&*state, &attempt(home(), NOW), 3).await;
        fail(&*state, &attempt(Origin::app("melink"), NOW), 3).await;
        let blocked = Admission::Blocked { retry_after: secs(1) };
        assert_eq!(state.admit(&attempt(elsewhere(), NOW)).await.unwrap(), blocked);
        let other = Attempt { account: "user:bob".to_owned(), ..attempt(home(), NOW) };
        assert_eq!(state.admit(&other).await.unwrap(), open(0, false));
    }
}

#[tokio::test]
async fn a_known_origin_has_a_budget_of_its_own() {
    for StateBackend { state, .. } in state_backends().await {
        assert_eq!(state.settle(&attempt(home(), NOW), &welcome()).await.unwrap(), Settlement::Done);
        // Strangers cannot keep the owner out.
        fail(&*state, &attempt(elsewhere(), NOW), 6).await;
        assert!(matches!(state.admit(&attempt(elsewhere(), NOW)).await.unwrap(), Admission::Blocked { .. }));
        assert_eq!(state.admit(&attempt(home(), NOW)).await.unwrap(), open(0, true));
        // Nor does the owner's success forgive the strangers.
        fail(&*state, &attempt(home(), NOW), 2).await;
        assert_eq!(state.admit(&attempt(home(), NOW)).await.unwrap(), open(2, true));
        assert_eq!(state.settle(&attempt(home(), NOW), &welcome()).await.unwrap(), Settlement::Done);
        assert_eq!(state.admit(&attempt(home(), NOW)).await.unwrap(), open(0, true));
        assert!(matches!(state.admit(&attempt(elsewhere(), NOW)).await.unwrap(), Admission::Blocked { .. }));
        // Nor is the origin known to others, nor for ever.
        let other = Attempt { account: "user:bob".to_owned(), ..attempt(home(), NOW) };
        assert_eq!(state.admit(&other).await.unwrap(), open(0, false));
        let known_for = attempt(home(), NOW).limits.known_for;
        let last = NOW.after(known_for).before(std::time::Duration::from_micros(1));
        assert_eq!(state.admit(&attempt(home(), last)).await.unwrap(), open(0, true));
        assert_eq!(state.admit(&attempt(home(), NOW.after(known_for))).await.unwrap(), open(0, false));
    }
}

#[tokio::test]
async fn an_origin_stays_known_from_login_to_login() {
    for StateBackend { name, state, .. } in state_backends().await {
        let known_for = attempt(home(), NOW).limits.known_for;
        // The second finds it known for long enough, but for less than a thousandth; the third does not.
        let (soon, later) = (NOW.after(known_for / 1_000), NOW.after(known_for / 2));
        for at in [NOW, soon, later] {
            assert_eq!(state.settle(&attempt(home(), at), &welcome()).await.unwrap(), Settlement::Done, "{name}");
            let last = at.after(known_for - known_for / 1_000).before(std::time::Duration::from_micros(1));
            assert_eq!(state.admit(&attempt(home(), last)).await.unwrap(), open(0, true), "{name}");
        }
        assert_eq!(state.admit(&attempt(home(), later.after(known_for))).await.unwrap(), open(0, false), "{name}");
    }
}

#[tokio::test]
async fn an_origin_is_known_under_one_epoch_only() {
    for StateBackend { name, state, .. } in state_backends().await {
        let under = |epoch| Attempt { epoch, ..attempt(home(), NOW) };
        assert_eq!(state.settle(&under(7), &welcome()).await.unwrap(), Settlement::Done);
        fail(&*state, &under(7), 2).await;
        assert_eq!(state.admit(&under(7)).await.unwrap(), open(2, true), "{name}");
        // A thief's address: the owner has set a new password meanwhile.
        assert_eq!(state.admit(&under(8)).await.unwrap(), open(0, false), "{name}");
        fail(&*state, &Attempt { epoch: 8, ..attempt(elsewhere(), NOW) }, 6).await;
        assert!(matches!(state.admit(&under(8)).await.unwrap(), Admission::Blocked { .. }), "{name}");
    }
}

#[tokio::test]
async fn a_success_clears_the_account_and_not_the_address() {
    for StateBackend { state, .. } in state_backends().await {
        for round in 0..20 {
            fail(&*state, &attempt(home(), NOW), 5).await;
            if round < 19 {
                assert_eq!(state.settle(&attempt(home(), NOW), &welcome()).await.unwrap(), Settlement::Done);
            }
        }
        let blocked = Admission::Blocked { retry_after: secs(900) };
        assert_eq!(state.admit(&attempt(home(), NOW)).await.unwrap(), blocked);
        let other = Attempt { account: "user:bob".to_owned(), ..attempt(home(), NOW) };
        assert_eq!(state.admit(&other).await.unwrap(), blocked);
        assert!(matches!(state.admit(&attempt(elsewhere(), NOW)).await.unwrap(), Admission::Open { .. }));
        assert!(matches!(state.admit(&attempt(home(), NOW.after(secs(900)))).await.unwrap(), Admission::Open { .. }));
    }
}

#[tokio::test]
async fn a_right_password_of_a_disabled_user_forgives_nothing() {
    for StateBackend { state, .. } in state_backends().await {
        fail(&*state, &attempt(home(), NOW), 4).await;
        let right = Verdict::Right(Box::default());
        assert_eq!(state.settle(&attempt(home(), NOW), &right).await.unwrap(), Settlement::Done);
        assert_eq!(state.admit(&attempt(home(), NOW)).await.unwrap(), open(4, false));
    }
}

#[tokio::test]
async fn an_app_has_a_thousand_failures() {
    for StateBackend { state, .. } in state_backends().await {
        let app = Origin::app("melink");
        for n in 0..1_000 {
            let at = Attempt { account: format!("user:{n}"), ..attempt(app.clone(), NOW) };
            fail(&*state, &at, 1).await;
        }
        let blocked = Admission::Blocked { retry_after: secs(900) };
        assert_eq!(state.admit(&attempt(app, NOW)).await.unwrap(), blocked);
        assert_eq!(state.admit(&attempt(Origin::app("other"), NOW)).await.unwrap(), open(0, false));
    }
}

#[tokio::test]
async fn ipv6_is_counted_by_network() {
    for StateBackend { state, .. } in state_backends().await {
        let from = |text: &str| attempt(Origin::address(text.parse().unwrap()), NOW);
        assert_eq!(state.settle(&from("2001:db8:1:2::1"), &welcome()).await.unwrap(), Settlement::Done);
        assert_eq!(state.admit(&from("2001:db8:1:2:ffff::9")).await.unwrap(), open(0, true));
        assert_eq!(state.admit(&from("2001:db8:1:3::1")).await.unwrap(), open(0, false));
        for n in 0..100 {
            let at = Attempt { account: format!("user:{n}"), ..from(&format!("2001:db8:1:2::{n:x}")) };
            fail(&*state, &at, 1).await;
        }
        assert!(matches!(state.admit(&from("2001:db8:1:2::abcd")).await.unwrap(), Admission::Blocked { .. }));
        assert_eq!(state.admit(&from("2001:db8:1:3::1")).await.unwrap(), open(0, false));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_failures_are_all_counted_until_the_wait_begins() {
    for StateBackend { state, .. } in state_backends().await {
        let failing = (0..200).map(|n: u32| {
            let (state, origin) = (Arc::clone(&state), Origin::address([10, 0, 0, n as u8].into()));
            async move { state.settle(&attempt(origin, NOW), &Verdict::Wrong).await.unwrap() }
        });
        let done = all_at_once(failing).await.into_iter().filter(|booked| *booked == Settlement::Done).count();
        assert_eq!(done, 6);
    }
}

#[tokio::test]
async fn a_clock_set_back_makes_no_wait_longer_than_the_longest() {
    for StateBackend { state, .. } in state_backends().await {
        fail(&*state, &attempt(home(), NOW.after(secs(7_200))), 6).await;
        let Admission::Blocked { retry_after } = state.admit(&attempt(home(), NOW)).await.unwrap() else {
            panic!("the wait was forgotten")
        };
        assert!(retry_after <= secs(900));
    }
}

fn uses(keys: &[(&str, u32)]) -> Vec<Use> {
    let quota = |max| Quota { max, window: secs(3_600) };
    keys.iter().map(|&(key, max)| Use { key: key.to_owned(), quota: quota(max) }).collect()
}

#[tokio::test]
async fn uses_are_counted_in_windows_from_the_first() {
    for StateBackend { state, .. } in state_backends().await {
        let wanted = uses(&[("to:alice", 2), ("from:home", 3)]);
        let send = async |keys: &[Use], now: Timestamp| {
            state.send_code(keys, None, now).await.unwrap().map(|exceeded| exceeded.retry_after)
        };
        assert_eq!(send(&wanted, NOW).await, None);
        assert_eq!(send(&wanted, NOW.after(secs(600))).await, None);
        let refused = NOW.after(secs(1_200));
        assert_eq!(send(&wanted, refused).await, Some(secs(2_400)));
        // What was refused is not counted anywhere.
        assert_eq!(send(&uses(&[("to:bob", 2), ("from:home", 3)]), refused).await, None);
        assert_eq!(send(&uses(&[("to:bob", 2), ("from:home", 3)]), refused).await, Some(secs(2_400)));
        assert_eq!(send(&uses(&[("to:bob", 2)]), refused).await, None);
        assert_eq!(send(&wanted, NOW.after(secs(3_600))).await, None);
        // The longest wait is told.
        let both = uses(&[("to:alice", 0), ("to:bob", 2)]);
        assert_eq!(send(&both, NOW.after(secs(3_600))).await, Some(secs(3_600)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_uses_do_not_pass_the_quota() {
    for StateBackend { state, .. } in state_backends().await {
        let sending = (0..64).map(|_| {
            let state = Arc::clone(&state);
            async move { state.send_code(&uses(&[("to:alice", 5)]), None, NOW).await.unwrap().is_none() }
        });
        assert_eq!(all_at_once(sending).await.into_iter().filter(|&sent| sent).count(), 5);
    }
}

#[tokio::test]
async fn a_success_clears_what_its_own_origin_contributed() {
    for StateBackend { name, state, .. } in state_backends().await {
        let home = attempt(home(), NOW);
        let stranger = attempt(elsewhere(), NOW);
        fail(&*state, &stranger, 3).await;
        fail(&*state, &home, 1).await;
        assert_eq!(state.admit(&stranger).await.unwrap(), open(4, false), "{name}");
        assert_eq!(state.settle(&home, &welcome()).await.unwrap(), Settlement::Done);
        // The owner's slip is forgotten, and the stranger's failures are not: they would be at no other account.
        assert_eq!(state.admit(&stranger).await.unwrap(), open(3, false), "{name}");
        assert_eq!(state.settle(&stranger, &welcome()).await.unwrap(), Settlement::Done);
        let third = attempt(Origin::app("melink"), NOW);
        assert_eq!(state.admit(&third).await.unwrap(), open(0, false), "{name}");
        // In a window that follows, an earlier one's failures have no origin.
        fail(&*state, &third, 2).await;
        let later = |at: &Attempt| Attempt { now: NOW.after(secs(900)), ..at.clone() };
        let fourth = later(&attempt(Origin::app("fourth"), NOW));
        fail(&*state, &fourth, 2).await;
        assert_eq!(state.settle(&later(&third), &welcome()).await.unwrap(), Settlement::Done);
        assert_eq!(state.admit(&fourth).await.unwrap(), open(2, false), "{name}");
    }
}

#[tokio::test]
async fn ipv6_networks_around_an_origin_have_budgets_that_grow_slowly() {
    for StateBackend { name, state, .. } in state_backends().await {
        let from = |text: &str, n: u32| Attempt {
            account: format!("user:{n}"),
            ..attempt(Origin::address(text.parse().unwrap()), NOW)
        };
        let mut n = 0;
        let mut failures = async |networks: &[&str]| {
            let mut done = 0;
            for network in networks {
                for _ in 0..150 {
                    n += 1;
                    let settled = state.settle(&from(network, n), &Verdict::Wrong).await.unwrap();
                    done += u32::from(settled == Settlement::Done);
                }
            }
            done
        };
        // What is refused counts nowhere: neither do the 50 of the first /64 use up the /56, nor so on.
        assert_eq!(failures(&["2001:db8:1:100::"]).await, 100, "{name}");
        assert_eq!(failures(&["2001:db8:1:101::", "2001:db8:1:1ff::"]).await, 100, "{name}");
        assert_eq!(failures(&["2001:db8:1:200::", "2001:db8:1:300::", "2001:db8:1:ffff::"]).await, 200, "{name}");
        assert_eq!(failures(&["2001:db8:2::", "192.0.2.77", "192.0.2.78"]).await, 300, "{name}");
    }
}
