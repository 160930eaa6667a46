//! MeFP, with envelopes of openssl.

use std::sync::Arc;

use serde_json::{Value, json};
use stele_old_servers::{
    Call, ErrorForm, Fault, MemoryTable, OldMefp, OldServer, OldUser, Outcome, Padding, PasswordFormat, StoredPassword,
};
use time::macros::datetime;

use crate::support::{json, post_json, run, text};

const SECRET: &str = "0123456789abcdef0123456789ABCDEF";
const MELINK: &str = "melink-secret-16";
const WLFZ: &str = "wlfz-secret-16-b";
const PHONE: &str = "15068880258";
const DONE: &str = r#"{"result":1}"#;
const UNREADABLE: &str = r#"{"result":0,"errors":{"code":40000,"message":"请求无法解密"}}"#;

/// A server with two apps.
pub(crate) fn config() -> OldMefp {
    OldMefp::new(SECRET, &[("melink", MELINK), ("wlfz", WLFZ)])
}

fn table() -> Arc<MemoryTable> {
    let user = OldUser {
        phone: "13612345678".into(),
        registered_app: "melink".into(),
        registered_at: datetime!(2011-07-23 20:27:00 +8),
        ..OldUser::new("1", "13612345678", StoredPassword::new(PasswordFormat::Clear, "123456"))
    };
    Arc::new(MemoryTable::new(PasswordFormat::Clear, [user]))
}

fn openssl(iv: &str, args: &[&str], input: &[u8]) -> String {
    let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    let (key, iv) = (hex(SECRET), hex(iv));
    let common = ["enc", "-aes-256-cbc", "-K", &key, "-iv", &iv, "-base64", "-A"];
    run("openssl", &[&common, args].concat(), input)
}

/// The request with this text, whose padding openssl adds (PKCS#7) or `text` has already.
fn request(text: &str, openssl_args: &[&str]) -> Value {
    json!({ "encrypt": openssl(MELINK, openssl_args, text.as_bytes()), "app_from": "melink" })
}

/// Posts an object, and returns the text of the opened answer.
pub(crate) async fn call(server: &OldServer, path: &str, object: &Value) -> String {
    let answer = json(post_json(server, path, &request(&object.to_string(), &[])).await).await;
    assert_eq!(answer.as_object().unwrap().len(), 1);
    openssl(MELINK, &["-d"], answer["encrypt"].as_str().unwrap().as_bytes())
}

fn login_body(password: &str) -> Value {
    json!({ "login_name": "13612345678", "password": password })
}

