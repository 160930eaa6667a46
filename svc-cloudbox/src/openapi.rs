//! What cloudbox serves, described.

use stele_core::Error;
use stele_dialect::openapi::{About, ApiKey, ApiKeyValue, Description, Field, Object, OpenApi, SecurityScheme};
use stele_dialect::{Dialect as _, Refusal};

use crate::Cloudbox;

const GOLDEN_LOGIN: &str = include_str!("../tests/golden/login.http");
const GOLDEN_PWDRESET: &str = include_str!("../tests/golden/pwdreset.http");
const HEX32: &str = "^[0-9A-Fa-f]{32}$";
const SECONDS: &str = "^(0|[1-9][0-9]{0,17})$";
const TOKEN: &str = "user_token";

const ABOUT: About = About {
    title: "Cloudbox",
    text: "加盐 md5 登录、修改密码、登出。Log in with a salted md5, change the password, log out.

`D = md5(密码的 UTF-8)`，32 位小写十六进制；证明是 `md5(D + timestamp)`，时间戳为 UTC 秒，每个证明只能用一次。
请求正文可以是 JSON、urlencoded 或 multipart，默认最大 64 KiB，数字可以写成字符串，未列出的字段被忽略。
Bodies may be JSON, urlencoded or multipart; numbers may come as strings.

| code | HTTP | 含义 |
| --- | --- | --- |
| `0000` | 200 | 成功 |
| `1001` | 400, 404, 405, 413 | 参数缺失、错误或重复（会指出字段），请求无法解析，接口不存在 |
| `1002` | 200 | 用户名或密码错误（用户不存在时也一样） |
| `1003` | 200 | 时间戳已过期 |
| `1004` | 200 | 请求已被使用 |
| `1005` | 401 | 登录凭证缺失或已失效 |
| `1006` | 200 | 用户已被禁用 |
| `1007` | 429 | 操作过于频繁，见 `Retry-After` |
| `1009` | 408, 500, 503 | 超时，或服务端故障 |",
    refusals: &[&NO],
    more: &[],
    schemes: || {
        let text = "`user_token`，前面可以有 `Bearer`。The token alone, or after `Bearer`.";
        vec![(TOKEN, SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description("Authorization", text))))]
    },
};

static LOGIN: Object = Object::request(
    "Login",
    "用户登录认证的参数",
    &[
        Field::text("username", "登录用户名：名字、手机号或邮箱，不分大小写", "mark"),
        Field::like(
            "password",
            "`md5(D + timestamp)`，十六进制，大小写均可",
            HEX32,
            "f1d750ac6033b0c79fc54c18c8ae0fb9",
        ),
        Field::digits("timestamp", "加密时的 UTC 时间戳，秒；数字或字符串", SECONDS, "1767254400"),
    ],
);

static PWDRESET: Object = Object::request(
    "PwdReset",
    "重置密码的参数",
    &[
        Field::digits(
            "user_id",
            "UUID 或其 32 位十六进制；十进制数不对应任何用户",
            "^([0-9]{1,18}|[0-9A-Fa-f]{32}|[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})$",
            "0b922f14-d00b-11e7-aafd-525400bbac8e",
        ),
        Field::like("orig_password", "`md5(原 D + timestamp)`", HEX32, "00b945c1fd92aa2623b704d8d37d8ffc"),
        Field::like("new_password", "新的 `D`，**不**加盐", HEX32, "199db40c253bdc3875400e8ac67b9e21"),
        Field::digits("timestamp", "加密时的 UTC 时间戳，秒；数字或字符串", SECONDS, "1511839692"),
    ],
);

static SUCC: Object = Object::answer(
    "Succ",
    "成功",
    &[
        Field::one_of("message", "固定为 Succ", &["Succ"]),
        Field::one_of("code", "固定为 0000", &["0000"]),
        Field::object("data", "用户", &USER),
    ],
);

static USER: Object = Object::answer(
    "User",
    "用户；没有的文本为空字符串，从不为 null",
    &[
        Field::like(
            "user_id",
            "用户 UUID",
            "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
            "0b922f14-d00b-11e7-aafd-525400bbac8e",
        ),
        Field::text("user_name", "用户名；没有则为注册时所用，否则手机号或邮箱", "dddddd"),
        Field::like(
            "register_time",
            "注册时间，RFC 3339，UTC，微秒",
            r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$",
            "2017-11-23T04:59:11.544126Z",
        ),
        Field::one_of("status", "正常用户为空", &[""]),
        Field::text("avatar_url", "头像", ""),
        Field::text("user_phone", "手机号", "12312312312"),
        Field::text("user_email", "邮箱", ""),
        Field::like("user_token", "新会话的凭证", "^[0-9a-f]{32}$", "dbf15a70056b49feaa394288ea9299e3"),
        Field::one_of("role", "角色", &["user", "admin"]),
        Field::text("user_real_name", "真实姓名", "fff"),
        Field::one_of("user_gender", "性别", &["男", "女", ""]),
        Field::text("user_nickname", "昵称", ""),
        Field::like("user_alias_id", "别名 ID", "^[0-9a-f]{32}$", "0b9314d8d00b11e7aafd525400bbac8e"),
        Field::text("enterprise", "企业", "e8d3bc38-beb0-11e7-888f-525400d25920"),
        Field::text("group", "组", "rentuser"),
    ],
);

static NO: Object = Object::answer(
    "No",
    "失败",
    &[
        Field::text("message", "说明", "用户名或密码错误"),
        Field::one_of("code", "错误码", &["1002", "1001", "1003", "1004", "1005", "1006", "1007", "1009"]),
    ],
);

static BYE: Object = Object::answer("Bye", "已登出", &[Field::one_of("msg", "固定为 退出成功", &["退出成功"])]);

/// The document.
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
        .played(GOLDEN_LOGIN, "POST /api/v1/cloudbox/smarttms/auth/authsalt")
}

pub(crate) fn pwdreset() -> Description<Cloudbox> {
    let text =
        "Change the password by proving the old one. 该方法无需携带 token；成功后该用户在所有方言中的其他会话都结束。";
    Description::of("pwdreset", "重置密码接口", text)
        .takes(&PWDRESET)
        .answers([&SUCC, &NO])
        .refuses(proving())
        .limited()
        .played(GOLDEN_PWDRESET, "POST /api/v1/cloudbox/auth/pwdreset")
}

pub(crate) fn logout() -> Description<Cloudbox> {
    Description::of("logout", "运营平台登出接口", "End the session of the token. 正文内容不看，但不能过大或过慢。")
        .answers([&BYE])
        .refuses([Error::NotAuthenticated])
        .tells("Timeout", Cloudbox::refuse(&Refusal::Timeout))
        .tells("TooLarge", Cloudbox::refuse(&Refusal::TooLarge))
        .needs(&[TOKEN])
        .played(GOLDEN_LOGIN, "POST /api/v1/cloudbox/smarttms/logout")
}
