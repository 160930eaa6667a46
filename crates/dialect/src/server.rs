//! The HTTP server of a dialect: endpoints, health checks, OpenAPI document, and the middleware of every request
//! (request id, CORS, load shedding, panic handling, metrics, traces, graceful shutdown).

use std::net::TcpListener;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{Server, ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue, ORIGIN};
use actix_web::http::uri::PathAndQuery;
use actix_web::http::{Method, StatusCode, Uri};
use actix_web::middleware::{Next, from_fn};
use actix_web::web::{self, Bytes, Data, ServiceConfig};
use actix_web::{App, HttpResponse};
use futures_util::FutureExt as _;
use stele_core::{Error, UseCases};
use stele_service::admin::ReadinessCheckFn;
use stele_service::client_list::{CLIENTS, ClientList};
use stele_service::common_settings::{BODY_LIMIT, BodyLimit, CLIENT_TIMEOUT, WORKERS};
use stele_service::cors::{AllowedOrigins, CORS_ORIGINS, CorsHeaders};
use stele_service::http_server::{self, ClientTimeouts};
use stele_service::log_sanitizer::sanitize;
use stele_service::metrics::Metrics;
use stele_service::path::canonical_path;
use stele_service::status_200::{ORIGINAL_STATUS_HEADER, STATUS_200};
use stele_service::trusted_proxies::TrustedProxies;
use stele_service::{ConfigError, Drain, OPENAPI_PATH, Settings, drain, listener, trace};

use crate::dialect::{RequestRejection, closed_response, finish_error_response};
use crate::extractors::RejectionRenderer;
use crate::fields::FieldError;
use crate::openapi::OpenApi;
use crate::request_scope::{RequestScope, RoutePattern};

/// The longest that a stop waits for requests in flight.
const SHUTDOWN_TIMEOUT_SECONDS: u64 = 10;

/// Idle timeout of keep-alive connections. Longer than the gateway's, so that the gateway never sends a request on a
/// connection that is being closed.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(75);

/// Registers a dialect's routes; called once by each worker.
pub type Routes = Arc<dyn Fn(&mut ServiceConfig) + Send + Sync>;

/// Checks whether the dialect is closed to the client of this name, `None` for a client without a name, and counts the
/// refusal. Returns after how many seconds the client may retry; `None` if the dialect is open.
pub type ClosureCheckFn = Arc<dyn Fn(Option<&str>) -> Option<u64> + Send + Sync>;

/// The parts of a dialect that its server runs.
pub struct DialectService {
    /// The dialect's name.
    pub name: &'static str,
    /// Registers the dialect's routes.
    pub routes: Routes,
    /// [`crate::Dialect::render_rejection`].
    pub render_rejection: fn(&RequestRejection) -> HttpResponse,
    /// [`crate::Dialect::render_error`].
    pub render_error: fn(&Error) -> HttpResponse,
    /// The OpenAPI document, served at [`OPENAPI_PATH`].
    pub openapi_document: fn() -> OpenApi,
    /// Requests below this path reach the routes as they were sent: the path is not canonicalized, and `OPTIONS` is no
    /// CORS preflight to this server. For what a proxy appends of another server's request; such routes must not choose
    /// a file or a permission of this server by the path.
    pub verbatim_prefix: Option<&'static str>,
}

/// The parts of the process that a dialect's server uses.
pub struct ServerContext {
    /// The use cases of the domain.
    pub use_cases: UseCases,
    /// The proxies whose `X-Forwarded-For` is trusted.
    pub trusted_proxies: TrustedProxies,
    /// The state of the graceful shutdown.
    pub drain: Drain,
    /// The metrics of the process.
    pub metrics: Metrics,
    /// The readiness check behind `/readyz`.
    pub readiness_check: ReadinessCheckFn,
    /// Whether the queue of unwritten audit events is full, so that requests must be rejected.
    pub is_audit_log_full: Arc<dyn Fn() -> bool + Send + Sync>,
    /// Whether the dialect is closed.
    pub closure_check: ClosureCheckFn,
}

