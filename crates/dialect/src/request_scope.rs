//! Request scope: request id, client address and name, log span and trace span of the request in progress.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use actix_web::dev::ServiceRequest;
use actix_web::http::header::USER_AGENT;
use stele_service::client_list::ClientList;
use stele_service::request_context::{self, ClientInfo, REQUEST_ID_HEADER, RequestId};
use stele_service::trace;
use stele_service::trusted_proxies::TrustedProxies;
use tracing::{Instrument as _, Span, field};

/// The path pattern of an endpoint, as the route label of metrics and traces.
pub(crate) struct RoutePattern(pub(crate) Arc<String>);

/// A request in progress.
pub(crate) struct RequestScope {
    client_info: ClientInfo,
    log_span: Span,
    /// The OpenTelemetry server span.
    pub(crate) trace_span: Span,
}

impl RequestScope {
    pub(crate) fn new(
        service: &'static str,
        request: &ServiceRequest,
        trusted_proxies: &TrustedProxies,
        clients: &ClientList,
    ) -> Self {
        let headers = request.headers();
        let peer = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
        let address = trusted_proxies.client_address(peer, headers);
        let name = headers.get(USER_AGENT).and_then(|user_agent| clients.find(user_agent.as_bytes())).cloned();
        let client_info = ClientInfo { address, request_id: incoming_request_id(request), name };
        let trace_span = trace::server_span(request.method().as_str(), request.path(), headers);
        let log_span = new_log_span(service, &client_info.request_id, &trace_span);
        Self { client_info, log_span, trace_span }
    }

    /// Runs `work` in the scope of this request: with its client info, log span and trace span.
    pub(crate) fn run<F: Future>(&self, work: F) -> impl Future<Output = F::Output> {
        request_context::with_client(self.client_info.clone(), work.instrument(self.log_span.clone()))
            .instrument(self.trace_span.clone())
    }

    /// The client's name on the operator's list; `None` if the list does not name it.
    pub(crate) fn client_name(&self) -> Option<&str> {
        self.client_info.name.as_deref()
    }

    /// The span whose fields appear in each log line of this request.
    pub(crate) fn log_span(&self) -> &Span {
        &self.log_span
    }
}

/// The received `X-Request-Id` if it is valid, from any peer (clients reach a service through the gateway, which sets it),
/// or a new one.
fn incoming_request_id(request: &ServiceRequest) -> RequestId {
    let header = request.headers().get(REQUEST_ID_HEADER).and_then(|id| RequestId::parse(id.to_str().ok()?));
    header.unwrap_or_else(RequestId::generate)
}

/// The log span of a request. It has level ERROR so that it is enabled at every log level.
fn new_log_span(service: &str, id: &RequestId, trace_span: &Span) -> Span {
    let span = tracing::error_span!("request", service, id = id.as_str(), trace_id = field::Empty);
    if let Some(trace_id) = trace::trace_id(trace_span) {
        span.record("trace_id", field::display(trace_id));
    }
    span
}
