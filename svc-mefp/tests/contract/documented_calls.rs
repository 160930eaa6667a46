//! The documented calls and their error codes (`docs/PROTOCOLS.md`, MeFP).

use std::time::Duration;

use serde_json::json;
use stele_testkit::IMPORTED_PHONE;
use stele_testkit::conformance::DialectUnderTest as _;

use crate::test_service::{PHONE, ROUTES, ResponseExt as _, TestService, UNREADABLE_ENVELOPE, app_secret};

const DONE: &str = r#"{"result":1}"#;

#[actix_web::test]
async fn the_documented_user_journey_works() {
    let service = TestService::new().await;
    let name = json!({ "login_name": PHONE });
    let unknown = service.call_as_melink("/auth/check/loginname", &name).await;
    assert_eq!(unknown.text, r#"{"result":0,"errors":{"code":40005,"message":"用户名不存在"}}"#);

    let code = service.request_code_for("melink", PHONE, 1).await;
    let check = json!({ "login_name": PHONE, "captcha": code });
    for _ in 0..3 {
        assert_eq!(
            service.call_as_melink("/auth/check/captcha", &check).await.text,
            DONE,
            "a check does not consume the code"
        );
    }
    let register = json!({ "login_name": PHONE, "password": "123456", "captcha": code });
    assert_eq!(service.call_as_melink("/auth/register", &register).await.text, DONE);
    assert_eq!(service.call_as_melink("/auth/check/captcha", &check).await.error_code(), 40002);
    let known = service.call_as_wlfz("/auth/check/loginname", &name).await;
    assert_eq!(known.text, r#"{"result":1,"reg_app":"melink","reg_time":"2026-01-01 16:00:00"}"#);
    assert_eq!(service.login("melink", PHONE, "123456").await.text, DONE);

    let code = service.request_code_for("melink", PHONE, 2).await;
    assert_eq!(
        service.call_as_melink("/auth/check/captcha", &json!({ "login_name": PHONE, "captcha": code })).await.text,
        DONE
    );
    let forgot = json!({ "login_name": PHONE, "new_password": "654321", "captcha": code });
    assert_eq!(service.call_as_melink("/auth/forgot", &forgot).await.text, DONE);
    assert_eq!(service.login("melink", PHONE, "123456").await.error_code(), 40003);
    assert_eq!(service.login("melink", PHONE, "654321").await.text, DONE);

    let response = service.call_as_melink("/auth/token", &json!({ "login_name": PHONE, "app_to": "wlfz" })).await;
    let token = response.json()["token"].as_str().unwrap().to_owned();
    assert_eq!(response.text, format!(r#"{{"result":1,"token":"{token}"}}"#));
    let redeemed = service.call_as_wlfz("/auth/check/token", &json!({ "token": token })).await;
    assert_eq!(redeemed.text, format!(r#"{{"result":1,"login_name":"{PHONE}","app_from":"melink"}}"#));
}

/// The API document's sample envelope lacks a comma and holds 54 bytes, which are not whole blocks.
#[actix_web::test]
async fn the_documented_sample_envelope_is_unreadable() {
    let service = TestService::new().await;
    let sample = "{\n\t\"encrypt\": \"XK7ThnRIws1fXgXaBoNu/e7sdv8NUt9/AWUYfo5HmviOVMGrKk9stbWrNQgIfY1lzkJlCyKy\"\n\t\
                  \"app_from\": \"melink\"\n}";
    for body in [sample.to_owned(), sample.replace("\"\n\t\"app", "\",\n\t\"app")] {
        for (path, _) in ROUTES {
            let response = service.post(path, "application/json", body.clone()).await;
            assert_eq!(
                (response.status, response.text.as_str(), response.encrypted),
                (400, UNREADABLE_ENVELOPE, false)
            );
        }
    }
}

/// The API document's inner samples have comments and lack commas. The other tests send them as valid JSON.
#[actix_web::test]
async fn the_documented_inner_samples_are_invalid_json() {
    let service = TestService::new().await;
    for (path, sample) in [
        (
            "/auth/register",
            "{\n\t\"login_name\": \"15068880258\"   # 手机号码\n    \"password\": \"123456\"          # 应用\n}",
        ),
        (
            "/auth/login",
            "{\n    \"login_name\": \"13612345678\"          # \n    \"password\": \"123456\"                 # \n}",
        ),
        (
            "/auth/forgot",
            "{\n\t\"login_name\": \"15068880258\"   # 手机号码\n    \"new_password\" \"123456\"       # 新密码\n}",
        ),
        (
            "/auth/captcha",
            "{\n\t\"login_name\": \"15068880258\"   # 手机号码\n    \"usage\": 1                    # 用途\n}",
        ),
    ] {
        let response = service.call_as("melink", path, sample).await;
        assert_eq!(
            (response.status, response.text.as_str(), response.encrypted),
            (400, UNREADABLE_ENVELOPE, false),
            "{path}"
        );
    }
}

#[actix_web::test]
async fn a_wrong_code_is_reported_before_an_existing_user() {
    let service = TestService::new().await;
    let code = service.request_code_for("melink", PHONE, 1).await;
    let register = |captcha: &str| json!({ "login_name": PHONE, "password": "123456", "captcha": captcha });
    assert_eq!(service.call_as_melink("/auth/register", &register("000000x")).await.status_and_code(), (200, 40002));
    assert_eq!(service.call_as_melink("/auth/register", &register(&code)).await.status_and_code(), (200, 0));
    assert_eq!(service.call_as_melink("/auth/register", &register(&code)).await.status_and_code(), (200, 40002));
    // Another user registered the phone after the code was sent.
    let code = service.request_code_for("melink", "13800138000", 1).await;
    service.lab.user("mark").phone("13800138000").add().await;
    let register = json!({ "login_name": "13800138000", "password": "123456", "captcha": code });
    let response = service.call_as_melink("/auth/register", &register).await;
    assert_eq!(response.text, r#"{"result":0,"errors":{"code":40001,"message":"用户名已存在"}}"#);
    let forgot = json!({ "login_name": "13900139000", "new_password": "123456", "captcha": "123456" });
    assert_eq!(service.call_as_melink("/auth/forgot", &forgot).await.status_and_code(), (200, 40002));
}

#[actix_web::test]
async fn registration_codes_go_to_unknown_phones_and_reset_codes_to_users() {
    let service = TestService::new().await;
    service.lab.user("mark").phone("13800138000").add().await;
    let known = service.call_as_melink("/auth/captcha", &json!({ "login_name": "13800138000", "usage": 1 })).await;
    assert_eq!(known.text, r#"{"result":0,"errors":{"code":40001,"message":"用户名已存在"}}"#);
    let unknown = service.call_as_melink("/auth/captcha", &json!({ "login_name": PHONE, "usage": "2" })).await;
    assert_eq!(unknown.text, r#"{"result":0,"errors":{"code":40007,"message":"用户不存在"}}"#);
    assert!(service.lab.sent_codes().is_empty());
    service.request_code_for("melink", PHONE, 1).await;
    service.request_code_for("melink", "13800138000", 2).await;
    let sent = service.lab.sent_codes();
    assert_eq!(sent.iter().map(|sent| sent.purpose).collect::<Vec<_>>(), ["register", "reset"]);
    assert!(sent.iter().all(|sent| sent.dialect == "mefp"));
    let registered_elsewhere =
        service.call_as_melink("/auth/check/loginname", &json!({ "login_name": "13800138000" })).await;
    assert_eq!(registered_elsewhere.text, r#"{"result":1,"reg_app":"","reg_time":"2026-01-01 16:00:00"}"#);
}

#[actix_web::test]
async fn a_login_name_must_be_a_phone_number() {
    let service = TestService::new().await;
    service.lab.user("mark").phone("13800138000").email("mark@hna.cn").add().await;
    for name in ["mark", "mark@hna.cn", "1380013800", "23800138000", "1548736484", "+86", " ", "1380013800a"] {
        for (path, inner) in ROUTES.iter().filter(|(_, inner)| inner.contains("login_name")) {
            let mut inner: serde_json::Value = serde_json::from_str(inner).unwrap();
            inner["login_name"] = json!(name);
            let response = service.call_as_melink(path, &inner).await;
            let expected = r#"{"result":0,"errors":{"code":40004,"message":"电话号码错误"}}"#;
            assert_eq!((response.status, response.text.as_str()), (200, expected), "{path} {name}");
        }
    }
    for name in ["13800138000", "+8613800138000", " 13800138000 ", "１３８００１３８０００"] {
        assert_eq!(service.login("melink", name, "123456").await.text, DONE, "{name}");
    }
    let number = json!({ "login_name": 13_800_138_000_u64, "password": 123_456 });
    assert_eq!(service.call_as_melink("/auth/login", &number).await.text, DONE);
}

#[actix_web::test]
async fn new_passwords_must_have_6_to_128_characters() {
    let service = TestService::new().await;
    service.lab.user("mark").phone("13800138000").add().await;
    for password in ["12345".to_owned(), "密".repeat(129)] {
        let register = json!({ "login_name": PHONE, "password": password, "captcha": "1" });
        let response = service.call_as_melink("/auth/register", &register).await;
        assert_eq!(response.text, r#"{"result":0,"errors":{"code":40000,"message":"参数错误: password"}}"#);
        assert_eq!((response.status, response.encrypted), (400, true));
        let forgot = json!({ "login_name": "13800138000", "new_password": password, "captcha": "1" });
        let response = service.call_as_melink("/auth/forgot", &forgot).await;
        assert_eq!(response.text, r#"{"result":0,"errors":{"code":40000,"message":"参数错误: new_password"}}"#);
    }
    for (phone, password) in [(PHONE, "密码密码密码".to_owned()), ("13900139000", "密".repeat(128))] {
        let captcha = service.request_code_for("melink", phone, 1).await;
        let register = json!({ "login_name": phone, "password": password, "captcha": captcha });
        assert_eq!(service.call_as_melink("/auth/register", &register).await.text, DONE);
        assert_eq!(service.login("melink", phone, &password).await.text, DONE);
    }
}

#[actix_web::test]
async fn a_new_app_works_without_a_restart() {
    let service = TestService::new().await;
    let body = r#"{"login_name":"15068880258"}"#;
    assert_eq!(service.call_as("later", "/auth/check/loginname", body).await.text, UNREADABLE_ENVELOPE);
    service.lab.add_app("later", &app_secret("later"), &[]).await;
    service.lab.clock().advance(Duration::from_millis(1));
    assert_eq!(service.call_as("later", "/auth/check/loginname", body).await.error_code(), 40005);
}

#[actix_web::test]
async fn an_imported_user_is_served_without_any_id() {
    let service = TestService::new().await;
    service.lab.import_user().await;
    service.login("melink", IMPORTED_PHONE, "123456").await.assert_is(200, r#"{"result":1}"#);
    let known = service.call_as_melink("/auth/check/loginname", &json!({ "login_name": IMPORTED_PHONE })).await;
    let body = known.json();
    let fields: Vec<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(fields, ["result", "reg_app", "reg_time"]);
}