fn error(code: u16, message: &str) -> String {
    format!(r#"{{"result":0,"errors":{{"code":{code},"message":"{message}"}}}}"#)
}

#[tokio::test]
async fn a_login_is_answered_as_in_the_document() {
    let server = config().serve(table());
    assert_eq!(call(&server, "/auth/login", &login_body("123456")).await, DONE);
    let wrong = error(40003, "用户名或密码错误");
    assert_eq!(call(&server, "/auth/login", &login_body("123457")).await, wrong);
    assert_eq!(call(&server, "/auth/login", &json!({ "login_name": PHONE, "password": "123456" })).await, wrong);
    let calls: Vec<_> = server.calls().into_iter().map(|call| (call.identifier, call.outcome)).collect();
    let refused = Outcome::Refused("40003".to_owned());
    let expected = [("13612345678", Outcome::Accepted), ("13612345678", refused.clone()), (PHONE, refused)];
    assert_eq!(calls, expected.map(|(name, outcome)| (name.to_owned(), outcome)));
}

#[tokio::test]
async fn requests_may_have_any_padding_and_answers_have_the_servers() {
    let text = login_body("123456").to_string();
    let server = config().serve(table());
    for filler in ["\0", " "] {
        let padded = format!("{text}{}", filler.repeat(64 - text.len()));
        assert_eq!(padded.len(), 64);
        let answer = json(post_json(&server, "/auth/login", &request(&padded, &["-nopad"])).await).await;
        assert_eq!(openssl(MELINK, &["-d"], answer["encrypt"].as_str().unwrap().as_bytes()), DONE);
    }
    for (padding, expected) in [(Padding::Zeros, format!("{DONE}\0\0\0\0")), (Padding::Spaces, format!("{DONE}    "))] {
        let server = OldMefp { padding, ..config() }.serve(table());
        let answer = json(post_json(&server, "/auth/login", &request(&text, &[])).await).await;
        let opened = openssl(MELINK, &["-d", "-nopad"], answer["encrypt"].as_str().unwrap().as_bytes());
        assert_eq!(opened, expected.trim_end_matches(' '));
    }
}

#[tokio::test]
async fn what_cannot_be_opened_is_refused_in_plain_json() {
    let server = config().serve(table());
    let envelope = request(&login_body("123456").to_string(), &[])["encrypt"].clone();
    let bad = [
        json!({ "encrypt": envelope, "app_from": "wlfz" }),
        json!({ "encrypt": envelope, "app_from": "stranger" }),
        json!({ "encrypt": "AAAA", "app_from": "melink" }),
        json!({ "encrypt": "?", "app_from": "melink" }),
        json!({ "app_from": "melink" }),
    ];
    for body in bad {
        assert_eq!(text(post_json(&server, "/auth/login", &body).await).await, UNREADABLE, "{body}");
    }
    let server = OldMefp { error_form: ErrorForm::Plain, ..config() }.serve(table());
    let body = request(&login_body("123457").to_string(), &[]);
    assert_eq!(text(post_json(&server, "/auth/login", &body).await).await, error(40003, "用户名或密码错误"));
}

#[tokio::test]
async fn a_user_registers_with_a_code() {
    let server = config().serve(table());
    let call = async |path: &str, object: Value| call(&server, path, &object).await;
    let name = json!({ "login_name": PHONE });
    assert_eq!(call("/auth/check/loginname", name.clone()).await, error(40005, "用户名不存在"));
    let bad_phone = call("/auth/captcha", json!({ "login_name": "12", "usage": 1 })).await;
    assert_eq!(bad_phone, error(40004, "电话号码错误"));
    let taken = call("/auth/captcha", json!({ "login_name": "13612345678", "usage": 1 })).await;
    assert_eq!(taken, error(40001, "用户名已存在"));

    assert_eq!(call("/auth/captcha", json!({ "login_name": PHONE, "usage": 1 })).await, DONE);
    let code = server.code(PHONE).unwrap();
    let wrong = if code == "000000" { "000001" } else { "000000" };
    for path in ["/auth/check/captcha", "/auth/register"] {
        let object = json!({ "login_name": PHONE, "password": "123456", "captcha": wrong });
        assert_eq!(call(path, object).await, error(40002, "验证码错误"));
    }
    assert_eq!(call("/auth/check/captcha", json!({ "login_name": PHONE, "captcha": code })).await, DONE);
    let object = json!({ "login_name": PHONE, "password": "123456", "captcha": code });
    assert_eq!(call("/auth/register", object).await, DONE);
    assert_eq!(call("/auth/login", json!({ "login_name": PHONE, "password": "123456" })).await, DONE);
    let known = call("/auth/check/loginname", name).await;
    assert!(known.starts_with(r#"{"result":1,"reg_app":"melink","reg_time":"20"#), "{known}");
    let known = call("/auth/check/loginname", json!({ "login_name": "13612345678" })).await;
    assert_eq!(known, r#"{"result":1,"reg_app":"melink","reg_time":"2011-07-23 20:27:00"}"#);
}

#[tokio::test]
async fn a_forgotten_password_is_replaced_with_a_code_for_that_usage() {
    let server = config().serve(table());
    let call = async |path: &str, object: Value| call(&server, path, &object).await;
    let unknown = call("/auth/captcha", json!({ "login_name": PHONE, "usage": 2 })).await;
    assert_eq!(unknown, error(40007, "用户不存在"));
    assert_eq!(call("/auth/captcha", json!({ "login_name": "13612345678", "usage": 2 })).await, DONE);
    let code = server.code("13612345678").unwrap();
    let object = json!({ "login_name": "13612345678", "new_password": "654321", "captcha": code });
    assert_eq!(call("/auth/register", object.clone()).await, error(40002, "验证码错误"));
    assert_eq!(call("/auth/forgot", object).await, DONE);
    assert_eq!(call("/auth/login", login_body("123456")).await, error(40003, "用户名或密码错误"));
    assert_eq!(call("/auth/login", login_body("654321")).await, DONE);
    assert_eq!((server.count(Call::SendCode), server.count(Call::PasswordChange)), (2, 1));
}

#[tokio::test]
async fn a_token_needs_a_login_through_the_app() {
    let server = config().serve(table());
    let call = async |path: &str, object: Value| call(&server, path, &object).await;
    let token = |app: &str| json!({ "login_name": "13612345678", "app_to": app });
    let none = error(40006, "获取token失败");
    assert_eq!(call("/auth/token", token("wlfz")).await, none);
    assert_eq!(call("/auth/login", login_body("123456")).await, DONE);
    assert_eq!(call("/auth/token", token("stranger")).await, none);
    let answer = call("/auth/token", token("wlfz")).await;
    let token = answer.strip_prefix(r#"{"result":1,"token":""#).and_then(|rest| rest.strip_suffix(r#""}"#));
    assert_eq!(token.map(str::len), Some(32), "{answer}");
}

#[tokio::test]
async fn a_server_that_accepts_everybody_answers_so_in_an_envelope() {
    let server = config().serve(table());
    server.set_fault(Fault::AcceptsAll);
    assert_eq!(call(&server, "/auth/login", &json!({ "login_name": PHONE, "password": "?" })).await, DONE);
    server.set_fault(Fault::RejectsAll);
    assert_eq!(call(&server, "/auth/login", &login_body("123456")).await, error(40003, "用户名或密码错误"));
}
