//! Handing a user over: who may, how often, and what ends it (`docs/THREATS.md` 26, 29).

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use stele_core::password::{NewPassword, RawPassword};
use stele_core::user::{UserRef, UserStatus};
use stele_testkit::Answer;
use stele_testkit::conformance::DialectUnderTest as _;

use crate::bench::{Bench, PHONE, Reply as _, secret};

const REFUSED: &str = r#"{"result":0,"errors":{"code":40006,"message":"获取token失败"}}"#;

async fn ask(bench: &Bench, app: &str, to: &str) -> Answer {
    bench.call(app, "/auth/token", &json!({ "login_name": PHONE, "app_to": to }).to_string()).await
}

async fn token(bench: &Bench) -> Value {
    let reply = ask(bench, "melink", "wlfz").await;
    assert_eq!(reply.code(), 0);
    json!({ "token": reply.json()["token"] })
}

/// The service, and a user who has logged in through both apps.
async fn present() -> (Bench, UserRef) {
    let bench = Bench::new().await;
    let user = bench.lab.user("mark").phone(PHONE).add().await;
    for app in ["melink", "wlfz"] {
        assert_eq!(bench.login(app, PHONE, "123456").await.code(), 0);
    }
    (bench, UserRef::Id(user.id))
}

#[actix_web::test]
async fn a_token_is_redeemed_once_by_its_app_alone() {
    let (bench, _) = present().await;
    let token = token(&bench).await;
    for app in ["melink", "melink"] {
        let reply = bench.call(app, "/auth/check/token", &token.to_string()).await;
        assert_eq!((reply.status, reply.text.as_str()), (200, REFUSED));
    }
    let redeemed = bench.wlfz("/auth/check/token", &token).await;
    assert_eq!(redeemed.json(), json!({ "result": 1, "login_name": PHONE, "app_from": "melink" }));
    assert_eq!(bench.wlfz("/auth/check/token", &token).await.text, REFUSED);
}

#[actix_web::test]
async fn of_many_that_redeem_at_once_one_does() {
    let (bench, _) = present().await;
    for _ in 0..5 {
        let token = token(&bench).await;
        let replies = join_all((0..12).map(|_| bench.wlfz("/auth/check/token", &token))).await;
        assert_eq!(replies.iter().filter(|reply| reply.code() == 0).count(), 1);
        assert_eq!(replies.iter().filter(|reply| reply.text == REFUSED).count(), 11);
    }
}

#[actix_web::test]
async fn a_token_lives_five_minutes() {
    let (bench, _) = present().await;
    let (early, late) = (token(&bench).await, token(&bench).await);
    bench.lab.clock().advance(Duration::from_secs(299));
    assert_eq!(bench.wlfz("/auth/check/token", &early).await.code(), 0);
    bench.lab.clock().advance(Duration::from_secs(1));
    assert_eq!(bench.wlfz("/auth/check/token", &late).await.text, REFUSED);
}

#[actix_web::test]
async fn what_is_no_token_is_refused_the_same() {
    let (bench, _) = present().await;
    for text in ["x", "00000000000000000000000000000000", "密", "0", &"0".repeat(4_000)] {
        assert_eq!(bench.wlfz("/auth/check/token", &json!({ "token": text })).await.text, REFUSED, "{text}");
    }
    let upper = token(&bench).await["token"].as_str().unwrap().to_uppercase();
    assert_eq!(bench.wlfz("/auth/check/token", &json!({ "token": upper })).await.code(), 0);
}

#[actix_web::test]
async fn tokens_are_for_apps_that_are_registered_and_allowed() {
    let (bench, _) = present().await;
    for to in ["melink", "nobody", "later", "WLFZ", " ", "\u{0}", "密", &"w".repeat(500)] {
        assert_eq!(ask(&bench, "melink", to).await.text, REFUSED, "{to:?}");
    }
    assert_eq!(ask(&bench, "wlfz", "melink").await.text, REFUSED);
    // It was named in --may-token before it was there.
    bench.lab.app("later", &secret("later"), &[]).await;
    assert_eq!(ask(&bench, "melink", "later").await.code(), 0);
}

#[actix_web::test]
async fn the_user_must_be_present_at_the_app() {
    let bench = Bench::new().await;
    assert_eq!(ask(&bench, "melink", "wlfz").await.text, REFUSED, "an unknown user");
    bench.lab.user("mark").phone(PHONE).add().await;
    assert_eq!(ask(&bench, "melink", "wlfz").await.text, REFUSED, "a known one who is not there");
    bench.login("wlfz", PHONE, "123456").await;
    assert_eq!(ask(&bench, "melink", "wlfz").await.text, REFUSED, "one who is elsewhere");
    bench.login("melink", PHONE, "wrong!").await;
    assert_eq!(ask(&bench, "melink", "wlfz").await.text, REFUSED, "one who failed to log in");
    bench.login("melink", PHONE, "123456").await;
    assert_eq!(ask(&bench, "melink", "wlfz").await.code(), 0);
}

#[actix_web::test]
async fn who_registers_is_present_at_once() {
    let bench = Bench::new().await;
    let code = bench.code("melink", PHONE, 1).await;
    let register = json!({ "login_name": PHONE, "password": "123456", "captcha": code });
    assert_eq!(bench.melink("/auth/register", &register).await.code(), 0);
    assert_eq!(ask(&bench, "melink", "wlfz").await.code(), 0);
}

#[actix_web::test]
async fn presence_lasts_twelve_hours_from_its_last_use() {
    let (bench, _) = present().await;
    for _ in 0..3 {
        bench.lab.clock().advance(Duration::from_secs(11 * 3_600));
        assert_eq!(ask(&bench, "melink", "wlfz").await.code(), 0);
    }
    bench.lab.clock().advance(Duration::from_secs(12 * 3_600));
    assert_eq!(ask(&bench, "melink", "wlfz").await.text, REFUSED);
}

#[actix_web::test]
async fn a_reset_here_ends_presence_and_tokens() {
    let (bench, _) = present().await;
    let token = token(&bench).await;
    let code = bench.code("wlfz", PHONE, 2).await;
    let forgot = json!({ "login_name": PHONE, "new_password": "654321", "captcha": code });
    assert_eq!(bench.wlfz("/auth/forgot", &forgot).await.code(), 0);
    assert_eq!(bench.wlfz("/auth/check/token", &token).await.text, REFUSED);
    assert_eq!(ask(&bench, "melink", "wlfz").await.text, REFUSED);
    assert_eq!(bench.login("melink", PHONE, "654321").await.code(), 0);
    assert_eq!(ask(&bench, "melink", "wlfz").await.code(), 0);
}

#[actix_web::test]
async fn a_change_elsewhere_ends_presence_and_tokens() {
    let (bench, user) = present().await;
    let token = token(&bench).await;
    let new = NewPassword::provisioned(&RawPassword::new("another".to_owned())).unwrap();
    bench.lab.use_cases().provision_password(user, &new).await.unwrap();
    assert_eq!(bench.wlfz("/auth/check/token", &token).await.text, REFUSED);
    assert_eq!(ask(&bench, "melink", "wlfz").await.text, REFUSED);
}

#[actix_web::test]
async fn disabling_ends_presence_and_tokens_for_good() {
    let (bench, user) = present().await;
    let token = token(&bench).await;
    for status in [UserStatus::Disabled, UserStatus::Active] {
        bench.lab.use_cases().set_status(user, status).await.unwrap();
        assert_eq!(bench.wlfz("/auth/check/token", &token).await.text, REFUSED);
        assert_eq!(ask(&bench, "melink", "wlfz").await.text, REFUSED);
    }
}
