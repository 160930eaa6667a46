//! `Cache-Control: no-store`: no response of a dialect, successful or not, may be cached.

use std::path::Path;

use reqwest::Method;
use serde_json::json;

use crate::client::{
    CLOUDBOX_CHANGE_PASSWORD, CLOUDBOX_LOGIN, CLOUDBOX_LOGOUT, DialectClient, DialectKind, Response,
    TMS_CHANGE_PASSWORD, TMS_LOGIN, TestUser, password_change_body,
};
use crate::support::Installation;

#[test]
fn golden_responses_are_not_cacheable() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut checked = 0;
    for service in stele::services::ALL {
        let folder = root.join(format!("svc-{}/tests/golden", service.name));
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "http") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for exchange in text.split("\n=====\n") {
                let (request, response) = exchange.split_once("\n-----\n").unwrap();
                let head = response.split("\n\n").next().unwrap();
                let has_no_store = head.lines().any(|line| line == "cache-control: no-store");
                assert!(has_no_store, "{}: {}", path.display(), request.lines().next().unwrap());
                checked += 1;
            }
        }
    }
    assert!(checked > 30, "only {checked} golden responses");
}

#[track_caller]
fn assert_not_cacheable(what: &str, status: u16, response: &Response) {
    assert_eq!(response.status, status, "{what}: {response:?}");
    assert_eq!(response.headers.get_all("cache-control").iter().collect::<Vec<_>>(), ["no-store"], "{what}");
}

/// Paths that accept a POST, from every dialect.
const POST_PATHS: [&str; 7] = [
    CLOUDBOX_LOGIN,
    CLOUDBOX_CHANGE_PASSWORD,
    TMS_LOGIN,
    TMS_CHANGE_PASSWORD,
    "/i/login",
    "/auth/login",
    "/api/v1/Auth/Login",
];

#[tokio::test]
async fn responses_and_errors_are_not_cacheable() {
    let limits = [("STELE_LIMIT_ACCOUNT", "3"), ("STELE_LIMIT_WAIT", "60s")];
    let installation = Installation::with_settings(&[&[("STELE_HASH_COST", "64,1,1,weak")], &limits[..]].concat());
    let server = installation.start_up();
    let (phone, email) = ("13800138000", "mark@example.com");
    let person = TestUser::add(&installation, "mark", phone, email, "a-password");
    let client = DialectClient::register(&installation, &server);

    // Successful responses: tokens, cookies, codes.
    for dialect in DialectKind::ALL {
        assert_not_cacheable("a login", 200, &client.login(dialect, &person, "a-password").await.assert_success());
    }
    let changed = client
        .post_json(CLOUDBOX_CHANGE_PASSWORD, &[], &password_change_body(&person.id, "a-password", "b-password"))
        .await
        .assert_success();
    assert_not_cacheable("a change", 200, &changed);
    let logged_out = client.post_json(CLOUDBOX_LOGOUT, &[("authorization", &changed.token())], &json!({})).await;
    assert_not_cacheable("a logout", 200, &logged_out);
    assert_not_cacheable(
        "a code",
        200,
        &client.post_form("/code/send", &[], &[("username", phone)]).await.assert_success(),
    );
    client.login(DialectKind::Mefp, &person, "b-password").await.assert_success();
    let token =
        client.call_mefp("/auth/token", &json!({ "login_name": phone, "app_to": "melink" })).await.assert_success();
    assert_not_cacheable("a handover", 200, &token);
    let jwt = client.login(DialectKind::Jwt, &person, "b-password").await.assert_success();
    assert!(jwt.headers.contains_key("authorization"), "the token is in a header as well");
    assert_not_cacheable("a JWT", 200, &jwt);
    let captcha = client.send(Method::GET, "/api/vi/Auth/getCAPTCHA", &[], String::new()).await.assert_success();
    assert_not_cacheable("a captcha", 200, &captcha);
    let picture = format!("/api/vi/Auth/CAPTCHA/{}", captcha.json["data"]["id"]);
    assert_not_cacheable("a captcha's picture", 200, &client.send(Method::GET, &picture, &[], String::new()).await);

    // Error responses of the services and of the gateway.
    for path in POST_PATHS {
        let headers = [("content-type", "application/json"), ("authorization", client.client_token.as_str())];
        assert_not_cacheable(path, 400, &client.send(Method::POST, path, &headers, "{\"a\":".to_owned()).await);
        assert_not_cacheable(path, 405, &client.send(Method::DELETE, path, &[], String::new()).await);
        assert_not_cacheable(path, 413, &client.send(Method::POST, path, &headers, "x".repeat(70_000)).await);
        assert_not_cacheable(
            path,
            404,
            &client.send(Method::POST, &format!("{path}/nothing"), &[], String::new()).await,
        );
    }
    for (path, method) in
        [(CLOUDBOX_LOGOUT, Method::POST), (TMS_LOGIN, Method::POST), ("/api/v1/Auth/Logout", Method::GET)]
    {
        let body =
            if method == Method::POST { password_change_body(&person.id, "x", "y").to_string() } else { String::new() };
        let response = client.send(method, path, &[("content-type", "application/json")], body).await;
        assert!(matches!(response.status, 400 | 401), "{path}: {response:?}");
        assert_not_cacheable(path, response.status, &response);
    }
    for dialect in DialectKind::ALL {
        let mut response = client.login(dialect, &person, "wrong").await;
        for _ in 0..5 {
            assert_not_cacheable("a wrong password", response.status, &response);
            response = client.login(dialect, &person, "wrong").await;
        }
        assert_not_cacheable("a rate limit", 429, &response);
    }
    server.stop();
}
