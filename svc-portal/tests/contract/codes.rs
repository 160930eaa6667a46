//! One code, three uses: register, resetpwd, login.

use std::time::Duration;

use stele_core::password::{NewPassword, RawPassword};
use stele_core::user::UserRef;

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
async fn parallel_guesses_do_not_pass_the_cap() {
    let portal = Portal::with(&[("STELE_LIMIT_ACCOUNT", "500"), ("STELE_LIMIT_ADDRESS", "500")]).await;
    let code = portal.code(PHONE).await;
    let wrong = Portal::not(&code);
    let guesses: Vec<_> = (0..20).map(|_| portal.with_code("/i/register", PHONE, "hna123", &wrong)).collect();
    let mut left = guesses.into_iter();
    // Four at once, five rounds: more than enough to race.
    while let (Some(a), Some(b), Some(c), Some(d)) = (left.next(), left.next(), left.next(), left.next()) {
        let (a, b, c, d) = tokio::join!(a, b, c, d);
        for answer in [a, b, c, d] {
            answer.is("3208");
        }
    }
    portal.with_code("/i/register", PHONE, "hna123", &code).await.is("3208");
}

#[tokio::test]
async fn one_code_opens_one_account_however_many_race() {
    let portal = Portal::new().await;
    let code = portal.code(PHONE).await;
    let once = || portal.with_code("/i/register", PHONE, "hna123", &code);
    let (a, b, c, d) = tokio::join!(once(), once(), once(), once());
    let won = [&a, &b, &c, &d].iter().filter(|answer| answer.code == "200").count();
    assert_eq!(won, 1, "{a:?} {b:?} {c:?} {d:?}");
}

#[tokio::test]
async fn wrong_codes_count_as_the_accounts_failures() {
    let portal = Portal::new().await;
    portal.lab.user("mark").password("hna123").phone(PHONE).add().await;
    for _ in 0..6 {
        portal.with_code("/i/resetpwd", PHONE, "new123", "000000").await.is("3208");
    }
    let answer = portal.login(PHONE, "hna123").await;
    assert_eq!(answer.is("429").retry_after, Some(1));
}

#[tokio::test]
async fn a_newer_one_replaces_it() {
    let portal = Portal::new().await;
    let (old, new) = (portal.code(PHONE).await, portal.code(PHONE).await);
    assert_ne!(old, new);
    portal.with_code("/i/register", PHONE, "hna123", &old).await.is("3208");
    portal.with_code("/i/register", PHONE, "hna123", &new).await.is("200");
}

#[tokio::test]
async fn it_lives_an_hour() {
    let portal = Portal::new().await;
    for (age, expected) in [(3599, "200"), (3600, "3208")] {
        let to = format!("1380013{age}");
        let code = portal.code(&to).await;
        portal.lab.clock().advance(Duration::from_secs(age));
        portal.with_code("/i/register", &to, "hna123", &code).await.is(expected);
    }
}

#[tokio::test]
async fn it_dies_with_the_password_it_was_sent_under() {
    let portal = Portal::new().await;
    let user = portal.lab.user("mark").password("hna123").phone(PHONE).email("a@b.cn").add().await;
    let (by_phone, by_email) = (portal.code(PHONE).await, portal.code("a@b.cn").await);
    portal.with_code("/i/resetpwd", "a@b.cn", "new123", &by_email).await.is("200");
    portal.with_code("/i/resetpwd", PHONE, "evil123", &by_phone).await.is("3208");

    let code = portal.code(PHONE).await;
    let password = NewPassword::provisioned(&RawPassword::new("set123".into())).unwrap();
    portal.lab.use_cases().provision_password(UserRef::Id(user.id), &password).await.unwrap();
    portal.with_code("/i/resetpwd", PHONE, "evil123", &code).await.is("3208");
    portal.login(PHONE, "set123").await.is("200");
}

#[tokio::test]
async fn a_code_of_another_dialect_does_not_do() {
    use stele_core::code::Purpose;
    use stele_core::identifier::Recipient;
    use stele_core::usecase::Caller;
    use stele_core::usecase::send_code::Sendable;

    let portal = Portal::new().await;
    portal.member(PHONE, "hna123").await;
    let caller = Caller::direct("jwt", "192.0.2.1".parse().unwrap());
    let to = Recipient::parse(PHONE).unwrap();
    for purpose in [Purpose::Reset, Purpose::Any] {
        portal.lab.use_cases().send_code(&caller, &to, purpose, Sendable::Anyone).await.unwrap();
        let code = portal.lab.code_for(PHONE);
        portal.with_code("/i/resetpwd", PHONE, "new123", &code).await.is("3208");
    }
}
