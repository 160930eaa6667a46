//! Health and readiness, on the public address.

use std::sync::Arc;

use hyper::{Method, StatusCode};
use serde_json::json;

use crate::answer::Answer;
use crate::live::{Gateway, Live};
use crate::request::RequestLine;

/// Answers `/healthz` and `/readyz`; `None` if it is something else that is asked.
pub(crate) fn answer(line: &RequestLine, live: &Arc<Live>) -> Option<Answer> {
    if !matches!(line.method, Method::GET | Method::HEAD) {
        return None;
    }
    match line.path() {
        "/healthz" => Some(Answer::new(StatusCode::OK).body("ok")),
        "/readyz" => {
            let gateway = Gateway(Arc::clone(live));
            let (ready, missing) = (gateway.is_ready(), gateway.missing());
            let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            Some(Answer::json(status, json!({"missing": missing, "ready": ready}).to_string()))
        }
        _ => None,
    }
}
