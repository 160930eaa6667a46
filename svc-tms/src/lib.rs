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

use actix_web::http::Method;
use actix_web::web::{Data, ServiceConfig};
use stele_web::{ConfigError, Context, Routes, Service, endpoint};

pub use dialect::Tms;
use rules::Rules;

/// The service.
pub const SERVICE: Service = Service::new::<Tms>(8102, rules::SETTINGS, routes);

fn routes(context: &Context) -> Result<Routes, ConfigError> {
    let rules = Data::new(Rules::from_settings(&context.settings)?);
    Ok(Arc::new(move |config: &mut ServiceConfig| {
        let at = |name: &str| format!("/container/api/v1/cloudbox/tms/auth/{name}");
        config
            .app_data(rules.clone())
            .service(endpoint::<Tms, _, _>(Method::POST, &at("adminauthsalt"), handlers::login_admin))
            .service(endpoint::<Tms, _, _>(Method::POST, &at("authsalt"), handlers::login_user))
            .service(endpoint::<Tms, _, _>(Method::POST, &at("pwdreset"), handlers::pwdreset));
    }))
}
