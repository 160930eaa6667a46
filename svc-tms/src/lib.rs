//! The TMS dialect: log in as administrator or user, change the password.
//!
//! `WIRE.md` beside this crate has the routes, the quirks and the error table; `docs/PROTOCOLS.md` says how the API
//! document is read. Here:
//! - `rules`: which of the readings in `docs/PROTOCOLS.md` (TMS) this installation uses
//! - `wire`: what clients send and are answered, and nothing else
//! - `dialect`: how TMS says no
//! - `handlers`: parse, call, render
//! - `openapi`: what is told of all this to people and programs

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

/// The service.
pub const SERVICE: Service = Service::new::<Tms>(8102, config::SETTINGS, routes, openapi::document);

fn routes(context: &Context) -> Result<Routes, ConfigError> {
    let rules = Data::new(DialectConfig::from_settings(&context.settings)?);
    Ok(Arc::new(move |config: &mut ServiceConfig| endpoints().configure(config.app_data(rules.clone()))))
}

fn endpoints() -> Endpoints<Tms> {
    let at = |name: &str| format!("/container/api/v1/cloudbox/tms/auth/{name}");
    Endpoints::default()
        .post(&at("adminauthsalt"), handlers::login_admin, openapi::login_admin)
        .post(&at("authsalt"), handlers::login_user, openapi::login_user)
        .post(&at("pwdreset"), handlers::pwdreset, openapi::pwdreset)
}
