//! The access log and the counts: each request is counted once, whatever becomes of it, and logged, but for a flood of
//! refused ones.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use stele_service::log_text::clipped;
use stele_service::request::RequestId;
use stele_service::trace;
use tokio::time::Instant;
use tracing::{Span, field};

use crate::headers::Caller;
use crate::live::Live;
use crate::request::RequestLine;
use crate::table::Route;

/// What a request is logged with if its client goes away before it is answered.
const CLIENT_GONE: u16 = 499;

/// What the service of a request without a route is called.
static NONE: LazyLock<Arc<String>> = LazyLock::new(|| Arc::new("none".to_owned()));

/// A request on its way, logged when dropped: answered, or left alone by its client.
pub(crate) struct Entry<'a> {
    started: Instant,
    line: &'a RequestLine,
    id: &'a RequestId,
    client: IpAddr,
    trace: &'a Span,
    service: &'a Arc<String>,
    live: &'a Live,
    /// What it was answered with.
    pub(crate) status: u16,
}

impl<'a> Entry<'a> {
    pub(crate) fn new(
        line: &'a RequestLine,
        caller: &'a Caller,
        route: Option<&'a Route>,
        trace: &'a Span,
        live: &'a Live,
    ) -> Self {
        Self {
            started: Instant::now(),
            line,
            id: &caller.request_id,
            client: caller.client,
            trace,
            service: route.map_or(&NONE, |route| &route.label),
            live,
            status: CLIENT_GONE,
        }
    }

    /// When the request was there.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }
}

impl Drop for Entry<'_> {
    /// Never the query, a header or a body: they may hold secrets. Of refused requests not every one: `left_out` says how
    /// many were not logged before this one.
    fn drop(&mut self) {
        let time = self.started.elapsed();
        self.live.count.answered(self.service, &self.line.method, self.status, time);
        let left_out = match self.status {
            ..400 => None,
            // It costs a client nothing to be refused.
            400.. => match self.live.refused_lines.take(self.client, Instant::now()) {
                Some(left_out) => left_out.field(),
                None => return self.live.count.unlogged(),
            },
        };
        tracing::info!(
            parent: None,
            id = self.id.as_str(),
            trace_id = trace::id(self.trace).map(field::display),
            method = %clipped(self.line.method.as_str()),
            path = &*clipped(self.line.path()),
            status = self.status,
            ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
            service = self.service.as_str(),
            left_out,
            "request"
        );
    }
}
