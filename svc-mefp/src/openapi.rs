//! The OpenAPI descriptions of the MeFP dialect: schemas of the envelopes, and of their content as extra schemas.

use serde_json::Value;
use stele_core::Error;
use stele_dialect::openapi::{ApiInfo, FieldSchema, ObjectSchema, OpenApi, OperationDescription};

use crate::Mefp;
use crate::dialect::error_response;
use crate::wire::{
    self, ENCRYPTED_RESPONSE, ERROR_BODY, SUCCESS_BODY, TOKEN_BODY, TOKEN_HOLDER_BODY, USER_EXISTS_BODY,
};

const API_INFO: ApiInfo = ApiInfo {
    title: "MeFP",
    description: &["用户统一认证：应用服务器替用户注册、登录、找回密码、换取 token。Servers of apps call on behalf of their users.

请求与答复都在信封里：AES-256-CBC，密钥为 `mefp_secret`（32 个 ASCII 字符），初始化向量为应用的 `app_secret`（16 个字符），
PKCS#7 填充（也接受补零或空格），再做 base64。请求可以是 JSON，也可以是同名的表单字段。
The envelope is AES-256-CBC under `mefp_secret` with the app's secret as IV, PKCS#7, base64. HTTP status and
headers are not sealed. The error for an envelope that cannot be opened is plain text; all other responses are sealed.

信封里的失败：`{\"result\":0,\"errors\":{\"code\":40003,\"message\":\"用户名或密码错误\"}}`

| code | HTTP | 含义 |
| --- | --- | --- |
| `40000` | 400, 408 | 请求无法解密（明文）；参数缺失、重复或错误；超时 |
| `40001` | 200 | 用户名已存在 |
| `40002` | 200 | 验证码错误 |
| `40003` | 200 | 用户名或密码错误 |
| `40004` | 200 | 电话号码错误 |
| `40005` | 200 | 用户名不存在 |
| `40006` | 200 | 获取 token 失败 |
| `40007` | 200 | 用户不存在 |
| `40400` `40500` `41300` | 404, 405, 413 | 接口不存在，方法不支持，内容过大（明文） |
| `42900` | 429 | 操作过于频繁，见 `Retry-After` |
| `50000` `50300` | 500, 503 | 服务端故障 |"],
    error_bodies: &[&ENCRYPTED_RESPONSE, &ERROR_BODY],
    extra_schemas: &[
        &REGISTER_REQUEST, &LOGIN_REQUEST, &CAPTCHA_REQUEST, &FORGOT_REQUEST, &GET_TOKEN_REQUEST, &CHECK_LOGINNAME_REQUEST, &CHECK_CAPTCHA_REQUEST, &CHECK_TOKEN_REQUEST, &SUCCESS_BODY, &TOKEN_BODY,
        &USER_EXISTS_BODY, &TOKEN_HOLDER_BODY,
    ],
    security_schemes: Vec::new,
};

static OUTER_REQUEST: ObjectSchema = ObjectSchema::request_body(
    "Outer",
    "信封",
    &[
        FieldSchema::text("encrypt", "加密后的请求，base64", "cPWXWz+gT0AuXWXkAeADnw=="),
        FieldSchema::text("app_from", "应用名，区分大小写", "melink"),
    ],
);

const NAME_FIELD: FieldSchema = FieldSchema::digits(
    "login_name",
    "手机号码：`1` 加十位数字（写法不限，如 `+86 138-0013-8000`），或 E.164",
    r"^\+?[0-9]{7,15}$",
    "13612345678",
);
const PASSWORD_FIELD: FieldSchema = FieldSchema::text("password", "密码", "hna123");
const CODE_FIELD: FieldSchema =
    FieldSchema::digits("captcha", "验证码；不足六位的数字在前面补零", "^[0-9]{1,6}$", "629457");

static REGISTER_REQUEST: ObjectSchema =
    ObjectSchema::request_body("Register", "信封里：注册", &[NAME_FIELD, PASSWORD_FIELD, CODE_FIELD]);
static LOGIN_REQUEST: ObjectSchema = ObjectSchema::request_body("Login", "信封里：登录", &[NAME_FIELD, PASSWORD_FIELD]);
static CAPTCHA_REQUEST: ObjectSchema = ObjectSchema::request_body(
    "Captcha",
    "信封里：获取手机验证码",
    &[NAME_FIELD, FieldSchema::digits("usage", "用途：1 注册，2 找回密码", "^[12]$", "1")],
);
static FORGOT_REQUEST: ObjectSchema = ObjectSchema::request_body(
    "Forgot",
    "信封里：找回密码",
    &[NAME_FIELD, FieldSchema::text("new_password", "新密码", "hna123"), CODE_FIELD],
);
static GET_TOKEN_REQUEST: ObjectSchema = ObjectSchema::request_body(
    "GetToken",
    "信封里：获取 Token",
    &[NAME_FIELD, FieldSchema::text("app_to", "要去的应用", "wlfz")],
);
static CHECK_LOGINNAME_REQUEST: ObjectSchema =
    ObjectSchema::request_body("CheckLoginname", "信封里：验证用户名", &[NAME_FIELD]);
static CHECK_CAPTCHA_REQUEST: ObjectSchema =
    ObjectSchema::request_body("CheckCaptcha", "信封里：验证验证码", &[NAME_FIELD, CODE_FIELD]);
static CHECK_TOKEN_REQUEST: ObjectSchema =
    ObjectSchema::request_body("CheckToken", "信封里：兑换 token", &[TOKEN_FIELD]);

const TOKEN_FIELD: FieldSchema =
    FieldSchema::pattern("token", "一次性，5 分钟内有效", wire::TOKEN_PATTERN, "1f5edc6f1efb165d45a654798d4baaa5");

/// The OpenAPI document.
pub(crate) fn document() -> OpenApi {
    crate::endpoints().openapi_document(&API_INFO)
}

/// An operation whose description shows the decrypted request and response, and the errors that the response may
/// contain.
fn encrypted_operation(
    id: &'static str,
    summary: &'static str,
    text: &str,
    (request, response): (&ObjectSchema, &ObjectSchema),
    errors: impl IntoIterator<Item = Error>,
) -> OperationDescription<Mefp> {
    let error_texts: Vec<_> = errors.into_iter().map(|error| error_response(&error).1.describe_error()).collect();
    let (request, response): (Value, Value) = (request.example(), response.example());
    let text = format!(
        "{text}\n\n信封里的请求 (inside the request):\n```json\n{request}\n```\n\
         信封里的答复 (inside the response):\n```json\n{response}\n```\n信封里的错误 (errors inside): {}",
        error_texts.join("；")
    );
    OperationDescription::new(id, summary, text)
        .required_body(&OUTER_REQUEST)
        .success_bodies([&ENCRYPTED_RESPONSE])
        .rate_limited()
}

const INVALID_PHONE: Error = Error::Invalid("phone");

pub(crate) fn register() -> OperationDescription<Mefp> {
    let errors = [INVALID_PHONE, Error::CommonPassword, Error::WrongCode, Error::IdentifierTaken];
    encrypted_operation(
        "register",
        "注册",
        "Register with a code of usage 1.",
        (&REGISTER_REQUEST, &SUCCESS_BODY),
        errors,
    )
}

pub(crate) fn login() -> OperationDescription<Mefp> {
    encrypted_operation(
        "login",
        "登录",
        "Check a password.",
        (&LOGIN_REQUEST, &SUCCESS_BODY),
        [INVALID_PHONE, Error::WrongPassword],
    )
}

pub(crate) fn captcha() -> OperationDescription<Mefp> {
    let text = "Send a code of six digits, valid for an hour; a newer one replaces it. 重复获取即覆盖前一次获取值。";
    let errors = [INVALID_PHONE, Error::IdentifierTaken, Error::UnknownUser];
    encrypted_operation("captcha", "获取手机验证码", text, (&CAPTCHA_REQUEST, &SUCCESS_BODY), errors)
}

pub(crate) fn forgot() -> OperationDescription<Mefp> {
    let errors = [INVALID_PHONE, Error::CommonPassword, Error::WrongCode, Error::UnknownUser];
    encrypted_operation(
        "forgot",
        "找回密码",
        "Set a new password with a code of usage 2.",
        (&FORGOT_REQUEST, &SUCCESS_BODY),
        errors,
    )
}

pub(crate) fn token() -> OperationDescription<Mefp> {
    let text = "A one-time token for another app. Both apps must be registered, and the user must be present at the calling app.";
    encrypted_operation(
        "token",
        "获取 Token",
        text,
        (&GET_TOKEN_REQUEST, &TOKEN_BODY),
        [INVALID_PHONE, Error::TicketRefused],
    )
}

pub(crate) fn check_loginname() -> OperationDescription<Mefp> {
    let text = "Whether the user exists. 不存在时为 40005 用户名不存在。";
    encrypted_operation(
        "checkLoginname",
        "验证用户名",
        text,
        (&CHECK_LOGINNAME_REQUEST, &USER_EXISTS_BODY),
        [INVALID_PHONE],
    )
}

pub(crate) fn check_captcha() -> OperationDescription<Mefp> {
    let text = "Whether a code is valid, without consuming it. 不会消耗验证码；错误的算一次尝试。";
    encrypted_operation(
        "checkCaptcha",
        "验证验证码",
        text,
        (&CHECK_CAPTCHA_REQUEST, &SUCCESS_BODY),
        [INVALID_PHONE, Error::WrongCode],
    )
}

pub(crate) fn check_token() -> OperationDescription<Mefp> {
    let text = "Redeem a token: returns its user. Not in the API document, which does not say how tokens are redeemed.";
    encrypted_operation(
        "checkToken",
        "兑换 Token",
        text,
        (&CHECK_TOKEN_REQUEST, &TOKEN_HOLDER_BODY),
        [Error::TicketRefused],
    )
}
