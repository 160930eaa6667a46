//! The cloudbox dialect: log in with a salted md5, change the password, log out.
//!
//! `WIRE.md` beside this crate has the routes, the quirks and the error table; `docs/PROTOCOLS.md` says how the API
//! document is read. Here:
//! - `wire`: what clients send and are answered, and nothing else
//! - `dialect`: how cloudbox says no
//! - `handlers`: parse, call, render
//! - `openapi`: what is told of all this to people and programs

mod dialect;
mod handlers;
mod openapi;
mod wire;

use std::sync::Arc;

use actix_web::web::ServiceConfig;
use stele_app::{Context, Service};
use stele_dialect::{Endpoints, Routes};
use stele_service::ConfigError;

pub use dialect::Cloudbox;

/// The service.
pub const SERVICE: Service = Service::new::<Cloudbox>(8101, &[], routes, openapi::document);

fn routes(_: &Context) -> Result<Routes, ConfigError> {
    Ok(Arc::new(|config: &mut ServiceConfig| endpoints().configure(config)))
}

fn endpoints() -> Endpoints<Cloudbox> {
    Endpoints::default()
        .post("/api/v1/cloudbox/auth/pwdreset", handlers::pwdreset, openapi::pwdreset)
        .post("/api/v1/cloudbox/smarttms/auth/authsalt", handlers::login, openapi::login)
        .post("/api/v1/cloudbox/smarttms/logout", handlers::logout, openapi::logout)
}
