//! The admin port: health, readiness and metrics, for those who run the service.

use std::future::Future;
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::Arc;

use actix_web::dev::Server;
use actix_web::{App, HttpResponse, HttpServer, web};

use crate::config::ConfigError;
use crate::drain::{self, Readiness};
use crate::metrics::{CONTENT_TYPE, Metrics};

/// Says whether the service can do its work right now.
pub type Ready = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Readiness> + Send>> + Send + Sync>;

/// Serves `/healthz`, `/readyz` and `/metrics` on `listener` with one thread.
///
/// # Errors
/// If the listener cannot be used.
pub fn serve(listener: TcpListener, ready: Ready, metrics: Metrics) -> Result<Server, ConfigError> {
    let server = HttpServer::new(move || {
        let (ready, metrics) = (ready.clone(), metrics.clone());
        let readiness = move || {
            let ready = ready.clone();
            async move { drain::readiness(ready().await) }
        };
        App::new()
            .route("/healthz", web::get().to(|| async { drain::healthy() }))
            .route("/readyz", web::get().to(readiness))
            .route("/metrics", web::get().to(move || std::future::ready(exposed(&metrics))))
    })
    .workers(1)
    .shutdown_timeout(1)
    .disable_signals()
    .listen(listener)
    .map_err(|e| ConfigError::new(format!("the admin port cannot be used: {e}")))?;
    Ok(server.run())
}

fn exposed(metrics: &Metrics) -> HttpResponse {
    match metrics.render() {
        Ok(text) => HttpResponse::Ok().content_type(CONTENT_TYPE).body(text),
        Err(cause) => {
            tracing::error!(%cause, "the metrics cannot be written");
            HttpResponse::InternalServerError().finish()
        }
    }
}
