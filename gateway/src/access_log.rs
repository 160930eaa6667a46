//! Access log and request metrics. Every request is counted, and logged in one line; the lines for status 400 or above
//! are rate limited.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use stele_service::log_sanitizer::sanitize;
use stele_service::request_context::RequestId;
use stele_service::trace;
use tokio::time::Instant;
use tracing::{Span, field};

use crate::headers::ClientIdentity;
use crate::request_head::RequestLine;
use crate::routing_table::Route;
use crate::shared_state::SharedState;

/// Status of a request that the client aborted before the response, as in nginx's access log. Never sent.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// The service label of a request without a route.
static NO_SERVICE: LazyLock<Arc<String>> = LazyLock::new(|| Arc::new("none".to_owned()));

/// The access log entry of a request. Dropping it counts the request, and writes the log line unless the rate limit
/// suppresses it.
pub(crate) struct AccessLogEntry<'a> {
    started_at: Instant,
    request_line: &'a RequestLine,
    request_id: &'a RequestId,
    client_address: IpAddr,
    span: &'a Span,
    service: &'a Arc<String>,
    shared: &'a SharedState,
    /// The response status; 499 until the response head is known.
    pub(crate) status: u16,
}

impl<'a> AccessLogEntry<'a> {
    pub(crate) fn new(
        request_line: &'a RequestLine,
        client: &'a ClientIdentity,
        route: Option<&'a Route>,
        span: &'a Span,
        shared: &'a SharedState,
    ) -> Self {
        Self {
            started_at: Instant::now(),
            request_line,
            request_id: &client.request_id,
            client_address: client.address,
            span,
            service: route.map_or(&NO_SERVICE, |route| &route.metric_label),
            shared,
            status: CLIENT_CLOSED_REQUEST,
        }
    }

    /// When the request head was received.
    pub(crate) fn started_at(&self) -> Instant {
        self.started_at
    }
}

impl Drop for AccessLogEntry<'_> {
    /// Never logs query, headers or body, which may contain secrets. `left_out` is the number of lines that the rate
    /// limit suppressed before this one.
    fn drop(&mut self) {
        let duration = self.started_at.elapsed();
        self.shared.counters.count_request(self.service, &self.request_line.method, self.status, duration);
        let left_out = match self.status {
            ..400 => None,
            // Requests that fail cost a client nothing, so a flood of failed requests must not fill the log.
            400.. => match self.shared.rejection_log_limit.allow(self.client_address, Instant::now()) {
                Some(left_out) => left_out.as_log_field(),
                None => return self.shared.counters.count_unlogged_request(),
            },
        };
        tracing::info!(
            // Operators filter by this target, which is older than the module's name.
            target: "gateway::access",
            parent: None,
            id = self.request_id.as_str(),
            trace_id = trace::trace_id(self.span).map(field::display),
            method = %sanitize(self.request_line.method.as_str()),
            path = &*sanitize(self.request_line.path()),
            status = self.status,
            ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            service = self.service.as_str(),
            left_out,
            "request"
        );
    }
}