/// Starts serving a dialect on `listener`. The server ignores signals; stop it by its handle.
///
/// # Errors
/// If a setting is invalid, or the listener cannot be used.
pub fn start(
    service: DialectService,
    context: ServerContext,
    settings: &Settings,
    listener: TcpListener,
) -> Result<Server, ConfigError> {
    let DialectService { name, routes, render_rejection, render_error, openapi_document, verbatim_prefix } = service;
    let ServerContext { use_cases, trusted_proxies, drain, metrics, readiness_check, .. } = context;
    let use_cases = Data::new(use_cases);
    let body_limit = BodyLimit(settings.get(&BODY_LIMIT)?);
    let error_status = match settings.get(&STATUS_200)?.applies_to(name) {
        true => ErrorStatus::Always200,
        false => ErrorStatus::AsIs,
    };
    listener::set_backlog(&listener)?;
    listener::raise_open_file_limit();
    let middleware = Arc::new(RequestMiddleware {
        service: name,
        render_rejection,
        render_error,
        verbatim_prefix,
        drain,
        trusted_proxies,
        metrics,
        is_audit_log_full: context.is_audit_log_full,
        closure_check: context.closure_check,
        clients: settings.get(&CLIENTS)?,
        allowed_origins: settings.get(&CORS_ORIGINS)?,
        error_status,
    });
    let app = move || {
        let middleware = middleware.clone();
        App::new()
            .app_data(use_cases.clone())
            .app_data(middleware.trusted_proxies.clone())
            .app_data(RejectionRenderer(render_rejection))
            .app_data(body_limit)
            .wrap(from_fn(move |request, next| middleware.clone().handle(request, next)))
            .configure(|config| configure_health_checks(config, &readiness_check, render_rejection))
            .configure(|config| routes(config))
            .route(OPENAPI_PATH, web::get().to(move || std::future::ready(web::Json(openapi_document()))))
            .default_service(web::to(move || std::future::ready(render_rejection(&RequestRejection::NotFound))))
    };
    let malformed = RequestRejection::InvalidInput(FieldError::MalformedRequest);
    let rejections = [
        (StatusCode::BAD_REQUEST, &malformed),
        (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, &malformed),
        (StatusCode::REQUEST_TIMEOUT, &RequestRejection::RequestTimeout),
    ];
    let raw_responses = rejections
        .map(|(status, rejection)| raw_error_response(error_status.apply(status), status, render_rejection(rejection)));
    let builder =
        Server::build().workers(settings.get(&WORKERS)?).shutdown_timeout(SHUTDOWN_TIMEOUT_SECONDS).disable_signals();
    Ok(http_server::listen(
        builder,
        name,
        listener,
        ClientTimeouts { request_head: settings.get(&CLIENT_TIMEOUT)?, keep_alive: KEEP_ALIVE_TIMEOUT },
        raw_responses.into(),
        app,
    )?
    .run())
}

/// The status of error responses on the wire (`STELE_STATUS_200`).
#[derive(Clone, Copy)]
enum ErrorStatus {
    /// The error's own status.
    AsIs,
    /// 200, with the error's status in [`ORIGINAL_STATUS_HEADER`].
    Always200,
}

impl ErrorStatus {
    fn apply(self, status: StatusCode) -> StatusCode {
        match self {
            Self::AsIs => status,
            Self::Always200 => StatusCode::OK,
        }
    }
}

