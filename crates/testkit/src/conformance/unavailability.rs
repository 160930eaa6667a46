//! Server-side faults: reported in the dialect's format and never counted as a wrong password. Logins succeed again as
//! soon as the cause is gone.

use std::time::Duration;

use stele_core::Error;

use super::{DialectUnderTest, PASSWORD, PHONE, PasswordGuess, UNKNOWN_PHONE, WRONG_PASSWORD};
use crate::{STORES, StoreState};

pub async fn logins_fail_and_count_nothing_while_a_store_is_down<D: DialectUnderTest>() {
    for (_, set_state) in STORES {
        let app = D::new().await;
        app.add_test_user().await;
        set_state(&app.lab, StoreState::Down);
        // More failures than the rate limit allows, if they were counted.
        for _ in 0..8 {
            for (identifier, password) in [(PHONE, PASSWORD), (PHONE, WRONG_PASSWORD), (UNKNOWN_PHONE, PASSWORD)] {
                app.assert_fails_with(&app.login(0, identifier, password).await, &Error::unavailable(""));
            }
        }
        set_state(&app.lab, StoreState::Up);
        // The proof was not marked as used either.
        app.assert_accepted(app.login(0, PHONE, PASSWORD).await);
    }
}

pub async fn a_full_hash_queue_returns_retry_after_and_computes_no_hash<D: DialectUnderTest>() {
    let mut app = D::new().await;
    app.add_test_user().await;
    let overloaded_service = app.lab.start_with_full_hash_queue(D::SERVICE).await;
    let idle_service = std::mem::replace(&mut app.service, overloaded_service);
    let busy_error = Error::Busy { retry_after: Duration::from_secs(1) };
    for _ in 0..8 {
        for (identifier, password) in [(PHONE, WRONG_PASSWORD), (UNKNOWN_PHONE, PASSWORD), (PHONE, PASSWORD)] {
            let is_right = (identifier, password) == (PHONE, PASSWORD);
            let guess = if is_right { PasswordGuess::Right } else { PasswordGuess::Wrong };
            if D::login_cost(guess).hashes > 0 {
                app.assert_fails_with(&app.login(0, identifier, password).await, &busy_error);
            } else if is_right {
                // A login that computes no hash does not wait for the queue.
                app.advance_clock(1);
                app.assert_accepted(app.login(0, PHONE, PASSWORD).await);
            }
        }
    }
    app.service = idle_service;
    app.advance_clock(1);
    app.assert_accepted(app.login(0, PHONE, PASSWORD).await);
}
