//! Faults on our side: answered in dialect, never taken for a wrong password, and gone when its cause is.

use std::time::Duration;

use stele_core::Error;

use super::{DialectUnderTest, PASSWORD, PHONE, STRANGER, WRONG};
use crate::STORES;

pub async fn without_a_store_no_login_passes_and_nothing_is_counted<D: DialectUnderTest>() {
    for (_, down) in STORES {
        let app = D::new().await;
        app.mark().await;
        down(&app.lab, true);
        // More than the limits let pass, had they been counted.
        for _ in 0..8 {
            for (identifier, password) in [(PHONE, PASSWORD), (PHONE, WRONG), (STRANGER, PASSWORD)] {
                app.fails(&app.login(0, identifier, password).await, &Error::unavailable(""));
            }
        }
        down(&app.lab, false);
        // Nor was the proof used up.
        app.assert_accepted(app.login(0, PHONE, PASSWORD).await);
    }
}

pub async fn a_full_hashing_queue_asks_to_come_back_and_costs_nothing<D: DialectUnderTest>() {
    let mut app = D::new().await;
    app.mark().await;
    let full = app.lab.start_when_hashing_is_full(D::SERVICE).await;
    let idle = std::mem::replace(&mut app.service, full);
    let busy = Error::Busy { retry_after: Duration::from_secs(1) };
    for _ in 0..8 {
        for (identifier, password) in [(PHONE, WRONG), (STRANGER, PASSWORD), (PHONE, PASSWORD)] {
            let right = (identifier, password) == (PHONE, PASSWORD);
            if D::login_cost(right).hashes > 0 {
                app.fails(&app.login(0, identifier, password).await, &busy);
            } else if right {
                // It costs no hash, so it is not held up.
                app.wait(1);
                app.assert_accepted(app.login(0, PHONE, PASSWORD).await);
            }
        }
    }
    app.service = idle;
    app.wait(1);
    app.assert_accepted(app.login(0, PHONE, PASSWORD).await);
}