/// The bytes of an error response that replaces the HTTP library's own response with `status`.
fn raw_error_response(wire_status: StatusCode, status: StatusCode, response: HttpResponse) -> (u16, Bytes) {
    let body = response.into_body().try_into_bytes().unwrap_or_default();
    let head = format!(
        "HTTP/1.1 {wire_status}\r\nContent-Type: application/json; charset=utf-8\r\nCache-Control: no-store\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    (status.as_u16(), [head.as_bytes(), &body].concat().into())
}

/// Serves `/healthz` and `/readyz` on the service port, because the gateway probes the port that it forwards requests
/// to.
fn configure_health_checks(
    config: &mut ServiceConfig,
    readiness_check: &ReadinessCheckFn,
    render_rejection: fn(&RequestRejection) -> HttpResponse,
) {
    let readiness_check = Arc::clone(readiness_check);
    let check_readiness = move || {
        let check = readiness_check();
        async move { drain::readiness_response(check.await) }
    };
    let reject_method = move || std::future::ready(render_rejection(&RequestRejection::MethodNotAllowed));
    let healthz = web::resource("/healthz").route(web::get().to(|| async { drain::liveness_response() }));
    let readyz = web::resource("/readyz").route(web::get().to(check_readiness));
    config
        .service(healthz.default_service(web::to(reject_method)))
        .service(readyz.default_service(web::to(reject_method)));
}

/// The middleware of every request: request id and spans, CORS, closures, load shedding while the audit log is behind, an
/// error response if a handler panics, `Connection: close` while draining, and metrics.
struct RequestMiddleware {
    service: &'static str,
    render_rejection: fn(&RequestRejection) -> HttpResponse,
    render_error: fn(&Error) -> HttpResponse,
    verbatim_prefix: Option<&'static str>,
    drain: Drain,
    trusted_proxies: TrustedProxies,
    metrics: Metrics,
    is_audit_log_full: Arc<dyn Fn() -> bool + Send + Sync>,
    closure_check: ClosureCheckFn,
    clients: ClientList,
    allowed_origins: AllowedOrigins,
    error_status: ErrorStatus,
}

/// The form of a request's path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PathForm {
    /// The path is, or has been rewritten to, the canonical one, which the gateway and the services route alike.
    Canonical,
    /// The path has no canonical form ([`canonical_path`]).
    Ambiguous,
    /// The path is below [`DialectService::verbatim_prefix`], and is as it was sent.
    Verbatim,
}

/// The action on the connection after a response.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ConnectionAction {
    KeepAlive,
    Close,
}

impl RequestMiddleware {
    /// The response to a request that no handler sees: an ambiguous path, a CORS preflight, a closed dialect, or a full
    /// audit log queue.
    fn early_response(
        &self,
        request: &ServiceRequest,
        path_form: PathForm,
        client: Option<&str>,
    ) -> Option<HttpResponse> {
        if path_form == PathForm::Ambiguous {
            return Some((self.render_rejection)(&RequestRejection::NotFound));
        }
        if path_form == PathForm::Canonical
            && *request.method() == Method::OPTIONS
            && let Some(fields) = self.allowed_origins.preflight_headers(request.headers())
        {
            let mut response = HttpResponse::NoContent().finish();
            append_cors_headers(response.headers_mut(), fields);
            return Some(response);
        }
        if request.path() != OPENAPI_PATH
            && let Some(retry_after) = (self.closure_check)(client)
        {
            return Some(closed_response(self.render_error, retry_after));
        }
        // An action that cannot be recorded in the audit log must not happen.
        (self.is_audit_log_full)().then(|| {
            let error = Error::unavailable("the audit log queue is full: its database has not accepted writes");
            finish_error_response(&error, (self.render_error)(&error))
        })
    }

    /// Adds the CORS and connection headers, and applies [`ErrorStatus`].
    fn add_response_headers(
        &self,
        response: &mut HttpResponse<impl Sized>,
        origin: Option<&HeaderValue>,
        connection_action: ConnectionAction,
    ) {
        append_cors_headers(
            response.headers_mut(),
            self.allowed_origins.response_headers(origin.map(HeaderValue::as_bytes)),
        );
        if connection_action == ConnectionAction::Close {
            drain::set_connection_close(response);
        }
        let status = response.status();
        let wire_status = self.error_status.apply(status);
        if wire_status != status && (status.is_client_error() || status.is_server_error()) {
            response.headers_mut().insert(HeaderName::from_static(ORIGINAL_STATUS_HEADER), status.as_u16().into());
            *response.status_mut() = wire_status;
        }
    }

