//! The MeFP dialect (用户统一认证): servers of apps call it on behalf of their users, in AES-256-CBC envelopes.
//!
//! `WIRE.md` lists the routes, quirks and error codes; `docs/PROTOCOLS.md` explains how the API document is
//! interpreted.
//!
//! - [`envelope`]: encryption and decryption, with one error for every envelope that cannot be decrypted
//! - `padding`: block padding of plaintexts, detected in constant time (padding oracle)
//! - [`secret`]: loads `mefp_secret` from a setting or a file, and creates the file
//! - `wire`: request and response types, outside and inside the envelope
//! - `dialect`: error responses
//! - `app_request`: decrypts the envelope of a request and encrypts its response
//! - `handlers`: the endpoints
//! - `openapi`: the OpenAPI document

mod app_request;
mod dialect;
pub mod envelope;
mod handlers;
mod openapi;
mod padding;
pub mod secret;
mod wire;

use std::sync::Arc;

use actix_web::web::Data;
use stele_app::{Context, Service};
use stele_dialect::{Endpoints, Routes};
use stele_service::ConfigError;

pub use dialect::Mefp;

/// The default port.
const DEFAULT_PORT: u16 = 8104;

/// The MeFP service.
pub const SERVICE: Service = Service::new::<Mefp>(DEFAULT_PORT, secret::SETTINGS, routes, openapi::document)
    .with_provisioning(secret::provision);

fn routes(context: &Context) -> Result<Routes, ConfigError> {
    let key = Data::new(envelope::EnvelopeKey::new(&secret::load_secret(&context.settings)?)?);
    Ok(Arc::new(move |config| endpoints().configure(config.app_data(key.clone()))))
}

fn endpoints() -> Endpoints<Mefp> {
    let endpoints = Endpoints::default();
    let endpoints = app_request::add_endpoint(endpoints, "/auth/register", handlers::register, openapi::register);
    let endpoints = app_request::add_endpoint(endpoints, "/auth/login", handlers::login, openapi::login);
    let endpoints = app_request::add_endpoint(endpoints, "/auth/captcha", handlers::send_code, openapi::captcha);
    let endpoints = app_request::add_endpoint(endpoints, "/auth/forgot", handlers::reset_password, openapi::forgot);
    let endpoints = app_request::add_endpoint(endpoints, "/auth/token", handlers::issue_token, openapi::token);
    let endpoints = app_request::add_endpoint(
        endpoints,
        "/auth/check/loginname",
        handlers::check_loginname,
        openapi::check_loginname,
    );
    let endpoints =
        app_request::add_endpoint(endpoints, "/auth/check/captcha", handlers::check_code, openapi::check_captcha);
    app_request::add_endpoint(endpoints, "/auth/check/token", handlers::redeem_token, openapi::check_token)
}
