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
use stele_service::admin::ReadinessProbe;
use stele_service::common_settings::{BODY_LIMIT, BodyLimit, CLIENT_TIMEOUT, WORKERS};
use stele_service::cors::{AllowedOrigins, CORS_ORIGINS, CorsHeaders};
use stele_service::http_server::{self, ClientTimeouts};
use stele_service::log_sanitizer::sanitize;
use stele_service::metrics::Metrics;
use stele_service::path::canonical_path;
use stele_service::status_200::{ORIGINAL_STATUS_HEADER, STATUS_200};
use stele_service::trusted_proxies::TrustedProxies;
use stele_service::{ConfigError, Drain, OPENAPI_PATH, Settings, drain, listener, trace};

use crate::dialect::{Dialect, RequestRejection, finish_error_response};
use crate::extractors::RejectionRenderer;
use crate::fields::FieldError;
use crate::openapi::OpenApi;
use crate::request_scope::{RequestScope, RoutePattern};

/// An idle connection is kept for longer than by the gateway, so that it never sends into one that is being closed.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(75);

/// A dialect's routes, set up once and shared by all workers.
pub type Routes = Arc<dyn Fn(&mut ServiceConfig) + Send + Sync>;

/// What the server needs of a dialect.
pub struct DialectService {
    /// The dialect's name.
    pub name: &'static str,
    /// Its routes.
    pub routes: Routes,
    /// How it renders refusals.
    pub render_rejection: fn(&RequestRejection) -> HttpResponse,
    /// How it renders domain errors.
    pub render_error: fn(&Error) -> HttpResponse,
    /// What it serves, for people and programs: at [`OPENAPI_PATH`].
    pub openapi_document: fn() -> OpenApi,
}

/// What the server needs of the process that it runs in.
pub struct ServerContext {
    /// The domain.
    pub use_cases: UseCases,
    /// Whose word about the client's address is taken.
    pub trusted_proxies: TrustedProxies,
    /// Whether the program is going to stop.
    pub drain: Drain,
    /// What is counted.
    pub metrics: Metrics,
    /// Whether it can do its work.
    pub readiness_check: ReadinessProbe,
    /// Whether so much of the audit trail is unwritten that nothing more should be begun.
    pub is_audit_log_full: Arc<dyn Fn() -> bool + Send + Sync>,
}

/// Starts serving a dialect on `listener`. The server stops when its handle says so; it does not listen to signals.
///
/// # Errors
/// If a setting cannot be used.
pub fn start(
    served: DialectService,
    host: ServerContext,
    settings: &Settings,
    listener: TcpListener,
) -> Result<Server, ConfigError> {
    let DialectService { name, routes, render_rejection: refuse, render_error: fail, openapi_document: document } =
        served;
    let ServerContext {
        use_cases,
        trusted_proxies: trust,
        drain,
        metrics,
        readiness_check: ready,
        is_audit_log_full: audit_is_full,
    } = host;
    let (use_cases, workers, limit) =
        (Data::new(use_cases), settings.get(&WORKERS)?, BodyLimit(settings.get(&BODY_LIMIT)?));
    let (origins, head) = (settings.get(&CORS_ORIGINS)?, settings.get(&CLIENT_TIMEOUT)?);
    let always_ok = settings.get(&STATUS_200)?.applies_to(name);
    listener::set_backlog(&listener)?;
    listener::raise_open_file_limit();
    let guard = Arc::new(RequestMiddleware {
        service: name,
        render_rejection: refuse,
        render_error: fail,
        drain,
        trusted_proxies: trust,
        metrics,
        is_audit_log_full: audit_is_full,
        origins,
        errors_as_200: always_ok,
    });
    let app = move || {
        let guard = guard.clone();
        App::new()
            .app_data(use_cases.clone())
            .app_data(guard.trusted_proxies.clone())
            .app_data(RejectionRenderer(refuse))
            .app_data(limit)
            .wrap(from_fn(move |request, next| guard.clone().handle(request, next)))
            .configure(|config| configure_health_checks(config, &ready, refuse))
            .configure(|config| routes(config))
            .route(OPENAPI_PATH, web::get().to(move || std::future::ready(web::Json(document()))))
            .default_service(web::to(move || std::future::ready(refuse(&RequestRejection::NotFound))))
    };
    let unreadable = RequestRejection::InvalidInput(FieldError::MalformedBody);
    let refusals = [
        (StatusCode::BAD_REQUEST, &unreadable),
        (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, &unreadable),
        (StatusCode::REQUEST_TIMEOUT, &RequestRejection::BodyTimeout),
    ];
    let refusals = refusals.map(|(status, refusal)| raw_error_response(status, refuse(refusal), always_ok));
    let builder = Server::build().workers(workers).shutdown_timeout(10).disable_signals();
    Ok(http_server::listen(
        builder,
        name,
        listener,
        ClientTimeouts { request_head: head, keep_alive: KEEP_ALIVE_TIMEOUT },
        refusals.into(),
        app,
    )?
    .run())
}

