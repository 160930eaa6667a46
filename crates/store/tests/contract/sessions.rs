//! Sessions, tickets and captchas, and the deletion of expired data.

use std::sync::Arc;

use stele_core::ports::{OriginTrustChange, ProofResult, RateLimitDecision, StateStore, SuccessEffects};
use stele_core::session::{Session, Ticket, TicketKind};
use stele_core::time::Timestamp;

use crate::support::*;

const LATER: Timestamp = Timestamp::from_secs(1_500_010_000);

#[tokio::test]
async fn a_session_is_valid_until_it_expires_or_is_ended() {
    for StateBackend { name, state, .. } in state_backends().await {
        let opened = session(LATER);
        state.open_session(&new_session(1, opened.clone())).await.unwrap();
        assert_eq!(state.find_session(&token_key(1), NOW).await.unwrap(), Some(opened.clone()), "{name}");
        assert_eq!(state.find_session(&token_key(2), NOW).await.unwrap(), None);
        assert_eq!(state.find_session(&token_key(1), LATER).await.unwrap(), None);

        let used = Session {
            last_seen: NOW.saturating_add(secs(60)),
            expires: LATER.saturating_add(secs(60)),
            ..opened.clone()
        };
        state.touch_session(&token_key(1), &used).await.unwrap();
        state.set_session_epoch(&token_key(1), 4).await.unwrap();
        let touched = Session { epoch: 4, ..used.clone() };
        assert_eq!(state.find_session(&token_key(1), LATER).await.unwrap(), Some(touched));

        // An app-bound session is opened again under its key.
        state.open_session(&new_session(1, opened.clone())).await.unwrap();
        assert_eq!(state.find_session(&token_key(1), NOW).await.unwrap(), Some(opened));

        assert!(state.end_session(&token_key(1), user_id(1)).await.unwrap());
        assert!(!state.end_session(&token_key(1), user_id(1)).await.unwrap());
        state.touch_session(&token_key(1), &used).await.unwrap();
        state.set_session_epoch(&token_key(1), 4).await.unwrap();
        assert_eq!(state.find_session(&token_key(1), NOW).await.unwrap(), None);
        state.ping().await.unwrap();
    }
}

fn ticket() -> Ticket {
    Ticket {
        kind: TicketKind::Handover,
        user: user_id(1),
        epoch: 2,
        source: "from".to_owned(),
        audience: "to".to_owned(),
        expires: LATER,
    }
}

async fn redeem(state: &dyn StateStore, kind: TicketKind, audience: &str, now: Timestamp) -> Option<Ticket> {
    state.redeem_ticket(&token_key(1), kind, audience, now).await.unwrap()
}

