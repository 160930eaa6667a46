//! The OpenAPI descriptions of the portal dialect.

use stele_core::Error;
use stele_dialect::openapi::{
    ApiInfo, ApiKey, ApiKeyValue, FieldSchema, ObjectSchema, OpenApi, OperationDescription, SecurityScheme,
};

use crate::Portal;
use crate::dialect::{EMPTY_CONTENT, ERROR_STATUS, invalid_recipient_response};
use crate::wire::{MEMO_VIEW, PROFILE_VIEW};

const SESSION_SCHEME: &str = "session";
const RECIPIENT_PATTERN: &str = r"^(\+?[0-9]{7,15}|[^@\s]+@[^@\s]+\.[^@\s]+)$";

const API_INFO: ApiInfo = ApiInfo {
    title: "门户 Portal",
    description: &["用户相关 API：用发到手机或邮箱的验证码注册、登录、重置密码。Register, log in and reset the password with a code.

`username` 为手机号（`1` 加十位数字，写法不限，如 `+86 138-0013-8000`；或 `+` 与国家代码）或邮箱。`password` 与 `code` 是 UTF-8 文本的 base64（标准或 URL 安全，
可省略 `=`）：base64 不是加密。参数在请求正文里（JSON、urlencoded 或 multipart，默认最大 64 KiB），也可以在查询串里，两处都有则以正文为准；表单里的 `+` 须写成 `%2B`。
Bodies may be JSON, urlencoded or multipart; password and code are base64.

说明文字同时放在 `status_message` 与 `message` 里。

| status_code | HTTP | 含义 |
| --- | --- | --- |
| `200` | 200 | 成功 |
| `3201` | 200 | 没有此用户 |
| `3202` | 200 | 密码错误 |
| `3203` | 200 | 无效的手机号 |
| `3204` | 200 | 无效的邮箱 |
| `3207` | 200 | 用户已注册 |
| `3208` | 200 | 验证码错误；或登录需要验证码 |
| `400` | 400 | 参数缺失、错误或重复（会指出字段），请求无法解析 |
| `404` `405` `408` `413` `429` `500` `503` | 同 | 与 HTTP 状态相同 |"],
    error_bodies: &[&ERROR_BODY],
    extra_schemas: &[],
    security_schemes: || {
        let text = "登录时设置的 HttpOnly cookie。Set by the login.";
        vec![(SESSION_SCHEME, SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::with_description("stele_session", text))))]
    },
};

const USERNAME_FIELD: FieldSchema = FieldSchema::pattern("username", "手机号或邮箱", RECIPIENT_PATTERN, "13800138000");
const PASSWORD_FIELD: FieldSchema = FieldSchema::text("password", "密码，base64", "aG5hMTIz");
const CODE_FIELD: FieldSchema = FieldSchema::text("code", "验证码，base64", "MDc0NzUy");

static NEW_PASSWORD_REQUEST: ObjectSchema =
    ObjectSchema::request_body("WithCode", "注册、重置密码的参数", &[USERNAME_FIELD, PASSWORD_FIELD, CODE_FIELD]);

static LOGIN_REQUEST: ObjectSchema = ObjectSchema::request_body(
    "Login",
    "登录的参数；`code` 仅在要求时需要（3208）",
    &[FieldSchema::text("username", "手机号或邮箱", "13800138000"), PASSWORD_FIELD, CODE_FIELD.optional()],
);

static SEND_CODE_REQUEST: ObjectSchema = ObjectSchema::request_body(
    "Send",
    "发送验证码的参数",
    &[FieldSchema::text("username", "手机号或邮箱", "13800138000")],
);

static LOGOUT_REQUEST: ObjectSchema = ObjectSchema::request_body(
    "Logout",
    "退出的参数",
    &[FieldSchema::text("username", "不看", "13800138000").optional()],
);

static OK_STATUS: ObjectSchema = ObjectSchema::response_body(
    "OK",
    "成功的状态",
    &[
        FieldSchema::one_of("status_code", "状态码", &["200"]),
        FieldSchema::one_of("status_message", "状态提示信息", &["OK"]),
        FieldSchema::one_of("message", "同上", &["OK"]),
    ],
);

