//! What the API document says, call by call, and its numbers (`docs/PROTOCOLS.md`, MeFP).

use std::time::Duration;

use serde_json::json;
use stele_testkit::conformance::DialectUnderTest as _;

use crate::test_service::{PHONE, ROUTES, ResponseExt as _, TestService, UNREADABLE_ENVELOPE, app_secret};

const DONE: &str = r#"{"result":1}"#;

#[actix_web::test]
async fn the_documented_user_journey_works() {
    let bench = TestService::new().await;
    let name = json!({ "login_name": PHONE });
    let unknown = bench.call_as_melink("/auth/check/loginname", &name).await;
    assert_eq!(unknown.text, r#"{"result":0,"errors":{"code":40005,"message":"用户名不存在"}}"#);

    let code = bench.request_code_for("melink", PHONE, 1).await;
    let check = json!({ "login_name": PHONE, "captcha": code });
    for _ in 0..3 {
        assert_eq!(bench.call_as_melink("/auth/check/captcha", &check).await.text, DONE, "a check uses nothing up");
    }
    let register = json!({ "login_name": PHONE, "password": "123456", "captcha": code });
    assert_eq!(bench.call_as_melink("/auth/register", &register).await.text, DONE);
    assert_eq!(bench.call_as_melink("/auth/check/captcha", &check).await.error_code(), 40002);
    let known = bench.call_as_wlfz("/auth/check/loginname", &name).await;
    assert_eq!(known.text, r#"{"result":1,"reg_app":"melink","reg_time":"2026-01-01 16:00:00"}"#);
    assert_eq!(bench.login("melink", PHONE, "123456").await.text, DONE);

    let code = bench.request_code_for("melink", PHONE, 2).await;
    assert_eq!(
        bench.call_as_melink("/auth/check/captcha", &json!({ "login_name": PHONE, "captcha": code })).await.text,
        DONE
    );
    let forgot = json!({ "login_name": PHONE, "new_password": "654321", "captcha": code });
    assert_eq!(bench.call_as_melink("/auth/forgot", &forgot).await.text, DONE);
    assert_eq!(bench.login("melink", PHONE, "123456").await.error_code(), 40003);
    assert_eq!(bench.login("melink", PHONE, "654321").await.text, DONE);

    let reply = bench.call_as_melink("/auth/token", &json!({ "login_name": PHONE, "app_to": "wlfz" })).await;
    let token = reply.json()["token"].as_str().unwrap().to_owned();
    assert_eq!(reply.text, format!(r#"{{"result":1,"token":"{token}"}}"#));
    let redeemed = bench.call_as_wlfz("/auth/check/token", &json!({ "token": token })).await;
    assert_eq!(redeemed.text, format!(r#"{{"result":1,"login_name":"{PHONE}","app_from":"melink"}}"#));
}

/// The API document's sample envelope has a comma missing, and 54 bytes in it.
#[actix_web::test]
async fn the_documented_sample_envelope_is_unreadable() {
    let bench = TestService::new().await;
    let sample = "{\n\t\"encrypt\": \"XK7ThnRIws1fXgXaBoNu/e7sdv8NUt9/AWUYfo5HmviOVMGrKk9stbWrNQgIfY1lzkJlCyKy\"\n\t\
                  \"app_from\": \"melink\"\n}";
    for body in [sample.to_owned(), sample.replace("\"\n\t\"app", "\",\n\t\"app")] {
        for (path, _) in ROUTES {
            let reply = bench.post(path, "application/json", body.clone()).await;
            assert_eq!((reply.status, reply.text.as_str(), reply.encrypted), (400, UNREADABLE_ENVELOPE, false));
        }
    }
}

/// Comments and missing commas make the API document's inner samples no JSON; what they mean is what the others test.
#[actix_web::test]
async fn the_documented_inner_samples_are_invalid_json() {
    let bench = TestService::new().await;
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
        let reply = bench.call_as("melink", path, sample).await;
        assert_eq!((reply.status, reply.text.as_str(), reply.encrypted), (400, UNREADABLE_ENVELOPE, false), "{path}");
    }
}

#[actix_web::test]
async fn a_wrong_code_is_reported_before_an_existing_user() {
    let bench = TestService::new().await;
    let code = bench.request_code_for("melink", PHONE, 1).await;
    let register = |captcha: &str| json!({ "login_name": PHONE, "password": "123456", "captcha": captcha });
    assert_eq!(bench.call_as_melink("/auth/register", &register("000000x")).await.status_and_code(), (200, 40002));
    assert_eq!(bench.call_as_melink("/auth/register", &register(&code)).await.status_and_code(), (200, 0));
    assert_eq!(bench.call_as_melink("/auth/register", &register(&code)).await.status_and_code(), (200, 40002));
    // Someone else took the phone between send and registration.
    let code = bench.request_code_for("melink", "13800138000", 1).await;
    bench.lab.user("mark").phone("13800138000").add().await;
    let late = json!({ "login_name": "13800138000", "password": "123456", "captcha": code });
    let reply = bench.call_as_melink("/auth/register", &late).await;
    assert_eq!(reply.text, r#"{"result":0,"errors":{"code":40001,"message":"用户名已存在"}}"#);
    let forgot = json!({ "login_name": "13900139000", "new_password": "123456", "captcha": "123456" });
    assert_eq!(bench.call_as_melink("/auth/forgot", &forgot).await.status_and_code(), (200, 40002));
}

#[actix_web::test]
async fn registration_codes_go_to_unknown_phones_and_reset_codes_to_users() {
    let bench = TestService::new().await;
    bench.lab.user("mark").phone("13800138000").add().await;
    let known = bench.call_as_melink("/auth/captcha", &json!({ "login_name": "13800138000", "usage": 1 })).await;
    assert_eq!(known.text, r#"{"result":0,"errors":{"code":40001,"message":"用户名已存在"}}"#);
    let unknown = bench.call_as_melink("/auth/captcha", &json!({ "login_name": PHONE, "usage": "2" })).await;
    assert_eq!(unknown.text, r#"{"result":0,"errors":{"code":40007,"message":"用户不存在"}}"#);
    assert!(bench.lab.sent_codes().is_empty());
    bench.request_code_for("melink", PHONE, 1).await;
    bench.request_code_for("melink", "13800138000", 2).await;
    let sent = bench.lab.sent_codes();
    assert_eq!(sent.iter().map(|sent| sent.purpose).collect::<Vec<_>>(), ["register", "reset"]);
    assert!(sent.iter().all(|sent| sent.dialect == "mefp"));
    let elsewhere = bench.call_as_melink("/auth/check/loginname", &json!({ "login_name": "13800138000" })).await;
    assert_eq!(elsewhere.text, r#"{"result":1,"reg_app":"","reg_time":"2026-01-01 16:00:00"}"#);
}

#[actix_web::test]
async fn a_login_name_must_be_a_phone_number() {
    let bench = TestService::new().await;
    bench.lab.user("mark").phone("13800138000").email("mark@hna.cn").add().await;
    for name in ["mark", "mark@hna.cn", "1380013800", "23800138000", "1548736484", "+86", " ", "1380013800a"] {
        for (path, inner) in ROUTES.iter().filter(|(_, inner)| inner.contains("login_name")) {
            let mut inner: serde_json::Value = serde_json::from_str(inner).unwrap();
            inner["login_name"] = json!(name);
            let reply = bench.call_as_melink(path, &inner).await;
            let expected = r#"{"result":0,"errors":{"code":40004,"message":"电话号码错误"}}"#;
            assert_eq!((reply.status, reply.text.as_str()), (200, expected), "{path} {name}");
        }
    }
    for name in ["13800138000", "+8613800138000", " 13800138000 ", "１３８００１３８０００"] {
        assert_eq!(bench.login("melink", name, "123456").await.text, DONE, "{name}");
    }
    let number = json!({ "login_name": 13_800_138_000_u64, "password": 123_456 });
    assert_eq!(bench.call_as_melink("/auth/login", &number).await.text, DONE);
}

#[actix_web::test]
async fn new_passwords_must_have_6_to_128_characters() {
    let bench = TestService::new().await;
    bench.lab.user("mark").phone("13800138000").add().await;
    for password in ["12345".to_owned(), "密".repeat(129)] {
        let register = json!({ "login_name": PHONE, "password": password, "captcha": "1" });
        let reply = bench.call_as_melink("/auth/register", &register).await;
        assert_eq!(reply.text, r#"{"result":0,"errors":{"code":40000,"message":"参数错误: password"}}"#);
        assert_eq!((reply.status, reply.encrypted), (400, true));
        let forgot = json!({ "login_name": "13800138000", "new_password": password, "captcha": "1" });
        let reply = bench.call_as_melink("/auth/forgot", &forgot).await;
        assert_eq!(reply.text, r#"{"result":0,"errors":{"code":40000,"message":"参数错误: new_password"}}"#);
    }
    for (phone, password) in [(PHONE, "密码密码密码".to_owned()), ("13900139000", "密".repeat(128))] {
        let captcha = bench.request_code_for("melink", phone, 1).await;
        let register = json!({ "login_name": phone, "password": password, "captcha": captcha });
        assert_eq!(bench.call_as_melink("/auth/register", &register).await.text, DONE);
        assert_eq!(bench.login("melink", phone, &password).await.text, DONE);
    }
}

#[actix_web::test]
async fn a_new_app_works_without_a_restart() {
    let bench = TestService::new().await;
    let body = r#"{"login_name":"15068880258"}"#;
    assert_eq!(bench.call_as("later", "/auth/check/loginname", body).await.text, UNREADABLE_ENVELOPE);
    bench.lab.add_app("later", &app_secret("later"), &[]).await;
    bench.lab.clock().advance(Duration::from_millis(1));
    assert_eq!(bench.call_as("later", "/auth/check/loginname", body).await.error_code(), 40005);
}
