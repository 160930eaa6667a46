//! The access log and the counts: each request is counted once, whatever becomes of it, and logged, but for a flood of
//! refused ones.

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

/// What a request is logged with if its client goes away before it is answered.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// What the service of a request without a route is called.
static NO_SERVICE: LazyLock<Arc<String>> = LazyLock::new(|| Arc::new("none".to_owned()));

/// A request on its way, logged when dropped: answered, or left alone by its client.
pub(crate) struct AccessLogEntry<'a> {
    started_at: Instant,
    request_line: &'a RequestLine,
    id: &'a RequestId,
    client: IpAddr,
    span: &'a Span,
    service: &'a Arc<String>,
    shared: &'a SharedState,
    /// What it was answered with.
    pub(crate) status: u16,
}

impl<'a> AccessLogEntry<'a> {
    pub(crate) fn new(
        line: &'a RequestLine,
        caller: &'a ClientIdentity,
        route: Option<&'a Route>,
        trace: &'a Span,
        live: &'a SharedState,
    ) -> Self {
        Self {
            started_at: Instant::now(),
            request_line: line,
            id: &caller.request_id,
            client: caller.address,
            span: trace,
            service: route.map_or(&NO_SERVICE, |route| &route.metric_label),
            shared: live,
            status: CLIENT_CLOSED_REQUEST,
        }
    }

    /// When the request was there.
    pub(crate) fn started_at(&self) -> Instant {
        self.started_at
    }
}

impl Drop for AccessLogEntry<'_> {
    /// Never the query, a header or a body: they may hold secrets. Of refused requests not every one: `left_out` says how
    /// many were not logged before this one.
    fn drop(&mut self) {
        let time = self.started_at.elapsed();
        self.shared.counters.count_response(self.service, &self.request_line.method, self.status, time);
        let left_out = match self.status {
            ..400 => None,
            // It costs a client nothing to be refused.
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