/// The bytes of a refusal in place of the HTTP library's own, by the status that it replaces.
fn raw_error_response(status: StatusCode, response: HttpResponse, always_ok: bool) -> (u16, Bytes) {
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
fn configure_health_checks(
    config: &mut ServiceConfig,
    ready: &ReadinessProbe,
    refuse: fn(&RequestRejection) -> HttpResponse,
) {
    let ready = Arc::clone(ready);
    let readiness = move || {
        let ready = ready();
        async move { drain::readiness_response(ready.await) }
    };
    let other = move || std::future::ready(refuse(&RequestRejection::MethodNotAllowed));
    let healthz = web::resource("/healthz").route(web::get().to(|| async { drain::liveness_response() }));
    let readyz = web::resource("/readyz").route(web::get().to(readiness));
    config.service(healthz.default_service(web::to(other))).service(readyz.default_service(web::to(other)));
}

/// Serves `path` by `handler`, and answers other methods than `methods` in the dialect, with the `Allow` that RFC 9110
/// (section 15.5.6) asks for.
pub(crate) fn endpoint_resource<D: Dialect, F, Args>(methods: Vec<Method>, path: &str, handler: F) -> Resource
where
    F: Handler<Args>,
    F::Output: Responder + 'static,
    Args: FromRequest + 'static,
{
    let names: Vec<_> = methods.iter().map(Method::as_str).collect();
    let allow = HeaderValue::from_str(&names.join(", ")).ok();
    let refuse = move || {
        let mut response = D::render_rejection(&RequestRejection::MethodNotAllowed);
        if let Some(allow) = &allow {
            response.headers_mut().insert(ALLOW, allow.clone());
        }
        std::future::ready(response)
    };
    let route = RoutePattern(Arc::new(route_label(path)));
    let is_served = web::route().guard(fn_guard(move |request| methods.contains(&request.head().method)));
    web::resource(path).app_data(route).route(is_served.to(handler)).default_service(web::to(refuse))
}

/// A path's pattern as metrics and traces name it: what matches in any letter case is told as it is written.
fn route_label(pattern: &str) -> String {
    let plain = |segment: &str| match segment.split_once(":(?i:") {
        Some((_, text)) => text.trim_end_matches(")}").to_owned(),
        None => segment.to_owned(),
    };
    pattern.split('/').map(plain).collect::<Vec<_>>().join("/")
}

/// What is around every request: its name and its spans, an answer in dialect if a handler panics, the end of the
/// connection if the program is going to stop, and what it is counted by.
struct RequestMiddleware {
    service: &'static str,
    render_rejection: fn(&RequestRejection) -> HttpResponse,
    render_error: fn(&Error) -> HttpResponse,
    drain: Drain,
    trusted_proxies: TrustedProxies,
    metrics: Metrics,
    is_audit_log_full: Arc<dyn Fn() -> bool + Send + Sync>,
    origins: AllowedOrigins,
    /// Whether failures are answered with 200.
    errors_as_200: bool,
}

impl RequestMiddleware {
    /// What is answered without a handler; not `is_unambiguous`: the path can be read in more than one way.
    fn early_response(&self, request: &ServiceRequest, is_unambiguous: bool) -> Option<HttpResponse> {
        if !is_unambiguous {
            return Some((self.render_rejection)(&RequestRejection::NotFound));
        }
        if *request.method() == Method::OPTIONS
            && let Some(fields) = self.origins.preflight_headers(request.headers())
        {
            let mut response = HttpResponse::NoContent().finish();
            append_headers(response.headers_mut(), fields);
            return Some(response);
        }
        // What cannot be written into the audit trail is not done.
        (self.is_audit_log_full)().then(|| {
            let error = Error::unavailable("the audit trail has been waiting for its database too long");
            finish_error_response(&error, (self.render_error)(&error))
        })
    }

    /// Adds what is said with every answer.
    fn add_response_headers(
        &self,
        response: &mut HttpResponse<impl Sized>,
        origin: Option<&HeaderValue>,
        closing: bool,
    ) {
        append_headers(response.headers_mut(), self.origins.response_headers(origin.map(HeaderValue::as_bytes)));
        if closing {
            drain::set_connection_close(response);
        }
        let status = response.status();
        if self.errors_as_200 && (status.is_client_error() || status.is_server_error()) {
            response.headers_mut().insert(HeaderName::from_static(ORIGINAL_STATUS_HEADER), status.as_u16().into());
            *response.status_mut() = StatusCode::OK;
        }
    }

    async fn handle<B: MessageBody + 'static>(
        self: Arc<Self>,
        mut request: ServiceRequest,
        next: Next<B>,
    ) -> Result<ServiceResponse<EitherBody<B>>, actix_web::Error> {
        if drain::is_health_check_path(request.path()) {
            // Asked every second, by those who look after the program: nothing to see.
            let mut response = next.call(request).await?;
            if self.drain.is_draining() {
                drain::set_connection_close(response.response_mut());
            }
            return Ok(response.map_into_left_body());
        }
        let begun = Instant::now();
        let is_unambiguous = canonicalize_path(&mut request);
        let arrival = RequestScope::new(self.service, &request, &self.trusted_proxies);
        // Not the request itself: the router takes it only while nobody else holds it.
        let (method, path) = (request.method().clone(), request.path().to_owned());
        let origin = request.headers().get(ORIGIN).cloned();
        let counted = self.drain.record_request();
        let work = async {
            match self.early_response(&request, is_unambiguous) {
                Some(response) => Ok(request.into_response(response).map_into_right_body()),
                None => next.call(request).await.map(ServiceResponse::map_into_left_body),
            }
        };
        let outcome = arrival.run(AssertUnwindSafe(work).catch_unwind()).await;
        // Asked anew: what began before the end was announced may be answered after it.
        let closing = counted || self.drain.is_draining();
        let (route, status) = match &outcome {
            Ok(Ok(response)) => (response.request().app_data::<RoutePattern>(), response.status().as_u16()),
            Ok(Err(error)) => (None, error.as_response_error().status_code().as_u16()),
            Err(_) => (None, 500),
        };
        tracing::debug!(parent: arrival.log_span(), path = &*sanitize(&path), status, "answered");
        trace::record_response_status(&arrival.trace_span, status);
        if let Some(RoutePattern(route)) = route {
            trace::record_route(&arrival.trace_span, method.as_str(), route);
        }
        let route = route.map_or_else(|| Arc::new("none".to_owned()), |RoutePattern(route)| route.clone());
        self.metrics.record_response(self.service, route, &method, status, begun.elapsed());
        match outcome {
            Ok(Ok(mut response)) => {
                self.add_response_headers(response.response_mut(), origin.as_ref(), closing);
                Ok(response)
            }
            Ok(Err(error)) => {
                let mut response = error.error_response();
                self.add_response_headers(&mut response, origin.as_ref(), closing);
                Err(InternalError::from_response(error, response).into())
            }
            Err(_) => {
                tracing::error!(parent: arrival.log_span(), path = &*sanitize(&path), "a handler panicked");
                let mut response = (self.render_rejection)(&RequestRejection::Internal);
                self.add_response_headers(&mut response, origin.as_ref(), closing);
                Err(InternalError::from_response("a handler panicked", response).into())
            }
        }
    }
}

/// Makes the path of a request the canonical one, as the gateway does. False if it has none ([`canonical`]).
fn canonicalize_path(request: &mut ServiceRequest) -> bool {
    let Some(path) = canonical_path(request.path()) else { return false };
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

fn append_headers(headers: &mut HeaderMap, fields: CorsHeaders<'_>) {
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
    fn case_insensitive_patterns_become_plain_route_labels() {
        assert_eq!(route_label("/i/login"), "/i/login");
        assert_eq!(route_label("/{api:(?i:api)}/{operation:(?i:Login)}/{id}"), "/api/Login/{id}");
    }
}
