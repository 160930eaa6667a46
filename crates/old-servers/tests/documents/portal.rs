//! The portal.

use std::sync::Arc;

use reqwest::Client;
use serde_json::Value;
use stele_old_servers::{Call, Fault, MemoryTable, OldPortal, OldServer, OldUser, PasswordFormat, StoredPassword};

use crate::support::{assert_sample, base64, json, post_form, text};

const PHONE: &str = "13800138000";
const EMPTY: &str = r#"{ "status": { "status_code": "200", "status_message": "OK" }, "content": { } }"#;
const MEMO: &str = r#"{ "status": { "status_code": "200", "status_message": "OK" }, "content": { "memo": "" } }"#;

const SAMPLE: &str = r#"{
    "status": {
        "status_code": "200",
        "status_message": "OK"
    },
    "content": {
        "id": "1",
        "user_name": "13800138000",
        "mobile": "13800138000",
        "email": "123456@qq.cpom",
        "user_type": 0,
        "gid": "100001",
        "orgId": "100001",
        "passport": "13800138000",
        "memo": ""
    }
}"#;

fn document_user(format: PasswordFormat) -> OldUser {
    OldUser {
        phone: PHONE.into(),
        email: "123456@qq.cpom".into(),
        gid: "100001".into(),
        org_id: "100001".into(),
        ..OldUser::new("1", PHONE, StoredPassword::new(format, "123456"))
    }
}

fn start() -> OldServer {
    OldPortal::start([document_user(PasswordFormat::Base64)])
}

async fn log_in(server: &OldServer, name: &str, password: &str) -> reqwest::Response {
    post_form(server, "/i/login", &[("username", name), ("password", &base64(password))]).await
}

async fn code(answer: reqwest::Response) -> String {
    json(answer).await["status"]["status_code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_login_is_answered_as_in_the_document_whatever_form_the_table_keeps() {
    for format in [PasswordFormat::Base64, PasswordFormat::Clear, PasswordFormat::Md5, PasswordFormat::Md5SaltPassword]
    {
        let table = MemoryTable::new(format, [document_user(format)]);
        let server = OldPortal::default().serve(Arc::new(table));
        for name in [PHONE, "123456@qq.cpom"] {
            assert_sample(&text(log_in(&server, name, "123456").await).await, SAMPLE);
        }
        assert_eq!(code(log_in(&server, PHONE, "123457").await).await, "3202");
        assert_eq!(code(log_in(&server, "13800138001", "123456").await).await, "3201");
    }
}

#[tokio::test]
async fn a_logout_ends_the_session_of_its_cookie_or_all_of_the_user() {
    let server = start();
    let cookie = |answer: &reqwest::Response| {
        let cookie = answer.headers()["set-cookie"].to_str().unwrap();
        cookie.split(';').next().unwrap().to_owned()
    };
    let first = cookie(&log_in(&server, PHONE, "123456").await);
    for _ in 0..2 {
        log_in(&server, PHONE, "123456").await;
    }
    let request = Client::new().post(format!("{}/i/logout", server.url())).header("Cookie", &first);
    let request = request.header("Content-Type", "application/x-www-form-urlencoded");
    let answer = request.body(format!("username={PHONE}")).send().await.unwrap();
    assert_sample(&text(answer).await, EMPTY);
    let left = server.sessions();
    assert!(left.len() == 2 && left.iter().all(|session| !first.ends_with(&session.token)), "{left:?}");

    post_form(&server, "/i/logout", &[("username", PHONE)]).await;
    assert_eq!(server.sessions(), []);
}

#[tokio::test]
async fn a_user_registers_and_resets_the_password_with_codes() {
    let server = start();
    let send = async |name: &str| post_form(&server, "/code/send", &[("username", name)]).await;
    for (name, refusal) in [("123", "3203"), ("@qq.com", "3204")] {
        assert_eq!(code(send(name).await).await, refusal);
    }
    let submit = async |path: &str, name: &str, password: &str, code: &str| {
        let form = [("username", name), ("password", &base64(password)), ("code", &base64(code))];
        post_form(&server, path, &form).await
    };
    assert_sample(&text(send("13800138002").await).await, EMPTY);
    let sent = server.code("13800138002").unwrap();
    let wrong = if sent == "000000" { "000001" } else { "000000" };
    assert_eq!(code(submit("/i/register", "13800138002", "abc123", wrong).await).await, "3208");
    assert_sample(&text(submit("/i/register", "13800138002", "abc123", &sent).await).await, MEMO);
    // A code serves once.
    assert_eq!(code(submit("/i/register", "13800138002", "abc123", &sent).await).await, "3208");
    let answer: Value = json(log_in(&server, "13800138002", "abc123").await).await;
    assert_eq!((&answer["content"]["id"], &answer["content"]["mobile"]), (&"2".into(), &"13800138002".into()));

    send(PHONE).await;
    let sent = server.code(PHONE).unwrap();
    assert_eq!(code(submit("/i/register", PHONE, "abc123", &sent).await).await, "3207");
    send(PHONE).await;
    let sent = server.code(PHONE).unwrap();
    assert_sample(&text(submit("/i/resetpwd", PHONE, "new456", &sent).await).await, MEMO);
    assert_eq!(code(log_in(&server, PHONE, "123456").await).await, "3202");
    assert_sample(&text(log_in(&server, PHONE, "new456").await).await, SAMPLE);
    assert_eq!((server.count(Call::Register), server.count(Call::PasswordChange)), (4, 1));
}

#[tokio::test]
async fn a_login_demands_a_code_after_failures_or_as_a_fault() {
    let table = MemoryTable::new(PasswordFormat::Clear, [document_user(PasswordFormat::Clear)]);
    let server = OldPortal { code_after: Some(2) }.serve(Arc::new(table));
    for _ in 0..2 {
        assert_eq!(code(log_in(&server, PHONE, "wrong").await).await, "3202");
    }
    assert_eq!(code(log_in(&server, PHONE, "123456").await).await, "3208");
    post_form(&server, "/code/send", &[("username", PHONE)]).await;
    let sent = base64(&server.code(PHONE).unwrap());
    let form = [("username", PHONE), ("password", &base64("123456")), ("code", &sent)];
    assert_eq!(code(post_form(&server, "/i/login", &form).await).await, "200");

    server.set_fault(Fault::CaptchaDemanded);
    assert_eq!(code(log_in(&server, PHONE, "123456").await).await, "3208");
    server.set_fault(Fault::None);
    assert_eq!(code(log_in(&server, PHONE, "123456").await).await, "200");
}
