//! The JWT document.

use std::sync::Arc;

use reqwest::{Client, Response};
use serde_json::Value;
use stele_old_servers::{
    Call, Fault, MemoryTable, OldJwt, OldServer, OldUser, PasswordFormat, StoredPassword, TokenPlace, UserIdForm,
};

use crate::support::{assert_sample, json, post_form, run, text};

const WRONG: &str = r#"{ "code": -1, "message": "用户名或密码错误" }"#;

const SAMPLE: &str = r#"{
    "code": 0,
    "message": "登录成功",
    "user": {
        "userId": "17",
        "account": "a",
        "realName": "李雷",
        "organizationName": "总部",
        "departmentName": "财务",
        "roleName": "admin",
        "description": "会计",
        "avatar": "/a.png",
        "gender": true
    }
}"#;

fn table() -> Arc<MemoryTable> {
    let user = OldUser {
        phone: "13800138000".into(),
        email: "123@qq.com".into(),
        real_name: "李雷".into(),
        organization: "总部".into(),
        department: "财务".into(),
        description: "会计".into(),
        avatar_url: "/a.png".into(),
        gender: "男".into(),
        is_admin: true,
        ..OldUser::new("17", "a", StoredPassword::new(PasswordFormat::IdentityV3, "123"))
    };
    Arc::new(MemoryTable::new(PasswordFormat::IdentityV3, [user]))
}

async fn log_in(server: &OldServer, password: &str) -> Response {
    post_form(server, "/api/v1/Auth/Login", &[("account", "a"), ("password", password)]).await
}

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer.headers()[name].to_str().unwrap()
}

async fn log_out(server: &OldServer, header: &str, token: &str) -> String {
    let request = Client::new().get(format!("{}/api/v1/Auth/Logout", server.url())).header(header, token);
    text(request.send().await.unwrap()).await
}

