//! The TMS dialect: log in as administrator or user, change the password.
//!
//! `WIRE.md` beside this crate has the routes, the quirks and the error table. Here:
//! - `rules`: which reading of the document's open questions this installation has
//! - `wire`: what clients send and are answered, and nothing else
//! - `dialect`: how TMS says no
//! - `handlers`: parse, call, render

mod dialect;
mod handlers;
mod rules;
mod wire;

use std::sync::Arc;

use actix_web::web::{Data, ServiceConfig, post};
use stele_web::{ConfigError, Context, Routes, Service, resource};

pub use dialect::Tms;
use rules::Rules;

/// The service.
pub const SERVICE: Service = Service::new::<Tms>(8102, rules::SETTINGS, routes);

fn routes(context: &Context) -> Result<Routes, ConfigError> {
    let rules = Data::new(Rules::from_settings(&context.settings)?);
    Ok(Arc::new(move |config: &mut ServiceConfig| {
        let call = |name: &str| resource::<Tms>(&format!("/container/api/v1/cloudbox/tms/auth/{name}"));
        config
            .app_data(rules.clone())
            .service(call("adminauthsalt").route(post().to(handlers::login_admin)))
            .service(call("authsalt").route(post().to(handlers::login_user)))
            .service(call("pwdreset").route(post().to(handlers::pwdreset)));
    }))
}
