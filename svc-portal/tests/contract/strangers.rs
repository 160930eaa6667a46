//! After five failures an account asks strangers for a code (3208 on login: `docs/PROTOCOLS.md`, Portal), and makes
//! them wait.

use std::time::Duration;

use stele_testkit::conformance::DialectUnderTest as _;

use crate::portal::{Answer, PHONE, Portal, b64};

const OWNER: &str = "192.0.2.1";
const STRANGER: &str = "203.0.113.1";

async fn login(portal: &Portal, password: &str, code: &str) -> Answer {
    let form = [("username", PHONE), ("password", &b64(password)), ("code", &b64(code))];
    portal.post_from(STRANGER, "/i/login", &form).await
}

async fn fail(portal: &Portal, username: &str, expected: &str) {
    for n in 0..5 {
        portal.login_from(&format!("203.0.113.{}", n % 3), username, "wrong!").await.is(expected);
    }
}

async fn portal() -> Portal {
    let portal = Portal::new().await;
    portal.lab.user("mark").password("hna123").phone(PHONE).add().await;
    portal
}

#[tokio::test]
async fn five_failures_are_free_then_a_code_is_asked_for() {
    let portal = portal().await;
    fail(&portal, PHONE, "3202").await;
    for password in ["hna123", "wrong!"] {
        // Not having a code costs nothing, so there is no wait yet.
        let answer = portal.login_from(STRANGER, PHONE, password).await;
        assert_eq!(answer.is("3208").text, "验证码错误");
    }
    let code = portal.code(PHONE).await;
    login(&portal, "hna123", &code).await.is("200");
    // The success cleared the count.
    portal.login_from("203.0.113.77", PHONE, "hna123").await.is("200");
}

#[tokio::test]
async fn the_wait_comes_first() {
    let portal = portal().await;
    fail(&portal, PHONE, "3202").await;
    let code = portal.code(PHONE).await;
    login(&portal, "hna123", &Portal::not(&code)).await.is("3208");
    for (password, code) in [("hna123", code.as_str()), ("wrong!", "999999")] {
        assert_eq!(login(&portal, password, code).await.is("429").retry_after, Some(1));
    }
    portal.lab.clock().advance(Duration::from_secs(1));
    // A right code with a wrong password fails, doubles the wait, and does not use the code up.
    login(&portal, "wrong!", &code).await.is("3202");
    assert_eq!(login(&portal, "hna123", &code).await.is("429").retry_after, Some(2));
    portal.lab.clock().advance(Duration::from_secs(2));
    login(&portal, "hna123", &code).await.is("200");
    login(&portal, "hna123", &code).await.is("200");
}

#[tokio::test]
async fn a_known_address_has_a_budget_of_its_own_and_is_asked_as_well() {
    let portal = portal().await;
    portal.login_from(OWNER, PHONE, "hna123").await.is("200");
    for _ in 0..5 {
        portal.login_from(OWNER, PHONE, "wrong!").await.is("3202");
    }
    // Otherwise the question would show at an address shared with the owner that the account exists.
    portal.login_from(OWNER, PHONE, "wrong!").await.is("3208");
    let with_code = async |password: &str, code: &str| {
        let form = [("username", PHONE), ("password", &b64(password)), ("code", &b64(code))];
        portal.post_from(OWNER, "/i/login", &form).await
    };
    let code = portal.code(PHONE).await;
    with_code("wrong!", &code).await.is("3202");
    assert_eq!(with_code("hna123", &code).await.is("429").retry_after, Some(1));
    // It is the owner's own; strangers are not touched by it.
    portal.login_from(STRANGER, PHONE, "hna123").await.is("200");
    portal.lab.clock().advance(Duration::from_secs(1));
    with_code("hna123", &code).await.is("200");
}

#[tokio::test]
async fn a_reset_ends_the_budget_of_a_thiefs_address() {
    let portal = portal().await;
    let thief = "198.51.100.66";
    portal.login_from(thief, PHONE, "hna123").await.is("200");
    let code = portal.code(PHONE).await;
    portal.with_code("/i/resetpwd", PHONE, "new123", &code).await.is("200");
    fail(&portal, PHONE, "3202").await;
    portal.login_from(thief, PHONE, "hna123").await.is("3208");
}

#[tokio::test]
async fn an_address_is_known_for_thirty_days() {
    let portal = portal().await;
    let days = |n: u64| Duration::from_secs(n * 86_400);
    portal.login_from(OWNER, PHONE, "hna123").await.is("200");
    portal.lab.clock().advance(days(30) - Duration::from_secs(1));
    fail(&portal, PHONE, "3202").await;
    portal.login_from(OWNER, PHONE, "hna123").await.is("200");
    portal.lab.clock().advance(days(30) + Duration::from_secs(1));
    fail(&portal, PHONE, "3202").await;
    portal.login_from(OWNER, PHONE, "hna123").await.is("3208");
}

#[tokio::test]
async fn the_count_is_forgotten_after_a_quarter_of_an_hour() {
    let portal = portal().await;
    fail(&portal, PHONE, "3202").await;
    portal.login_from(STRANGER, PHONE, "hna123").await.is("3208");
    portal.lab.clock().advance(Duration::from_secs(900));
    portal.login_from(STRANGER, PHONE, "hna123").await.is("200");
}

#[tokio::test]
async fn one_count_for_every_writing_of_the_account() {
    let portal = Portal::new().await;
    portal.lab.user("mark").password("hna123").phone(PHONE).email("a@b.cn").add().await;
    for username in [PHONE, "+8613800138000", "a@b.cn", "A@B.CN", " 13800138000"] {
        portal.login_from(STRANGER, username, "wrong!").await.is("3202");
    }
    for username in [PHONE, "a@b.cn"] {
        portal.login_from(STRANGER, username, "hna123").await.is("3208");
    }
    // The code may go to either of them, but belongs to the one it was sent to.
    let code = portal.code("a@b.cn").await;
    login(&portal, "hna123", &code).await.is("3208");
    portal.lab.clock().advance(Duration::from_secs(1));
    let form = [("username", "a@b.cn"), ("password", &b64("hna123")), ("code", &b64(&code))];
    portal.post_from(STRANGER, "/i/login", &form).await.is("200");
}

#[tokio::test]
async fn an_unknown_user_and_a_name_are_limited_alike() {
    let portal = portal().await;
    for username in ["13900139000", "nobody@qq.com", "mark"] {
        fail(&portal, username, "3201").await;
        let answer = portal.login_from(STRANGER, username, "hna123").await;
        assert_eq!(answer.is("3208").text, "验证码错误");
        let form = [("username", username), ("password", &b64("hna123")), ("code", &b64("000000"))];
        portal.post_from(STRANGER, "/i/login", &form).await.is("3208");
        assert_eq!(portal.post_from(STRANGER, "/i/login", &form).await.is("429").retry_after, Some(1));
    }
    // Failing by the name is no way to trouble the account.
    portal.login_from(STRANGER, PHONE, "hna123").await.is("200");
}
