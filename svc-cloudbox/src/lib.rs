//! The cloudbox dialect: log in with a salted md5, change the password, log out.
//!
//! `WIRE.md` beside this crate has the routes, the quirks and the error table. Here:
//! - `wire`: what clients send and are answered, and nothing else
//! - `dialect`: how cloudbox says no
//! - `handlers`: parse, call, render

mod dialect;
mod handlers;
mod wire;

use std::sync::Arc;

use actix_web::http::Method;
use actix_web::web::ServiceConfig;
use stele_web::{ConfigError, Context, Routes, Service, endpoint};

pub use dialect::Cloudbox;

/// The service.
pub const SERVICE: Service = Service::new::<Cloudbox>(8101, &[], routes);

fn routes(_: &Context) -> Result<Routes, ConfigError> {
    Ok(Arc::new(|config: &mut ServiceConfig| {
        config
            .service(endpoint::<Cloudbox, _, _>(
                Method::POST,
                "/api/v1/cloudbox/smarttms/auth/authsalt",
                handlers::login,
            ))
            .service(endpoint::<Cloudbox, _, _>(Method::POST, "/api/v1/cloudbox/auth/pwdreset", handlers::pwdreset))
            .service(endpoint::<Cloudbox, _, _>(Method::POST, "/api/v1/cloudbox/smarttms/logout", handlers::logout));
    }))
}
