//! Faults on our side: answered in dialect, never taken for a wrong password, and gone when its cause is.

use std::time::Duration;

use stele_core::Error;

use super::{DialectUnderTest, PASSWORD, PHONE, UNKNOWN_PHONE, WRONG_PASSWORD};
use crate::STORES;

pub async fn logins_fail_and_count_nothing_while_a_store_is_down<D: DialectUnderTest>() {
    for (_, down) in STORES {
        let app = D::new().await;
        app.add_test_user().await;
        down(&app.lab, true);
        // More than the limits let pass, had they been counted.
        for _ in 0..8 {
            for (identifier, password) in [(PHONE, PASSWORD), (PHONE, WRONG_PASSWORD), (UNKNOWN_PHONE, PASSWORD)] {
                app.assert_fails_with(&app.login(0, identifier, password).await, &Error::unavailable(""));
            }
        }
        down(&app.lab, false);
        // Nor was the proof used up.
        app.assert_accepted(app.login(0, PHONE, PASSWORD).await);
    }
}

pub async fn a_full_hash_queue_returns_retry_after_and_computes_no_hash<D: DialectUnderTest>() {
    let mut app = D::new().await;
    app.add_test_user().await;
    let full = app.lab.start_with_full_hash_queue(D::SERVICE).await;
    let idle = std::mem::replace(&mut app.service, full);
    let busy = Error::Busy { retry_after: Duration::from_secs(1) };
    for _ in 0..8 {
        for (identifier, password) in [(PHONE, WRONG_PASSWORD), (UNKNOWN_PHONE, PASSWORD), (PHONE, PASSWORD)] {
            let right = (identifier, password) == (PHONE, PASSWORD);
            if D::login_cost(right).hashes > 0 {
                app.assert_fails_with(&app.login(0, identifier, password).await, &busy);
            } else if right {
                // It costs no hash, so it is not held up.
                app.advance_clock(1);
                app.assert_accepted(app.login(0, PHONE, PASSWORD).await);
            }
        }
    }
    app.service = idle;
    app.advance_clock(1);
    app.assert_accepted(app.login(0, PHONE, PASSWORD).await);
}
