//! The cloudbox dialect: login with a salted md5 digest, password change, logout.
//!
//! `WIRE.md` lists the routes, quirks and error codes; `docs/PROTOCOLS.md` explains how the API document is
//! interpreted.
//!
//! - `wire`: request and response types
//! - `dialect`: error responses
//! - `handlers`: the endpoints: parse the request, call the use case, render the response
//! - `openapi`: the OpenAPI document

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

/// The cloudbox service, by default on port 8101.
pub const SERVICE: Service = Service::new::<Cloudbox>(8101, &[], routes, openapi::document);

fn routes(_: &Context) -> Result<Routes, ConfigError> {
    Ok(Arc::new(|config: &mut ServiceConfig| endpoints().configure(config)))
}

fn endpoints() -> Endpoints<Cloudbox> {
    Endpoints::default()
        .post("/api/v1/cloudbox/auth/pwdreset", handlers::change_password, openapi::pwdreset)
        .post("/api/v1/cloudbox/smarttms/auth/authsalt", handlers::login, openapi::login)
        .post("/api/v1/cloudbox/smarttms/logout", handlers::logout, openapi::logout)
}
