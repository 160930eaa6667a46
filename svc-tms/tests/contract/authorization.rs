//! Who may ask: client tokens and users' tokens in `Authorization`.

use serde_json::json;
use stele_testkit::conformance::salted::salted_digest;
use stele_testkit::conformance::{DialectUnderTest as _, token_header_variants};
use stele_testkit::{MessageCode as _, md5_hex};

use crate::test_service::{ADMIN_LOGIN, BAD_TOKEN, LOGIN, PROOF_STALE, PWDRESET, TestService, WRONG_CREDENTIALS};

#[tokio::test]
async fn a_login_accepts_a_client_token_or_a_user_token() {
    let app = TestService::new().await;
    app.lab.user("mark").add().await;
    app.lab.user("admin").admin().add().await;
    let mut token = app.client_token.clone();
    for (path, name) in
        [(LOGIN, "mark"), (LOGIN, "admin"), (ADMIN_LOGIN, "admin"), (LOGIN, "mark"), (ADMIN_LOGIN, "admin")]
    {
        let capitals = format!("bearer {}", token.to_uppercase());
        for written in token_header_variants(&token).into_iter().chain([capitals]) {
            app.advance_clock(1);
            let body =
                json!({ "username": name, "password": salted_digest("123456", app.now()), "timestamp": app.now() });
            // The next one comes with the token of this one.
            token = app.post_with_token(path, &written, &body).await.token();
        }
    }
}

#[tokio::test]
async fn a_login_without_a_live_token_reveals_nothing_about_the_user() {
    let app = TestService::new().await;
    let user = app.lab.user("mark").add().await;
    let of_cloudbox = app.login_cloudbox("mark", "123456").await.unwrap();
    app.advance_clock(1);
    let dead = app.login("mark", "123456").await.token();
    app.advance_clock(1);
    app.pwdreset(&dead, user.number, "123456", "123456").await.token();
    app.advance_clock(1);
    let unknown = "9665f7452bec11e8b2256a00027160c0";
    let two = format!("{} {}", app.client_token, app.client_token);
    for token in ["", &of_cloudbox, &dead, unknown, "Bearer", "Basic bWFyazox", &app.client_token[1..], &two] {
        for path in [LOGIN, ADMIN_LOGIN] {
            for (name, password) in [("mark", "123456"), ("mark", "wrong"), ("nobody", "123456")] {
                for at in [app.now(), 1] {
                    let body = json!({ "username": name, "password": salted_digest(password, at), "timestamp": at });
                    app.post_with_token(path, token, &body).await.assert_is(401, BAD_TOKEN);
                }
            }
        }
    }
    // Nothing was counted or used up by all that.
    app.login("mark", "123456").await.token();
}

#[tokio::test]
async fn malformed_input_is_reported_before_a_missing_token() {
    let app = TestService::new().await;
    for path in [LOGIN, ADMIN_LOGIN, PWDRESET] {
        let answer = app.post_with_token(path, "", &json!({})).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "1001"));
    }
}

#[tokio::test]
async fn two_authorization_headers_are_rejected() {
    let app = TestService::new().await;
    app.lab.user("mark").add().await;
    let body = json!({ "username": "mark", "password": salted_digest("123456", app.now()), "timestamp": app.now() });
    let request = app
        .request("POST", LOGIN)
        .header("authorization", &app.client_token)
        .header("authorization", &app.client_token);
    app.send(request.json(&body)).await.assert_is(401, BAD_TOKEN);
}

#[tokio::test]
async fn logins_without_required_token_ignore_the_header() {
    let app = TestService::with_settings(&[("STELE_TMS_REQUIRE_TOKEN", "false")]).await;
    let user = app.lab.user("mark").admin().add().await;
    let mut last = String::new();
    for token in ["", "nonsense", "9665f7452bec11e8b2256a00027160c0", &app.client_token] {
        for path in [LOGIN, ADMIN_LOGIN] {
            app.advance_clock(1);
            let body =
                json!({ "username": "mark", "password": salted_digest("123456", app.now()), "timestamp": app.now() });
            last = app.post_with_token(path, token, &body).await.token();
        }
    }
    // A change of password is not opened with them.
    app.advance_clock(1);
    app.pwdreset("", user.number, "123456", "654321").await.assert_is(401, BAD_TOKEN);
    app.pwdreset(&app.client_token, user.number, "123456", "654321").await.assert_is(401, BAD_TOKEN);
    app.pwdreset(&last, user.number, "123456", "654321").await.token();
}

#[tokio::test]
async fn pwdreset_accepts_the_users_token_or_an_administrators() {
    let app = TestService::new().await;
    let mark = app.lab.user("mark").add().await;
    app.lab.user("anna").add().await;
    app.lab.user("admin").admin().add().await;
    let own = app.login("mark", "123456").await.token();
    let annas = app.login("anna", "123456").await.token();
    let admins = app.login_admin("admin", "123456").await.token();
    app.advance_clock(1);
    let of_cloudbox = app.login_cloudbox("mark", "123456").await.unwrap();
    app.advance_clock(1);
    for token in ["", &app.client_token, &annas, &of_cloudbox, "9665f7452bec11e8b2256a00027160c0"] {
        app.pwdreset(token, mark.number, "123456", "654321").await.assert_is(401, BAD_TOKEN);
    }
    // An administrator's token does not take the place of the old password.
    app.pwdreset(&admins, mark.number, "wrong", "654321").await.assert_is(200, WRONG_CREDENTIALS);
    app.pwdreset(&admins, mark.number, "123456", "654321").await.token();
    app.pwdreset(&own, mark.number, "654321", "123456").await.assert_is(401, BAD_TOKEN);
    let own = app.login("mark", "654321").await.token();
    app.advance_clock(1);
    app.pwdreset(&format!("Bearer {own}"), mark.number, "654321", "123456").await.token();
    // Neither the administrator's session nor anna's was touched.
    app.advance_clock(1);
    app.pwdreset(&admins, mark.number, "123456", "123456").await.token();
    let body = json!({ "username": "anna", "password": md5_hex("123456"), "timestamp": app.now() });
    app.post_with_token(LOGIN, &annas, &body).await.token();
}

#[tokio::test]
async fn pwdreset_does_not_reveal_user_ids_to_other_users() {
    let app = TestService::new().await;
    let mark = app.lab.user("mark").add().await;
    app.lab.user("anna").add().await;
    let annas = app.login("anna", "123456").await.token();
    let unknown_user_id = "0b922f14-d00b-11e7-aafd-525400bbac8e";
    for id in [json!(mark.id.to_string()), json!(mark.number), json!(unknown_user_id), json!(4)] {
        let before = app.hash_count();
        app.pwdreset(&annas, id.clone(), "123456", "654321").await.assert_is(401, BAD_TOKEN);
        let stale = json!({
            "user_id": id, "orig_password": salted_digest("123456", 1), "new_password": md5_hex("x"), "timestamp": 1,
        });
        app.post_with_token(PWDRESET, &annas, &stale).await.assert_is(401, BAD_TOKEN);
        assert_eq!(app.hash_count(), before);
    }
    // An administrator gets as far as the proof.
    app.lab.user("admin").admin().add().await;
    let admins = app.login_admin("admin", "123456").await.token();
    let stale = json!({ "user_id": 4, "orig_password": salted_digest("123456", 1), "new_password": md5_hex("x"), "timestamp": 1 });
    app.post_with_token(PWDRESET, &admins, &stale).await.assert_is(200, PROOF_STALE);
}
