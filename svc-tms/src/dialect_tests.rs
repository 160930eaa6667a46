//! Every refusal, to the byte. What clients can bring about over HTTP is tested there as well.

use std::time::Duration;

use actix_web::ResponseError as _;
use actix_web::body::{BodySize, MessageBody as _};
use actix_web::http::header::{CACHE_CONTROL, RETRY_AFTER};
use stele_dialect::{Failure, Fault};

use super::*;

/// Status, `Retry-After` and body.
fn rendered(failure: impl Into<Failure<Tms>>) -> (u16, String, String) {
    let response = failure.into().error_response();
    assert_eq!(response.headers().get(CACHE_CONTROL).unwrap(), "no-store");
    let wait = response.headers().get(RETRY_AFTER).map_or("", |wait| wait.to_str().unwrap()).to_owned();
    let status = response.status().as_u16();
    let body = response.into_body();
    assert!(matches!(body.size(), BodySize::Sized(_)));
    let body = body.try_into_bytes().unwrap();
    (status, wait, String::from_utf8(body.to_vec()).unwrap())
}

#[test]
fn every_domain_error_has_its_code() {
    let wait = Duration::from_millis(1_001);
    for (error, status, retry_after, code, message) in [
        (Error::Invalid("password"), 400, "", "1001", "参数错误: password"),
        (Error::UnknownUser, 200, "", "1002", "用户名或密码错误"),
        (Error::WrongPassword, 200, "", "1002", "用户名或密码错误"),
        (Error::Stale, 200, "", "1003", "时间戳已过期"),
        (Error::Replayed, 200, "", "1004", "请求已被使用"),
        (Error::NotAuthenticated, 401, "", "1005", "登录凭证缺失或已失效"),
        (Error::NotAllowed, 401, "", "1005", "登录凭证缺失或已失效"),
        (Error::Disabled, 200, "", "1006", "用户已被禁用"),
        (Error::TooMany { retry_after: wait }, 429, "2", "1007", "操作过于频繁，请稍后再试"),
        (Error::Busy { retry_after: wait }, 503, "2", "1009", "服务暂不可用"),
        (Error::unavailable("redis at 10.0.0.1"), 503, "1", "1009", "服务暂不可用"),
        (Error::internal("sealing key 1 is missing"), 500, "", "1009", "服务内部错误"),
        (Error::ChallengeRequired, 200, "", "1002", "验证码错误"),
        (Error::ChallengeFailed, 200, "", "1002", "验证码错误"),
        (Error::WrongCode, 200, "", "1002", "验证码错误"),
        (Error::IdentifierTaken, 200, "", "1001", "用户已存在"),
        (Error::TicketRefused, 200, "", "1005", "登录凭证缺失或已失效"),
    ] {
        let body = format!(r#"{{"message":"{message}","code":"{code}"}}"#);
        assert_eq!(rendered(error), (status, retry_after.to_owned(), body));
    }
}

#[test]
fn every_refusal_of_the_chassis_has_its_code() {
    for (refusal, status, code, message) in [
        (Refusal::NotFound, 404, "1001", "接口不存在"),
        (Refusal::Method, 405, "1001", "请求方法不支持"),
        (Refusal::TooLarge, 413, "1001", "请求内容过大"),
        (Refusal::Timeout, 408, "1009", "请求超时"),
        (Refusal::Input(Fault::Unreadable), 400, "1001", "请求无法解析"),
        (Refusal::Input(Fault::Missing("username".into())), 400, "1001", "缺少参数: username"),
        (Refusal::Input(Fault::Doubled("user\"name".into())), 400, "1001", "参数重复: user\\\"name"),
        (Refusal::Input(Fault::Invalid("timestamp".into())), 400, "1001", "参数错误: timestamp"),
        (Refusal::Internal, 500, "1009", "服务内部错误"),
    ] {
        let body = format!(r#"{{"message":"{message}","code":"{code}"}}"#);
        assert_eq!(rendered(refusal), (status, String::new(), body));
    }
}
