//! Who may ask: client tokens and users' tokens in `Authorization`.

use serde_json::json;
use stele_testkit::md5_hex;

use crate::support::{ADMIN, Bench, LOGIN, NO_TOKEN, PWDRESET, STALE, WRONG, salted};

#[tokio::test]
async fn a_login_carries_a_client_token_or_a_users() {
    let bench = Bench::new().await;
    bench.lab.user("mark").add().await;
    bench.lab.user("admin").admin().add().await;
    let mut token = bench.kiosk.clone();
    for (path, name) in [(LOGIN, "mark"), (LOGIN, "admin"), (ADMIN, "admin"), (LOGIN, "mark"), (ADMIN, "admin")] {
        for written in [token.clone(), format!("Bearer {token}"), format!("bearer {}", token.to_uppercase())] {
            bench.pass(1);
            let body = json!({ "username": name, "password": salted("123456", bench.now()), "timestamp": bench.now() });
            // The next one comes with the token of this one.
            token = bench.post(path, &written, &body).await.token();
        }
    }
}

#[tokio::test]
async fn a_login_without_a_live_token_is_refused_before_anything_about_the_user() {
    let bench = Bench::new().await;
    let user = bench.lab.user("mark").add().await;
    let of_cloudbox = bench.login_cloudbox("mark", "123456").await.unwrap();
    bench.pass(1);
    let dead = bench.login("mark", "123456").await.token();
    bench.pass(1);
    bench.pwdreset(&dead, user.number, "123456", "123456").await.token();
    bench.pass(1);
    let unknown = "9665f7452bec11e8b2256a00027160c0";
    let two = format!("{} {}", bench.kiosk, bench.kiosk);
    for token in ["", &of_cloudbox, &dead, unknown, "Bearer", "Basic bWFyazox", &bench.kiosk[1..], &two] {
        for path in [LOGIN, ADMIN] {
            for (name, password) in [("mark", "123456"), ("mark", "wrong"), ("nobody", "123456")] {
                for at in [bench.now(), 1] {
                    let body = json!({ "username": name, "password": salted(password, at), "timestamp": at });
                    bench.post(path, token, &body).await.is(401, NO_TOKEN);
                }
            }
        }
    }
    // Nothing was counted or used up by all that.
    bench.login("mark", "123456").await.token();
}

#[tokio::test]
async fn what_cannot_be_read_is_told_before_the_token() {
    let bench = Bench::new().await;
    for path in [LOGIN, ADMIN, PWDRESET] {
        let answer = bench.post(path, "", &json!({})).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "1001"));
    }
}

#[tokio::test]
async fn two_tokens_are_none() {
    let bench = Bench::new().await;
    bench.lab.user("mark").add().await;
    let body = json!({ "username": "mark", "password": salted("123456", bench.now()), "timestamp": bench.now() });
    let request = bench.request(LOGIN).header("authorization", &bench.kiosk).header("authorization", &bench.kiosk);
    bench.send(request.json(&body)).await.is(401, NO_TOKEN);
}

#[tokio::test]
async fn logins_can_be_opened_and_then_ignore_the_header() {
    let bench = Bench::with(&[("STELE_TMS_REQUIRE_TOKEN", "false")]).await;
    let user = bench.lab.user("mark").admin().add().await;
    let mut last = String::new();
    for token in ["", "nonsense", "9665f7452bec11e8b2256a00027160c0", &bench.kiosk] {
        for path in [LOGIN, ADMIN] {
            bench.pass(1);
            let body =
                json!({ "username": "mark", "password": salted("123456", bench.now()), "timestamp": bench.now() });
            last = bench.post(path, token, &body).await.token();
        }
    }
    // A change of password is not opened with them.
    bench.pass(1);
    bench.pwdreset("", user.number, "123456", "654321").await.is(401, NO_TOKEN);
    bench.pwdreset(&bench.kiosk, user.number, "123456", "654321").await.is(401, NO_TOKEN);
    bench.pwdreset(&last, user.number, "123456", "654321").await.token();
}

#[tokio::test]
async fn pwdreset_takes_the_users_own_token_or_an_administrators() {
    let bench = Bench::new().await;
    let mark = bench.lab.user("mark").add().await;
    bench.lab.user("anna").add().await;
    bench.lab.user("admin").admin().add().await;
    let own = bench.login("mark", "123456").await.token();
    let annas = bench.login("anna", "123456").await.token();
    let admins = bench.login_admin("admin", "123456").await.token();
    bench.pass(1);
    let of_cloudbox = bench.login_cloudbox("mark", "123456").await.unwrap();
    bench.pass(1);
    for token in ["", &bench.kiosk, &annas, &of_cloudbox, "9665f7452bec11e8b2256a00027160c0"] {
        bench.pwdreset(token, mark.number, "123456", "654321").await.is(401, NO_TOKEN);
    }
    // An administrator's token does not take the place of the old password.
    bench.pwdreset(&admins, mark.number, "wrong", "654321").await.is(200, WRONG);
    bench.pwdreset(&admins, mark.number, "123456", "654321").await.token();
    bench.pwdreset(&own, mark.number, "654321", "123456").await.is(401, NO_TOKEN);
    let own = bench.login("mark", "654321").await.token();
    bench.pass(1);
    bench.pwdreset(&format!("Bearer {own}"), mark.number, "654321", "123456").await.token();
    // Neither the administrator's session nor anna's was touched.
    bench.pass(1);
    bench.pwdreset(&admins, mark.number, "123456", "123456").await.token();
    let body = json!({ "username": "anna", "password": md5_hex("123456"), "timestamp": bench.now() });
    bench.post(LOGIN, &annas, &body).await.token();
}

#[tokio::test]
async fn pwdreset_tells_a_stranger_nothing_about_user_ids() {
    let bench = Bench::new().await;
    let mark = bench.lab.user("mark").add().await;
    bench.lab.user("anna").add().await;
    let annas = bench.login("anna", "123456").await.token();
    let nobody = "0b922f14-d00b-11e7-aafd-525400bbac8e";
    for id in [json!(mark.id.to_string()), json!(mark.number), json!(nobody), json!(4)] {
        let before = bench.hashes();
        bench.pwdreset(&annas, id.clone(), "123456", "654321").await.is(401, NO_TOKEN);
        let stale = json!({
            "user_id": id, "orig_password": salted("123456", 1), "new_password": md5_hex("x"), "timestamp": 1,
        });
        bench.post(PWDRESET, &annas, &stale).await.is(401, NO_TOKEN);
        assert_eq!(bench.hashes(), before);
    }
    // An administrator gets as far as the proof.
    bench.lab.user("admin").admin().add().await;
    let admins = bench.login_admin("admin", "123456").await.token();
    let stale =
        json!({ "user_id": 4, "orig_password": salted("123456", 1), "new_password": md5_hex("x"), "timestamp": 1 });
    bench.post(PWDRESET, &admins, &stale).await.is(200, STALE);
}
