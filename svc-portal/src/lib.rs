//! The portal dialect: accounts that people open themselves, with a code sent to their phone or mail.
//!
//! `WIRE.md` beside this crate has the routes, the quirks and the error table; `docs/PROTOCOLS.md` says how the API
//! document is read. Here:
//! - `wire`: what clients send and are answered, and nothing else; `encoded`: its base64
//! - `dialect`: how the portal says yes and no
//! - `handlers`: parse, call, render; [`cookie`]: how its sessions are carried
//! - `openapi`: what is told of all this to people and programs

pub mod cookie;
mod dialect;
pub mod encoded;
mod handlers;
mod openapi;
mod wire;

use std::sync::Arc;

use actix_web::web::{Data, ServiceConfig};
use stele_app::{Context, Service};
use stele_dialect::{Calls, Routes};
use stele_service::ConfigError;
use stele_service::origins::CORS_ORIGINS;
use stele_service::setting::value;

pub use dialect::Portal;
use handlers::Options;

stele_service::settings! {
    /// What this dialect reads beside the settings that all share.
    pub const SETTINGS = "STELE_";
    /// answer an unknown user at login with 3201; false: as a wrong password, 3202
    PORTAL_TELL_UNKNOWN: bool = value("true");
}

/// The service.
pub const SERVICE: Service = Service::new::<Portal>(8103, SETTINGS, routes, openapi::document);

fn routes(context: &Context) -> Result<Routes, ConfigError> {
    let tell_unknown = context.settings.get(&PORTAL_TELL_UNKNOWN)?;
    let options = Data::new(Options { tell_unknown, origins: context.settings.get(&CORS_ORIGINS)? });
    Ok(Arc::new(move |config: &mut ServiceConfig| calls().serve(config.app_data(options.clone()))))
}

fn calls() -> Calls<Portal> {
    Calls::default()
        .post("/i/register", handlers::register, openapi::register)
        .post("/i/login", handlers::login, openapi::login)
        .post("/i/logout", handlers::logout, openapi::logout)
        .post("/i/resetpwd", handlers::resetpwd, openapi::resetpwd)
        .post("/code/send", handlers::send, openapi::send)
}
