//! Spans for OpenTelemetry, by its semantic conventions. They have a target of their own ([`TRACE_TARGET`]), which nobody asks
//! for unless there is a collector: then no span is made, and no field of one is computed.

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

/// The headers that name a trace, by W3C's Trace Context.
pub const TRACE_CONTEXT_HEADERS: [&str; 2] = ["traceparent", "tracestate"];

/// The target of spans. Logs leave it out, so that without an exporter spans cost a look at a flag.
pub const TRACE_TARGET: &str = "stele::trace";

/// As much of a path as is told: a stranger chooses it.
const MAX_PATH_BYTES: usize = 256;

/// Whether anybody collects spans.
pub fn is_enabled() -> bool {
    ENABLED.load(Ordering::Relaxed)
}

/// Makes spans from now on: there is a collector.
pub(crate) fn enable() {
    ENABLED.store(true, Ordering::Relaxed);
}

// Asking the subscriber is dearer, and it says yes wherever the log is as talkative as a span.
static ENABLED: AtomicBool = AtomicBool::new(false);

/// A span of what is done within a request; none outside of one (health checks, sweeping), or if nobody collects.
#[macro_export]
macro_rules! step {
    ($name:literal, $($fields:tt)*) => {
        if $crate::trace::is_enabled() && $crate::request_context::is_in_request() {
            tracing::info_span!(target: $crate::trace::TRACE_TARGET, $name, $($fields)*)
        } else {
            tracing::Span::none()
        }
    };
}
pub use step;

/// The span of a request that came in: a child of the caller's, if the request says so in the W3C's words and these are
/// well formed, else the root of a new trace.
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
    // Only a span that has begun already refuses a parent.
    let _ =
        span.set_parent(TraceContextPropagator::new().extract_with_context(&Context::new(), &HeaderExtractor(headers)));
    span
}

/// The span of a request that is sent on to `instance`, within the current one.
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

/// The span of a code on its way by `channel`: in the trace of the request that asked for it, but not holding it up.
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
    // A child in tracing's own sense would keep its parent open until it ends.
    let _ = span.set_parent(Span::current().context());
    span
}

/// Notes that what `span` is of has failed.
pub fn record_error(span: &Span, kind: &str) {
    span.record("otel.status_code", "ERROR").record("error.type", kind);
}

/// Notes what a request was answered with. By the conventions a 4xx is no failure of the server.
pub fn record_response_status(span: &Span, status: u16) {
    if span.is_none() {
        return;
    }
    span.record("http.response.status_code", i64::from(status));
    if status >= 500 {
        record_error(span, &status.to_string());
    }
}

/// Names the span of a request by the pattern that its path matched.
pub fn record_route(span: &Span, method: &str, route: &str) {
    if !span.is_none() {
        span.record("http.route", route);
        set_span_name(span, method, route);
    }
}

/// Names the span of a request by what it is for.
pub fn set_span_name(span: &Span, method: &str, target: &str) {
    if !span.is_none() {
        // A span that has begun no longer takes a name as a field.
        span.context().span().update_name(format!("{} {target}", method_label(method)));
    }
}

/// The trace that `span` is in, as logs name it.
pub fn trace_id(span: &Span) -> Option<TraceId> {
    if span.is_none() {
        return None;
    }
    let context = span.context();
    let context = context.span().span_context().clone();
    context.is_valid().then(|| context.trace_id())
}

/// Hands the headers that make `span` the parent of the next hop's to `set`, by name and value; none without a span.
/// They take the place of the caller's.
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
    /// A header that is there twice says nothing.
    fn get(&self, key: &str) -> Option<&str> {
        // The names that are asked for are those below.
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
        // An empty `tracestate` says nothing.
        if !value.is_empty() {
            (self.0)(key, value);
        }
    }
}
