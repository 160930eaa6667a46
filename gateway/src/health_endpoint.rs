//! Liveness and readiness endpoints on the public address: `/healthz`, `/readyz`.

use std::sync::Arc;

use hyper::{Method, StatusCode};
use serde_json::json;

use crate::local_response::LocalResponse;
use crate::request_head::RequestLine;
use crate::shared_state::{Gateway, SharedState};

/// The response to `/healthz` or `/readyz`; `None` for any other request.
pub(crate) fn respond(line: &RequestLine, shared: &Arc<SharedState>) -> Option<LocalResponse> {
    if !matches!(line.method, Method::GET | Method::HEAD) {
        return None;
    }
    match line.path() {
        "/healthz" => Some(LocalResponse::new(StatusCode::OK).with_body("ok")),
        "/readyz" => {
            let missing = Gateway(Arc::clone(shared)).unavailable_services();
            let is_ready = missing.is_empty() && !shared.drain.is_draining();
            let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            Some(LocalResponse::json(status, json!({"missing": missing, "ready": is_ready}).to_string()))
        }
        _ => None,
    }
}
