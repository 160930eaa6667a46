//! Authorization of logins and password changes: client tokens and user tokens in `Authorization`.

use serde_json::json;
use stele_testkit::conformance::salted::salted_digest;
use stele_testkit::conformance::{DialectUnderTest as _, token_header_variants};
use stele_testkit::{MessageCode as _, md5_hex};

use crate::test_service::{ADMIN_LOGIN, BAD_TOKEN, LOGIN, PROOF_STALE, PWDRESET, TestService, WRONG_CREDENTIALS};

#[tokio::test]
async fn a_login_accepts_a_client_token_or_a_user_token() {
    let service = TestService::new().await;
    service.lab.user("mark").add().await;
    service.lab.user("admin").admin().add().await;
    let mut token = service.client_token.clone();
    for (path, name) in
        [(LOGIN, "mark"), (LOGIN, "admin"), (ADMIN_LOGIN, "admin"), (LOGIN, "mark"), (ADMIN_LOGIN, "admin")]
    {
        let uppercase = format!("bearer {}", token.to_uppercase());
        for header in token_header_variants(&token).into_iter().chain([uppercase]) {
            service.advance_clock(1);
            let body = json!({ "username": name, "password": salted_digest("123456", service.now()), "timestamp": service.now() });
            // The next login is authorized by the token of this one.
            token = service.post_with_token(path, &header, &body).await.token();
        }
    }
}

#[tokio::test]
async fn a_login_without_a_live_token_reveals_nothing_about_the_user() {
    let service = TestService::new().await;
    let user = service.lab.user("mark").add().await;
    let cloudbox_token = service.login_cloudbox("mark", "123456").await.unwrap();
    service.advance_clock(1);
    let ended_token = service.login("mark", "123456").await.token();
    service.advance_clock(1);
    service.pwdreset(&ended_token, user.number, "123456", "123456").await.token();
    service.advance_clock(1);
    let unknown = "9665f7452bec11e8b2256a00027160c0";
    let two_tokens = format!("{} {}", service.client_token, service.client_token);
    for token in [
        "",
        &cloudbox_token,
        &ended_token,
        unknown,
        "Bearer",
        "Basic bWFyazox",
        &service.client_token[1..],
        &two_tokens,
    ] {
        for path in [LOGIN, ADMIN_LOGIN] {
            for (name, password) in [("mark", "123456"), ("mark", "wrong"), ("unknown", "123456")] {
                for at in [service.now(), 1] {
                    let body = json!({ "username": name, "password": salted_digest(password, at), "timestamp": at });
                    service.post_with_token(path, token, &body).await.assert_is(401, BAD_TOKEN);
                }
            }
        }
    }
    // None of these requests was counted or consumed a proof.
    service.login("mark", "123456").await.token();
}

#[tokio::test]
async fn malformed_input_is_reported_before_a_missing_token() {
    let service = TestService::new().await;
    for path in [LOGIN, ADMIN_LOGIN, PWDRESET] {
        let response = service.post_with_token(path, "", &json!({})).await;
        assert_eq!((response.status, response.code().as_str()), (400, "1001"));
    }
}

#[tokio::test]
async fn two_authorization_headers_are_rejected() {
    let service = TestService::new().await;
    service.lab.user("mark").add().await;
    let body =
        json!({ "username": "mark", "password": salted_digest("123456", service.now()), "timestamp": service.now() });
    let request = service
        .request("POST", LOGIN)
        .header("authorization", &service.client_token)
        .header("authorization", &service.client_token);
    service.send(request.json(&body)).await.assert_is(401, BAD_TOKEN);
}

