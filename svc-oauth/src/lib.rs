//! Standard tokens for users of all dialects: OAuth 2.0 and the metadata by which clients and resource servers find it.
//!
//! `WIRE.md` lists the endpoints with the sections of the standards that they follow.
//!
//! - `dialect`: error responses (RFC 6749 5.2)
//! - [`metadata`]: discovery (RFC 8414, OpenID Connect Discovery) and the JWK Set
//! - `token`, `introspect`, `revoke`: the endpoints of clients and resource servers; `request` reads what they share:
//!   [`form`] (strict parameters), [`credentials`] (client authentication); `error`: their error responses
//! - [`access_token`]: access tokens as JWTs (RFC 9068)
//! - [`authz`]: forward auth, for reverse proxies that ask about each request
//! - `wire`: response bodies; `openapi`, `endpoint_descriptions`: the OpenAPI document

pub mod access_token;
pub mod authz;
pub mod credentials;
mod dialect;
mod endpoint_descriptions;
mod error;
pub mod form;
mod introspect;
pub mod metadata;
mod openapi;
mod request;
mod revoke;
mod token;
mod wire;

use std::sync::Arc;

use actix_web::web::Data;
use stele_app::token_settings::{JWT_ALG, JWT_ISSUER};
use stele_app::{Context, Issuer, Service};
use stele_core::oauth::SigningAlgorithm;
use stele_dialect::{Endpoints, Routes};
use stele_jose::{KeySet, LoginTokens, Signer, Verifier, key_kind};
use stele_keys::KeyKind;
use stele_service::{ConfigError, Settings};

pub use dialect::OAuth;

/// The OAuth service, by default on port 8106.
pub const SERVICE: Service = Service::new::<OAuth>(8106, authz::SETTINGS, routes, openapi::document)
    .with_prerequisite(|context| Issuer::of_context(context).map(drop))
    .with_signing_keys(signing_key_kinds)
    .with_verbatim_prefix(authz::VERBATIM_PREFIX);

/// The state of the service that its handlers share.
pub struct ServiceState {
    /// The issuer of tokens, below which the endpoints are.
    pub issuer: Issuer,
    /// The signing keys of all algorithms.
    pub keys: KeySet,
    /// Signs access tokens.
    pub signer: Signer,
    /// Verifies access tokens.
    pub verifier: Verifier,
    /// Verifies the login tokens of the JWT dialect.
    pub login_tokens: LoginTokens,
}

impl ServiceState {
    fn from_context(context: &Context) -> Result<Self, ConfigError> {
        let (settings, algorithms) = (&context.settings, SigningAlgorithm::all().collect::<Vec<_>>());
        let issuer = Issuer::of_context(context)?;
        let keys = KeySet::register(&algorithms, &context.keys)?;
        let (signer, verifier) = (Signer::new(keys.clone()), Verifier::new(keys.clone()));
        let login_tokens = LoginTokens::new(&keys, settings.get(&JWT_ALG)?, &settings.get(&JWT_ISSUER)?);
        Ok(Self { issuer, keys, signer, verifier, login_tokens })
    }
}

/// Every algorithm, so that each client can have its own.
fn signing_key_kinds(_: &Settings) -> Result<Vec<KeyKind>, ConfigError> {
    Ok(SigningAlgorithm::all().map(key_kind).collect())
}

fn routes(context: &Context) -> Result<Routes, ConfigError> {
    let state = Data::new(ServiceState::from_context(context)?);
    let authz = authz::routes(&context.settings)?;
    Ok(Arc::new(move |config| {
        endpoints().configure(config.app_data(state.clone()));
        authz(config);
    }))
}

fn endpoints() -> Endpoints<OAuth> {
    metadata::add_endpoints(Endpoints::default())
        .post(metadata::TOKEN_PATH, token::token, endpoint_descriptions::token)
        .post(metadata::INTROSPECTION_PATH, introspect::introspect, endpoint_descriptions::introspect)
        .post(metadata::REVOCATION_PATH, revoke::revoke, endpoint_descriptions::revoke)
}
