//! /i/logout

use stele_testkit::conformance::DialectUnderTest as _;

use crate::portal::{Answer, HOME, PHONE, Portal};

const OK: &str = r#"{"status":{"status_code":"200","status_message":"OK","message":"OK"},"content":{}}"#;
const CLEARED: &str = "stele_session=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0";

async fn logout(portal: &Portal, cookie: Option<&str>, body: impl Into<reqwest::Body>) -> Answer {
    let mut request = portal.request(HOME, "/i/logout").body(body);
    if let Some(cookie) = cookie {
        request = request.header("cookie", cookie);
    }
    portal.send(request).await
}

#[tokio::test]
async fn it_ends_the_callers_session_alone() {
    let portal = Portal::new().await;
    portal.member(PHONE, "hna123").await;
    let (mine, other) = (portal.login(PHONE, "hna123").await.token(), portal.login(PHONE, "hna123").await.token());
    let cookie = format!("lang=zh; stele_session={mine}");
    let answer = logout(&portal, Some(&cookie), format!("username={PHONE}")).await;
    assert_eq!(answer.is("200").body, OK);
    assert_eq!(answer.set_cookie.as_deref(), Some(CLEARED));
    assert!(!portal.lives(&mine).await);
    assert!(portal.lives(&other).await);
    // Once more is no fault.
    assert_eq!(logout(&portal, Some(&cookie), format!("username={PHONE}")).await.body, OK);
    assert!(portal.lives(&other).await);
}

#[tokio::test]
async fn whatever_it_is_given_it_answers_200() {
    let portal = Portal::new().await;
    portal.member(PHONE, "hna123").await;
    portal.member("a@b.cn", "hna123").await;
    let bystander = portal.login(PHONE, "hna123").await.token();
    let bodies: [&[u8]; 8] = [
        b"",
        b"username=13800138000",
        b"username=nobody",
        b"username=%FF",
        b"\xff\xfe",
        b"username=a&username=b",
        br#"{"username":["x"]}"#,
        br#"{"username":"#,
    ];
    for body in bodies {
        for cookie in [None, Some("stele_session=nonsense"), Some("stele_session=00000000000000000000000000000000")] {
            assert_eq!(logout(&portal, cookie, body.to_vec()).await.is("200").body, OK, "{body:?}");
        }
        let mine = portal.login("a@b.cn", "hna123").await.token();
        logout(&portal, Some(&format!("stele_session={mine}")), body.to_vec()).await.is("200");
        assert!(!portal.lives(&mine).await, "{body:?}");
    }
    assert!(portal.lives(&bystander).await);
}

#[tokio::test]
async fn a_session_of_another_dialect_is_not_ended_here() {
    use stele_core::password::RawPassword;
    use stele_core::proof::Proof;
    use stele_core::usecase::Caller;
    use stele_core::usecase::login::{Audience, Carrier, Challenge, Login};

    let portal = Portal::new().await;
    portal.member(PHONE, "hna123").await;
    let request = Login {
        identifier: PHONE,
        proof: Proof::Raw(RawPassword::new("hna123".into())),
        caller: &Caller::direct("jwt", HOME.parse().unwrap()),
        audience: Audience::Everyone,
        challenge: Challenge::Never,
        carrier: Carrier::Token,
    };
    let token = portal.lab.use_cases().login(request).await.unwrap().token;
    logout(&portal, Some(&format!("stele_session={}", token.expose())), "").await.is("200");
    assert!(portal.lab.use_cases().authenticate("jwt", &token).await.is_ok());
}