#[tokio::test]
async fn a_ticket_is_redeemed_once_by_its_audience() {
    for StateBackend { state, .. } in state_backends().await {
        state.store_ticket(&token_key(1), &ticket()).await.unwrap();
        assert_eq!(redeem(&*state, TicketKind::Reset, "to", NOW).await, None);
        assert_eq!(redeem(&*state, TicketKind::Handover, "other", NOW).await, None);
        assert_eq!(redeem(&*state, TicketKind::Handover, "to", LATER).await, None);
        assert_eq!(state.redeem_ticket(&token_key(2), TicketKind::Handover, "to", NOW).await.unwrap(), None);
        assert_eq!(redeem(&*state, TicketKind::Handover, "to", NOW).await, Some(ticket()));
        assert_eq!(redeem(&*state, TicketKind::Handover, "to", NOW).await, None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_redemptions_of_a_ticket_succeed_once() {
    for StateBackend { state, .. } in state_backends().await {
        state.store_ticket(&token_key(1), &ticket()).await.unwrap();
        let redeeming = (0..64).map(|_| {
            let state = Arc::clone(&state);
            async move { redeem(&*state, TicketKind::Handover, "to", NOW).await }
        });
        assert_eq!(all_at_once(redeeming).await.into_iter().flatten().count(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_captcha_is_consumed_once() {
    for StateBackend { state, .. } in state_backends().await {
        for id in [0, (1 << 53) - 1, u64::MAX] {
            assert!(!state.count_captcha_view(id, 100, NOW).await.unwrap());
            state.store_captcha(id, LATER).await.unwrap();
            assert!(state.count_captcha_view(id, 100, NOW).await.unwrap());
            assert!(!state.count_captcha_view(id, 100, LATER).await.unwrap());
            assert!(!state.consume_captcha(id, LATER).await.unwrap());
            let taking = (0..32).map(|_| {
                let state = Arc::clone(&state);
                async move { state.consume_captcha(id, NOW).await.unwrap() }
            });
            assert_eq!(all_at_once(taking).await.into_iter().filter(|&taken| taken).count(), 1);
            assert!(!state.count_captcha_view(id, 100, NOW).await.unwrap());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_captcha_has_a_view_limit() {
    for StateBackend { state, .. } in state_backends().await {
        state.store_captcha(1, LATER).await.unwrap();
        state.store_captcha(2, LATER).await.unwrap();
        let views = async |id| {
            let viewing = (0..32).map(|_| {
                let state = Arc::clone(&state);
                async move { state.count_captcha_view(id, 5, NOW).await.unwrap() }
            });
            all_at_once(viewing).await.into_iter().filter(|&seen| seen).count()
        };
        assert_eq!((views(1).await, views(1).await, views(2).await, views(3).await), (5, 0, 5, 0));
        // A captcha can be solved after its last view.
        assert!(state.consume_captcha(1, NOW).await.unwrap());
        // A captcha stored under a used id is a new one.
        state.store_captcha(1, LATER).await.unwrap();
        assert_eq!(views(1).await, 5);
    }
}

#[tokio::test]
async fn sweeping_removes_only_expired_data() {
    for StateBackend { state, needs_sweep, .. } in state_backends().await {
        for n in 0..2_100 {
            state.store_captcha(n, NOW).await.unwrap();
        }
        state.store_captcha(9_999, LATER).await.unwrap();
        state.open_session(&new_session(1, session(NOW))).await.unwrap();
        state.open_session(&new_session(2, session(LATER))).await.unwrap();
        state.store_ticket(&token_key(1), &ticket()).await.unwrap();
        state.consume_quotas(&[], Some(&code("alice", 1)), NOW).await.unwrap();
        let at = attempt(home_origin(), NOW);
        state.record_login_attempt(&at, &ProofResult::Invalid).await.unwrap();
        let success = SuccessEffects { origin_trust: OriginTrustChange::Trust, ..one_time_success(1, LATER) };
        state
            .record_login_attempt(&attempt(other_origin(), NOW), &ProofResult::Valid(Box::new(success)))
            .await
            .unwrap();
        state.record_login_attempt(&at, &ProofResult::Invalid).await.unwrap();

        state.delete_expired(NOW).await.unwrap();
        // Calls with a time before the expiry show whether the data is still stored.
        let before = NOW.saturating_sub(secs(1));
        if needs_sweep {
            for n in [0, 1_000, 2_099] {
                assert!(!state.count_captcha_view(n, 100, before).await.unwrap());
            }
            assert!(state.find_session(&token_key(1), before).await.unwrap().is_none());
        }
        assert!(state.count_captcha_view(9_999, 100, before).await.unwrap());
        assert!(state.find_session(&token_key(2), before).await.unwrap().is_some());
        let untrusted = |failures| RateLimitDecision::Allowed { failures, trusted_origin: false };
        let trusted = RateLimitDecision::Allowed { failures: 0, trusted_origin: true };
        // The success from the other origin did not clear the failures from this one.
        assert_eq!(state.check_rate_limit(&at).await.unwrap(), untrusted(2));
        assert_eq!(state.check_rate_limit(&attempt(other_origin(), NOW)).await.unwrap(), trusted);

        state.delete_expired(NOW.saturating_add(secs(31 * 86_400))).await.unwrap();
        if needs_sweep {
            assert!(state.find_session(&token_key(2), before).await.unwrap().is_none());
            assert_eq!(redeem(&*state, TicketKind::Handover, "to", NOW).await, None);
            assert_eq!(state.check_rate_limit(&at).await.unwrap(), untrusted(0));
            assert_eq!(state.check_rate_limit(&attempt(other_origin(), NOW)).await.unwrap(), untrusted(0));
        }
        // The birth does not expire.
        assert_eq!(state.created_at().await.unwrap(), BIRTH);
    }
}