#[tokio::test]
async fn logins_without_required_token_ignore_the_header() {
    let service = TestService::with_settings(&[("STELE_TMS_REQUIRE_TOKEN", "false")]).await;
    let user = service.lab.user("mark").admin().add().await;
    let mut last = String::new();
    for token in ["", "nonsense", "9665f7452bec11e8b2256a00027160c0", &service.client_token] {
        for path in [LOGIN, ADMIN_LOGIN] {
            service.advance_clock(1);
            let body = json!({ "username": "mark", "password": salted_digest("123456", service.now()), "timestamp": service.now() });
            last = service.post_with_token(path, token, &body).await.token();
        }
    }
    // The setting does not apply to password changes.
    service.advance_clock(1);
    service.pwdreset("", user.number, "123456", "654321").await.assert_is(401, BAD_TOKEN);
    service.pwdreset(&service.client_token, user.number, "123456", "654321").await.assert_is(401, BAD_TOKEN);
    service.pwdreset(&last, user.number, "123456", "654321").await.token();
}

#[tokio::test]
async fn pwdreset_accepts_the_users_token_or_an_administrators() {
    let service = TestService::new().await;
    let mark = service.lab.user("mark").add().await;
    service.lab.user("anna").add().await;
    service.lab.user("admin").admin().add().await;
    let mark_token = service.login("mark", "123456").await.token();
    let anna_token = service.login("anna", "123456").await.token();
    let admin_token = service.login_admin("admin", "123456").await.token();
    service.advance_clock(1);
    let cloudbox_token = service.login_cloudbox("mark", "123456").await.unwrap();
    service.advance_clock(1);
    for token in ["", &service.client_token, &anna_token, &cloudbox_token, "9665f7452bec11e8b2256a00027160c0"] {
        service.pwdreset(token, mark.number, "123456", "654321").await.assert_is(401, BAD_TOKEN);
    }
    // An administrator's token does not replace the old password.
    service.pwdreset(&admin_token, mark.number, "wrong", "654321").await.assert_is(200, WRONG_CREDENTIALS);
    service.pwdreset(&admin_token, mark.number, "123456", "654321").await.token();
    service.pwdreset(&mark_token, mark.number, "654321", "123456").await.assert_is(401, BAD_TOKEN);
    let mark_token = service.login("mark", "654321").await.token();
    service.advance_clock(1);
    service.pwdreset(&format!("Bearer {mark_token}"), mark.number, "654321", "123456").await.token();
    // The sessions of the administrator and of anna are still valid.
    service.advance_clock(1);
    service.pwdreset(&admin_token, mark.number, "123456", "123456").await.token();
    let body = json!({ "username": "anna", "password": md5_hex("123456"), "timestamp": service.now() });
    service.post_with_token(LOGIN, &anna_token, &body).await.token();
}

#[tokio::test]
async fn pwdreset_does_not_reveal_user_ids_to_other_users() {
    let service = TestService::new().await;
    let mark = service.lab.user("mark").add().await;
    service.lab.user("anna").add().await;
    let anna_token = service.login("anna", "123456").await.token();
    let unknown_user_id = "0b922f14-d00b-11e7-aafd-525400bbac8e";
    for id in [json!(mark.id.to_string()), json!(mark.number), json!(unknown_user_id), json!(4)] {
        let hashes_before = service.hash_count();
        service.pwdreset(&anna_token, id.clone(), "123456", "654321").await.assert_is(401, BAD_TOKEN);
        let stale = json!({
            "user_id": id, "orig_password": salted_digest("123456", 1), "new_password": md5_hex("x"), "timestamp": 1,
        });
        service.post_with_token(PWDRESET, &anna_token, &stale).await.assert_is(401, BAD_TOKEN);
        assert_eq!(service.hash_count(), hashes_before);
    }
    // For an administrator the proof is checked.
    service.lab.user("admin").admin().add().await;
    let admin_token = service.login_admin("admin", "123456").await.token();
    let stale = json!({ "user_id": 4, "orig_password": salted_digest("123456", 1), "new_password": md5_hex("x"), "timestamp": 1 });
    service.post_with_token(PWDRESET, &admin_token, &stale).await.assert_is(200, PROOF_STALE);
}
