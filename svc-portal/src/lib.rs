//! The portal dialect: registration, login and password reset with codes sent by short message or e-mail.
//!
//! `WIRE.md` lists the routes, quirks and error codes; `docs/PROTOCOLS.md` explains how the API document is
//! interpreted.
//!
//! - `wire`: request and response types; [`base64_text`]: base64 of passwords and codes
//! - `dialect`: the response envelope and error responses
//! - `handlers`: the endpoints: parse the request, call the use case, render the response
//! - [`session_cookie`]: the session cookie
//! - `openapi`: the OpenAPI document

pub mod base64_text;
mod dialect;
mod handlers;
mod openapi;
pub mod session_cookie;
mod wire;

use std::sync::Arc;

use actix_web::web::{Data, ServiceConfig};
use stele_app::{Context, Service};
use stele_dialect::{Endpoints, Routes};
use stele_service::ConfigError;
use stele_service::cors::CORS_ORIGINS;
use stele_service::setting::with_default;

pub use dialect::Portal;
use handlers::DialectConfig;

stele_service::settings! {
    /// The settings of this dialect.
    pub const SETTINGS = "STELE_";
    /// whether logins of unknown users get error 3201; false: 3202, as for a wrong password
    PORTAL_TELL_UNKNOWN: bool = with_default("true");
}

/// The portal service, by default on port 8103.
pub const SERVICE: Service = Service::new::<Portal>(8103, SETTINGS, routes, openapi::document);

fn routes(context: &Context) -> Result<Routes, ConfigError> {
    let dialect_config = Data::new(DialectConfig {
        reveals_unknown_user: context.settings.get(&PORTAL_TELL_UNKNOWN)?,
        allowed_origins: context.settings.get(&CORS_ORIGINS)?,
    });
    Ok(Arc::new(move |config: &mut ServiceConfig| endpoints().configure(config.app_data(dialect_config.clone()))))
}

fn endpoints() -> Endpoints<Portal> {
    Endpoints::default()
        .post("/i/register", handlers::register, openapi::register)
        .post("/i/login", handlers::login, openapi::login)
        .post("/i/logout", handlers::logout, openapi::logout)
        .post("/i/resetpwd", handlers::reset_password, openapi::resetpwd)
        .post("/code/send", handlers::send_code, openapi::send)
}
