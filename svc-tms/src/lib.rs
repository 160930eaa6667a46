//! The TMS dialect: login of administrators and users, password change.
//!
//! `WIRE.md` lists the routes, quirks and error codes; `docs/PROTOCOLS.md` explains how the API document is
//! interpreted.
//!
//! - `config`: the settings that choose between interpretations
//! - `wire`: request and response types
//! - `dialect`: error responses
//! - `handlers`: the endpoints: parse the request, call the use case, render the response
//! - `openapi`: the OpenAPI document

mod config;
mod dialect;
mod handlers;
mod openapi;
mod wire;

use std::sync::Arc;

use actix_web::web::{Data, ServiceConfig};
use stele_app::{Context, Service};
use stele_dialect::{Endpoints, Routes};
use stele_service::ConfigError;

use config::DialectConfig;
pub use dialect::Tms;

/// The TMS service, by default on port 8102.
pub const SERVICE: Service = Service::new::<Tms>(8102, config::SETTINGS, routes, openapi::document);

fn routes(context: &Context) -> Result<Routes, ConfigError> {
    let config = Data::new(DialectConfig::from_settings(&context.settings)?);
    Ok(Arc::new(move |service: &mut ServiceConfig| endpoints().configure(service.app_data(config.clone()))))
}

fn endpoints() -> Endpoints<Tms> {
    let path = |name: &str| format!("/container/api/v1/cloudbox/tms/auth/{name}");
    Endpoints::default()
        .post(&path("adminauthsalt"), handlers::login_admin, openapi::login_admin)
        .post(&path("authsalt"), handlers::login_user, openapi::login_user)
        .post(&path("pwdreset"), handlers::change_password, openapi::pwdreset)
}
