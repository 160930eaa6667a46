//! A request on its way through a service: its id, the client's address, and the spans around it.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use actix_web::dev::ServiceRequest;
use stele_service::request::{self, Client, ID_HEADER, RequestId};
use stele_service::trace;
use stele_service::trust::Trust;
use tracing::{Instrument as _, Span, field};

/// The pattern of an endpoint's path, as metrics and traces name it.
pub(crate) struct Route(pub(crate) Arc<String>);

/// A request that has come in.
pub(crate) struct Arrival {
    client: Client,
    log: Span,
    /// Its span in the trace.
    pub(crate) trace: Span,
}

impl Arrival {
    pub(crate) fn new(service: &'static str, request: &ServiceRequest, trust: &Trust) -> Self {
        let headers = request.headers();
        let peer = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
        let client = Client { address: trust.client(peer, headers), request: request_id(request) };
        let trace = trace::server(request.method().as_str(), request.path(), headers);
        let log = log_span(service, &client.request, &trace);
        Self { client, log, trace }
    }

    /// Does `work` as part of this request.
    pub(crate) fn around<F: Future>(&self, work: F) -> impl Future<Output = F::Output> {
        request::scope(self.client.clone(), work.instrument(self.log.clone())).instrument(self.trace.clone())
    }

    /// What logs have around each line of this request.
    pub(crate) fn log(&self) -> &Span {
        &self.log
    }
}

/// What the gateway calls the request; a name of our own for one that came another way.
fn request_id(request: &ServiceRequest) -> RequestId {
    let given = request.headers().get(ID_HEADER).and_then(|id| RequestId::parse(id.to_str().ok()?));
    given.unwrap_or_else(RequestId::random)
}

/// What logs have around each line of a request. At the level of errors, so that it is there at every level.
fn log_span(service: &str, id: &RequestId, trace: &Span) -> Span {
    let span = tracing::error_span!("request", service, id = id.as_str(), trace_id = field::Empty);
    if let Some(trace) = trace::id(trace) {
        span.record("trace_id", field::display(trace));
    }
    span
}
