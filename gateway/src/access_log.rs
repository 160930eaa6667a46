//! Access log and request metrics. Every request is counted and logged once; lines for status 400 or above are rate
//! limited.

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

/// nginx's status for a request that its client aborted before the response.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// The service label of a request without a route.
static NO_SERVICE: LazyLock<Arc<String>> = LazyLock::new(|| Arc::new("none".to_owned()));

/// The log line of a request, written when dropped.
pub(crate) struct AccessLogEntry<'a> {
    started_at: Instant,
    request_line: &'a RequestLine,
    id: &'a RequestId,
    client: IpAddr,
    span: &'a Span,
    service: &'a Arc<String>,
    shared: &'a SharedState,
    /// The response status; 499 until there is one.
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
            id: &client.request_id,
            client: client.address,
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
        let time = self.started_at.elapsed();
        self.shared.counters.count_response(self.service, &self.request_line.method, self.status, time);
        let left_out = match self.status {
            ..400 => None,
            // Rejected requests cost a client nothing, so a flood of them must not fill the log.
            400.. => match self.shared.rejection_log_limit.allow(self.client, Instant::now()) {
                Some(left_out) => left_out.as_log_field(),
                None => return self.shared.counters.count_unlogged(),
            },
        };
        tracing::info!(
            parent: None,
            id = self.id.as_str(),
            trace_id = trace::trace_id(self.span).map(field::display),
            method = %sanitize(self.request_line.method.as_str()),
            path = &*sanitize(self.request_line.path()),
            status = self.status,
            ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
            service = self.service.as_str(),
            left_out,
            "request"
        );
    }
}
