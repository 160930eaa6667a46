//! What carries a token, a code or a user is not to be stored by anyone in between: neither an answer nor a refusal.

use std::path::Path;

use reqwest::Method;
use serde_json::json;

use crate::client::{
    Answer, App, CLOUDBOX, CLOUDBOX_LOGOUT, CLOUDBOX_RESET, Client, Dialect, Person, TMS, TMS_RESET, change,
};
use crate::support::Home;

#[test]
fn no_golden_answer_may_be_stored() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut seen = 0;
    for service in stele::services::ALL {
        let folder = root.join(format!("svc-{}/tests/golden", service.name));
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|ending| ending != "http") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for exchange in text.split("\n=====\n") {
                let (request, answer) = exchange.split_once("\n-----\n").unwrap();
                let head = answer.split("\n\n").next().unwrap();
                let told = head.lines().any(|line| line == "cache-control: no-store");
                assert!(told, "{}: {}", path.display(), request.lines().next().unwrap());
                seen += 1;
            }
        }
    }
    assert!(seen > 30, "only {seen} golden answers");
}

#[track_caller]
fn not_stored(what: &str, status: u16, answer: &Answer) {
    assert_eq!(answer.status, status, "{what}: {answer:?}");
    assert_eq!(answer.headers.get_all("cache-control").iter().collect::<Vec<_>>(), ["no-store"], "{what}");
}

/// A path of each dialect that takes a POST.
const PATHS: [&str; 7] = [CLOUDBOX, CLOUDBOX_RESET, TMS, TMS_RESET, "/i/login", "/auth/login", "/api/v1/Auth/Login"];

#[tokio::test]
async fn no_answer_and_no_refusal_may_be_stored() {
    let limits = [("STELE_LIMIT_ACCOUNT", "3"), ("STELE_LIMIT_WAIT", "60s")];
    let home = Home::with(&[&[("STELE_HASH_COST", "64,1,1,weak")], &limits[..]].concat());
    let server = home.up();
    let (phone, email) = ("13800138000", "mark@example.com");
    let id = home.add_user("mark", "a-password", &["--phone", phone, "--email", email]);
    let tms = home.run(&["token", "add", "kiosk"]).last_word();
    let client = Client::new(&server, App::new("melink", home.add_app("melink", "melink")), &tms);
    let person = Person { id, name: "mark".into(), phone: phone.into(), email: email.into() };

    // With a token, a cookie, a code on its way.
    for dialect in Dialect::ALL {
        not_stored("a login", 200, &client.login(dialect, &person, "a-password").await.good());
    }
    let changed = client.json(CLOUDBOX_RESET, &[], &change(&person.id, "a-password", "b-password")).await.good();
    not_stored("a change", 200, &changed);
    let gone = client.json(CLOUDBOX_LOGOUT, &[("authorization", &changed.token())], &json!({})).await;
    not_stored("a logout", 200, &gone);
    not_stored("a code", 200, &client.form("/code/send", &[], &[("username", phone)]).await.good());
    client.login(Dialect::Mefp, &person, "b-password").await.good();
    let token = client.mefp("/auth/token", &json!({ "login_name": phone, "app_to": "melink" })).await.good();
    not_stored("a handover", 200, &token);
    let jwt = client.login(Dialect::Jwt, &person, "b-password").await.good();
    assert!(jwt.headers.contains_key("authorization"), "the token is in a header, too");
    not_stored("a JWT", 200, &jwt);
    let captcha = client.send(Method::GET, "/api/vi/Auth/getCAPTCHA", &[], String::new()).await.good();
    not_stored("a captcha", 200, &captcha);
    let picture = format!("/api/vi/Auth/CAPTCHA/{}", captcha.json["data"]["id"]);
    not_stored("a captcha's picture", 200, &client.send(Method::GET, &picture, &[], String::new()).await);

    // Refusals of the services and of the gateway.
    for path in PATHS {
        let json = [("content-type", "application/json"), ("authorization", tms.as_str())];
        not_stored(path, 400, &client.send(Method::POST, path, &json, "{\"a\":".to_owned()).await);
        not_stored(path, 405, &client.send(Method::DELETE, path, &[], String::new()).await);
        not_stored(path, 413, &client.send(Method::POST, path, &json, "x".repeat(70_000)).await);
        not_stored(path, 404, &client.send(Method::POST, &format!("{path}/nothing"), &[], String::new()).await);
    }
    for (path, method) in [(CLOUDBOX_LOGOUT, Method::POST), (TMS, Method::POST), ("/api/v1/Auth/Logout", Method::GET)] {
        let body = if method == Method::POST { change(&person.id, "x", "y").to_string() } else { String::new() };
        let answer = client.send(method, path, &[("content-type", "application/json")], body).await;
        assert!(matches!(answer.status, 400 | 401), "{path}: {answer:?}");
        not_stored(path, answer.status, &answer);
    }
    for dialect in Dialect::ALL {
        let mut wrong = client.login(dialect, &person, "wrong").await;
        for _ in 0..5 {
            not_stored("a wrong password", wrong.status, &wrong);
            wrong = client.login(dialect, &person, "wrong").await;
        }
        not_stored("too many", 429, &wrong);
    }
    server.stop();
}
