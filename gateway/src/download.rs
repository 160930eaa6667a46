//! A service's answer on its way to the client.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::body::{BodyStream, BoxBody, SizedStream};
use actix_web::http::header::{CONTENT_LENGTH, HeaderMap};
use actix_web::http::{Method, StatusCode};
use actix_web::web::Bytes;
use actix_web::{HttpResponse, HttpResponseBuilder};
use awc::ClientResponse;
use futures_util::Stream;
use tokio::time::{Instant, Sleep, sleep};

use crate::headers;
use crate::upstreams::instance::Lease;

/// The body of an answer, given up when the service sends nothing for a while.
struct Download {
    answer: ClientResponse,
    patience: Duration,
    deadline: Pin<Box<Sleep>>,
    /// The instance is busy until the last byte.
    _lease: Lease,
}

/// Cuts the connection to the client off: the head is gone already, so this is all that can be said.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("the service stopped in the middle of its answer")]
    Stalled,
    #[error("the connection to the service broke in the middle of its answer: {0}")]
    Lost(String),
}

/// The client's answer, made of the service's.
pub(crate) fn pass_on(method: &Method, answer: ClientResponse, lease: Lease, patience: Duration) -> HttpResponse {
    let status = answer.status();
    let bodiless = method == Method::HEAD || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let length = answer.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let mut headers = HeaderMap::new();
    headers::for_client(answer.headers(), &mut headers);
    let body = || Download { answer, patience, deadline: Box::pin(sleep(patience)), _lease: lease };
    let mut builder = HttpResponseBuilder::new(status);
    let mut ours = match length {
        _ if bodiless => builder.finish(),
        Some(length) => builder.body(BoxBody::new(SizedStream::new(length, body()))),
        None => builder.body(BoxBody::new(BodyStream::new(body()))),
    };
    *ours.headers_mut() = headers;
    ours
}

impl Stream for Download {
    type Item = Result<Bytes, Broken>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match Pin::new(&mut self.answer).poll_next(cx) {
            Poll::Ready(Some(Ok(chunk))) => {
                let next = Instant::now() + self.patience;
                self.deadline.as_mut().reset(next);
                Poll::Ready(Some(Ok(chunk)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(Broken::Lost(error.to_string())))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => self.deadline.as_mut().poll(cx).map(|()| Some(Err(Broken::Stalled))),
        }
    }
}
