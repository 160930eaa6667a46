//! What the portal serves, described.

use stele_core::Error;
use stele_dialect::openapi::{About, ApiKey, ApiKeyValue, Description, Field, Object, OpenApi, SecurityScheme};

use crate::Portal;
use crate::dialect::{NOTHING, WRONG, bad_recipient};
use crate::wire::{MEMO, PROFILE};

const SESSION: &str = "session";
const RECIPIENT: &str = r"^(\+?[0-9]{7,15}|[^@\s]+@[^@\s]+\.[^@\s]+)$";

const ABOUT: About = About {
    title: "门户 Portal",
    text: &["用户相关 API：用发到手机或邮箱的验证码注册、登录、重置密码。Accounts that people open themselves with a code.

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
    refusals: &[&NO],
    more: &[],
    schemes: || {
        let text = "登录时设置的 HttpOnly cookie。Set by the login.";
        vec![(SESSION, SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::with_description("stele_session", text))))]
    },
};

const USERNAME: Field = Field::like("username", "手机号或邮箱", RECIPIENT, "13800138000");
const PASSWORD: Field = Field::text("password", "密码，base64", "aG5hMTIz");
const CODE: Field = Field::text("code", "验证码，base64", "MDc0NzUy");

static WITH_CODE: Object = Object::request("WithCode", "注册、重置密码的参数", &[USERNAME, PASSWORD, CODE]);

static LOGIN: Object = Object::request(
    "Login",
    "登录的参数；`code` 仅在要求时需要（3208）",
    &[Field::text("username", "手机号或邮箱", "13800138000"), PASSWORD, CODE.optional()],
);

static SEND: Object =
    Object::request("Send", "发送验证码的参数", &[Field::text("username", "手机号或邮箱", "13800138000")]);

static LOGOUT: Object =
    Object::request("Logout", "退出的参数", &[Field::text("username", "不看", "13800138000").optional()]);

static OK: Object = Object::answer(
    "OK",
    "成功的状态",
    &[
        Field::one_of("status_code", "状态码", &["200"]),
        Field::one_of("status_message", "状态提示信息", &["OK"]),
        Field::one_of("message", "同上", &["OK"]),
    ],
);

macro_rules! envelope {
    ($name:ident, $told:literal, $about:literal, $status:ident, $content:ident) => {
        static $name: Object = Object::answer(
            $told,
            $about,
            &[Field::object("status", "状态", &$status), Field::object("content", "内容", &$content)],
        );
    };
}

envelope!(NO, "No", "失败", WRONG, NOTHING);
envelope!(DONE, "Done", "成功，没有内容", OK, NOTHING);
envelope!(OPENED, "Opened", "注册或重置密码成功", OK, MEMO);
envelope!(WELCOME, "Welcome", "登录成功", OK, PROFILE);

/// The OpenAPI document.
pub(crate) fn document() -> OpenApi {
    crate::calls().document(&ABOUT)
}

pub(crate) fn register() -> Description<Portal> {
    Description::of(
        "register",
        "注册接口",
        "Open an account with a code. 先看验证码（3208），再看用户是否已注册（3207）。",
    )
    .takes(&WITH_CODE)
    .answers([&OPENED, &NO])
    .refuses([Error::WrongCode, Error::IdentifierTaken])
    .limited()
}

pub(crate) fn login() -> Description<Portal> {
    let text = "Log in. 同一账号失败五次后，从陌生地址登录须带 `code`（否则 3208）。";
    Description::of("login", "登录接口", text)
        .takes(&LOGIN)
        .answers([&WELCOME, &NO])
        .with_headers(&[(
            "Set-Cookie",
            "`stele_session=…; Path=/; HttpOnly; SameSite=Lax`，仅在成功时；由其他站点的网页发起的登录不设。Only on success, and not for a page of another site.",
        )])
        .refuses([Error::UnknownUser, Error::WrongPassword, Error::ChallengeRequired])
        .limited()
}

pub(crate) fn logout() -> Description<Portal> {
    let text = "End the session of the cookie, if there is one. 正文内容不看，但不能过大或过慢；没有会话也回答成功。";
    Description::of("logout", "退出接口", text)
        .may_take(&LOGOUT)
        .answers([&DONE])
        .with_headers(&[("Set-Cookie", "收回 cookie。Takes the cookie back.")])
        .needs(&[SESSION])
        .or_nothing()
}

pub(crate) fn resetpwd() -> Description<Portal> {
    let text = "Set a new password with a code. 文档的标题也是“注册接口”；成功后该用户在所有方言中的会话都结束。";
    Description::of("resetpwd", "重置密码接口", text)
        .takes(&WITH_CODE)
        .answers([&OPENED, &NO])
        .refuses([Error::WrongCode, Error::UnknownUser])
        .limited()
}

pub(crate) fn send() -> Description<Portal> {
    let text = "Send a code: good for register, login and resetpwd, for an hour. 同一号码每小时 5 次，同一地址 30 次。";
    Description::of("send", "发送验证码接口", text)
        .takes(&SEND)
        .answers([&DONE, &NO])
        .tells("BadPhone", bad_recipient("1"))
        .tells("BadEmail", bad_recipient("@"))
        .limited()
}
