//! Spans for distributed tracing, by OpenTelemetry's semantic conventions, and W3C trace context propagation. Spans
//! have the target [`TRACE_TARGET`]. Without a collector no span is created and no field is computed.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator as _};
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry::{Context, TraceId};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::{Span, field};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::headers::HeaderLookup;
use crate::metrics::method_label;

/// The header names of W3C Trace Context.
pub const TRACE_CONTEXT_HEADERS: [&str; 2] = ["traceparent", "tracestate"];

/// The tracing target of spans, which the log excludes.
pub const TRACE_TARGET: &str = "stele::trace";

/// Longest path in a span, since clients choose it.
const MAX_PATH_BYTES: usize = 256;

/// Whether a collector is configured.
pub fn is_enabled() -> bool {
    ENABLED.load(Ordering::Relaxed)
}

/// Enables spans, since a collector is configured.
pub(crate) fn enable() {
    ENABLED.store(true, Ordering::Relaxed);
}

// Cheaper than `tracing::enabled!`, which is also true if only the log level includes spans.
static ENABLED: AtomicBool = AtomicBool::new(false);

/// Creates a span within the current request. No span without a collector or outside of requests (health checks,
/// background tasks).
#[macro_export]
macro_rules! child_span {
    ($name:literal, $($fields:tt)*) => {
        if $crate::trace::is_enabled() && $crate::request_context::is_in_request() {
            tracing::info_span!(target: $crate::trace::TRACE_TARGET, $name, $($fields)*)
        } else {
            tracing::Span::none()
        }
    };
}
pub use child_span;

/// The span of a received request: a child of the client's span if the request has a valid trace context, else the root
/// of a new trace.
pub fn server_span(method: &str, path: &str, headers: &impl HeaderLookup) -> Span {
    if !is_enabled() {
        return Span::none();
    }
    let span = tracing::info_span!(
        target: TRACE_TARGET,
        parent: None,
        "request",
        otel.name = method_label(method),
        otel.kind = "server",
        otel.status_code = field::Empty,
        error.type = field::Empty,
        http.request.method = method_label(method),
        http.route = field::Empty,
        http.response.status_code = field::Empty,
        url.path = truncate_path(path),
        url.scheme = "http",
    );
    // Fails only if the span has started.
    let _ =
        span.set_parent(TraceContextPropagator::new().extract_with_context(&Context::new(), &HeaderExtractor(headers)));
    span
}

/// The span of a request to the upstream instance at `instance`, a child of the current span.
pub fn client_span(method: &str, instance: SocketAddr) -> Span {
    if !is_enabled() {
        return Span::none();
    }
    tracing::info_span!(
        target: TRACE_TARGET,
        "request",
        otel.name = method_label(method),
        otel.kind = "client",
        otel.status_code = field::Empty,
        error.type = field::Empty,
        http.request.method = method_label(method),
        http.response.status_code = field::Empty,
        server.address = %instance.ip(),
        server.port = i64::from(instance.port()),
    )
}

/// The span of the delivery of a code by `channel`, in the trace of the current request. The request does not wait for
/// the delivery.
pub fn delivery_span(channel: &'static str) -> Span {
    if !is_enabled() {
        return Span::none();
    }
    let span = tracing::info_span!(
        target: TRACE_TARGET,
        parent: None,
        "deliver",
        otel.kind = "client",
        otel.status_code = field::Empty,
        error.type = field::Empty,
        stele.delivery.channel = channel,
        stele.delivery.attempts = field::Empty,
    );
    // Not a child in the sense of the `tracing` crate, which would keep the request's span open until the delivery
    // ends.
    let _ = span.set_parent(Span::current().context());
    span
}

/// Marks `span` as failed; `kind` is its `error.type`.
pub fn record_error(span: &Span, kind: &str) {
    span.record("otel.status_code", "ERROR").record("error.type", kind);
}

/// Records the status of a response. By the conventions, a 4xx is not an error of a server span.
pub fn record_response_status(span: &Span, status: u16) {
    if span.is_none() {
        return;
    }
    span.record("http.response.status_code", i64::from(status));
    if status >= 500 {
        record_error(span, &status.to_string());
    }
}

/// Records the route of a request, the pattern that its path matched, and names the span by it.
pub fn record_route(span: &Span, method: &str, route: &str) {
    if !span.is_none() {
        span.record("http.route", route);
        set_span_name(span, method, route);
    }
}

/// Names the span of a request by method and target.
pub fn set_span_name(span: &Span, method: &str, target: &str) {
    if !span.is_none() {
        // The field `otel.name` has no effect once the span has started.
        span.context().span().update_name(format!("{} {target}", method_label(method)));
    }
}

/// The trace id of `span`, for logs.
pub fn trace_id(span: &Span) -> Option<TraceId> {
    if span.is_none() {
        return None;
    }
    let context = span.context();
    let span_context = context.span().span_context().clone();
    span_context.is_valid().then(|| span_context.trace_id())
}

/// Propagates the trace context: calls `set` with name and value of each header field that makes `span` the parent of
/// the upstream's span. The fields replace those of the client. Does nothing without a span.
pub fn inject_context(span: &Span, set: impl FnMut(&str, String)) {
    if !span.is_none() {
        TraceContextPropagator::new().inject_context(&span.context(), &mut HeaderInjector(set));
    }
}

fn truncate_path(path: &str) -> &str {
    let end = (0..=MAX_PATH_BYTES.min(path.len())).rev().find(|&at| path.is_char_boundary(at)).unwrap_or(0);
    &path[..end]
}

struct HeaderExtractor<'a, F>(&'a F);

impl<F: HeaderLookup> Extractor for HeaderExtractor<'_, F> {
    /// Ignores a header that occurs twice.
    fn get(&self, key: &str) -> Option<&str> {
        // The propagator looks up only these names.
        let key = TRACE_CONTEXT_HEADERS.into_iter().find(|name| *name == key)?;
        let mut values = self.0.all_values(key);
        std::str::from_utf8(values.next().filter(|_| values.next().is_none())?).ok()
    }

    fn keys(&self) -> Vec<&str> {
        TRACE_CONTEXT_HEADERS.into_iter().filter(|name| self.0.first_value(name).is_some()).collect()
    }
}

struct HeaderInjector<F>(F);

impl<F: FnMut(&str, String)> Injector for HeaderInjector<F> {
    fn set(&mut self, key: &str, value: String) {
        // An empty `tracestate` has no meaning.
        if !value.is_empty() {
            (self.0)(key, value);
        }
    }
}
