//! The MeFP dialect (用户统一认证): app servers call for their users, in AES-256-CBC envelopes.
//!
//! What is where:
//! - [`envelope`]: the encryption, without HTTP; one error for everything that cannot be opened
//! - [`secret`]: where `mefp_secret` comes from
//! - `wire`: what the inner requests and answers look like
//! - `dialect`: how it says no
//! - `call`: from an envelope to a handler and back into an envelope
//! - `handlers`: one a route
//!
//! `WIRE.md` has the routes, the quirks and the error table.

mod call;
mod dialect;
pub mod envelope;
mod handlers;
pub mod secret;
mod wire;

use std::sync::Arc;

use actix_web::web::Data;
use stele_web::{ConfigError, Context, Routes, Service};

pub use dialect::Mefp;

/// The port it listens on by default.
const PORT: u16 = 8104;

/// The service.
pub const SERVICE: Service = Service::new::<Mefp>(PORT, secret::SETTINGS, routes).provisioned_by(secret::provision);

fn routes(context: &Context) -> Result<Routes, ConfigError> {
    let key = Data::new(envelope::Key::new(&secret::secret(&context.settings)?)?);
    Ok(Arc::new(move |config| {
        config.app_data(key.clone());
        call::route(config, "/auth/register", handlers::register);
        call::route(config, "/auth/login", handlers::login);
        call::route(config, "/auth/captcha", handlers::captcha);
        call::route(config, "/auth/forgot", handlers::forgot);
        call::route(config, "/auth/token", handlers::token);
        call::route(config, "/auth/check/loginname", handlers::check_loginname);
        call::route(config, "/auth/check/captcha", handlers::check_captcha);
        call::route(config, "/auth/check/token", handlers::check_token);
    }))
}