    async fn handle<B: MessageBody + 'static>(
        self: Arc<Self>,
        mut request: ServiceRequest,
        next: Next<B>,
    ) -> Result<ServiceResponse<EitherBody<B>>, actix_web::Error> {
        if drain::is_health_check_path(request.path()) {
            // Probed every second: neither logged, counted nor traced.
            let mut response = next.call(request).await?;
            if self.drain.is_draining() {
                drain::set_connection_close(response.response_mut());
            }
            return Ok(response.map_into_left_body());
        }
        let started = Instant::now();
        let is_verbatim = self.verbatim_prefix.is_some_and(|prefix| request.path().starts_with(prefix));
        let path_form = if is_verbatim { PathForm::Verbatim } else { canonicalize_path(&mut request) };
        let scope = RequestScope::new(self.service, &request, &self.trusted_proxies, &self.clients);
        // Copies, because the router needs the only reference to the request.
        let (method, path) = (request.method().clone(), request.path().to_owned());
        let origin = request.headers().get(ORIGIN).cloned();
        let is_draining = self.drain.record_request();
        let work = async {
            match self.early_response(&request, path_form, scope.client_name()) {
                Some(response) => Ok(request.into_response(response).map_into_right_body()),
                None => next.call(request).await.map(ServiceResponse::map_into_left_body),
            }
        };
        let outcome = scope.run(AssertUnwindSafe(work).catch_unwind()).await;
        // Checked again, because draining may have started while the request was handled.
        let connection_action = match is_draining || self.drain.is_draining() {
            true => ConnectionAction::Close,
            false => ConnectionAction::KeepAlive,
        };
        let (route, status) = match &outcome {
            Ok(Ok(response)) => (response.request().app_data::<RoutePattern>(), response.status().as_u16()),
            Ok(Err(error)) => (None, error.as_response_error().status_code().as_u16()),
            Err(_) => (None, 500),
        };
        tracing::debug!(parent: scope.log_span(), path = &*sanitize(&path), status, "answered");
        trace::record_response_status(&scope.trace_span, status);
        if let Some(RoutePattern(route)) = route {
            trace::record_route(&scope.trace_span, method.as_str(), route);
        }
        let route = route.map_or_else(|| Arc::new("none".to_owned()), |RoutePattern(route)| route.clone());
        self.metrics.record_response(self.service, route, &method, status, started.elapsed());
        match outcome {
            Ok(Ok(mut response)) => {
                self.add_response_headers(response.response_mut(), origin.as_ref(), connection_action);
                Ok(response)
            }
            Ok(Err(error)) => {
                let mut response = error.error_response();
                self.add_response_headers(&mut response, origin.as_ref(), connection_action);
                Err(InternalError::from_response(error, response).into())
            }
            Err(_) => {
                tracing::error!(parent: scope.log_span(), path = &*sanitize(&path), "a handler panicked");
                let mut response = (self.render_rejection)(&RequestRejection::Internal);
                self.add_response_headers(&mut response, origin.as_ref(), connection_action);
                Err(InternalError::from_response("a handler panicked", response).into())
            }
        }
    }
}

/// Rewrites the path of a request to its canonical form, as the gateway does ([`canonical_path`]).
fn canonicalize_path(request: &mut ServiceRequest) -> PathForm {
    let Some(path) = canonical_path(request.path()) else { return PathForm::Ambiguous };
    if path == request.path() {
        return PathForm::Canonical;
    }
    let target = match request.uri().query() {
        Some(query) => format!("{path}?{query}"),
        None => path.into_owned(),
    };
    let mut parts = request.uri().clone().into_parts();
    parts.path_and_query = PathAndQuery::try_from(target).ok();
    let Ok(uri) = Uri::from_parts(parts) else { return PathForm::Ambiguous };
    request.match_info_mut().get_mut().update(&uri);
    request.head_mut().uri = uri;
    PathForm::Canonical
}

fn append_cors_headers(headers: &mut HeaderMap, fields: CorsHeaders<'_>) {
    for (name, value) in fields {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.append(HeaderName::from_static(name), value);
        }
    }
}
