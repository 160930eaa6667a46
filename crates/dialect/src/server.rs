//! The server of a dialect: its routes, health pages and document, and what is around every request.

use std::net::TcpListener;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{Server, ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::guard::fn_guard;
use actix_web::http::header::{ALLOW, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use actix_web::http::uri::PathAndQuery;
use actix_web::http::{Method, StatusCode, Uri};
use actix_web::middleware::{Next, from_fn};
use actix_web::web::{self, Bytes, Data, ServiceConfig};
use actix_web::{App, FromRequest, Handler, HttpResponse, Resource, Responder};
use futures_util::FutureExt as _;
use stele_core::{Error, UseCases};
use stele_service::admin::Ready;
use stele_service::http::{self, Times};
use stele_service::log_text::clipped;
use stele_service::metrics::Metrics;
use stele_service::origins::{AllowedOrigins, CORS_ORIGINS, CorsFields};
use stele_service::path::canonical;
use stele_service::settings::{BODY_LIMIT, BodyLimit, CLIENT_TIMEOUT, WORKERS};
use stele_service::status_200::{STATUS_200, STATUS_HEADER};
use stele_service::trust::Trust;
use stele_service::{ConfigError, Drain, OPENAPI_PATH, Settings, drain, net, trace};

use crate::dialect::{Dialect, Refusal, failed};
use crate::extract::Refuse;
use crate::fields::Fault;
use crate::openapi::OpenApi;
use crate::request::{Arrival, Route};

/// An idle connection is kept for longer than by the gateway, so that it never sends into one that is being closed.
const IDLE: Duration = Duration::from_secs(75);

/// A dialect's routes, set up once and shared by all workers.
pub type Routes = Arc<dyn Fn(&mut ServiceConfig) + Send + Sync>;

/// What the server needs of a dialect.
pub struct Served {
    /// The dialect's name.
    pub name: &'static str,
    /// Its routes.
    pub routes: Routes,
    /// How it renders refusals.
    pub refuse: fn(&Refusal) -> HttpResponse,
    /// How it renders domain errors.
    pub fail: fn(&Error) -> HttpResponse,
    /// What it serves, for people and programs: at [`OPENAPI_PATH`].
    pub document: fn() -> OpenApi,
}

/// What the server needs of the process that it runs in.
pub struct Host {
    /// The domain.
    pub use_cases: UseCases,
    /// Whose word about the client's address is taken.
    pub trust: Trust,
    /// Whether the program is going to stop.
    pub drain: Drain,
    /// What is counted.
    pub metrics: Metrics,
    /// Whether it can do its work.
    pub ready: Ready,
    /// Whether so much of the audit trail is unwritten that nothing more should be begun.
    pub audit_is_full: Arc<dyn Fn() -> bool + Send + Sync>,
}

/// Starts serving a dialect on `listener`. The server stops when its handle says so; it does not listen to signals.
///
/// # Errors
/// If a setting cannot be used.
pub fn start(served: Served, host: Host, settings: &Settings, listener: TcpListener) -> Result<Server, ConfigError> {
    let Served { name, routes, refuse, fail, document } = served;
    let Host { use_cases, trust, drain, metrics, ready, audit_is_full } = host;
    let (use_cases, workers, limit) =
        (Data::new(use_cases), settings.get(&WORKERS)?, BodyLimit(settings.get(&BODY_LIMIT)?));
    let (origins, head) = (settings.get(&CORS_ORIGINS)?, settings.get(&CLIENT_TIMEOUT)?);
    let always_ok = settings.get(&STATUS_200)?.covers(name);
    net::lengthen(&listener)?;
    net::raise_open_files();
    let guard =
        Arc::new(Guard { service: name, refuse, fail, drain, trust, metrics, audit_is_full, origins, always_ok });
    let app = move || {
        let guard = guard.clone();
        App::new()
            .app_data(use_cases.clone())
            .app_data(guard.trust.clone())
            .app_data(Refuse(refuse))
            .app_data(limit)
            .wrap(from_fn(move |request, next| guard.clone().around(request, next)))
            .configure(|config| health(config, &ready, refuse))
            .configure(|config| routes(config))
            .route(OPENAPI_PATH, web::get().to(move || std::future::ready(web::Json(document()))))
            .default_service(web::to(move || std::future::ready(refuse(&Refusal::NotFound))))
    };
    let unreadable = Refusal::Input(Fault::Unreadable);
    let refusals = [
        (StatusCode::BAD_REQUEST, &unreadable),
        (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, &unreadable),
        (StatusCode::REQUEST_TIMEOUT, &Refusal::Timeout),
    ];
    let refusals = refusals.map(|(status, refusal)| serialized(status, refuse(refusal), always_ok));
    let builder = Server::build().workers(workers).shutdown_timeout(10).disable_signals();
    Ok(http::listen(builder, name, listener, Times { head, idle: IDLE }, refusals.into(), app)?.run())
}

/// The bytes of a refusal in place of the HTTP library's own, by the status that it replaces.
fn serialized(status: StatusCode, response: HttpResponse, always_ok: bool) -> (u16, Bytes) {
    let shown = if always_ok { StatusCode::OK } else { status };
    let body = response.into_body().try_into_bytes().unwrap_or_default();
    let head = format!(
        "HTTP/1.1 {shown}\r\nContent-Type: application/json; charset=utf-8\r\nCache-Control: no-store\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    (status.as_u16(), [head.as_bytes(), &body].concat().into())
}

/// The gateway asks at the service's own address, for that is what it passes requests on to.
fn health(config: &mut ServiceConfig, ready: &Ready, refuse: fn(&Refusal) -> HttpResponse) {
    let ready = Arc::clone(ready);
    let readiness = move || {
        let ready = ready();
        async move { drain::readiness(ready.await) }
    };
    let other = move || std::future::ready(refuse(&Refusal::Method));
    let healthz = web::resource("/healthz").route(web::get().to(|| async { drain::healthy() }));
    let readyz = web::resource("/readyz").route(web::get().to(readiness));
    config.service(healthz.default_service(web::to(other))).service(readyz.default_service(web::to(other)));
}

/// Serves `path` by `handler`, and answers other methods than `methods` in the dialect, with the `Allow` that RFC 9110
/// (section 15.5.6) asks for.
pub(crate) fn endpoint<D: Dialect, F, Args>(methods: Vec<Method>, path: &str, handler: F) -> Resource
where
    F: Handler<Args>,
    F::Output: Responder + 'static,
    Args: FromRequest + 'static,
{
    let names: Vec<_> = methods.iter().map(Method::as_str).collect();
    let allow = HeaderValue::from_str(&names.join(", ")).ok();
    let refuse = move || {
        let mut response = D::refuse(&Refusal::Method);
        if let Some(allow) = &allow {
            response.headers_mut().insert(ALLOW, allow.clone());
        }
        std::future::ready(response)
    };
    let route = Route(Arc::new(label(path)));
    let is_served = web::route().guard(fn_guard(move |request| methods.contains(&request.head().method)));
    web::resource(path).app_data(route).route(is_served.to(handler)).default_service(web::to(refuse))
}

/// A path's pattern as metrics and traces name it: what matches in any letter case is told as it is written.
fn label(pattern: &str) -> String {
    let plain = |segment: &str| match segment.split_once(":(?i:") {
        Some((_, text)) => text.trim_end_matches(")}").to_owned(),
        None => segment.to_owned(),
    };
    pattern.split('/').map(plain).collect::<Vec<_>>().join("/")
}

/// What is around every request: its name and its spans, an answer in dialect if a handler panics, the end of the
/// connection if the program is going to stop, and what it is counted by.
struct Guard {
    service: &'static str,
    refuse: fn(&Refusal) -> HttpResponse,
    fail: fn(&Error) -> HttpResponse,
    drain: Drain,
    trust: Trust,
    metrics: Metrics,
    audit_is_full: Arc<dyn Fn() -> bool + Send + Sync>,
    origins: AllowedOrigins,
    /// Whether failures are answered with 200.
    always_ok: bool,
}

impl Guard {
    /// What is answered without a handler; not `is_unambiguous`: the path can be read in more than one way.
    fn answer(&self, request: &ServiceRequest, is_unambiguous: bool) -> Option<HttpResponse> {
        if !is_unambiguous {
            return Some((self.refuse)(&Refusal::NotFound));
        }
        if *request.method() == Method::OPTIONS
            && let Some(fields) = self.origins.preflight(request.headers())
        {
            let mut response = HttpResponse::NoContent().finish();
            append(response.headers_mut(), fields);
            return Some(response);
        }
        // What cannot be written into the audit trail is not done.
        (self.audit_is_full)().then(|| {
            let error = Error::unavailable("the audit trail has been waiting for its database too long");
            failed(&error, (self.fail)(&error))
        })
    }

    /// Adds what is said with every answer.
    fn finish(&self, response: &mut HttpResponse<impl Sized>, origin: Option<&HeaderValue>, closing: bool) {
        append(response.headers_mut(), self.origins.permissions(origin.map(HeaderValue::as_bytes)));
        if closing {
            drain::close(response);
        }
        let status = response.status();
        if self.always_ok && (status.is_client_error() || status.is_server_error()) {
            response.headers_mut().insert(HeaderName::from_static(STATUS_HEADER), status.as_u16().into());
            *response.status_mut() = StatusCode::OK;
        }
    }

    async fn around<B: MessageBody + 'static>(
        self: Arc<Self>,
        mut request: ServiceRequest,
        next: Next<B>,
    ) -> Result<ServiceResponse<EitherBody<B>>, actix_web::Error> {
        if drain::is_health(request.path()) {
            // Asked every second, by those who look after the program: nothing to see.
            let mut response = next.call(request).await?;
            if self.drain.is_draining() {
                drain::close(response.response_mut());
            }
            return Ok(response.map_into_left_body());
        }
        let begun = Instant::now();
        let is_unambiguous = canonicalize(&mut request);
        let arrival = Arrival::new(self.service, &request, &self.trust);
        // Not the request itself: the router takes it only while nobody else holds it.
        let (method, path) = (request.method().clone(), request.path().to_owned());
        let origin = request.headers().get(ORIGIN).cloned();
        let counted = self.drain.admit();
        let work = async {
            match self.answer(&request, is_unambiguous) {
                Some(response) => Ok(request.into_response(response).map_into_right_body()),
                None => next.call(request).await.map(ServiceResponse::map_into_left_body),
            }
        };
        let outcome = arrival.around(AssertUnwindSafe(work).catch_unwind()).await;
        // Asked anew: what began before the end was announced may be answered after it.
        let closing = counted || self.drain.is_draining();
        let (route, status) = match &outcome {
            Ok(Ok(response)) => (response.request().app_data::<Route>(), response.status().as_u16()),
            Ok(Err(error)) => (None, error.as_response_error().status_code().as_u16()),
            Err(_) => (None, 500),
        };
        tracing::debug!(parent: arrival.log(), path = &*clipped(&path), status, "answered");
        trace::answered(&arrival.trace, status);
        if let Some(Route(route)) = route {
            trace::routed(&arrival.trace, method.as_str(), route);
        }
        let route = route.map_or_else(|| Arc::new("none".to_owned()), |Route(route)| route.clone());
        self.metrics.answered(self.service, route, &method, status, begun.elapsed());
        match outcome {
            Ok(Ok(mut response)) => {
                self.finish(response.response_mut(), origin.as_ref(), closing);
                Ok(response)
            }
            Ok(Err(error)) => {
                let mut response = error.error_response();
                self.finish(&mut response, origin.as_ref(), closing);
                Err(InternalError::from_response(error, response).into())
            }
            Err(_) => {
                tracing::error!(parent: arrival.log(), path = &*clipped(&path), "a handler panicked");
                let mut response = (self.refuse)(&Refusal::Internal);
                self.finish(&mut response, origin.as_ref(), closing);
                Err(InternalError::from_response("a handler panicked", response).into())
            }
        }
    }
}

/// Makes the path of a request the canonical one, as the gateway does. False if it has none ([`canonical`]).
fn canonicalize(request: &mut ServiceRequest) -> bool {
    let Some(path) = canonical(request.path()) else { return false };
    if path == request.path() {
        return true;
    }
    let target = match request.uri().query() {
        Some(query) => format!("{path}?{query}"),
        None => path.into_owned(),
    };
    let mut parts = request.uri().clone().into_parts();
    parts.path_and_query = PathAndQuery::try_from(target).ok();
    let Ok(uri) = Uri::from_parts(parts) else { return false };
    request.match_info_mut().get_mut().update(&uri);
    request.head_mut().uri = uri;
    true
}

fn append(headers: &mut HeaderMap, fields: CorsFields<'_>) {
    for (name, value) in fields {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.append(HeaderName::from_static(name), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_told_as_they_are_written() {
        assert_eq!(label("/i/login"), "/i/login");
        assert_eq!(label("/{api:(?i:api)}/{operation:(?i:Login)}/{id}"), "/api/Login/{id}");
    }
}
