//! The response format that cloudbox and TMS share: `{"message":"…","code":"…"}`, its error codes, and most user
//! fields.

use std::borrow::Cow;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde::Serialize;
use stele_core::Error;
use stele_core::time::Offset;
use stele_core::usecase::login::AuthenticatedSession;
use stele_core::user::Gender;

use crate::dialect::{RequestRejection, json_response, status_for_error};
use crate::openapi::{FieldSchema, ObjectSchema};
use crate::response_body;

const BAD_PARAMETER: &str = "1001";
const WRONG_CREDENTIALS: &str = "1002";
const PROOF_STALE: &str = "1003";
const PROOF_REPLAYED: &str = "1004";
const BAD_TOKEN: &str = "1005";
const USER_DISABLED: &str = "1006";
const RATE_LIMITED: &str = "1007";
const SERVER_ERROR: &str = "1009";

/// The error codes as a Markdown table, for the OpenAPI description.
pub const ERROR_TABLE: &str = "\
| code | HTTP | 含义 |
| --- | --- | --- |
| `0000` | 200 | 成功 |
| `1001` | 400, 404, 405, 413 | 参数缺失、错误或重复（会指出字段），请求无法解析，接口不存在 |
| `1002` | 200 | 用户名或密码错误；用户不存在，或不可由此登录，也一样 |
| `1003` | 200 | 时间戳已过期 |
| `1004` | 200 | 请求已被使用 |
| `1005` | 401 | 登录凭证缺失或已失效 |
| `1006` | 200 | 用户已被禁用 |
| `1007` | 429 | 操作过于频繁，见 `Retry-After` |
| `1009` | 408, 500, 503 | 超时，或服务端故障 |";

/// 32 hexadecimal digits in either case.
pub const HEX32_PATTERN: &str = "^[0-9A-Fa-f]{32}$";
/// A user id in a request: a UUID with or without hyphens, or an id of an old system, usually of ASCII characters.
pub const USER_ID_PATTERN: &str = "^[!-~]([ -~]{0,126}[!-~])?$";
/// The timestamp that salts a password digest, in Unix seconds or milliseconds.
pub const TIMESTAMP_FIELD: FieldSchema = FieldSchema::digits(
    "timestamp",
    "加密时的 UTC 时间戳，秒，或 13 位毫秒；数字或字符串",
    "^(0|[1-9][0-9]{0,17})$",
    "1767254400",
);

response_body! {
    /// The body of every error response.
    pub struct ErrorBody<'a> = ERROR_BODY "No" "失败" {
        message: &'a str => text("说明", "用户名或密码错误"),
        code: &'static str => one_of(
            "错误码",
            &[WRONG_CREDENTIALS, BAD_PARAMETER, PROOF_STALE, PROOF_REPLAYED, BAD_TOKEN, USER_DISABLED, RATE_LIMITED, SERVER_ERROR]
        ),
    }
}

response_body! {
    /// The first fields of a user. Missing values are empty strings, never null.
    pub struct UserContact<'a> = USER_CONTACT "Head" "用户：编号与联系方式" {
        user_id: String => text("用户 UUID；从旧系统导入的用户为其旧编号，原样", "0b922f14-d00b-11e7-aafd-525400bbac8e"),
        user_name: &'a str => text("用户名；没有则为注册时所用，否则手机号或邮箱", "mark"),
        register_time: String => pattern(
            "注册时间，RFC 3339，微秒",
            r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)$",
            "2017-11-23T04:59:11.544126Z"
        ),
        // A disabled user never logs in, so the status is always the active one.
        status: &'static str => one_of("正常用户为空", &[""]),
        avatar_url: &'a str => text("头像", ""),
        user_phone: &'a str => text("手机号", "13800138000"),
        user_email: &'a str => text("邮箱", ""),
        user_token: &'a str => pattern("新会话的凭证", "^[0-9a-f]{32}$", "dbf15a70056b49feaa394288ea9299e3"),
    }
}

response_body! {
    /// The fields of a user with the person's name and alias. Both dialects have them after those of [`UserContact`].
    pub struct UserPerson<'a> = USER_PERSON "Person" "用户：姓名与别名" {
        user_real_name: &'a str => text("真实姓名", "马克"),
        user_gender: &'static str => one_of("性别", &["男", "女", ""]),
        user_nickname: &'a str => text("昵称", ""),
        user_alias_id: &'a str => pattern("别名 ID", "^[0-9a-f]{32}$", "0b9314d8d00b11e7aafd525400bbac8e"),
    }
}

