//! What this dialect serves, described.

use actix_web::http::StatusCode;
use stele_core::Error;
use stele_dialect::openapi::{
    About, ApiKey, ApiKeyValue, Description, Field, HttpAuthScheme, HttpBuilder, Object, OpenApi, SecurityScheme,
};
use stele_dialect::{Dialect as _, Fault, Refusal};

use crate::wire::{CAPTCHA, DONE, GRANTED, NO, WELCOME};
use crate::{Jwt, wire};

const BEARER: &str = "bearer";
const TOKEN: &str = "token";

const ABOUT: About = About {
    title: "JWT",
    text: &["Auth 认证接口：登录得到签名的 JWT，用验证码找回密码。Log in for a signed token; get a forgotten password back.

路径不分大小写，`/api/v1/Auth/` 与 `/api/vi/Auth/` 等同。POST 的参数可以在正文里（JSON、urlencoded、multipart，或 multipart
的类型配 urlencoded 的正文），也可以在查询串里；两处都有则以正文为准。
Paths are read in any letter case, under `v1` or `vi`. Parameters of a POST may be in the body or in the query string.

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
    refusals: &[&NO],
    more: &[],
    schemes: || {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT");
        let token = ApiKeyValue::with_description("token", "与 Authorization 等同。The same, as the document's samples.");
        vec![
            (BEARER, SecurityScheme::Http(bearer.build())),
            (TOKEN, SecurityScheme::ApiKey(ApiKey::Header(token))),
        ]
    },
};

const ACCOUNT: Field =
    Field::text("account", "用户名：名字、手机号（写法不限，如 `+86 138-0013-8000`）或邮箱，不分大小写", "a");
const CODE: Field =
    Field::digits("identifyCode", "验证码，六位数字；其中的空格与连字符不计", "^[0-9]{1,10}$", "345548");

static LOGIN: Object = Object::request(
    "Login",
    "登录的参数",
    &[
        ACCOUNT,
        Field::text("password", "密码", "123"),
        Field::digits("captchaId", "验证码编号，仅在要求时需要", "^[0-9]{1,15}$", "633809514562957").optional(),
        Field::text("captcha", "图片上的文字，仅在要求时需要，不分大小写，空格与连字符不计", "abc34").optional(),
    ],
);

static FORGET: Object = Object::request(
    "ForgetPassword",
    "忘记密码的参数：`phone` 或 `email`，都有时只看 `phone`",
    &[
        ACCOUNT,
        Field::digits("phone", "手机号，写法不限", r"^\+?[0-9]{7,15}$", "13800138000").optional(),
        Field::like("email", "邮箱", r"^[^@\s]+@[^@\s]+\.[^@\s]+$", "123@qq.com").optional(),
    ],
);

static VALIDATE: Object = Object::request("ValidatePhone", "验证手机的参数", &[ACCOUNT, CODE]);

static UPDATE: Object = Object::request(
    "UpdatePassword",
    "更新密码的参数",
    &[ACCOUNT, Field::text("password", "新密码，6 至 128 个字符（`STELE_PASSWORD_MIN`）", "123456")],
);

static NOTHING: Object = Object::request("Nothing", "没有参数", &[]);

/// The OpenAPI document.
pub(crate) fn document() -> OpenApi {
    crate::calls().document(&ABOUT)
}

fn bearing(description: Description<Jwt>) -> Description<Jwt> {
    description.with_headers(&[("Authorization", "`Bearer` 与正文里的 `token`，仅在成功时。Only on success.")])
}

pub(crate) fn login() -> Description<Jwt> {
    let text = "Log in. 同一账号失败五次后，陌生地址须带 `captchaId` 与 `captcha`（请输入验证码）。";
    bearing(Description::of("Login", "登录", text))
        .takes(&LOGIN)
        .answers([&WELCOME, &NO])
        .refuses([Error::WrongPassword, Error::Disabled, Error::ChallengeRequired])
        .limited()
}

pub(crate) fn logout() -> Description<Jwt> {
    Description::of("Logout", "登出", "End the session of the token.")
        .answers([&DONE])
        .tells("NotAuthenticated", wire::failure(StatusCode::UNAUTHORIZED, "注销失败"))
        .needs(&[BEARER, TOKEN])
}

pub(crate) fn forget_password() -> Description<Jwt> {
    let text = "Send a code to the phone or address, if it is the account's; the answer is the same if not. \
                账号与手机号或邮箱是否相符，答复都一样。";
    Description::of("ForgetPassword", "忘记密码", text).takes(&FORGET).answers([&DONE]).limited()
}

pub(crate) fn validate_phone() -> Description<Jwt> {
    let text = "Trade a code for a reset token. 参数在查询串里或正文里均可。";
    let missing = Refusal::Input(Fault::Missing("account".into()));
    bearing(Description::of("validatePhone", "验证手机", text))
        .may_take(&VALIDATE)
        .query(&[ACCOUNT, CODE])
        .answers([&GRANTED, &NO])
        .refuses([Error::WrongCode])
        .tells("Missing", Jwt::refuse(&missing))
        .limited()
}

pub(crate) fn update_password() -> Description<Jwt> {
    let text = "Set a new password, with a reset token or a login token at most 15 minutes old. \
                凭证为验证手机所得，或 15 分钟内登录所得；成功后其他会话都结束。";
    Description::of("updatePassword", "更新密码", text)
        .takes(&UPDATE)
        .answers([&DONE])
        .tells("NotAuthenticated", wire::failure(StatusCode::UNAUTHORIZED, "更新密码失败"))
        .limited()
        .needs(&[BEARER, TOKEN])
}

pub(crate) fn get_captcha() -> Description<Jwt> {
    Description::of("getCAPTCHA", "生成验证码", "A captcha's id, and where its picture is. 同一地址每小时 300 个。")
        .answers([&CAPTCHA])
        .limited()
}

pub(crate) fn captcha() -> Description<Jwt> {
    Description::of("CAPTCHA", "生成验证码（示例的写法）", "The same, as the document's sample calls it.")
        .may_take(&NOTHING)
        .answers([&CAPTCHA])
        .limited()
}

pub(crate) fn picture() -> Description<Jwt> {
    Description::of(
        "picture",
        "验证码图片",
        "The picture, five times. Looking at it does not use the captcha up. 看图不消耗验证码，每个最多看五次。",
    )
    .segment(Field::count("id", "编号", "633809514562957"))
    .answers_png()
    .tells("Gone", wire::failure(StatusCode::NOT_FOUND, "获取验证码失败"))
}