#[tokio::test]
async fn a_login_is_answered_as_in_the_document_with_the_token_in_the_header() {
    let server = OldJwt::default().serve(table());
    let answer = log_in(&server, "123").await;
    let token = header(&answer, "authorization").strip_prefix("Bearer ").unwrap().to_owned();
    assert_sample(&text(answer).await, SAMPLE);
    let parts: Vec<_> = token.split('.').collect();
    assert_eq!(run("base64", &["-d"], parts[0].as_bytes()), r#"{"typ":"JWT","alg":"HS256"}"#);
    assert_eq!(parts.len(), 3);
    assert_sample(&text(log_in(&server, "124").await).await, WRONG);

    assert_eq!(server.sessions().len(), 1);
    assert_eq!(log_out(&server, "Authorization", "Bearer x.y.z").await, r#"{"code":-1,"message":"注销失败"}"#);
    assert_eq!(log_out(&server, "Authorization", &token).await, r#"{"code":0,"message":"注销成功"}"#);
    assert_eq!(log_out(&server, "Authorization", &token).await, r#"{"code":-1,"message":"注销失败"}"#);
    assert_eq!(server.sessions(), []);
}

/// jQuery sends an urlencoded body although the sample names `multipart/form-data`.
#[tokio::test]
async fn the_sample_call_of_the_document_logs_in_and_out() {
    let server = OldJwt { token_place: TokenPlace::TokenHeader, ..OldJwt::default() }.serve(table());
    let request = Client::new().post(format!("{}/api/v1/Auth/Login", server.url()));
    let request = request.header("Content-Type", "multipart/form-data").body("account=a&password=123");
    let answer = request.send().await.unwrap();
    let token = header(&answer, "token").to_owned();
    assert_sample(&text(answer).await, SAMPLE);
    assert_eq!(log_out(&server, "token", &token).await, r#"{"code":0,"message":"注销成功"}"#);
}

#[tokio::test]
async fn the_id_can_be_a_number_and_the_token_bare() {
    let config = OldJwt { user_id_form: UserIdForm::Number, token_place: TokenPlace::Bare, ..OldJwt::default() };
    let server = config.serve(table());
    let answer = log_in(&server, "123").await;
    assert!(header(&answer, "authorization").starts_with("ey"));
    assert_sample(&text(answer).await, &SAMPLE.replace(r#""17""#, "17"));
}

#[tokio::test]
async fn a_forgotten_password_is_replaced_after_the_phone_was_validated() {
    let server = OldJwt::default().serve(table());
    let post =
        async |call: &str, form: &[(&str, &str)]| post_form(&server, &format!("/api/vi/Auth/{call}"), form).await;
    let wrong_phone = [("account", "a"), ("phone", "13800138001")];
    assert_eq!(text(post("ForgetPassword", &wrong_phone).await).await, r#"{"code":-1,"message":"发送短信失败"}"#);
    for contact in [("phone", "13800138000"), ("email", "123@qq.com")] {
        let answer = text(post("ForgetPassword", &[("account", "a"), contact]).await).await;
        assert_eq!(answer, r#"{"code":0,"message":"发送短信成功"}"#);
    }
    let validate = async |code: &str| {
        let url = format!("{}/api/vi/Auth/validatePhone?account=a&identifyCode={code}", server.url());
        Client::new().post(url).send().await.unwrap()
    };
    let code = server.code("a").unwrap();
    assert_eq!(text(validate("x").await).await, r#"{"code":-1,"message":"验证码错误"}"#);
    let answer = validate(&code).await;
    let token = header(&answer, "authorization").to_owned();
    assert_eq!(text(answer).await, r#"{"code":0,"message":"验证码正确"}"#);

    let update = async |token: &str| {
        let request = Client::new().post(format!("{}/api/vi/Auth/updatePassword", server.url()));
        let request = request.header("Authorization", token).body("account=a&password=123456");
        text(request.send().await.unwrap()).await
    };
    assert_eq!(update("").await, r#"{"code":-1,"message":"更新密码失败"}"#);
    assert_eq!(update(&token).await, r#"{"code":0,"message":"更新密码成功"}"#);
    assert_eq!(update(&token).await, r#"{"code":-1,"message":"更新密码失败"}"#);
    assert_sample(&text(log_in(&server, "123").await).await, WRONG);
    // The token of a login serves, too.
    let answer = log_in(&server, "123456").await;
    assert_eq!(update(header(&answer, "authorization")).await, r#"{"code":0,"message":"更新密码成功"}"#);
    assert_eq!(server.sessions(), []);
}

#[tokio::test]
async fn a_login_demands_a_captcha_after_failures_or_as_a_fault() {
    let server = OldJwt { captcha_after: Some(1), ..OldJwt::default() }.serve(table());
    let demanded = r#"{"code":-1,"message":"请输入验证码"}"#;
    assert_sample(&text(log_in(&server, "124").await).await, WRONG);
    assert_eq!(text(log_in(&server, "123").await).await, demanded);
    let get = async |path: &str| Client::new().get(format!("{}{path}", server.url())).send().await.unwrap();
    let answer: Value = json(get("/api/vi/Auth/getCAPTCHA").await).await;
    assert_sample(
        &answer.to_string(),
        r#"{ "code": 0, "message": "获取验证码成功", "data": { "id": 1, "URL": "/api/v1/Auth/CAPTCHA/1" } }"#,
    );
    let digits = server.code("captcha:1").unwrap();
    let picture = get("/api/v1/Auth/CAPTCHA/1").await;
    assert_eq!(header(&picture, "content-type"), "image/svg+xml");
    assert!(text(picture).await.contains(&format!(">{digits}<")));
    let form = [("account", "a"), ("password", "123"), ("captchaId", "1"), ("captcha", &digits)];
    assert_sample(&text(post_form(&server, "/api/v1/Auth/Login", &form).await).await, SAMPLE);
    assert_eq!((server.count(Call::Captcha), server.count(Call::Login)), (2, 3));

    server.set_fault(Fault::CaptchaDemanded);
    assert_eq!(text(log_in(&server, "123").await).await, demanded);
}

#[tokio::test]
async fn lies_concern_the_user_of_a_login() {
    let server = OldJwt::default().serve(table());
    server.set_fault(Fault::OtherId);
    assert_eq!(json(log_in(&server, "123").await).await["user"]["userId"], "18");
    server.set_fault(Fault::OtherName);
    assert_eq!(json(log_in(&server, "123").await).await["user"]["account"], "b");
}

/// Computed by Python: `hashlib.pbkdf2_hmac("sha256", b"hna123", bytes(range(16)), 10000, 32)` after the header.
#[tokio::test]
async fn a_hash_of_asp_net_core_identity_verifies() {
    let value = "AQAAAAEAACcQAAAAEAABAgMEBQYHCAkKCwwNDg/aj9mngol8KiORBsWP3UsJXYcShbE+FhrW673OlJ1PlA==".to_owned();
    let password = StoredPassword { format: PasswordFormat::IdentityV3, value, salt: String::new() };
    assert!(password.verify("hna123"));
    assert!(!password.verify("hna124"));
}
