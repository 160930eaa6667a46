//! The documented calls, in every format that clients send.

use serde_json::json;
use stele_core::user::{Gender, Profile};
use stele_testkit::conformance::DialectUnderTest as _;
use stele_testkit::conformance::salted::salted_digest;
use stele_testkit::{MessageCode as _, md5_hex};

use crate::test_service::{
    BAD_TOKEN, LOGGED_OUT, LOGIN, LOGOUT, PROOF_REPLAYED, PROOF_STALE, PWDRESET, TestService, WRONG_CREDENTIALS,
};

const LOGIN_SAMPLE: &str = r#"{
    "username": "test",
    "password":"00b945c1fd92aa2623b704d8d37d8ffc",
    "timestamp":1511839692
}"#;

const PWDRESET_SAMPLE: &str = r#"{
    "user_id": "0b922f14-d00b-11e7-aafd-525400bbac8e",
    "orig_password":"00b945c1fd92aa2623b704d8d37d8ffc",
    "new_password":"199db40c253bdc3875400e8ac67b9e21",
    "timestamp":1511839692
}"#;

const SAMPLE_TIME: i64 = 1_511_839_692;

#[tokio::test]
async fn login_returns_all_user_fields_in_the_documented_order() {
    let service = TestService::new().await;
    let profile = Profile {
        real_name: "马克".into(),
        gender: Some(Gender::Male),
        nickname: "小马".into(),
        avatar_url: "https://img.test/1.png".into(),
        enterprise: "e8d3bc38-beb0-11e7-888f-525400d25920".into(),
        group: "rentuser".into(),
        ..Profile::default()
    };
    let user = service.lab.user("Mark").phone("13800138000").email("a@b.cn").profile(profile).admin().add().await;
    let response = service.login("mark", "123456").await;
    let (id, alias, token) = (user.id, &user.alias_id, response.token());
    let expected = format!(
        concat!(
            r#"{{"message":"Succ","code":"0000","data":{{"user_id":"{id}","user_name":"Mark","#,
            r#""register_time":"2026-01-01T08:00:00.000000Z","status":"","avatar_url":"https://img.test/1.png","#,
            r#""user_phone":"13800138000","user_email":"a@b.cn","user_token":"{token}","role":"admin","#,
            r#""user_real_name":"马克","user_gender":"男","user_nickname":"小马","user_alias_id":"{alias}","#,
            r#""enterprise":"e8d3bc38-beb0-11e7-888f-525400d25920","group":"rentuser"}}}}"#
        ),
        id = id,
        token = token,
        alias = alias
    );
    response.assert_is(200, &expected);
    for hex in [token.as_str(), alias] {
        assert!(hex.len() == 32 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')), "{hex}");
    }
}

#[tokio::test]
async fn missing_user_fields_are_empty_strings() {
    let service = TestService::new().await;
    service.lab.user("mark").add().await;
    let data = service.login("mark", "123456").await.json()["data"].clone();
    for name in ["status", "avatar_url", "user_phone", "user_email", "user_real_name", "user_gender", "user_nickname"] {
        assert_eq!(data[name], "", "{name}");
    }
    assert_eq!((&data["enterprise"], &data["group"], &data["role"]), (&json!(""), &json!(""), &json!("user")));
}

#[tokio::test]
async fn pwdreset_accepts_every_user_id_format() {
    let service = TestService::new().await;
    let user = service.lab.user("mark").add().await;
    let id = user.id.to_string();
    for (index, user_id) in [id.clone(), id.to_uppercase(), id.replace('-', "")].into_iter().enumerate() {
        service.advance_clock(1);
        let (old, new) = if index % 2 == 0 { ("123456", "新密码") } else { ("新密码", "123456") };
        let response = service.pwdreset(user_id, old, new).await;
        assert_eq!(response.json()["data"]["user_id"], id, "{response:?}");
        service.login("mark", new).await.token();
        service.advance_clock(1);
        service.login("mark", old).await.assert_is(200, WRONG_CREDENTIALS);
    }
}

#[tokio::test]
async fn pwdreset_ignores_the_authorization_header() {
    let service = TestService::new().await;
    let user = service.lab.user("mark").add().await;
    let now = service.now();
    let body = json!({
        "user_id": user.id.to_string(),
        "orig_password": salted_digest("123456", now).to_uppercase(),
        "new_password": md5_hex("654321").to_uppercase(),
        "timestamp": now.to_string(),
    });
    let request = service.request("POST", PWDRESET).header("authorization", "nonsense").json(&body);
    let token = service.send(request).await.token();
    service.logout(&token).await.assert_is(200, LOGGED_OUT);
    service.login("mark", "654321").await.token();
}

#[tokio::test]
async fn logout_accepts_a_token_with_or_without_a_scheme() {
    let service = TestService::new().await;
    service.lab.user("mark").add().await;
    for (scheme, is_uppercase) in [("", false), ("Bearer ", false), ("bearer  ", false), ("", true)] {
        service.advance_clock(1);
        let token = service.login("mark", "123456").await.token();
        let sent = if is_uppercase { token.to_uppercase() } else { token.clone() };
        service.logout(&format!("{scheme}{sent}")).await.assert_is(200, LOGGED_OUT);
        service.logout(&token).await.assert_is(401, BAD_TOKEN);
    }
}

#[tokio::test]
async fn logout_ignores_its_body() {
    let service = TestService::new().await;
    service.lab.user("mark").add().await;
    for (kind, body) in [
        ("application/json", &b""[..]),
        ("application/json", b"{}"),
        ("application/json", br#"{"token":"#),
        ("application/json", br#"{"a":1,"a":2}"#),
        ("application/x-www-form-urlencoded", b"token=x"),
        ("multipart/form-data; boundary=b", b"--b"),
        ("text/plain", b"\xff\xfe"),
    ] {
        service.advance_clock(1);
        let token = service.login("mark", "123456").await.token();
        let request = service.request("POST", LOGOUT).header("authorization", token).header("content-type", kind);
        service.send(request.body(body)).await.assert_is(200, LOGGED_OUT);
    }
}

#[tokio::test]
async fn the_documented_samples_have_stale_timestamps() {
    let service = TestService::new().await;
    service.lab.user("test").add().await;
    service.post_with_type(LOGIN, "application/json", LOGIN_SAMPLE).await.assert_is(200, PROOF_STALE);
    service.post_with_type(PWDRESET, "application/json", PWDRESET_SAMPLE).await.assert_is(200, PROOF_STALE);
}

#[tokio::test]
async fn the_documented_samples_work_without_a_timestamp_limit() {
    let service = TestService::with_settings(&[("STELE_TIMESTAMP_SKEW", "0")]).await;
    let user = service.lab.user("test").add().await;
    service.post_with_type(LOGIN, "application/json", LOGIN_SAMPLE).await.assert_is(200, WRONG_CREDENTIALS);
    service.post_with_type(PWDRESET, "application/json", PWDRESET_SAMPLE).await.assert_is(200, WRONG_CREDENTIALS);

    // The password behind the sample's digest is unknown; with the digest of a known password the same body works.
    let replace_digest =
        |sample: &str| sample.replace("00b945c1fd92aa2623b704d8d37d8ffc", &salted_digest("123456", SAMPLE_TIME));
    service.post_with_type(LOGIN, "application/json", replace_digest(LOGIN_SAMPLE)).await.token();
    service
        .post_with_type(LOGIN, "application/json", replace_digest(LOGIN_SAMPLE))
        .await
        .assert_is(200, PROOF_REPLAYED);
    let reset = replace_digest(PWDRESET_SAMPLE).replace("0b922f14-d00b-11e7-aafd-525400bbac8e", &user.id.to_string());
    service.post_with_type(PWDRESET, "application/json", reset.clone()).await.assert_is(200, PROOF_REPLAYED);
    let other_second = reset.replace(&salted_digest("123456", SAMPLE_TIME), &salted_digest("123456", SAMPLE_TIME + 1));
    let other_second = other_second.replace(&SAMPLE_TIME.to_string(), &(SAMPLE_TIME + 1).to_string());
    service.post_with_type(PWDRESET, "application/json", other_second).await.token();

    // The sample's `new_password` is now the digest D.
    let body = json!({
        "username": "test",
        "password": md5_hex(&format!("199db40c253bdc3875400e8ac67b9e21{SAMPLE_TIME}")),
        "timestamp": SAMPLE_TIME,
    });
    service.post(LOGIN, &body).await.token();
}
