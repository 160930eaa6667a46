//! The MeFP dialect (用户统一认证): app servers call for their users, in AES-256-CBC envelopes.
//!
//! What is where:
//! - [`envelope`]: the encryption, without HTTP; one error for everything that cannot be opened
//! - `padding`: how a plaintext is filled up to whole blocks
//! - [`secret`]: where `mefp_secret` comes from
//! - `wire`: what the inner requests and answers look like
//! - `dialect`: how it says no
//! - `call`: from an envelope to a handler and back into an envelope
//! - `handlers`: one a route
//! - `openapi`: what is told of all this to people and programs
//!
//! `WIRE.md` has the routes, the quirks and the error table; `docs/PROTOCOLS.md` says how the API document is read.

mod app_call;
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

/// The port it listens on by default.
const DEFAULT_PORT: u16 = 8104;

/// The service.
pub const SERVICE: Service = Service::new::<Mefp>(DEFAULT_PORT, secret::SETTINGS, routes, openapi::document)
    .with_provisioning(secret::provision);

fn routes(context: &Context) -> Result<Routes, ConfigError> {
    let key = Data::new(envelope::EnvelopeKey::new(&secret::load_secret(&context.settings)?)?);
    Ok(Arc::new(move |config| endpoints().configure(config.app_data(key.clone()))))
}

fn endpoints() -> Endpoints<Mefp> {
    let calls = Endpoints::default();
    let calls = app_call::add_endpoint(calls, "/auth/register", handlers::register, openapi::register);
    let calls = app_call::add_endpoint(calls, "/auth/login", handlers::login, openapi::login);
    let calls = app_call::add_endpoint(calls, "/auth/captcha", handlers::captcha, openapi::captcha);
    let calls = app_call::add_endpoint(calls, "/auth/forgot", handlers::forgot, openapi::forgot);
    let calls = app_call::add_endpoint(calls, "/auth/token", handlers::token, openapi::token);
    let calls =
        app_call::add_endpoint(calls, "/auth/check/loginname", handlers::check_loginname, openapi::check_loginname);
    let calls = app_call::add_endpoint(calls, "/auth/check/captcha", handlers::check_captcha, openapi::check_captcha);
    app_call::add_endpoint(calls, "/auth/check/token", handlers::check_token, openapi::check_token)
}
