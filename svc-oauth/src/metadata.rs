//! Discovery: the metadata of the server (RFC 8414, OpenID Connect Discovery 1.0) and its public keys (RFC 7517).
//!
//! There is no authorization endpoint yet. Members that describe only that endpoint (`code_challenge_methods_supported`,
//! `authorization_response_iss_parameter_supported`, `scopes_supported` with `openid`, `claims_supported`) are left out, as a
//! client would otherwise send users to an endpoint that does not exist
//! ([ADR 57](../docs/adr/0057-publish-one-key-set-for-all-token-algorithms.md)).

use actix_web::http::{Method, StatusCode};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use stele_core::oauth::{Acr, Grant, SigningAlgorithm};
use stele_dialect::openapi::{FieldSchema, ObjectSchema};
use stele_dialect::{CallError, Endpoints, RequestRejection, json_response, response_body};

use crate::{OAuth, ServiceState, openapi};

const OPENID_CONFIGURATION_PATH: &str = "/.well-known/openid-configuration";
const AUTHORIZATION_SERVER_PATH: &str = "/.well-known/oauth-authorization-server";
const JWKS_PATH: &str = "/oauth2/jwks";

/// The path of the token endpoint below the issuer.
pub const TOKEN_PATH: &str = "/oauth2/token";
/// The path of the introspection endpoint below the issuer.
pub const INTROSPECTION_PATH: &str = "/oauth2/introspect";
/// The path of the revocation endpoint below the issuer.
pub const REVOCATION_PATH: &str = "/oauth2/revoke";

/// Authentication by HTTP Basic (RFC 6749 §2.3.1): a method in the metadata, a scheme in the OpenAPI document.
pub(crate) const CLIENT_SECRET_BASIC: &str = "client_secret_basic";
/// The methods by which clients and resource servers authenticate, at each of the three endpoints.
const AUTH_METHODS: [&str; 2] = [CLIENT_SECRET_BASIC, "client_secret_post"];

