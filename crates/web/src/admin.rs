//! The admin port: health and readiness, for those who run the service.

use std::future::Future;
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::Arc;

use actix_web::dev::Server;
use actix_web::{App, HttpServer, web};

use crate::config::ConfigError;
use crate::drain;

/// Says whether the service can do its work right now.
pub type Ready = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = bool> + Send>> + Send + Sync>;

/// Serves `/healthz` and `/readyz` on `listener` with one thread.
///
/// # Errors
/// If the listener cannot be used.
pub fn serve(listener: TcpListener, ready: Ready) -> Result<Server, ConfigError> {
    let server = HttpServer::new(move || {
        let ready = ready.clone();
        App::new().route("/healthz", web::get().to(|| async { drain::healthy() })).route(
            "/readyz",
            web::get().to(move || {
                let ready = ready.clone();
                async move { drain::readiness(ready().await) }
            }),
        )
    })
    .workers(1)
    .shutdown_timeout(1)
    .disable_signals()
    .listen(listener)
    .map_err(|e| ConfigError::new(format!("the admin port cannot be used: {e}")))?;
    Ok(server.run())
}
