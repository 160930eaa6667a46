//! One request: found its route, checked, passed on, answered, logged.

use std::sync::Arc;

use actix_web::body::{BodyStream, None as NoBody, SizedStream};
use actix_web::http::header::{HeaderValue, UPGRADE};
use actix_web::http::uri::PathAndQuery;
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, web};
use awc::error::{ConnectError, SendRequestError};
use awc::{Client, ClientResponse};
use serde_json::json;

use crate::access::Entry;
use crate::config::Config;
use crate::headers::{self, Caller};
use crate::health::Probe;
use crate::refusal::{self, Cause};
use crate::table::Route;
use crate::upload::{Framing, Upload};
use crate::upstreams::{Instance, Lease};
use crate::{docs, download, path};

/// What a worker needs to answer requests.
pub(crate) struct Gate {
    pub(crate) config: Arc<Config>,
    pub(crate) hop: Option<HeaderValue>,
    pub(crate) probe: Probe,
    pub(crate) client: Client,
}

/// Answers every request there is.
pub(crate) async fn handle(request: HttpRequest, payload: web::Payload, gate: web::Data<Gate>) -> HttpResponse {
    let caller = Caller::of(&request, &gate.config.trust);
    let route = gate.config.table.find(request.path_as_sent());
    let mut entry = Entry::new(&request, &caller, route);
    let own = match gate.health(&request).await {
        None if route.is_none() => docs::answer(&request, &gate).await,
        health => health,
    };
    let mut answer = match own {
        Some(own) => own,
        None => gate.answer(&request, payload, &caller, route).await,
    };
    if route.is_some() {
        gate.config.cors.mark(request.headers(), answer.headers_mut());
    }
    entry.status = answer.status().as_u16();
    answer.headers_mut().insert(headers::REQUEST_ID, caller.request_id);
    answer
}

/// The path before anything decodes it.
pub(crate) trait PathAsSent {
    fn path_as_sent(&self) -> &str;
}

impl PathAsSent for HttpRequest {
    fn path_as_sent(&self) -> &str {
        self.uri().path()
    }
}

impl Gate {
    async fn health(&self, request: &HttpRequest) -> Option<HttpResponse> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return None;
        }
        match request.path_as_sent() {
            "/healthz" => Some(HttpResponse::Ok().body("ok")),
            "/readyz" => {
                let missing = self.probe.missing().await;
                let status = if missing.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                let body = json!({"missing": missing, "ready": missing.is_empty()});
                Some(refusal::json(status, body.to_string()))
            }
            _ => None,
        }
    }

    async fn answer(
        &self,
        request: &HttpRequest,
        payload: web::Payload,
        caller: &Caller,
        route: Option<&Route>,
    ) -> HttpResponse {
        let framing = Framing::of(request);
        let limits = &self.config.limits;
        let upload = Upload::new(payload, framing, limits.body, limits.body_time);
        let answer = match route {
            None => refusal::no_route(),
            Some(route) => match self.pass(request, caller, route, framing, &upload).await {
                Ok(answer) => answer,
                Err(cause) => route.refusals.answer(cause),
            },
        };
        if upload.is_done() { answer } else { refusal::closing(answer, upload) }
    }

    async fn pass(
        &self,
        request: &HttpRequest,
        caller: &Caller,
        route: &Route,
        framing: Framing,
        upload: &Upload,
    ) -> Result<HttpResponse, Cause> {
        self.check(request, framing)?;
        if let Some(preflight) = self.config.cors.preflight(request) {
            return Ok(preflight);
        }
        let (answer, lease) = self.forward(request, caller, route, framing, upload).await?;
        Ok(download::pass_on(request.method(), answer, lease, self.config.limits.upstream_time))
    }

    /// What can be judged before a service is asked.
    fn check(&self, request: &HttpRequest, framing: Framing) -> Result<(), Cause> {
        if !path::is_plain(request.path_as_sent()) {
            return Err(Cause::NotFound);
        }
        if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
            return Err(Cause::Method);
        }
        if headers::too_large(request) {
            return Err(Cause::HeadersTooLarge);
        }
        // The server takes all that follows such a head for its body, whatever length was told.
        if request.headers().get_all(UPGRADE).any(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket")) {
            return Err(Cause::BadRequest);
        }
        match framing {
            Framing::Sized(length) if length > self.config.limits.body => Err(Cause::TooLarge),
            Framing::None | Framing::Sized(_) | Framing::Chunked => Ok(()),
        }
    }

    async fn forward(
        &self,
        request: &HttpRequest,
        caller: &Caller,
        route: &Route,
        framing: Framing,
        upload: &Upload,
    ) -> Result<(ClientResponse, Lease), Cause> {
        let attempts = self.attempt_in_turn(request, caller, route, framing, upload);
        match tokio::time::timeout(self.config.limits.upstream_time, attempts).await {
            Ok(outcome) => outcome,
            Err(_) if !upload.is_done() => Err(Cause::SlowRequest),
            Err(_) => {
                tracing::warn!(service = route.service, "no answer in time");
                Err(Cause::SlowService)
            }
        }
    }

    /// Asks one instance; another only if the first could not even be connected to, for then nothing was sent.
    async fn attempt_in_turn(
        &self,
        request: &HttpRequest,
        caller: &Caller,
        route: &Route,
        framing: Framing,
        upload: &Upload,
    ) -> Result<(ClientResponse, Lease), Cause> {
        for instance in route.upstreams.order() {
            let lease = instance.lease();
            match self.send(request, caller, &instance, framing, upload.clone()).await {
                // Nobody asked to switch protocols; there is nothing sensible to do with it.
                Ok(answer) if answer.status().is_informational() => {
                    tracing::warn!(service = route.service, instance = instance.address(), "answered 1xx");
                    return Err(Cause::Unavailable);
                }
                Ok(answer) => return Ok((answer, lease)),
                Err(error) => {
                    if let Some(cause) = upload.refusal() {
                        return Err(cause);
                    }
                    tracing::warn!(service = route.service, instance = instance.address(), cause = %error, "no answer");
                    if !(never_connected(&error) && upload.is_untouched()) {
                        return Err(Cause::Unavailable);
                    }
                }
            }
        }
        Err(Cause::Unavailable)
    }

    async fn send(
        &self,
        request: &HttpRequest,
        caller: &Caller,
        instance: &Instance,
        framing: Framing,
        upload: Upload,
    ) -> Result<ClientResponse, SendRequestError> {
        let target = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        let uri = instance.uri(target).map_err(SendRequestError::Http)?;
        let mut ours = self.client.request(request.method().clone(), uri).no_decompress();
        *ours.headers_mut() = headers::for_service(request, caller, self.hop.as_ref());
        match framing {
            Framing::None => ours.send_body(NoBody::new()),
            Framing::Sized(0) => ours.send(),
            Framing::Sized(length) => ours.send_body(SizedStream::new(length, upload)),
            Framing::Chunked => ours.send_body(BodyStream::new(upload)),
        }
        .await
    }
}

/// Whether not a byte of the request can have reached the instance.
fn never_connected(error: &SendRequestError) -> bool {
    // `Disconnected` is what a connection that was used and then lost is called.
    matches!(error, SendRequestError::Connect(cause) if !matches!(cause, ConnectError::Disconnected))
}
