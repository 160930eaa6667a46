//! Our own faults: 503, in plain while no envelope is open, encrypted after, and never taken for a wrong password.

use serde_json::{Value, json};
use stele_core::Error;
use stele_testkit::Answer;
use stele_testkit::conformance::DialectUnderTest as _;

use crate::bench::{Bench, PHONE, ROUTES, Reply as _};

const REFUSED: &str = r#"{"result":0,"errors":{"code":40006,"message":"获取token失败"}}"#;

/// To the byte, so nothing of the cause.
#[track_caller]
fn is_gone(bench: &Bench, answer: &Answer, sealed: bool) {
    bench.fails(answer, &Error::unavailable(""));
    assert_eq!(answer.sealed, sealed);
}

/// Calls a route as `melink` with the well-formed request of [`ROUTES`], but for an app that it may hand over to.
async fn call(bench: &Bench, path: &str, inner: &str) -> Answer {
    bench.call("melink", path, inner.replace("\"melink\"", "\"wlfz\"")).await
}

/// Asks for a token as `melink`, where the user is present.
async fn token(bench: &Bench) -> Answer {
    bench.melink("/auth/token", &json!({ "login_name": PHONE, "app_to": "wlfz" })).await
}

async fn redeem(bench: &Bench, token: &Answer) -> Answer {
    bench.wlfz("/auth/check/token", &json!({ "token": token.json()["token"] })).await
}

/// The service, with a user who is present at `melink`, and two tokens: one that was redeemed and one that was not.
async fn present() -> (Bench, Answer, Answer) {
    let bench = Bench::new().await;
    bench.lab.user("mark").phone(PHONE).add().await;
    assert_eq!(bench.login("melink", PHONE, "123456").await.code(), 0);
    let (used, unused) = (token(&bench).await, token(&bench).await);
    assert_eq!(redeem(&bench, &used).await.code(), 0);
    (bench, used, unused)
}

/// All is well: the used token is still dead, and what was good is still good.
async fn is_well(bench: &Bench, used: &Answer, unused: &Answer) {
    assert_eq!(redeem(bench, used).await.text, REFUSED);
    assert_eq!(redeem(bench, unused).await.code(), 0);
    assert_eq!(redeem(bench, unused).await.text, REFUSED);
    assert_eq!(token(bench).await.code(), 0);
    assert_eq!(bench.login("melink", PHONE, "123456").await.code(), 0);
    let code = bench.code("melink", PHONE, 2).await;
    let check = json!({ "login_name": PHONE, "captcha": code });
    assert_eq!(bench.melink("/auth/check/captcha", &check).await.code(), 0);
}

#[actix_web::test]
async fn a_database_that_is_gone_is_told_as_that_and_no_more() {
    let (bench, used, unused) = present().await;
    bench.lab.users_down(true);
    for (path, inner) in ROUTES {
        is_gone(&bench, &call(&bench, path, inner).await, false);
    }
    for token in [&used, &unused] {
        is_gone(&bench, &redeem(&bench, token).await, false);
    }
    bench.lab.users_down(false);
    is_well(&bench, &used, &unused).await;
}

#[actix_web::test]
async fn a_database_that_knows_only_apps_is_told_in_an_envelope() {
    let (bench, used, unused) = present().await;
    let lost = token(&bench).await;
    bench.lab.accounts_down(true);
    // But for the last, where a token that nobody has is refused before a user is looked up.
    for (path, inner) in ROUTES.iter().take(ROUTES.len() - 1) {
        is_gone(&bench, &call(&bench, path, inner).await, true);
    }
    is_gone(&bench, &redeem(&bench, &lost).await, true);
    assert_eq!(redeem(&bench, &used).await.text, REFUSED);
    bench.lab.accounts_down(false);
    is_well(&bench, &used, &unused).await;
}

#[actix_web::test]
async fn a_short_lived_store_that_is_gone_opens_nothing() {
    let (bench, used, unused) = present().await;
    let nobody = "13612345678";
    bench.lab.state_down(true);
    let calls: [(&str, Value); 9] = [
        ("/auth/register", json!({ "login_name": nobody, "password": "123456", "captcha": "629457" })),
        ("/auth/login", json!({ "login_name": PHONE, "password": "123456" })),
        ("/auth/login", json!({ "login_name": nobody, "password": "123456" })),
        ("/auth/captcha", json!({ "login_name": nobody, "usage": 1 })),
        ("/auth/captcha", json!({ "login_name": PHONE, "usage": 2 })),
        ("/auth/forgot", json!({ "login_name": PHONE, "new_password": "654321", "captcha": "629457" })),
        ("/auth/token", json!({ "login_name": PHONE, "app_to": "wlfz" })),
        ("/auth/check/captcha", json!({ "login_name": PHONE, "captcha": "629457" })),
        ("/auth/check/token", json!({ "token": "00000000000000000000000000000000" })),
    ];
    for (path, inner) in calls {
        is_gone(&bench, &bench.melink(path, &inner).await, true);
    }
    for token in [&used, &unused] {
        is_gone(&bench, &redeem(&bench, token).await, true);
    }
    // The one call that asks the database alone.
    assert_eq!(bench.melink("/auth/check/loginname", &json!({ "login_name": PHONE })).await.code(), 0);
    assert_eq!(bench.lab.codes(), []);
    bench.lab.state_down(false);
    is_well(&bench, &used, &unused).await;
}

#[actix_web::test]
async fn a_full_hashing_queue_uses_no_code_up() {
    let stranger = "13612345678";
    let mut bench = Bench::new().await;
    let code = bench.code("melink", stranger, 1).await;
    let full = bench.lab.start_when_hashing_is_full(svc_mefp::SERVICE).await;
    let idle = std::mem::replace(&mut bench.service, full);
    let register = json!({ "login_name": stranger, "password": "123456", "captcha": code });
    for _ in 0..8 {
        assert_eq!(bench.melink("/auth/register", &register).await.both(), (503, 50300));
    }
    bench.service = idle;
    assert_eq!(bench.melink("/auth/register", &register).await.code(), 0);
}
