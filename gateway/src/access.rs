//! The access log: one event a request, whatever becomes of it.

use std::time::Instant;

use actix_web::HttpRequest;

use crate::headers::Caller;
use crate::proxy::PathAsSent as _;
use crate::table::Route;

/// What a request is logged with if its client goes away before it is answered.
const CLIENT_GONE: u16 = 499;

/// A request on its way, logged when dropped: answered, or left alone by its client.
pub(crate) struct Entry {
    started: Instant,
    request: HttpRequest,
    id: String,
    service: String,
    /// What it was answered with.
    pub(crate) status: u16,
}

impl Entry {
    pub(crate) fn new(request: &HttpRequest, caller: &Caller, route: Option<&Route>) -> Self {
        Self {
            started: Instant::now(),
            request: request.clone(),
            id: caller.request_id.to_str().unwrap_or_default().to_owned(),
            service: route.map_or("-", |route| route.service.as_str()).to_owned(),
            status: CLIENT_GONE,
        }
    }
}

impl Drop for Entry {
    /// Never the query, a header or a body: they may hold secrets.
    fn drop(&mut self) {
        tracing::info!(
            id = self.id,
            method = %self.request.method(),
            path = self.request.path_as_sent(),
            status = self.status,
            ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            service = self.service,
            "request"
        );
    }
}
