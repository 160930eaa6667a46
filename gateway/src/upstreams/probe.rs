//! Probe: a request of the gateway itself to an instance, for health checks and API documents.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use hyper::header::{CONNECTION, HOST, HeaderValue};
use hyper::{Request, StatusCode, Uri};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::connection::{ProxyError, UpstreamConnection};
use super::instance::Instance;
use crate::request_body::RequestBody;

/// Why a probe got no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProbeError {
    ConnectFailed,
    NoResponse,
}

/// How much of a response body a probe reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyRead {
    Skip,
    /// The whole body. A body of more bytes is an error.
    UpTo(usize),
}

/// The response to a probe.
#[derive(Debug)]
pub(crate) struct ProbeResponse {
    pub(crate) status: StatusCode,
    /// Empty for [`BodyRead::Skip`].
    pub(crate) body: Vec<u8>,
}

/// Sends `GET path` over a new connection. `connect_timeout` covers the connect alone; the caller must
/// limit the time of the whole probe.
pub(crate) async fn probe(
    instance: &Instance,
    path: &'static str,
    connect_timeout: Duration,
    body_read: BodyRead,
) -> Result<ProbeResponse, ProbeError> {
    let connected = timeout(connect_timeout, TcpStream::connect(instance.address())).await;
    let Ok(Ok(socket)) = connected else { return Err(ProbeError::ConnectFailed) };
    send_probe(socket, instance, path, body_read).await.map_err(|_| ProbeError::NoResponse)
}

async fn send_probe(
    socket: TcpStream,
    instance: &Instance,
    path: &'static str,
    body_read: BodyRead,
) -> Result<ProbeResponse, ProxyError> {
    let mut connection = UpstreamConnection::new(socket).await.map_err(ProxyError::Http)?;
    let mut request = Request::new(RequestBody::Full(None));
    *request.uri_mut() = Uri::from_static(path);
    request.headers_mut().insert(HOST, instance.host_header().clone());
    request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    let response = connection.send(request, |_| Poll::Pending).await?;
    let (status, mut incoming) = (response.status(), response.into_body());
    let mut body = Vec::new();
    let BodyRead::UpTo(max_body_bytes) = body_read else { return Ok(ProbeResponse { status, body }) };
    while let Some(piece) = poll_fn(|cx| connection.poll_data(cx, &mut incoming)).await {
        body.extend_from_slice(&piece.map_err(ProxyError::Http)?);
        if body.len() > max_body_bytes {
            return Err(ProxyError::Malformed);
        }
    }
    Ok(ProbeResponse { status, body })
}
