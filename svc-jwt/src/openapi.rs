//! The OpenAPI descriptions of the JWT dialect.

use actix_web::http::StatusCode;
use stele_core::Error;
use stele_dialect::openapi::{
    ApiInfo, ApiKey, ApiKeyValue, FieldSchema, HttpAuthScheme, HttpBuilder, ObjectSchema, OpenApi,
    OperationDescription, SecurityScheme,
};
use stele_dialect::{Dialect as _, FieldError, RequestRejection};

use crate::wire::{CAPTCHA_BODY, ERROR_BODY, LOGIN_BODY, RESET_TOKEN_BODY, SUCCESS_BODY};
use crate::{Jwt, wire};

const BEARER_SCHEME: &str = "bearer";
const TOKEN_SCHEME: &str = "token";

const API_INFO: ApiInfo = ApiInfo {
    title: "JWT",
    description: &["Auth 认证接口：登录得到签名的 JWT，用验证码找回密码。Log in for a signed token; reset a forgotten password.

路径不分大小写，`/api/v1/Auth/` 与 `/api/vi/Auth/` 等同。POST 的参数可以在正文里（JSON、urlencoded、multipart，或 multipart
的类型配 urlencoded 的正文），也可以在查询串里；两处都有则以正文为准。
Paths are case-insensitive, under `v1` or `vi`. Parameters of a POST may be in the body or in the query string.

凭证放在 `Authorization`（可以有 `Bearer`、`Token` 或 `JWT`，可加双引号）或 `token` 头里；前者没有有效凭证时看后者。登录与验证手机的答复在正文的 `token` 与 `Authorization` 头里给出凭证。

答复为 `{\"code\":0,\"message\":…}`，失败为 `{\"code\":-1,\"message\":…}`：

| HTTP | message |
| --- | --- |
| 200 | 用户名或密码错误；用户已被禁用；请输入验证码；验证码错误 |
| 400 | 请求无法解析；缺少参数；参数重复；参数错误（会指出参数） |
| 401 | 注销失败；更新密码失败 |
| 404 | 接口不存在；获取验证码失败 |
| 429 | 操作过于频繁，请稍后再试（见 `Retry-After`） |
| 500, 503 | 服务内部错误；服务暂不可用；发送短信失败；获取验证码失败 |"],
    error_bodies: &[&ERROR_BODY],
    extra_schemas: &[],
    security_schemes: || {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT");
        let token = ApiKeyValue::with_description("token", "与 Authorization 等同。The same, as in the API document's samples.");
        vec![
            (BEARER_SCHEME, SecurityScheme::Http(bearer.build())),
            (TOKEN_SCHEME, SecurityScheme::ApiKey(ApiKey::Header(token))),
        ]
    },
};

const ACCOUNT_FIELD: FieldSchema =
    FieldSchema::text("account", "用户名：名字、手机号（写法不限，如 `+86 138-0013-8000`）或邮箱，不分大小写", "a");
const CODE_FIELD: FieldSchema =
    FieldSchema::digits("identifyCode", "验证码，六位数字；其中的空格与连字符不计", "^[0-9]{1,10}$", "345548");

static LOGIN_REQUEST: ObjectSchema = ObjectSchema::request_body(
    "Login",
    "登录的参数",
    &[
        ACCOUNT_FIELD,
        FieldSchema::text("password", "密码", "123"),
        FieldSchema::digits("captchaId", "验证码编号，仅在要求时需要", "^[0-9]{1,15}$", "633809514562957").optional(),
        FieldSchema::text("captcha", "图片上的文字，仅在要求时需要，不分大小写，空格与连字符不计", "abc34").optional(),
    ],
);

static FORGET_PASSWORD_REQUEST: ObjectSchema = ObjectSchema::request_body(
    "ForgetPassword",
    "忘记密码的参数：`phone` 或 `email`，都有时只看 `phone`",
    &[
        ACCOUNT_FIELD,
        FieldSchema::digits("phone", "手机号，写法不限", r"^\+?[0-9]{7,15}$", "13800138000").optional(),
        FieldSchema::pattern("email", "邮箱", r"^[^@\s]+@[^@\s]+\.[^@\s]+$", "123@qq.com").optional(),
    ],
);

static VALIDATE_PHONE_REQUEST: ObjectSchema =
    ObjectSchema::request_body("ValidatePhone", "验证手机的参数", &[ACCOUNT_FIELD, CODE_FIELD]);

static UPDATE_PASSWORD_REQUEST: ObjectSchema = ObjectSchema::request_body(
    "UpdatePassword",
    "更新密码的参数",
    &[ACCOUNT_FIELD, FieldSchema::text("password", "新密码，6 至 128 个字符（`STELE_PASSWORD_MIN`）", "123456")],
);

static EMPTY_REQUEST: ObjectSchema = ObjectSchema::request_body("Nothing", "没有参数", &[]);

/// The OpenAPI document.
pub(crate) fn document() -> OpenApi {
    crate::endpoints().openapi_document(&API_INFO)
}

fn with_token_header(description: OperationDescription<Jwt>) -> OperationDescription<Jwt> {
    description.success_headers(&[("Authorization", "`Bearer` 与正文里的 `token`，仅在成功时。Only on success.")])
}

pub(crate) fn login() -> OperationDescription<Jwt> {
    let text = "Log in. 同一账号失败五次后，陌生地址须带 `captchaId` 与 `captcha`（请输入验证码）。";
    with_token_header(OperationDescription::new("Login", "登录", text))
        .required_body(&LOGIN_REQUEST)
        .success_bodies([&LOGIN_BODY, &ERROR_BODY])
        .error_examples([Error::WrongPassword, Error::Disabled, Error::ChallengeRequired])
        .rate_limited()
}

pub(crate) fn logout() -> OperationDescription<Jwt> {
    OperationDescription::new("Logout", "登出", "End the session of the token.")
        .success_bodies([&SUCCESS_BODY])
        .error_example("NotAuthenticated", wire::error_response(StatusCode::UNAUTHORIZED, "注销失败"))
        .security_schemes(&[BEARER_SCHEME, TOKEN_SCHEME])
}

pub(crate) fn forget_password() -> OperationDescription<Jwt> {
    let text = "Send a code to the phone or address if it belongs to the account; the response is the same if it does not. \
                账号与手机号或邮箱是否相符，答复都一样。";
    OperationDescription::new("ForgetPassword", "忘记密码", text)
        .required_body(&FORGET_PASSWORD_REQUEST)
        .success_bodies([&SUCCESS_BODY])
        .rate_limited()
}

pub(crate) fn validate_phone() -> OperationDescription<Jwt> {
    let text = "Trade a code for a reset token. 参数在查询串里或正文里均可。";
    let missing = RequestRejection::InvalidInput(FieldError::Missing("account".into()));
    with_token_header(OperationDescription::new("validatePhone", "验证手机", text))
        .optional_body(&VALIDATE_PHONE_REQUEST)
        .query_parameters(&[ACCOUNT_FIELD, CODE_FIELD])
        .success_bodies([&RESET_TOKEN_BODY, &ERROR_BODY])
        .error_examples([Error::WrongCode])
        .error_example("Missing", Jwt::render_rejection(&missing))
        .rate_limited()
}

pub(crate) fn update_password() -> OperationDescription<Jwt> {
    let text = "Set a new password, with a reset token or a login token at most 15 minutes old. \
                凭证为验证手机所得，或 15 分钟内登录所得；成功后其他会话都结束。";
    OperationDescription::new("updatePassword", "更新密码", text)
        .required_body(&UPDATE_PASSWORD_REQUEST)
        .success_bodies([&SUCCESS_BODY])
        .error_examples([Error::CommonPassword])
        .error_example("NotAuthenticated", wire::error_response(StatusCode::UNAUTHORIZED, "更新密码失败"))
        .rate_limited()
        .security_schemes(&[BEARER_SCHEME, TOKEN_SCHEME])
}

pub(crate) fn get_captcha() -> OperationDescription<Jwt> {
    OperationDescription::new(
        "getCAPTCHA",
        "生成验证码",
        "Issue a captcha: its id and the URL of its image. 同一地址每小时 300 个。",
    )
    .success_bodies([&CAPTCHA_BODY])
    .rate_limited()
}

pub(crate) fn captcha() -> OperationDescription<Jwt> {
    OperationDescription::new(
        "CAPTCHA",
        "生成验证码（示例的写法）",
        "The same, as called in the API document's sample.",
    )
    .optional_body(&EMPTY_REQUEST)
    .success_bodies([&CAPTCHA_BODY])
    .rate_limited()
}

pub(crate) fn captcha_image() -> OperationDescription<Jwt> {
    OperationDescription::new(
        "picture",
        "验证码图片",
        "The image, served up to five times. Viewing it does not consume the captcha. 看图不消耗验证码，每个最多看五次。",
    )
    .path_parameter(FieldSchema::non_negative_integer("id", "编号", "633809514562957"))
    .png_body()
    .error_example("Gone", wire::error_response(StatusCode::NOT_FOUND, "获取验证码失败"))
}
