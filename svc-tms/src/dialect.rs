//! How TMS says no: `{"message":"…","code":"1002"}`.

use std::borrow::Cow;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde::Serialize;
use stele_core::Error;
use stele_core::proof::ProofKind;
use stele_dialect::{Dialect, Refusal, json, status_of};

const PARAMETER: &str = "1001";
const WRONG: &str = "1002";
const STALE: &str = "1003";
const REPLAYED: &str = "1004";
const TOKEN: &str = "1005";
const DISABLED: &str = "1006";
const TOO_MANY: &str = "1007";
const TROUBLE: &str = "1009";

/// The TMS dialect.
#[derive(Debug)]
pub struct Tms;

#[derive(Serialize)]
struct No<'a> {
    message: &'a str,
    code: &'static str,
}

impl Dialect for Tms {
    const NAME: &'static str = "tms";
    const PROOFS: &'static [ProofKind] = &[ProofKind::Salted, ProofKind::Digest, ProofKind::Either];

    fn refuse(refusal: &Refusal) -> HttpResponse {
        let code = match refusal {
            Refusal::NotFound | Refusal::Method | Refusal::TooLarge | Refusal::Input(_) => PARAMETER,
            Refusal::Timeout | Refusal::Internal => TROUBLE,
        };
        no(refusal.status(), code, &refusal.text())
    }

    fn fail(error: &Error) -> HttpResponse {
        let (code, message) = told(error);
        no(status_of(error), code, &message)
    }
}

fn told(error: &Error) -> (&'static str, Cow<'static, str>) {
    let (code, message) = match error {
        Error::Invalid(field) => return (PARAMETER, Cow::Owned(format!("参数错误: {field}"))),
        // The document has no word for an unknown user, and telling would give the user base away.
        Error::UnknownUser | Error::WrongPassword => (WRONG, "用户名或密码错误"),
        Error::Stale => (STALE, "时间戳已过期"),
        Error::Replayed => (REPLAYED, "请求已被使用"),
        Error::NotAuthenticated | Error::NotAllowed => (TOKEN, "登录凭证缺失或已失效"),
        Error::Disabled => (DISABLED, "用户已被禁用"),
        Error::TooMany { .. } => (TOO_MANY, "操作过于频繁，请稍后再试"),
        Error::Busy { .. } | Error::Unavailable(_) => (TROUBLE, "服务暂不可用"),
        Error::Internal(_) => (TROUBLE, "服务内部错误"),
        // No call of this dialect sends codes, registers users or hands out one-time tokens.
        Error::ChallengeRequired | Error::ChallengeFailed | Error::WrongCode => (WRONG, "验证码错误"),
        Error::IdentifierTaken => (PARAMETER, "用户已存在"),
        Error::TicketRefused => (TOKEN, "登录凭证缺失或已失效"),
    };
    (code, Cow::Borrowed(message))
}

fn no(status: StatusCode, code: &'static str, message: &str) -> HttpResponse {
    json(status, &No { message, code })
}
