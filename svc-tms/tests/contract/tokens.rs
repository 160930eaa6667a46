//! Who may ask: client tokens and users' tokens in `Authorization`.

use serde_json::json;
use stele_testkit::conformance::salted::salted;
use stele_testkit::conformance::{DialectUnderTest as _, token_writings};
use stele_testkit::{MessageCode as _, md5_hex};

use crate::app::{ADMIN, App, LOGIN, NO_TOKEN, PWDRESET, STALE, WRONG};

#[tokio::test]
async fn a_login_carries_a_client_token_or_a_users() {
    let app = App::new().await;
    app.lab.user("mark").add().await;
    app.lab.user("admin").admin().add().await;
    let mut token = app.kiosk.clone();
    for (path, name) in [(LOGIN, "mark"), (LOGIN, "admin"), (ADMIN, "admin"), (LOGIN, "mark"), (ADMIN, "admin")] {
        let capitals = format!("bearer {}", token.to_uppercase());
        for written in token_writings(&token).into_iter().chain([capitals]) {
            app.wait(1);
            let body = json!({ "username": name, "password": salted("123456", app.now()), "timestamp": app.now() });
            // The next one comes with the token of this one.
            token = app.post(path, &written, &body).await.token();
        }
    }
}

#[tokio::test]
async fn a_login_without_a_live_token_is_refused_before_anything_about_the_user() {
    let app = App::new().await;
    let user = app.lab.user("mark").add().await;
    let of_cloudbox = app.login_cloudbox("mark", "123456").await.unwrap();
    app.wait(1);
    let dead = app.login("mark", "123456").await.token();
    app.wait(1);
    app.pwdreset(&dead, user.number, "123456", "123456").await.token();
    app.wait(1);
    let unknown = "9665f7452bec11e8b2256a00027160c0";
    let two = format!("{} {}", app.kiosk, app.kiosk);
    for token in ["", &of_cloudbox, &dead, unknown, "Bearer", "Basic bWFyazox", &app.kiosk[1..], &two] {
        for path in [LOGIN, ADMIN] {
            for (name, password) in [("mark", "123456"), ("mark", "wrong"), ("nobody", "123456")] {
                for at in [app.now(), 1] {
                    let body = json!({ "username": name, "password": salted(password, at), "timestamp": at });
                    app.post(path, token, &body).await.is(401, NO_TOKEN);
                }
            }
        }
    }
    // Nothing was counted or used up by all that.
    app.login("mark", "123456").await.token();
}

#[tokio::test]
async fn what_cannot_be_read_is_told_before_the_token() {
    let app = App::new().await;
    for path in [LOGIN, ADMIN, PWDRESET] {
        let answer = app.post(path, "", &json!({})).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "1001"));
    }
}

#[tokio::test]
async fn two_tokens_are_none() {
    let app = App::new().await;
    app.lab.user("mark").add().await;
    let body = json!({ "username": "mark", "password": salted("123456", app.now()), "timestamp": app.now() });
    let request = app.request("POST", LOGIN).header("authorization", &app.kiosk).header("authorization", &app.kiosk);
    app.send(request.json(&body)).await.is(401, NO_TOKEN);
}

#[tokio::test]
async fn logins_can_be_opened_and_then_ignore_the_header() {
    let app = App::with(&[("STELE_TMS_REQUIRE_TOKEN", "false")]).await;
    let user = app.lab.user("mark").admin().add().await;
    let mut last = String::new();
    for token in ["", "nonsense", "9665f7452bec11e8b2256a00027160c0", &app.kiosk] {
        for path in [LOGIN, ADMIN] {
            app.wait(1);
            let body = json!({ "username": "mark", "password": salted("123456", app.now()), "timestamp": app.now() });
            last = app.post(path, token, &body).await.token();
        }
    }
    // A change of password is not opened with them.
    app.wait(1);
    app.pwdreset("", user.number, "123456", "654321").await.is(401, NO_TOKEN);
    app.pwdreset(&app.kiosk, user.number, "123456", "654321").await.is(401, NO_TOKEN);
    app.pwdreset(&last, user.number, "123456", "654321").await.token();
}

#[tokio::test]
async fn pwdreset_takes_the_users_own_token_or_an_administrators() {
    let app = App::new().await;
    let mark = app.lab.user("mark").add().await;
    app.lab.user("anna").add().await;
    app.lab.user("admin").admin().add().await;
    let own = app.login("mark", "123456").await.token();
    let annas = app.login("anna", "123456").await.token();
    let admins = app.login_admin("admin", "123456").await.token();
    app.wait(1);
    let of_cloudbox = app.login_cloudbox("mark", "123456").await.unwrap();
    app.wait(1);
    for token in ["", &app.kiosk, &annas, &of_cloudbox, "9665f7452bec11e8b2256a00027160c0"] {
        app.pwdreset(token, mark.number, "123456", "654321").await.is(401, NO_TOKEN);
    }
    // An administrator's token does not take the place of the old password.
    app.pwdreset(&admins, mark.number, "wrong", "654321").await.is(200, WRONG);
    app.pwdreset(&admins, mark.number, "123456", "654321").await.token();
    app.pwdreset(&own, mark.number, "654321", "123456").await.is(401, NO_TOKEN);
    let own = app.login("mark", "654321").await.token();
    app.wait(1);
    app.pwdreset(&format!("Bearer {own}"), mark.number, "654321", "123456").await.token();
    // Neither the administrator's session nor anna's was touched.
    app.wait(1);
    app.pwdreset(&admins, mark.number, "123456", "123456").await.token();
    let body = json!({ "username": "anna", "password": md5_hex("123456"), "timestamp": app.now() });
    app.post(LOGIN, &annas, &body).await.token();
}

#[tokio::test]
async fn pwdreset_tells_a_stranger_nothing_about_user_ids() {
    let app = App::new().await;
    let mark = app.lab.user("mark").add().await;
    app.lab.user("anna").add().await;
    let annas = app.login("anna", "123456").await.token();
    let nobody = "0b922f14-d00b-11e7-aafd-525400bbac8e";
    for id in [json!(mark.id.to_string()), json!(mark.number), json!(nobody), json!(4)] {
        let before = app.hashes();
        app.pwdreset(&annas, id.clone(), "123456", "654321").await.is(401, NO_TOKEN);
        let stale = json!({
            "user_id": id, "orig_password": salted("123456", 1), "new_password": md5_hex("x"), "timestamp": 1,
        });
        app.post(PWDRESET, &annas, &stale).await.is(401, NO_TOKEN);
        assert_eq!(app.hashes(), before);
    }
    // An administrator gets as far as the proof.
    app.lab.user("admin").admin().add().await;
    let admins = app.login_admin("admin", "123456").await.token();
    let stale =
        json!({ "user_id": 4, "orig_password": salted("123456", 1), "new_password": md5_hex("x"), "timestamp": 1 });
    app.post(PWDRESET, &admins, &stale).await.is(200, STALE);
}
