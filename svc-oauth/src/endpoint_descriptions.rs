//! The OpenAPI descriptions of the token, introspection and revocation endpoints.

use stele_core::oauth::{Grant, LegacyTokenType, OAuthError, SubjectTokenType};
use stele_dialect::openapi::{
    FieldSchema, HttpAuthScheme, HttpBuilder, ObjectSchema, OperationDescription, SecurityScheme,
};

use crate::OAuth;
use crate::error::{EndpointError, respond};
use crate::metadata::CLIENT_SECRET_BASIC;
use crate::wire::{ACTIVE_BODY, INACTIVE_BODY, REVOKED_BODY, TOKEN_BODY};

/// The authentication schemes of the three endpoints.
pub(crate) fn security_schemes() -> Vec<(&'static str, SecurityScheme)> {
    let text = "id（或资源服务器的名字）与密钥。The client's id, or the resource server's name, and the secret.";
    let basic = HttpBuilder::new().scheme(HttpAuthScheme::Basic).description(Some(text)).build();
    vec![(CLIENT_SECRET_BASIC, SecurityScheme::Http(basic))]
}

/// The schema of a request body with these fields, and with those of `client_secret_post`.
macro_rules! form {
    ($name:literal, $description:literal, [$($field:expr),+ $(,)?]) => {
        ObjectSchema::request_body(
            $name,
            $description,
            &[
                $($field,)+
                FieldSchema::optional_text("client_id", "客户端 id，若不用 Basic。Unless Basic is used", "web"),
                FieldSchema::optional_text("client_secret", "密钥，若不用 Basic。Unless Basic is used", "…"),
            ],
        )
    };
}

static TOKEN_REQUEST: ObjectSchema = form!(
    "TokenRequest",
    "令牌端点的参数。Parameters of the token endpoint",
    [
        FieldSchema::one_of(
            "grant_type",
            "授权类型。The grant",
            &[Grant::TokenExchange.grant_type(), Grant::ClientCredentials.grant_type()],
        ),
        FieldSchema::optional_text(
            "subject_token",
            "要交换的令牌。The token to exchange",
            "3f0c5e5b0c5f4f0c9d3c5a5e5f3c0b1a"
        ),
        FieldSchema::optional_text("subject_token_type", "其类型。Its type", LegacyTokenType::CloudboxSession.urn()),
        FieldSchema::optional_text(
            "audience",
            "资源服务器的名字或受众。The resource server's name or audience",
            "orders"
        ),
        FieldSchema::optional_text(
            "resource",
            "资源服务器的受众。The resource server's audience",
            "https://orders.example.com/"
        ),
        FieldSchema::optional_text("scope", "范围，以空格分隔。The scope", "read write"),
        FieldSchema::optional_text(
            "requested_token_type",
            "只能是访问令牌。An access token only",
            SubjectTokenType::AccessToken.urn(),
        ),
    ]
);

static INTROSPECTION_REQUEST: ObjectSchema = form!(
    "IntrospectionRequest",
    "内省端点的参数。Parameters of the introspection endpoint",
    [
        FieldSchema::text("token", "令牌。The token", "3f0c5e5b0c5f4f0c9d3c5a5e5f3c0b1a"),
        FieldSchema::optional_text(
            "token_type_hint",
            "旧令牌须写明类型。Required for a legacy token",
            LegacyTokenType::CloudboxSession.urn(),
        ),
    ]
);

static REVOCATION_REQUEST: ObjectSchema = form!(
    "RevocationRequest",
    "撤销端点的参数。Parameters of the revocation endpoint",
    [
        FieldSchema::text("token", "访问令牌。The access token", "eyJ0eXAiOiJhdCtqd3QifQ.e30.c2ln"),
        FieldSchema::optional_text("token_type_hint", "不看。Ignored", "access_token"),
    ]
);

fn with_errors(
    description: OperationDescription<OAuth>,
    errors: Vec<(&str, EndpointError)>,
) -> OperationDescription<OAuth> {
    let all = errors.into_iter().chain([("InvalidClient", EndpointError::OAuth(OAuthError::InvalidClient))]);
    all.fold(description, |all, (name, error)| all.error_example(name, respond(Err(error))))
        .rate_limited()
        .security_schemes(&[CLIENT_SECRET_BASIC])
        .security_optional()
}

pub(crate) fn token() -> OperationDescription<OAuth> {
    let description = OperationDescription::new(
        "token",
        "令牌端点",
        "客户端用自己的密钥换取访问令牌，或用旧系统的会话交换。Issue an access token to a client, or exchange a legacy session \
         (RFC 6749 §4.4, RFC 8693).",
    )
    .required_form(&TOKEN_REQUEST)
    .success_bodies([&TOKEN_BODY]);
    with_errors(
        description,
        vec![
            ("InvalidRequest", EndpointError::OAuth(OAuthError::BadSubjectToken)),
            ("UnauthorizedClient", EndpointError::OAuth(OAuthError::UnauthorizedClient)),
            ("UnsupportedGrantType", EndpointError::UnsupportedGrantType),
            ("InvalidTarget", EndpointError::OAuth(OAuthError::InvalidTarget)),
            ("InvalidScope", EndpointError::OAuth(OAuthError::InvalidScope)),
        ],
    )
}

pub(crate) fn introspect() -> OperationDescription<OAuth> {
    let description = OperationDescription::new(
        "introspect",
        "令牌内省",
        "资源服务器查询令牌是否有效；也可查询旧系统的会话。Ask whether a token is valid, also a legacy one (RFC 7662).",
    )
    .required_form(&INTROSPECTION_REQUEST)
    .success_bodies([&ACTIVE_BODY, &INACTIVE_BODY]);
    with_errors(description, vec![("InvalidRequest", EndpointError::missing("token"))])
}

pub(crate) fn revoke() -> OperationDescription<OAuth> {
    let description =
        OperationDescription::new("revoke", "撤销令牌", "客户端撤销自己的访问令牌。Revoke an access token (RFC 7009).")
            .required_form(&REVOCATION_REQUEST)
            .success_bodies([&REVOKED_BODY]);
    with_errors(description, vec![("InvalidRequest", EndpointError::OAuth(OAuthError::OtherClientsToken))])
}