macro_rules! envelope_schema {
    ($name:ident, $title:literal, $description:literal, $status:ident, $content:ident) => {
        static $name: ObjectSchema = ObjectSchema::response_body(
            $title,
            $description,
            &[FieldSchema::object("status", "状态", &$status), FieldSchema::object("content", "内容", &$content)],
        );
    };
}

envelope_schema!(ERROR_BODY, "No", "失败", ERROR_STATUS, EMPTY_CONTENT);
envelope_schema!(SUCCESS_BODY, "Done", "成功，没有内容", OK_STATUS, EMPTY_CONTENT);
envelope_schema!(ACCOUNT_BODY, "Opened", "注册或重置密码成功", OK_STATUS, MEMO_VIEW);
envelope_schema!(LOGIN_BODY, "Welcome", "登录成功", OK_STATUS, PROFILE_VIEW);

/// The OpenAPI document.
pub(crate) fn document() -> OpenApi {
    crate::endpoints().openapi_document(&API_INFO)
}

pub(crate) fn register() -> OperationDescription<Portal> {
    OperationDescription::new(
        "register",
        "注册接口",
        "Open an account with a code. 先看验证码（3208），再看用户是否已注册（3207）。",
    )
    .required_body(&NEW_PASSWORD_REQUEST)
    .success_bodies([&ACCOUNT_BODY, &ERROR_BODY])
    .error_examples([Error::CommonPassword, Error::WrongCode, Error::IdentifierTaken])
    .rate_limited()
}

pub(crate) fn login() -> OperationDescription<Portal> {
    let text = "Log in. 同一账号失败五次后，从陌生地址登录须带 `code`（否则 3208）。";
    OperationDescription::new("login", "登录接口", text)
        .required_body(&LOGIN_REQUEST)
        .success_bodies([&LOGIN_BODY, &ERROR_BODY])
        .success_headers(&[(
            "Set-Cookie",
            "`stele_session=…; Path=/; HttpOnly; SameSite=Lax`，仅在成功时；由其他站点的网页发起的登录不设。Only on success, and not for a cross-site page.",
        )])
        .error_examples([Error::UnknownUser, Error::WrongPassword, Error::ChallengeRequired])
        .rate_limited()
}

pub(crate) fn logout() -> OperationDescription<Portal> {
    let text = "End the session of the cookie, if there is one. 正文内容不看，但不能过大或过慢；没有会话也回答成功。";
    OperationDescription::new("logout", "退出接口", text)
        .optional_body(&LOGOUT_REQUEST)
        .success_bodies([&SUCCESS_BODY])
        .success_headers(&[("Set-Cookie", "收回 cookie。Deletes the cookie.")])
        .security_schemes(&[SESSION_SCHEME])
        .security_optional()
}

pub(crate) fn resetpwd() -> OperationDescription<Portal> {
    let text = "Set a new password with a code. 文档的标题也是“注册接口”；成功后该用户在所有方言中的会话都结束。";
    OperationDescription::new("resetpwd", "重置密码接口", text)
        .required_body(&NEW_PASSWORD_REQUEST)
        .success_bodies([&ACCOUNT_BODY, &ERROR_BODY])
        .error_examples([Error::CommonPassword, Error::WrongCode, Error::UnknownUser])
        .rate_limited()
}

pub(crate) fn send() -> OperationDescription<Portal> {
    let text = "Send a code, valid for register, login and resetpwd for an hour. 同一号码每小时 5 次，同一地址 30 次。";
    OperationDescription::new("send", "发送验证码接口", text)
        .required_body(&SEND_CODE_REQUEST)
        .success_bodies([&SUCCESS_BODY, &ERROR_BODY])
        .error_example("BadPhone", invalid_recipient_response("1"))
        .error_example("BadEmail", invalid_recipient_response("@"))
        .rate_limited()
}
