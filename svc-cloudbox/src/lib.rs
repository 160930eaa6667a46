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

use actix_web::web::{ServiceConfig, post};
use stele_web::{ConfigError, Context, Routes, Service, resource};

pub use dialect::Cloudbox;

/// The service.
pub const SERVICE: Service = Service::new::<Cloudbox>(8101, &[], routes);

fn routes(_: &Context) -> Result<Routes, ConfigError> {
    Ok(Arc::new(|config: &mut ServiceConfig| {
        config
            .service(resource::<Cloudbox>("/api/v1/cloudbox/smarttms/auth/authsalt").route(post().to(handlers::login)))
            .service(resource::<Cloudbox>("/api/v1/cloudbox/auth/pwdreset").route(post().to(handlers::pwdreset)))
            .service(resource::<Cloudbox>("/api/v1/cloudbox/smarttms/logout").route(post().to(handlers::logout)));
    }))
}
