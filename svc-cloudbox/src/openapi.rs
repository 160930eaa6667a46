//! What cloudbox serves, described.

use stele_core::Error;
use stele_dialect::message_code::{ERRORS, HEX32, NO, TIMESTAMP, USER_ID, succ};
use stele_dialect::openapi::{About, ApiKey, ApiKeyValue, Description, Field, Object, OpenApi, SecurityScheme};
use stele_dialect::{Dialect as _, Refusal};

use crate::Cloudbox;
use crate::wire::{GOODBYE, USER};

const TOKEN: &str = "user_token";

const ABOUT: About = About {
    title: "Cloudbox",
    text: &[
        "加盐 md5 登录、修改密码、登出。Log in with a salted md5, change the password, log out.

`D = md5(密码的 UTF-8)`，32 位小写十六进制；证明是 `md5(D + timestamp)`，时间戳为 UTC 秒，每个证明只能用一次。
参数在请求正文里（JSON、urlencoded 或 multipart，默认最大 64 KiB），也可以在查询串里，两处都有则以正文为准，数字可以写成字符串，未列出的字段被忽略。
Bodies may be JSON, urlencoded or multipart; numbers may come as strings.",
        ERRORS,
    ],
    refusals: &[&NO],
    more: &[],
    schemes: || {
        let text =
            "`user_token`，前面可以有 `Bearer`、`Token` 或 `JWT`，可加双引号。The token alone, or after a scheme.";
        vec![(TOKEN, SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description("Authorization", text))))]
    },
};

static LOGIN: Object = Object::request(
    "Login",
    "用户登录认证的参数",
    &[
        Field::text(
            "username",
            "登录用户名：名字、手机号（写法不限，如 `+86 138-0013-8000`）或邮箱，不分大小写",
            "mark",
        ),
        Field::like(
            "password",
            "`md5(D + timestamp)`，十六进制，大小写均可",
            HEX32,
            "f1d750ac6033b0c79fc54c18c8ae0fb9",
        ),
        TIMESTAMP,
    ],
);

static PWDRESET: Object = Object::request(
    "PwdReset",
    "重置密码的参数",
    &[
        Field::digits(
            "user_id",
            "UUID 或其 32 位十六进制；十进制数不对应任何用户",
            USER_ID,
            "0b922f14-d00b-11e7-aafd-525400bbac8e",
        ),
        Field::like("orig_password", "`md5(原 D + timestamp)`", HEX32, "00b945c1fd92aa2623b704d8d37d8ffc"),
        Field::like("new_password", "新的 `D`，**不**加盐", HEX32, "199db40c253bdc3875400e8ac67b9e21"),
        TIMESTAMP,
    ],
);

static SUCC: Object = Object::answer("Succ", "成功", &SUCC_FIELDS);
static SUCC_FIELDS: [Field; 3] = succ(&USER);

/// The OpenAPI document.
pub(crate) fn document() -> OpenApi {
    crate::calls().document(&ABOUT)
}

fn proving() -> [Error; 4] {
    [Error::WrongPassword, Error::Stale, Error::Replayed, Error::Disabled]
}

pub(crate) fn login() -> Description<Cloudbox> {
    Description::of("authsalt", "用户登录认证接口（app）", "Log in with a salted md5. 该方法无需携带 token。")
        .takes(&LOGIN)
        .answers([&SUCC, &NO])
        .refuses(proving())
        .limited()
}

pub(crate) fn pwdreset() -> Description<Cloudbox> {
    let text =
        "Change the password by proving the old one. 该方法无需携带 token；成功后该用户在所有方言中的其他会话都结束。";
    Description::of("pwdreset", "重置密码接口", text)
        .takes(&PWDRESET)
        .answers([&SUCC, &NO])
        .refuses(proving())
        .limited()
}

pub(crate) fn logout() -> Description<Cloudbox> {
    Description::of("logout", "运营平台登出接口", "End the session of the token. 正文内容不看，但不能过大或过慢。")
        .answers([&GOODBYE])
        .refuses([Error::NotAuthenticated])
        .tells("Timeout", Cloudbox::refuse(&Refusal::Timeout))
        .tells("TooLarge", Cloudbox::refuse(&Refusal::TooLarge))
        .needs(&[TOKEN])
}
