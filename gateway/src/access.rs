//! The access log and the counts: one event a request, whatever becomes of it.

use std::sync::{Arc, LazyLock};
use std::time::Instant;

use actix_web::HttpRequest;
use stele_core::event::RequestId;
use stele_web::trace;
use tracing::{Span, field};

use crate::headers::Caller;
use crate::live::Live;
use crate::proxy::PathAsSent as _;
use crate::table::Route;

/// What a request is logged with if its client goes away before it is answered.
const CLIENT_GONE: u16 = 499;

/// What the service of a request without a route is called.
static NONE: LazyLock<Arc<String>> = LazyLock::new(|| Arc::new("none".to_owned()));

/// A request on its way, logged when dropped: answered, or left alone by its client.
pub(crate) struct Entry {
    started: Instant,
    request: HttpRequest,
    id: RequestId,
    trace: Span,
    service: Arc<String>,
    live: Arc<Live>,
    /// What it was answered with.
    pub(crate) status: u16,
}

impl Entry {
    pub(crate) fn new(
        request: &HttpRequest,
        caller: &Caller,
        route: Option<&Route>,
        trace: Span,
        live: Arc<Live>,
    ) -> Self {
        Self {
            started: Instant::now(),
            request: request.clone(),
            id: caller.request_id.clone(),
            trace,
            service: Arc::clone(route.map_or(&NONE, |route| &route.label)),
            live,
            status: CLIENT_GONE,
        }
    }
}

impl Drop for Entry {
    /// Never the query, a header or a body: they may hold secrets.
    fn drop(&mut self) {
        let time = self.started.elapsed();
        self.live.count.answered(&self.service, self.request.method(), self.status, time);
        tracing::info!(
            parent: None,
            id = self.id.as_str(),
            trace_id = trace::id(&self.trace).map(field::display),
            method = %self.request.method(),
            path = self.request.path_as_sent(),
            status = self.status,
            ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
            service = self.service.as_str(),
            "request"
        );
    }
}
