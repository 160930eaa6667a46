//! What TMS serves, described.

use stele_core::Error;
use stele_dialect::openapi::{About, ApiKey, ApiKeyValue, Description, Field, Object, OpenApi, SecurityScheme};

use crate::Tms;

const GOLDEN_LOGIN: &str = include_str!("../tests/golden/login.http");
const GOLDEN_PWDRESET: &str = include_str!("../tests/golden/pwdreset.http");
const HEX32: &str = "^[0-9A-Fa-f]{32}$";
const SECONDS: &str = "^(0|[1-9][0-9]{0,17})$";
const TOKEN: &str = "token";

const ABOUT: About = About {
    title: "TMS",
    text: "管理员登录、用户登录、修改密码。Log in as an administrator or a user, change the password.

`D = md5(密码的 UTF-8)`，32 位小写十六进制。`password` 与 `orig_password` 是 `md5(D + timestamp)` 或 `D` 本身，
由 `STELE_TMS_PROOF` 决定（默认两者均可）；只收 `D` 时 `timestamp` 可以省略。登录须带客户端凭证或有效的用户凭证，
除非 `STELE_TMS_REQUIRE_TOKEN=false`。请求正文可以是 JSON、urlencoded 或 multipart，默认最大 64 KiB，数字可以写成字符串。
Bodies may be JSON, urlencoded or multipart; numbers may come as strings.

| code | HTTP | 含义 |
| --- | --- | --- |
| `0000` | 200 | 成功 |
| `1001` | 400, 404, 405, 413 | 参数缺失、错误或重复（会指出字段），请求无法解析，接口不存在 |
| `1002` | 200 | 用户名或密码错误；用户不存在、管理员登录时不是管理员，也一样 |
| `1003` | 200 | 时间戳已过期 |
| `1004` | 200 | 请求已被使用 |
| `1005` | 401 | 登录凭证缺失或已失效 |
| `1006` | 200 | 用户已被禁用 |
| `1007` | 429 | 操作过于频繁，见 `Retry-After` |
| `1009` | 408, 500, 503 | 超时，或服务端故障 |",
    refusals: &[&NO],
    more: &[],
    schemes: || {
        let text = "客户端凭证（`stele token add`）或 `user_token`，前面可以有 `Bearer`。A client token or a user's.";
        vec![(TOKEN, SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description("Authorization", text))))]
    },
};

static LOGIN: Object = Object::request(
    "Login",
    "登录的参数",
    &[
        Field::text("username", "名字、手机号或邮箱，不分大小写", "mark"),
        Field::like("password", "已经 md5 加密过的密码，大小写均可", HEX32, "f1d750ac6033b0c79fc54c18c8ae0fb9"),
        Field::digits("timestamp", "UTC 时间戳，秒；数字或字符串", SECONDS, "1767254400"),
    ],
);

static PWDRESET: Object = Object::request(
    "PwdReset",
    "修改密码的参数",
    &[
        Field::digits(
            "user_id",
            "UUID、其 32 位十六进制，或用户编号",
            "^([0-9]{1,18}|[0-9A-Fa-f]{32}|[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})$",
            "100001",
        ),
        Field::like("orig_password", "原密码的证明，同登录", HEX32, "e10adc3949ba59abbe56e057f20f883e"),
        Field::like("new_password", "新的 `D`，**不**加盐", HEX32, "c33367701511b4f6020ec61ded352059"),
        Field::digits("timestamp", "UTC 时间戳，秒；数字或字符串", SECONDS, "1767254400"),
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
            "01a56814-2da2-11e8-aafd-525400bbac8e",
        ),
        Field::text("user_name", "用户名；没有则为注册时所用，否则手机号或邮箱", "ddffccc"),
        Field::like(
            "register_time",
            "注册时间，RFC 3339，微秒，时区见 `STELE_TMS_TZ`（默认 +08:00）",
            r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)$",
            "2018-03-22T15:24:07.037042+08:00",
        ),
        Field::one_of("status", "正常用户为空", &[""]),
        Field::text("avatar_url", "头像", ""),
        Field::text("user_phone", "手机号", "1548736484"),
        Field::text("user_email", "邮箱", ""),
        Field::like("user_token", "新会话的凭证", "^[0-9a-f]{32}$", "11f58f61a2b44eff8ab01686fc0c309b"),
        Field::text("user_real_name", "真实姓名", "bbbbb"),
        Field::one_of("user_gender", "性别", &["男", "女", ""]),
        Field::text("user_nickname", "昵称", ""),
        Field::like("user_alias_id", "别名 ID", "^[0-9a-f]{32}$", "01a572502da211e8aafd525400bbac8e"),
        Field::one_of("role", "角色：1 管理员，2 用户", &["2", "1"]),
        Field::one_of("group", "角色，用文字", &["user", "admin"]),
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

/// The document.
pub(crate) fn document() -> OpenApi {
    crate::calls().document(&ABOUT)
}

fn proving(description: Description<Tms>) -> Description<Tms> {
    let told = [Error::WrongPassword, Error::Stale, Error::Replayed, Error::Disabled, Error::NotAuthenticated];
    description.answers([&SUCC, &NO]).refuses(told).limited().needs(&[TOKEN])
}

pub(crate) fn login_admin() -> Description<Tms> {
    let text = "Log in as an administrator; others are told what a wrong password is. 该方法需携带 token。";
    proving(Description::of("adminauthsalt", "管理员加密登录接口", text))
        .takes(&LOGIN)
        .played(GOLDEN_LOGIN, "POST /container/api/v1/cloudbox/tms/auth/adminauthsalt")
}

pub(crate) fn login_user() -> Description<Tms> {
    let text = "Log in. 该方法需携带 token。文档的“修改用户密码”一节与本接口的地址和参数完全相同，故由本接口应答。";
    proving(Description::of("authsalt", "用户加密登录接口", text))
        .takes(&LOGIN)
        .played(GOLDEN_LOGIN, "POST /container/api/v1/cloudbox/tms/auth/authsalt")
}

pub(crate) fn pwdreset() -> Description<Tms> {
    let text = "Change the password by proving the old one, with the user's own live token or an administrator's. \
                该方法需携带用户本人或管理员的 token；成功后该用户在所有方言中的其他会话都结束。";
    proving(Description::of("pwdreset", "修改密码", text))
        .takes(&PWDRESET)
        .played(GOLDEN_PWDRESET, "POST /container/api/v1/cloudbox/tms/auth/pwdreset")
}
