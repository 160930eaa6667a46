//! Rate limits on guessing: waits, who shares them, and what is not counted.

use std::time::Duration;

use stele_core::Error;

use super::{BEHIND_PROXY, DialectUnderTest, PASSWORD, PHONE, STRANGER, WRONG};

/// Clients from many addresses, who may ask for as many codes as they like.
const CROWD: [(&str, &str); 3] = [BEHIND_PROXY, ("STELE_SEND_RECIPIENT", "1000"), ("STELE_SEND_ADDRESS", "1000")];

async fn crowd<D: DialectUnderTest>() -> D {
    let app = D::with(&[D::INDISTINCT, &CROWD].concat()).await;
    app.mark().await;
    app
}

fn too_many(seconds: u64) -> Error {
    Error::TooMany { retry_after: Duration::from_secs(seconds) }
}

pub async fn the_sixth_failure_starts_a_wait_that_the_right_password_does_not_break<D: DialectUnderTest>() {
    let app: D = crowd().await;
    for identifier in [PHONE, STRANGER] {
        app.exhaust(identifier).await;
        let before = app.hashes();
        for password in [WRONG, PASSWORD] {
            app.fails(&app.login_challenged(9, identifier, password).await, &too_many(1));
        }
        assert_eq!(app.hashes(), before, "nothing is verified in a wait");
    }
    app.wait(1);
    app.assert_accepted(app.login_challenged(9, PHONE, PASSWORD).await);
}

pub async fn waits_double_up_to_a_minute<D: DialectUnderTest>() {
    let app: D = crowd().await;
    app.exhaust(PHONE).await;
    for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
        app.fails(&app.login_challenged(9, PHONE, WRONG).await, &too_many(wait));
        app.wait(wait);
        app.fails(&app.login_challenged(9, PHONE, WRONG).await, &Error::WrongPassword);
    }
}

pub async fn a_success_clears_the_accounts_count<D: DialectUnderTest>() {
    let app: D = crowd().await;
    for _ in 0..3 {
        for _ in 0..5 {
            app.fails(&app.login(0, PHONE, WRONG).await, &Error::WrongPassword);
        }
        app.wait(1);
        app.assert_accepted(app.login_challenged(0, PHONE, PASSWORD).await);
    }
}

pub async fn the_count_is_shared_by_every_identifier<D: DialectUnderTest>() {
    let app: D = crowd().await;
    let all = D::identifiers();
    let mut identifiers = all.iter().cycle();
    for _ in 0..5 {
        app.fails(&app.login(1, identifiers.next().unwrap(), WRONG).await, &Error::WrongPassword);
    }
    app.fails(&app.login_challenged(1, PHONE, WRONG).await, &Error::WrongPassword);
    for _ in 0..all.len() {
        app.fails(&app.login_challenged(1, identifiers.next().unwrap(), PASSWORD).await, &too_many(1));
    }
}

pub async fn only_wrong_passwords_are_counted<D: DialectUnderTest>() {
    let app = D::with(&[("STELE_LIMIT_ADDRESS", "1"), ("STELE_LIMIT_APP", "1")]).await;
    app.mark().await;
    for call in app.calls() {
        for body in ["{", "{}"] {
            let answer = app.submit(&call, "application/json", body.into()).await;
            assert!(answer.status == 400 || call.fields.is_empty(), "{answer:?}");
        }
    }
    app.assert_accepted(app.login(0, PHONE, PASSWORD).await);
}

/// Ten failures at ten accounts, from origins of their own; then no login from the last one passes, for a quarter of an
/// hour.
async fn ten_accounts<D: DialectUnderTest>(origins: [u8; 10]) {
    let limits = [("STELE_LIMIT_ADDRESS", "10"), ("STELE_LIMIT_APP", "10"), ("STELE_TRUSTED_PROXIES", "")];
    let app = D::with(&[D::INDISTINCT, &limits].concat()).await;
    app.mark().await;
    for (n, origin) in origins.into_iter().enumerate() {
        app.fails(&app.login(origin, &format!("139{n:08}"), WRONG).await, &Error::WrongPassword);
    }
    app.fails(&app.login(origins[9], PHONE, PASSWORD).await, &too_many(900));
    app.wait(900);
    app.assert_accepted(app.login(origins[9], PHONE, PASSWORD).await);
}

pub async fn an_origin_has_a_limit_over_all_accounts<D: DialectUnderTest>() {
    ten_accounts::<D>([1; 10]).await;
}

pub async fn an_address_is_not_believed_from_anyone<D: DialectUnderTest>() {
    ten_accounts::<D>([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]).await;
}

pub async fn strangers_do_not_keep_the_owner_out<D: DialectUnderTest>() {
    let app: D = crowd().await;
    app.assert_accepted(app.login(0, PHONE, PASSWORD).await);
    app.wait(1);
    app.exhaust(PHONE).await;
    app.fails(&app.login_challenged(9, PHONE, PASSWORD).await, &too_many(1));
    app.assert_accepted(app.login(0, PHONE, PASSWORD).await);
}
