//! What TMS serves, described.

use stele_core::Error;
use stele_dialect::message_code::{ERRORS, HEX32, NO, TIMESTAMP, USER_ID, succ};
use stele_dialect::openapi::{About, ApiKey, ApiKeyValue, Description, Field, Object, OpenApi, SecurityScheme};

use crate::Tms;
use crate::wire::USER;

const TOKEN: &str = "token";

const ABOUT: About = About {
    title: "TMS",
    text: &[
        "管理员登录、用户登录、修改密码。Log in as an administrator or a user, change the password.

`D = md5(密码的 UTF-8)`，32 位小写十六进制。`password` 与 `orig_password` 是 `md5(D + timestamp)` 或 `D` 本身，
由 `STELE_TMS_PROOF` 决定（默认两者均可）；只收 `D` 时 `timestamp` 可以省略。登录须带客户端凭证或有效的用户凭证，
除非 `STELE_TMS_REQUIRE_TOKEN=false`。参数在请求正文里（JSON、urlencoded 或 multipart，默认最大 64 KiB），也可以在查询串里，两处都有则以正文为准，数字可以写成字符串。
Bodies may be JSON, urlencoded or multipart; numbers may come as strings.",
        ERRORS,
    ],
    refusals: &[&NO],
    more: &[],
    schemes: || {
        let text = "客户端凭证（`stele token add`）或 `user_token`，前面可以有 `Bearer`、`Token` 或 `JWT`，可加双引号。A client token or a user's.";
        vec![(TOKEN, SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description("Authorization", text))))]
    },
};

static LOGIN: Object = Object::request(
    "Login",
    "登录的参数",
    &[
        Field::text("username", "名字、手机号（写法不限，如 `+86 138-0013-8000`）或邮箱，不分大小写", "mark"),
        Field::like("password", "已经 md5 加密过的密码，大小写均可", HEX32, "f1d750ac6033b0c79fc54c18c8ae0fb9"),
        TIMESTAMP,
    ],
);

static PWDRESET: Object = Object::request(
    "PwdReset",
    "修改密码的参数",
    &[
        Field::digits("user_id", "UUID、其 32 位十六进制，或用户编号", USER_ID, "100001"),
        Field::like("orig_password", "原密码的证明，同登录", HEX32, "e10adc3949ba59abbe56e057f20f883e"),
        Field::like("new_password", "新的 `D`，**不**加盐", HEX32, "c33367701511b4f6020ec61ded352059"),
        TIMESTAMP,
    ],
);

static SUCC: Object = Object::answer("Succ", "成功", &SUCC_FIELDS);
static SUCC_FIELDS: [Field; 3] = succ(&USER);

/// The OpenAPI document.
pub(crate) fn document() -> OpenApi {
    crate::calls().document(&ABOUT)
}

fn proving(description: Description<Tms>) -> Description<Tms> {
    let told = [Error::WrongPassword, Error::Stale, Error::Replayed, Error::Disabled, Error::NotAuthenticated];
    description.answers([&SUCC, &NO]).refuses(told).limited().needs(&[TOKEN])
}

pub(crate) fn login_admin() -> Description<Tms> {
    let text = "Log in as an administrator; others are told what a wrong password is. 该方法需携带 token。";
    proving(Description::of("adminauthsalt", "管理员加密登录接口", text)).takes(&LOGIN)
}

pub(crate) fn login_user() -> Description<Tms> {
    let text = "Log in. 该方法需携带 token。文档的“修改用户密码”一节与本接口的地址和参数完全相同，故由本接口应答。";
    proving(Description::of("authsalt", "用户加密登录接口", text)).takes(&LOGIN)
}

pub(crate) fn pwdreset() -> Description<Tms> {
    let text = "Change the password by proving the old one, with the user's own live token or an administrator's. \
                该方法需携带用户本人或管理员的 token；成功后该用户在所有方言中的其他会话都结束。";
    proving(Description::of("pwdreset", "修改密码", text)).takes(&PWDRESET)
}
