//! The portal dialect: accounts that people open themselves, with a code sent to their phone or mail.
//!
//! `WIRE.md` beside this crate has the routes, the quirks and the error table. Here:
//! - `wire`: what clients send and are answered, and nothing else; `encoded`: its base64
//! - `dialect`: how the portal says yes and no
//! - `handlers`: parse, call, render; `cookie`: how its sessions are carried

mod cookie;
mod dialect;
pub mod encoded;
mod handlers;
mod wire;

use std::sync::Arc;

use actix_web::http::Method;
use actix_web::web::{Data, ServiceConfig};
use stele_web::{ConfigError, Context, Routes, Service, Setting, endpoint, setting};

pub use dialect::Portal;
use handlers::Options;

const TELL_UNKNOWN: &str = "STELE_PORTAL_TELL_UNKNOWN";

const SETTINGS: &[Setting] =
    &[setting(TELL_UNKNOWN, "true", "answer an unknown user at login with 3201; false: as a wrong password, 3202")];

/// The service.
pub const SERVICE: Service = Service::new::<Portal>(8103, SETTINGS, routes);

fn routes(context: &Context) -> Result<Routes, ConfigError> {
    let options = Data::new(Options { tell_unknown: context.settings.flag(TELL_UNKNOWN, true)? });
    Ok(Arc::new(move |config: &mut ServiceConfig| {
        config
            .app_data(options.clone())
            .service(endpoint::<Portal, _, _>(Method::POST, "/i/register", handlers::register))
            .service(endpoint::<Portal, _, _>(Method::POST, "/i/login", handlers::login))
            .service(endpoint::<Portal, _, _>(Method::POST, "/i/logout", handlers::logout))
            .service(endpoint::<Portal, _, _>(Method::POST, "/i/resetpwd", handlers::resetpwd))
            .service(endpoint::<Portal, _, _>(Method::POST, "/code/send", handlers::send));
    }))
}