response_body! {
    /// The metadata, equal in both documents.
    pub(crate) struct Metadata<'a> = METADATA "Metadata" "Metadata of the server (RFC 8414 2, OpenID Discovery 3)" {
        issuer: &'a str => text("the issuer", "https://auth.example.com"),
        token_endpoint: String => text("the token endpoint", "https://auth.example.com/oauth2/token"),
        jwks_uri: String => text("the public keys", "https://auth.example.com/oauth2/jwks"),
        introspection_endpoint: String =>
            text("the introspection endpoint (RFC 7662)", "https://auth.example.com/oauth2/introspect"),
        revocation_endpoint: String =>
            text("the revocation endpoint (RFC 7009)", "https://auth.example.com/oauth2/revoke"),
        // Required (RFC 8414 2), although empty: there is no authorization endpoint.
        response_types_supported: [&'a str; 0] => texts("none: there is no authorization endpoint", ""),
        grant_types_supported: Vec<&'a str> =>
            texts("the grants of the token endpoint", Grant::ClientCredentials.grant_type()),
        subject_types_supported: [&'a str; 1] => texts("`sub` is the same for all clients", "public"),
        id_token_signing_alg_values_supported: Vec<&'a str> => texts("the signature algorithms", "RS256"),
        token_endpoint_auth_methods_supported: [&'a str; 2] =>
            texts("client authentication at the token endpoint", CLIENT_SECRET_BASIC),
        introspection_endpoint_auth_methods_supported: [&'a str; 2] =>
            texts("authentication of resource servers", CLIENT_SECRET_BASIC),
        revocation_endpoint_auth_methods_supported: [&'a str; 2] =>
            texts("client authentication at the revocation endpoint", CLIENT_SECRET_BASIC),
        acr_values_supported: Vec<&'a str> => texts("how strong a login was", "urn:stele:acr:pwd"),
        claims_parameter_supported: bool => boolean("the parameter `claims` is not supported"),
        request_parameter_supported: bool => boolean("the parameter `request` is not supported"),
        // Written out, as its default is true (Discovery 3).
        request_uri_parameter_supported: bool => boolean("the parameter `request_uri` is not supported"),
    }
}

/// The schema of the JWK Set, which [`stele_jose::JwkSet`] serializes.
pub(crate) static JWK_SET: ObjectSchema = ObjectSchema::response_body(
    "JwkSet",
    "The public keys (RFC 7517 5)",
    &[FieldSchema::objects("keys", "one for each registered key", &JWK)],
);

static JWK: ObjectSchema = ObjectSchema::response_body(
    "Jwk",
    "A public key (RFC 7517 4, RFC 7518 6, RFC 8037 2)",
    &[
        FieldSchema::one_of("kty", "the key type", &["RSA", "EC", "OKP"]),
        FieldSchema::one_of("crv", "the curve", &["P-256", "Ed25519"]).optional(),
        FieldSchema::text("n", "the modulus of an RSA key", "vAvMa3xz").optional(),
        FieldSchema::text("e", "the exponent of an RSA key", "AQAB").optional(),
        FieldSchema::text("x", "the first coordinate, or the Ed25519 key", "Dc7CAteCkkwZ").optional(),
        FieldSchema::text("y", "the second coordinate", "ShyV8-okfPmJ").optional(),
        FieldSchema::pattern("kid", "the key's id", "^[a-z0-9]+-[1-9][0-9]*$", "rs256-1"),
        FieldSchema::one_of("use", "the use", &["sig"]),
        FieldSchema::one_of("alg", "the algorithm", &["RS256", "EdDSA", "ES256"]),
    ],
);

/// Adds the endpoints of this module.
pub(crate) fn add_endpoints(endpoints: Endpoints<OAuth>) -> Endpoints<OAuth> {
    let authorization_server_pattern = format!("{AUTHORIZATION_SERVER_PATH}{{issuer_path:(/.*)?}}");
    endpoints
        .route(
            Method::GET,
            OPENID_CONFIGURATION_PATH,
            OPENID_CONFIGURATION_PATH,
            openid_configuration,
            openapi::openid_configuration,
        )
        .route(
            Method::GET,
            AUTHORIZATION_SERVER_PATH,
            &authorization_server_pattern,
            authorization_server,
            openapi::authorization_server,
        )
        .route(Method::GET, JWKS_PATH, JWKS_PATH, jwks, openapi::jwks)
}

impl<'a> Metadata<'a> {
    fn of(state: &'a ServiceState) -> Self {
        let issuer = &state.issuer;
        Self {
            issuer: issuer.as_str(),
            token_endpoint: issuer.endpoint(TOKEN_PATH),
            jwks_uri: issuer.endpoint(JWKS_PATH),
            introspection_endpoint: issuer.endpoint(INTROSPECTION_PATH),
            revocation_endpoint: issuer.endpoint(REVOCATION_PATH),
            response_types_supported: [],
            grant_types_supported: Grant::all().map(Grant::grant_type).collect(),
            subject_types_supported: ["public"],
            id_token_signing_alg_values_supported: SigningAlgorithm::all().map(SigningAlgorithm::as_str).collect(),
            token_endpoint_auth_methods_supported: AUTH_METHODS,
            introspection_endpoint_auth_methods_supported: AUTH_METHODS,
            revocation_endpoint_auth_methods_supported: AUTH_METHODS,
            // No login here has more than one factor.
            acr_values_supported: vec![Acr::Legacy.uri(), Acr::Password.uri()],
            claims_parameter_supported: false,
            request_parameter_supported: false,
            request_uri_parameter_supported: false,
        }
    }
}

async fn openid_configuration(state: Data<ServiceState>) -> HttpResponse {
    json_response(StatusCode::OK, &Metadata::of(&state))
}

/// The document of RFC 8414 3.1: the issuer's path follows the well-known path. Another path names another issuer.
async fn authorization_server(
    request: HttpRequest,
    state: Data<ServiceState>,
) -> Result<HttpResponse, CallError<OAuth>> {
    let issuer_path = request.match_info().get("issuer_path").unwrap_or_default();
    if issuer_path == state.issuer.path() {
        Ok(json_response(StatusCode::OK, &Metadata::of(&state)))
    } else {
        Err(RequestRejection::NotFound.into())
    }
}

async fn jwks(state: Data<ServiceState>) -> HttpResponse {
    json_response(StatusCode::OK, &state.keys.to_jwk_set())
}
