//! One code, three uses: register, resetpwd, login.

use stele_testkit::conformance::DialectUnderTest as _;

use crate::portal::{PHONE, Portal, b64};

/// Tries to log in from an address of its own, with a code.
async fn login(portal: &Portal, password: &str, code: &str) -> String {
    let form = [("username", PHONE), ("password", &b64(password)), ("code", &b64(code))];
    portal.post_from("198.51.100.1", "/i/login", &form).await.code
}

/// Fails five times from elsewhere, so that strangers are asked for a code.
async fn annoy(portal: &Portal) {
    for n in 0..5 {
        portal.login_from(&format!("203.0.113.{n}"), PHONE, "wrong!").await.is("3202");
    }
}

#[tokio::test]
async fn a_code_answers_for_each_call_and_success_uses_it_up() {
    let portal = Portal::new().await;
    let code = portal.code(PHONE).await;
    portal.with_code("/i/register", PHONE, "hna123", &code).await.is("200");
    for path in ["/i/register", "/i/resetpwd"] {
        portal.with_code(path, PHONE, "hna123", &code).await.is("3208");
    }
    let code = portal.code(PHONE).await;
    portal.with_code("/i/resetpwd", PHONE, "new123", &code).await.is("200");
    for path in ["/i/register", "/i/resetpwd"] {
        portal.with_code(path, PHONE, "hna123", &code).await.is("3208");
    }
}

#[tokio::test]
async fn a_login_that_asks_for_a_code_uses_it_up() {
    let portal = Portal::new().await;
    portal.lab.user("mark").password("hna123").phone(PHONE).add().await;
    annoy(&portal).await;
    let code = portal.code(PHONE).await;
    assert_eq!(login(&portal, "hna123", &code).await, "200");
    portal.with_code("/i/resetpwd", PHONE, "new123", &code).await.is("3208");
}

#[tokio::test]
async fn a_login_that_does_not_ask_leaves_it() {
    let portal = Portal::new().await;
    portal.member(PHONE, "hna123").await;
    let code = portal.code(PHONE).await;
    assert_eq!(login(&portal, "hna123", "999999").await, "200");
    assert_eq!(login(&portal, "hna123", &code).await, "200");
    portal.with_code("/i/resetpwd", PHONE, "new123", &code).await.is("200");
}

#[tokio::test]
async fn five_wrong_tries_burn_it_whichever_call_they_came_to() {
    // The waits between the failures are not what this is about.
    let portal = Portal::with(&[("STELE_LIMIT_ACCOUNT", "50")]).await;
    for wrong in [4, 5] {
        let to = format!("1380013800{wrong}");
        let code = portal.code(&to).await;
        for n in 0..wrong {
            let path = if n % 2 == 0 { "/i/register" } else { "/i/resetpwd" };
            portal.with_code(path, &to, "hna123", &Portal::not(&code)).await.is("3208");
        }
        let answer = portal.with_code("/i/register", &to, "hna123", &code).await;
        answer.is(if wrong < 5 { "200" } else { "3208" });
    }
}

#[tokio::test]
async fn it_dies_with_the_password_for_every_recipient() {
    let portal = Portal::new().await;
    portal.lab.user("mark").password("hna123").phone(PHONE).email("a@b.cn").add().await;
    let (by_phone, by_email) = (portal.code(PHONE).await, portal.code("a@b.cn").await);
    portal.with_code("/i/resetpwd", "a@b.cn", "new123", &by_email).await.is("200");
    portal.with_code("/i/resetpwd", PHONE, "evil123", &by_phone).await.is("3208");
}