/// The contact and person fields of a logged-in user, with times at `offset` from UTC.
pub fn user_parts(session: &AuthenticatedSession, offset: Offset) -> (UserContact<'_>, UserPerson<'_>) {
    let AuthenticatedSession { user, token, .. } = session;
    let profile = &user.profile;
    let contact = UserContact {
        user_id: session.user_id(),
        user_name: user.display_name(),
        register_time: user.registered_at.to_rfc3339(offset),
        status: "",
        avatar_url: &profile.avatar_url,
        user_phone: user.phone.as_deref().unwrap_or_default(),
        user_email: user.email.as_deref().unwrap_or_default(),
        user_token: token.expose(),
    };
    let person = UserPerson {
        user_real_name: &profile.real_name,
        user_gender: profile.gender.map_or("", Gender::as_str),
        user_nickname: &profile.nickname,
        user_alias_id: session.alias_id(),
    };
    (contact, person)
}

/// `{"message":"Succ","code":"0000","data":…}`.
#[derive(Serialize)]
struct SuccessBody<U> {
    message: &'static str,
    code: &'static str,
    data: U,
}

/// A success response with `user` as its `data`.
pub fn success_response(user: impl Serialize) -> HttpResponse {
    json_response(StatusCode::OK, &SuccessBody { message: "Succ", code: "0000", data: user })
}

/// The field schemas of a success response whose `data` is `user`.
pub const fn success_fields(user: &'static ObjectSchema) -> [FieldSchema; 3] {
    [
        FieldSchema::one_of("message", "固定为 Succ", &["Succ"]),
        FieldSchema::one_of("code", "固定为 0000", &["0000"]),
        FieldSchema::object("data", "用户", user),
    ]
}

/// [`crate::Dialect::render_rejection`] of both dialects.
pub fn render_rejection(rejection: &RequestRejection) -> HttpResponse {
    let code = match rejection {
        RequestRejection::NotFound
        | RequestRejection::MethodNotAllowed
        | RequestRejection::BodyTooLarge
        | RequestRejection::InvalidInput(_) => BAD_PARAMETER,
        RequestRejection::RequestTimeout | RequestRejection::Internal => SERVER_ERROR,
    };
    json_response(rejection.status(), &ErrorBody { message: &rejection.chinese_text(), code })
}

/// [`crate::Dialect::render_error`] of both dialects.
pub fn render_error(error: &Error) -> HttpResponse {
    let (code, message) = code_and_message(error);
    json_response(status_for_error(error), &ErrorBody { message: &message, code })
}

fn code_and_message(error: &Error) -> (&'static str, Cow<'static, str>) {
    let (code, message) = match error {
        Error::Invalid(field) => return (BAD_PARAMETER, Cow::Owned(format!("参数错误: {field}"))),
        // The documents have no code for an unknown user; a distinct one would permit user enumeration.
        Error::UnknownUser | Error::WrongPassword => (WRONG_CREDENTIALS, "用户名或密码错误"),
        Error::CommonPassword => (BAD_PARAMETER, "密码过于常见，请换一个"),
        Error::Stale => (PROOF_STALE, "时间戳已过期"),
        Error::Replayed => (PROOF_REPLAYED, "请求已被使用"),
        Error::NotAuthenticated | Error::NotAllowed => (BAD_TOKEN, "登录凭证缺失或已失效"),
        Error::Disabled => (USER_DISABLED, "用户已被禁用"),
        Error::RateLimited { .. } => (RATE_LIMITED, "操作过于频繁，请稍后再试"),
        Error::Busy { .. } | Error::Unavailable(_) => (SERVER_ERROR, "服务暂不可用"),
        Error::Internal(_) => (SERVER_ERROR, "服务内部错误"),
        // Not reachable: these dialects neither send codes, register users nor issue one-time tokens.
        Error::ChallengeRequired | Error::ChallengeFailed | Error::WrongCode => (WRONG_CREDENTIALS, "验证码错误"),
        Error::IdentifierTaken => (BAD_PARAMETER, "用户已存在"),
        Error::TicketRefused => (BAD_TOKEN, "登录凭证缺失或已失效"),
    };
    (code, Cow::Borrowed(message))
}
