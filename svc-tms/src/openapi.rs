//! The OpenAPI descriptions of the TMS dialect.

use stele_core::Error;
use stele_dialect::message_code::{
    ERROR_BODY, ERROR_TABLE, HEX32_PATTERN, TIMESTAMP_FIELD, USER_ID_PATTERN, success_fields,
};
use stele_dialect::openapi::{
    ApiInfo, ApiKey, ApiKeyValue, FieldSchema, ObjectSchema, OpenApi, OperationDescription, SecurityScheme,
};

use crate::Tms;
use crate::wire::USER_VIEW;

const TOKEN_SCHEME: &str = "token";

const API_INFO: ApiInfo = ApiInfo {
    title: "TMS",
    description: &[
        "管理员登录、用户登录、修改密码。Log in as an administrator or a user, change the password.

`D = md5(密码的 UTF-8)`，32 位小写十六进制。`password` 与 `orig_password` 是 `md5(D + timestamp)` 或 `D` 本身，
由 `STELE_TMS_PROOF` 决定（默认两者均可）；只收 `D` 时 `timestamp` 可以省略。登录须带客户端凭证或有效的用户凭证，
除非 `STELE_TMS_REQUIRE_TOKEN=false`。参数在请求正文里（JSON、urlencoded 或 multipart，默认最大 64 KiB），也可以在查询串里，两处都有则以正文为准，数字可以写成字符串。
Bodies may be JSON, urlencoded or multipart; numbers may come as strings.",
        ERROR_TABLE,
    ],
    error_bodies: &[&ERROR_BODY],
    extra_schemas: &[],
    security_schemes: || {
        let text = "客户端凭证（`stele token add`）或 `user_token`，前面可以有 `Bearer`、`Token` 或 `JWT`，可加双引号。A client token or a user's.";
        vec![(TOKEN_SCHEME, SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description("Authorization", text))))]
    },
};

static LOGIN_REQUEST: ObjectSchema = ObjectSchema::request_body(
    "Login",
    "登录的参数",
    &[
        FieldSchema::text("username", "名字、手机号（写法不限，如 `+86 138-0013-8000`）或邮箱，不分大小写", "mark"),
        FieldSchema::pattern(
            "password",
            "已经 md5 加密过的密码，大小写均可",
            HEX32_PATTERN,
            "f1d750ac6033b0c79fc54c18c8ae0fb9",
        ),
        TIMESTAMP_FIELD,
    ],
);

static PWDRESET_REQUEST: ObjectSchema = ObjectSchema::request_body(
    "PwdReset",
    "修改密码的参数",
    &[
        FieldSchema::digits(
            "user_id",
            "UUID、其 32 位十六进制，从旧系统导入的编号，或用户编号",
            USER_ID_PATTERN,
            "100001",
        ),
        FieldSchema::pattern(
            "orig_password",
            "原密码的证明，同登录",
            HEX32_PATTERN,
            "e10adc3949ba59abbe56e057f20f883e",
        ),
        FieldSchema::pattern("new_password", "新的 `D`，**不**加盐", HEX32_PATTERN, "c33367701511b4f6020ec61ded352059"),
        TIMESTAMP_FIELD,
    ],
);

static SUCCESS_BODY: ObjectSchema = ObjectSchema::response_body("Succ", "成功", &SUCCESS_FIELDS);
static SUCCESS_FIELDS: [FieldSchema; 3] = success_fields(&USER_VIEW);

/// The OpenAPI document.
pub(crate) fn document() -> OpenApi {
    crate::endpoints().openapi_document(&API_INFO)
}

fn with_proof_errors(description: OperationDescription<Tms>) -> OperationDescription<Tms> {
    let proof_errors = [Error::WrongPassword, Error::Stale, Error::Replayed, Error::Disabled, Error::NotAuthenticated];
    description
        .success_bodies([&SUCCESS_BODY, &ERROR_BODY])
        .error_examples(proof_errors)
        .rate_limited()
        .security_schemes(&[TOKEN_SCHEME])
}

pub(crate) fn login_admin() -> OperationDescription<Tms> {
    let text = "Log in as an administrator; any other user gets the error of a wrong password. 该方法需携带 token。";
    with_proof_errors(OperationDescription::new("adminauthsalt", "管理员加密登录接口", text))
        .required_body(&LOGIN_REQUEST)
}

pub(crate) fn login_user() -> OperationDescription<Tms> {
    let text = "Log in. 该方法需携带 token。文档的“修改用户密码”一节与本接口的地址和参数完全相同，故由本接口应答。";
    with_proof_errors(OperationDescription::new("authsalt", "用户加密登录接口", text)).required_body(&LOGIN_REQUEST)
}

pub(crate) fn pwdreset() -> OperationDescription<Tms> {
    let text = "Change the password by proving the old one, with a valid token of the user or of an administrator. \
                该方法需携带用户本人或管理员的 token；成功后该用户在所有方言中的其他会话都结束。";
    with_proof_errors(OperationDescription::new("pwdreset", "修改密码", text))
        .error_examples([Error::CommonPassword])
        .required_body(&PWDRESET_REQUEST)
}
