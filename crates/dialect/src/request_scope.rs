//! A request on its way through a service: its id, the client's address, and the spans around it.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use actix_web::dev::ServiceRequest;
use stele_service::request_context::{self, ClientInfo, REQUEST_ID_HEADER, RequestId};
use stele_service::trace;
use stele_service::trusted_proxies::TrustedProxies;
use tracing::{Instrument as _, Span, field};

/// The pattern of an endpoint's path, as metrics and traces name it.
pub(crate) struct RoutePattern(pub(crate) Arc<String>);

/// A request that has come in.
pub(crate) struct RequestScope {
    client_info: ClientInfo,
    log_span: Span,
    /// Its span in the trace.
    pub(crate) trace_span: Span,
}

impl RequestScope {
    pub(crate) fn new(service: &'static str, request: &ServiceRequest, trust: &TrustedProxies) -> Self {
        let headers = request.headers();
        let peer = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
        let client =
            ClientInfo { address: trust.client_address(peer, headers), request_id: incoming_request_id(request) };
        let trace = trace::server_span(request.method().as_str(), request.path(), headers);
        let log = new_log_span(service, &client.request_id, &trace);
        Self { client_info: client, log_span: log, trace_span: trace }
    }

    /// Does `work` as part of this request.
    pub(crate) fn run<F: Future>(&self, work: F) -> impl Future<Output = F::Output> {
        request_context::with_client(self.client_info.clone(), work.instrument(self.log_span.clone()))
            .instrument(self.trace_span.clone())
    }

    /// What logs have around each line of this request.
    pub(crate) fn log_span(&self) -> &Span {
        &self.log_span
    }
}

/// What the gateway calls the request; a name of our own for one that came another way.
fn incoming_request_id(request: &ServiceRequest) -> RequestId {
    let given = request.headers().get(REQUEST_ID_HEADER).and_then(|id| RequestId::parse(id.to_str().ok()?));
    given.unwrap_or_else(RequestId::generate)
}

/// What logs have around each line of a request. At the level of errors, so that it is there at every level.
fn new_log_span(service: &str, id: &RequestId, trace: &Span) -> Span {
    let span = tracing::error_span!("request", service, id = id.as_str(), trace_id = field::Empty);
    if let Some(trace) = trace::trace_id(trace) {
        span.record("trace_id", field::display(trace));
    }
    span
}
