//! The OpenAPI document, and the descriptions of the discovery endpoints in it; `endpoint_descriptions` has the others.

use stele_dialect::openapi::{ApiInfo, OpenApi, OperationDescription};

use crate::dialect::ERROR_BODY;
use crate::metadata::{JWK_SET, METADATA};
use crate::{OAuth, endpoint_descriptions};

const API_INFO: ApiInfo = ApiInfo {
    title: "OAuth 2.0",
    description: &["标准令牌：新服务按标准验证，老客户端照旧。Standard tokens (OAuth 2.0) for users of all dialects."],
    error_bodies: &[&ERROR_BODY],
    extra_schemas: &[],
    security_schemes: endpoint_descriptions::security_schemes,
};

/// The OpenAPI document.
pub(crate) fn document() -> OpenApi {
    crate::endpoints().openapi_document(&API_INFO)
}

pub(crate) fn openid_configuration() -> OperationDescription<OAuth> {
    let text = "The metadata of the server (OpenID Connect Discovery 1.0, section 4), at this path below the issuer.";
    OperationDescription::new("openidConfiguration", "OpenID 发现", text).success_bodies([&METADATA])
}

pub(crate) fn authorization_server() -> OperationDescription<OAuth> {
    let text = "The metadata of the server (RFC 8414). If the issuer has a path, the path follows (section 3.1).";
    OperationDescription::new("authorizationServer", "授权服务器元数据", text).success_bodies([&METADATA])
}

pub(crate) fn jwks() -> OperationDescription<OAuth> {
    let text =
        "The public keys that sign tokens (RFC 7517). A key is published before it signs and until it is retired.";
    OperationDescription::new("jwks", "公钥集", text).success_bodies([&JWK_SET])
}
