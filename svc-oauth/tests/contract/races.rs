//! What changes while a request is served: a token that is issued for a session which has died meanwhile is not valid
//! after the request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use stele_core::oauth::LegacyTokenType;
use stele_core::user::UserStatus;
use stele_testkit::{CallPhase, ResponseDelivery, StoreCallObserver};

use crate::test_service::*;

/// Runs `change` once: when the store is about to execute the first `operation`, or has executed it, and before the
/// request goes on.
fn interrupt<F: Future<Output = ()>>(
    operation: &'static str,
    at: CallPhase,
    change: impl Fn() -> F + Send + Sync + 'static,
) -> StoreCallObserver {
    let is_pending = AtomicBool::new(true);
    Arc::new(move |called, phase| {
        if called == operation && phase == at && is_pending.swap(false, Ordering::SeqCst) {
            // On a thread of its own, because the observer is called within the runtime of the service.
            let run_change = || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(change());
            };
            std::thread::scope(|scope| scope.spawn(run_change).join().unwrap());
        }
        ResponseDelivery::Delivered
    })
}

/// A16: the epoch moves between the reads of the session and of the user, and after both.
#[tokio::test]
async fn a_password_that_changes_during_an_exchange_ends_the_token() {
    let service = TestService::new().await;
    let users = service.lab.second_instance().await;
    let users = Arc::new(users);
    for (operation, at) in [
        ("session", CallPhase::Before),
        ("session", CallPhase::After),
        ("find_ref", CallPhase::Before),
        ("find_ref", CallPhase::After),
    ] {
        for status in [None, Some(UserStatus::Disabled)] {
            let session = service.log_in("tms").await;
            let (users, user) = (users.clone(), service.user.clone());
            let change = move || {
                let (users, user) = (users.clone(), user.clone());
                async move { change_credential(&users, &user, status).await }
            };
            service.lab.set_store_observer(Some(interrupt(operation, at, change)));
            let response = service.exchange_legacy(LegacyTokenType::TmsSession, session.expose()).await;
            service.lab.set_store_observer(None);
            if response.status == 200 {
                // The change came after the last read: the exchange was first. The token dies with the session.
                assert_eq!((operation, at), ("find_ref", CallPhase::After));
                assert!(!service.is_active(None, &access_token(&response)).await);
            } else {
                response.assert_is(400, BAD_SUBJECT);
            }
            service.set_status(&service.user, UserStatus::Active).await;
        }
    }
}

async fn change_credential(
    instance: &stele_testkit::TestLab,
    user: &stele_core::user::User,
    status: Option<UserStatus>,
) {
    use stele_core::password::{NewPassword, RawPassword};
    use stele_core::user::UserRef;
    let user = UserRef::Id(user.id);
    match status {
        Some(status) => instance.use_cases().set_status(user, status).await.unwrap(),
        None => {
            let password = NewPassword::from_administrator(&RawPassword::new(PASSWORD.to_owned())).unwrap();
            instance.use_cases().provision_password(user, &password).await.unwrap();
        }
    }
}

/// The session ends during the exchange, at every point.
#[tokio::test]
async fn a_session_that_ends_during_an_exchange_ends_the_token() {
    let service = TestService::new().await;
    let instance = Arc::new(service.lab.second_instance().await);
    for (operation, at) in [
        ("session", CallPhase::Before),
        ("session", CallPhase::After),
        ("find_ref", CallPhase::Before),
        ("find_ref", CallPhase::After),
    ] {
        let session = service.log_in("tms").await;
        let (instance, ended) = (instance.clone(), session.clone());
        let change = move || {
            let (instance, ended) = (instance.clone(), ended.clone());
            async move { instance.use_cases().logout("tms", &ended).await.unwrap() }
        };
        service.lab.set_store_observer(Some(interrupt(operation, at, change)));
        let response = service.exchange_legacy(LegacyTokenType::TmsSession, session.expose()).await;
        service.lab.set_store_observer(None);
        if response.status == 200 {
            assert_ne!((operation, at), ("session", CallPhase::Before));
            assert!(!service.is_active(None, &access_token(&response)).await);
        } else {
            response.assert_is(400, BAD_SUBJECT);
        }
    }
}

/// The epoch moves during an introspection: the answer is that of before or after, and `false` from then on.
#[tokio::test]
async fn a_password_that_changes_during_an_introspection_is_seen_by_the_next_one() {
    let service = TestService::new().await;
    let instance = Arc::new(service.lab.second_instance().await);
    for at in [CallPhase::Before, CallPhase::After] {
        for operation in ["session_revocation", "find_ref"] {
            let token = service.user_token().await;
            let (instance, user) = (instance.clone(), service.user.clone());
            let change = move || {
                let (instance, user) = (instance.clone(), user.clone());
                async move { change_credential(&instance, &user, None).await }
            };
            service.lab.set_store_observer(Some(interrupt(operation, at, change)));
            let was_active = service.is_active(None, &token).await;
            service.lab.set_store_observer(None);
            assert_eq!(was_active, (operation, at) == ("find_ref", CallPhase::After));
            assert!(!service.is_active(None, &token).await);
        }
    }
}
