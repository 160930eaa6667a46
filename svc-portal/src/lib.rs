//! The portal dialect: accounts that people open themselves, with a code sent to their phone or mail.
//!
//! `WIRE.md` beside this crate has the routes, the quirks and the error table; `docs/PROTOCOLS.md` says how the API
//! document is read. Here:
//! - `wire`: what clients send and are answered, and nothing else; `encoded`: its base64
//! - `dialect`: how the portal says yes and no
//! - `handlers`: parse, call, render; [`session_cookie`]: how its sessions are carried
//! - `openapi`: what is told of all this to people and programs

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
    /// What this dialect reads beside the settings that all share.
    pub const SETTINGS = "STELE_";
    /// answer an unknown user at login with 3201; false: as a wrong password, 3202
    PORTAL_TELL_UNKNOWN: bool = with_default("true");
}

/// The service.
pub const SERVICE: Service = Service::new::<Portal>(8103, SETTINGS, routes, openapi::document);

fn routes(context: &Context) -> Result<Routes, ConfigError> {
    let tell_unknown = context.settings.get(&PORTAL_TELL_UNKNOWN)?;
    let options = Data::new(DialectConfig {
        reveals_unknown_user: tell_unknown,
        allowed_origins: context.settings.get(&CORS_ORIGINS)?,
    });
    Ok(Arc::new(move |config: &mut ServiceConfig| endpoints().configure(config.app_data(options.clone()))))
}

fn endpoints() -> Endpoints<Portal> {
    Endpoints::default()
        .post("/i/register", handlers::register, openapi::register)
        .post("/i/login", handlers::login, openapi::login)
        .post("/i/logout", handlers::logout, openapi::logout)
        .post("/i/resetpwd", handlers::resetpwd, openapi::resetpwd)
        .post("/code/send", handlers::send_code, openapi::send)
}
