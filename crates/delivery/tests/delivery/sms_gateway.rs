//! An SMS gateway for tests with configurable behavior.

use std::sync::{Arc, Mutex};

use actix_web::dev::ServerHandle;
use actix_web::http::StatusCode;
use actix_web::web::{self, Bytes, Data};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use tokio::sync::{Notify, mpsc};

use crate::within_timeout;

/// How the gateway handles a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GatewayBehavior {
    Respond(u16),
    /// Does not respond until [`SmsGateway::release`].
    Hang,
}

/// A received request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) signature: String,
    pub(crate) idempotency_key: String,
    pub(crate) content_type: String,
    pub(crate) authorization: Option<String>,
    pub(crate) body: String,
}

pub(crate) struct SmsGateway {
    pub(crate) url: String,
    requests: mpsc::UnboundedReceiver<Request>,
    state: Data<GatewayState>,
    handle: ServerHandle,
}

struct GatewayState {
    behaviors: Mutex<Vec<GatewayBehavior>>,
    default_behavior: GatewayBehavior,
    requests: mpsc::UnboundedSender<Request>,
    released: Arc<Notify>,
}

impl SmsGateway {
    /// Starts a gateway that handles the first requests by `behaviors`, in order, and all others by `default_behavior`.
    pub(crate) fn start(behaviors: &[GatewayBehavior], default_behavior: GatewayBehavior) -> Self {
        let (sender, requests) = mpsc::unbounded_channel();
        let behaviors = Mutex::new(behaviors.iter().rev().copied().collect());
        let state = Data::new(GatewayState { behaviors, default_behavior, requests: sender, released: Arc::default() });
        let shared = state.clone();
        let server =
            HttpServer::new(move || App::new().app_data(shared.clone()).default_service(web::to(handle_request)))
                .workers(1)
                .disable_signals()
                .bind("127.0.0.1:0")
                .unwrap();
        let url = format!("webhook+http://user:pass%20word@{}/send?token=t0ken", server.addrs()[0]);
        let server = server.run();
        let handle = server.handle();
        actix_web::rt::spawn(server);
        Self { url, requests, state, handle }
    }

    /// Waits for the next request.
    pub(crate) async fn next_request(&mut self) -> Request {
        within_timeout(self.requests.recv()).await.unwrap()
    }

    /// Whether a request was received that [`Self::next_request`] has not returned; consumes it.
    pub(crate) fn has_unread_request(&mut self) -> bool {
        self.requests.try_recv().is_ok()
    }

    /// Responds to one request that hangs, or to the next one.
    pub(crate) fn release(&self) {
        self.state.released.notify_one();
    }
}

impl Drop for SmsGateway {
    fn drop(&mut self) {
        drop(self.handle.stop(false));
    }
}

async fn handle_request(request: HttpRequest, body: Bytes, state: Data<GatewayState>) -> HttpResponse {
    let header_value = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    state
        .requests
        .send(Request {
            signature: header_value("x-stele-signature").unwrap(),
            idempotency_key: header_value("idempotency-key").unwrap(),
            content_type: header_value("content-type").unwrap(),
            authorization: header_value("authorization"),
            body: String::from_utf8(body.to_vec()).unwrap(),
        })
        .unwrap();
    let behavior = state.behaviors.lock().unwrap().pop().unwrap_or(state.default_behavior);
    match behavior {
        GatewayBehavior::Respond(status) => HttpResponse::build(StatusCode::from_u16(status).unwrap())
            .insert_header(("location", "/elsewhere"))
            .body("a response"),
        GatewayBehavior::Hang => {
            state.released.notified().await;
            HttpResponse::Ok().finish()
        }
    }
}
