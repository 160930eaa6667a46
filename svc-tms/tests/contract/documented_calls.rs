//! The documented calls, in every format that clients send.

use serde_json::json;
use stele_core::user::{Gender, Profile};
use stele_testkit::conformance::DialectUnderTest as _;
use stele_testkit::conformance::salted::salted_digest;
use stele_testkit::{IMPORTED_ALIAS, IMPORTED_IDS, IMPORTED_NUMBER, IMPORTED_PHONE, IMPORTED_UUID, MessageCode as _};

use crate::test_service::{ADMIN_LOGIN, LOGIN, PROOF_REPLAYED, PROOF_STALE, PWDRESET, TestService, WRONG_CREDENTIALS};

const LOGIN_SAMPLE: &str = r#"{
   "username":"mark",
   "password":"hna123",
   "timestamp":1521515662
}"#;

const PWDRESET_SAMPLE: &str = r#"{
   "user_id":"4",
   "orig_password":"orig_password",
   "new_password":"new_password",
   "timestamp":1522395456
}"#;

#[tokio::test]
async fn login_returns_all_user_fields_in_the_documented_order() {
    let service = TestService::new().await;
    let profile = Profile {
        real_name: "马克".into(),
        gender: Some(Gender::Female),
        nickname: "小马".into(),
        avatar_url: "https://img.test/1.png".into(),
        enterprise: "e8d3bc38-beb0-11e7-888f-525400d25920".into(),
        group: "rentuser".into(),
        ..Profile::default()
    };
    let user = service.lab.user("Mark").phone("13800138000").email("1@hna").profile(profile).admin().add().await;
    for path in [ADMIN_LOGIN, LOGIN] {
        service.advance_clock(1);
        let response =
            service.login_with_proof(path, "mark", &salted_digest("123456", service.now()), service.now()).await;
        let (id, alias, token) = (user.id, &user.alias_id, response.token());
        let expected = format!(
            concat!(
                r#"{{"message":"Succ","code":"0000","data":{{"user_id":"{id}","user_name":"Mark","#,
                r#""register_time":"2026-01-01T16:00:00.000000+08:00","status":"","#,
                r#""avatar_url":"https://img.test/1.png","user_phone":"13800138000","user_email":"1@hna","#,
                r#""user_token":"{token}","user_real_name":"马克","user_gender":"女","user_nickname":"小马","#,
                r#""user_alias_id":"{alias}","role":"1","group":"admin"}}}}"#
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
}

#[tokio::test]
async fn login_returns_the_role_of_the_user() {
    let service = TestService::new().await;
    service.lab.user("mark").add().await;
    let data = service.login("mark", "123456").await.json()["data"].clone();
    assert_eq!((&data["role"], &data["group"], &data["status"]), (&json!("2"), &json!("user"), &json!("")));
    assert!(data.get("enterprise").is_none());
    for name in ["avatar_url", "user_phone", "user_email", "user_real_name", "user_gender", "user_nickname"] {
        assert_eq!(data[name], "", "{name}");
    }
}

#[tokio::test]
async fn times_use_the_configured_offset() {
    for (offset, expected) in [("Z", "2026-01-01T08:00:00.000000Z"), ("-03:30", "2026-01-01T04:30:00.000000-03:30")] {
        let service = TestService::with_settings(&[("STELE_TMS_TZ", offset)]).await;
        service.lab.user("mark").add().await;
        assert_eq!(service.login("mark", "123456").await.json()["data"]["register_time"], expected);
    }
}

#[tokio::test]
async fn pwdreset_accepts_every_user_id_format() {
    let service = TestService::new().await;
    let user = service.lab.user("mark").add().await;
    let mut token = service.login("mark", "123456").await.token();
    let id = user.id.to_string();
    let user_ids = [
        json!(id),
        json!(id.to_uppercase()),
        json!(id.replace('-', "")),
        json!(user.number.to_string()),
        json!(user.number),
    ];
    for (index, user_id) in user_ids.into_iter().enumerate() {
        service.advance_clock(1);
        let (old, new) = if index % 2 == 0 { ("123456", "新密码") } else { ("新密码", "123456") };
        let response = service.pwdreset(&token, user_id, old, new).await;
        assert_eq!(response.json()["data"]["user_id"], id, "{response:?}");
        token = response.token();
        service.login("mark", old).await.assert_is(200, WRONG_CREDENTIALS);
        service.login("mark", new).await.token();
    }
}

#[tokio::test]
async fn pwdreset_accepts_and_answers_the_legacy_id_of_this_dialect() {
    let service = TestService::new().await;
    service.lab.import_user().await;
    let login = service.login(IMPORTED_PHONE, "123456").await;
    assert_eq!(login.json()["data"]["user_id"], "4");
    // The alias was set by the cloudbox source, whose dialect alone answers it.
    assert_ne!(login.json()["data"]["user_alias_id"], IMPORTED_ALIAS);
    let mut token = login.token();
    for (index, user_id) in [json!("4"), json!(4), json!(IMPORTED_UUID), json!(IMPORTED_NUMBER)].into_iter().enumerate()
    {
        service.advance_clock(1);
        let (old, new) = if index % 2 == 0 { ("123456", "654321") } else { ("654321", "123456") };
        let response = service.pwdreset(&token, user_id.clone(), old, new).await;
        assert_eq!(response.json()["data"]["user_id"], "4", "{user_id}: {response:?}");
        token = response.token();
    }
    // Legacy ids of other dialects name no user here.
    for (dialect, id) in IMPORTED_IDS.into_iter().filter(|(dialect, _)| *dialect != "tms") {
        service.advance_clock(1);
        let response = service.pwdreset(&token, id, "123456", "654321").await;
        assert_eq!(response.status, 401, "{dialect}: {response:?}");
    }
}

#[tokio::test]
async fn pwdreset_returns_the_login_response() {
    let service = TestService::new().await;
    let user = service.lab.user("mark").add().await;
    let login = service.login("mark", "123456").await;
    service.advance_clock(1);
    let reset = service.pwdreset(&login.token(), user.number, "123456", "654321").await;
    assert_eq!(reset.text.replace(&reset.token(), ""), login.text.replace(&login.token(), ""));
}

#[tokio::test]
async fn the_documented_samples_are_rejected_without_digests() {
    let service = TestService::new().await;
    service.lab.user("mark").password("hna123").admin().add().await;
    let invalid_field = |name: &str| format!(r#"{{"message":"参数错误: {name}","code":"1001"}}"#);
    for path in [ADMIN_LOGIN, LOGIN] {
        service
            .post_with_client_token(path, "application/json", LOGIN_SAMPLE)
            .await
            .assert_is(400, &invalid_field("password"));
    }
    service
        .post_with_client_token(PWDRESET, "application/json", PWDRESET_SAMPLE)
        .await
        .assert_is(400, &invalid_field("orig_password"));
}

#[tokio::test]
async fn the_documented_samples_work_with_digests_and_without_a_timestamp_limit() {
    let sample = LOGIN_SAMPLE.replace("hna123", &salted_digest("hna123", 1_521_515_662));
    let service = TestService::new().await;
    service.lab.user("mark").password("hna123").admin().add().await;
    service.post_with_client_token(LOGIN, "application/json", sample.clone()).await.assert_is(200, PROOF_STALE);

    let service = TestService::with_settings(&[("STELE_TIMESTAMP_SKEW", "0")]).await;
    let user = service.lab.user("mark").password("hna123").admin().add().await;
    let token = service.post_with_client_token(ADMIN_LOGIN, "application/json", sample.clone()).await.token();
    service.post_with_client_token(LOGIN, "application/json", sample).await.assert_is(200, PROOF_REPLAYED);
    // The sample's user 4 does not exist here.
    let reset = PWDRESET_SAMPLE.replacen(
        r#":"orig_password""#,
        &format!(r#":"{}""#, salted_digest("hna123", 1_522_395_456)),
        1,
    );
    let reset = reset.replace(r#":"new_password""#, r#":"e10adc3949ba59abbe56e057f20f883e""#);
    let post_pwdreset = async |body: String| {
        let request = service
            .request("POST", PWDRESET)
            .header("authorization", &token)
            .header("content-type", "application/json");
        service.send(request.body(body)).await
    };
    post_pwdreset(reset.clone()).await.assert_is(200, WRONG_CREDENTIALS);
    post_pwdreset(reset.replace(r#":"4""#, &format!(r#":"{}""#, user.number))).await.token();
    service.login("mark", "123456").await.token();
}
