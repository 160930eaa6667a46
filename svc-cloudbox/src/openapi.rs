//! The OpenAPI descriptions of the cloudbox dialect.

use stele_core::Error;
use stele_dialect::message_code::{
    ERROR_BODY, ERROR_TABLE, HEX32_PATTERN, TIMESTAMP_FIELD, USER_ID_PATTERN, success_fields,
};
use stele_dialect::openapi::{
    ApiInfo, ApiKey, ApiKeyValue, FieldSchema, ObjectSchema, OpenApi, OperationDescription, SecurityScheme,
};
use stele_dialect::{Dialect as _, RequestRejection};

use crate::Cloudbox;
use crate::wire::{LOGOUT_BODY, USER_VIEW};

const TOKEN_SCHEME: &str = "user_token";

const API_INFO: ApiInfo = ApiInfo {
    title: "Cloudbox",
    description: &[
        "加盐 md5 登录、修改密码、登出。Log in with a salted md5, change the password, log out.

`D = md5(密码的 UTF-8)`，32 位小写十六进制；证明是 `md5(D + timestamp)`，时间戳为 UTC 秒，每个证明只能用一次。
参数在请求正文里（JSON、urlencoded 或 multipart，默认最大 64 KiB），也可以在查询串里，两处都有则以正文为准，数字可以写成字符串，未列出的字段被忽略。
Bodies may be JSON, urlencoded or multipart; numbers may come as strings.",
        ERROR_TABLE,
    ],
    error_bodies: &[&ERROR_BODY],
    extra_schemas: &[],
    security_schemes: || {
        let text =
            "`user_token`，前面可以有 `Bearer`、`Token` 或 `JWT`，可加双引号。The token alone, or after a scheme.";
        vec![(TOKEN_SCHEME, SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description("Authorization", text))))]
    },
};

static LOGIN_REQUEST: ObjectSchema = ObjectSchema::request_body(
    "Login",
    "用户登录认证的参数",
    &[
        FieldSchema::text(
            "username",
            "登录用户名：名字、手机号（写法不限，如 `+86 138-0013-8000`）或邮箱，不分大小写",
            "mark",
        ),
        FieldSchema::pattern(
            "password",
            "`md5(D + timestamp)`，十六进制，大小写均可",
            HEX32_PATTERN,
            "f1d750ac6033b0c79fc54c18c8ae0fb9",
        ),
        TIMESTAMP_FIELD,
    ],
);

static PWDRESET_REQUEST: ObjectSchema = ObjectSchema::request_body(
    "PwdReset",
    "重置密码的参数",
    &[
        FieldSchema::digits(
            "user_id",
            "UUID 或其 32 位十六进制，或从旧系统导入的编号（数字或字符串）；用户序号不对应任何用户",
            USER_ID_PATTERN,
            "0b922f14-d00b-11e7-aafd-525400bbac8e",
        ),
        FieldSchema::pattern(
            "orig_password",
            "`md5(原 D + timestamp)`",
            HEX32_PATTERN,
            "00b945c1fd92aa2623b704d8d37d8ffc",
        ),
        FieldSchema::pattern("new_password", "新的 `D`，**不**加盐", HEX32_PATTERN, "199db40c253bdc3875400e8ac67b9e21"),
        TIMESTAMP_FIELD,
    ],
);

static SUCCESS_BODY: ObjectSchema = ObjectSchema::response_body("Succ", "成功", &SUCCESS_FIELDS);
static SUCCESS_FIELDS: [FieldSchema; 3] = success_fields(&USER_VIEW);

/// The OpenAPI document.
pub(crate) fn document() -> OpenApi {
    crate::endpoints().openapi_document(&API_INFO)
}

fn proof_errors() -> [Error; 4] {
    [Error::WrongPassword, Error::Stale, Error::Replayed, Error::Disabled]
}

pub(crate) fn login() -> OperationDescription<Cloudbox> {
    OperationDescription::new("authsalt", "用户登录认证接口（app）", "Log in with a salted md5. 该方法无需携带 token。")
        .required_body(&LOGIN_REQUEST)
        .success_bodies([&SUCCESS_BODY, &ERROR_BODY])
        .error_examples(proof_errors())
        .rate_limited()
}

pub(crate) fn pwdreset() -> OperationDescription<Cloudbox> {
    let text =
        "Change the password by proving the old one. 该方法无需携带 token；成功后该用户在所有方言中的其他会话都结束。";
    OperationDescription::new("pwdreset", "重置密码接口", text)
        .required_body(&PWDRESET_REQUEST)
        .success_bodies([&SUCCESS_BODY, &ERROR_BODY])
        .error_examples(proof_errors())
        .error_examples([Error::CommonPassword])
        .rate_limited()
}

pub(crate) fn logout() -> OperationDescription<Cloudbox> {
    OperationDescription::new(
        "logout",
        "运营平台登出接口",
        "End the session of the token. 正文内容不看，但不能过大或过慢。",
    )
    .success_bodies([&LOGOUT_BODY])
    .error_examples([Error::NotAuthenticated])
    .error_example("Timeout", Cloudbox::render_rejection(&RequestRejection::RequestTimeout))
    .error_example("TooLarge", Cloudbox::render_rejection(&RequestRejection::BodyTooLarge))
    .security_schemes(&[TOKEN_SCHEME])
}
