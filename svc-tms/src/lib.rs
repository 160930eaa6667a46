//! The TMS dialect: log in as administrator or user, change the password.
//!
//! `WIRE.md` beside this crate has the routes, the quirks and the error table; `docs/PROTOCOLS.md` says how the API
//! document is read. Here:
//! - `rules`: which of the readings in `docs/PROTOCOLS.md` (TMS) this installation uses
//! - `wire`: what clients send and are answered, and nothing else
//! - `dialect`: how TMS says no
//! - `handlers`: parse, call, render
//! - `openapi`: what is told of all this to people and programs

mod dialect;
mod handlers;
mod openapi;
mod rules;
mod wire;

use std::sync::Arc;

use actix_web::web::{Data, ServiceConfig};
use stele_app::{Context, Service};
use stele_dialect::{Calls, Routes};
use stele_service::ConfigError;

pub use dialect::Tms;
use rules::Rules;

/// The service.
pub const SERVICE: Service = Service::new::<Tms>(8102, rules::SETTINGS, routes, openapi::document);

fn routes(context: &Context) -> Result<Routes, ConfigError> {
    let rules = Data::new(Rules::from_settings(&context.settings)?);
    Ok(Arc::new(move |config: &mut ServiceConfig| calls().serve(config.app_data(rules.clone()))))
}

fn calls() -> Calls<Tms> {
    let at = |name: &str| format!("/container/api/v1/cloudbox/tms/auth/{name}");
    Calls::default()
        .post(&at("adminauthsalt"), handlers::login_admin, openapi::login_admin)
        .post(&at("authsalt"), handlers::login_user, openapi::login_user)
        .post(&at("pwdreset"), handlers::pwdreset, openapi::pwdreset)
}
