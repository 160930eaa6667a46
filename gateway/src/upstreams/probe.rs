//! A question of the gateway's own to an instance: how it does, what it serves.

use std::future::poll_fn;
use std::io;
use std::task::Poll;
use std::time::Duration;

use hyper::header::{CONNECTION, HOST, HeaderValue};
use hyper::{Request, StatusCode, Uri};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::connection::{ProxyError, UpstreamConnection};
use super::instance::Instance;
use crate::request_body::RequestBody;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProbeError {
    #[error("it cannot be connected to: {0}")]
    Connect(io::Error),
    #[error("it does not answer: {0}")]
    NoResponse(ProxyError),
}

/// An answer.
#[derive(Debug)]
pub(crate) struct ProbeResponse {
    pub(crate) status: StatusCode,
    pub(crate) body: Vec<u8>,
}

/// Asks for `path` over a connection of its own that is made within `patience`; reads at most `most` bytes of a body.
pub(crate) async fn probe(
    instance: &Instance,
    path: &'static str,
    patience: Duration,
    most: usize,
) -> Result<ProbeResponse, ProbeError> {
    let connecting = timeout(patience, TcpStream::connect(instance.address())).await;
    let socket = connecting.map_err(io::Error::from).flatten().map_err(ProbeError::Connect)?;
    send_probe(socket, instance, path, most).await.map_err(ProbeError::NoResponse)
}

async fn send_probe(
    socket: TcpStream,
    instance: &Instance,
    path: &'static str,
    most: usize,
) -> Result<ProbeResponse, ProxyError> {
    let mut connection = UpstreamConnection::new(socket).await.map_err(ProxyError::Http)?;
    let mut request = Request::new(RequestBody::Full(None));
    *request.uri_mut() = Uri::from_static(path);
    request.headers_mut().insert(HOST, instance.host_header().clone());
    request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    let answer = connection.send(request, |_| Poll::Pending).await?;
    let (status, mut incoming) = (answer.status(), answer.into_body());
    let mut body = Vec::new();
    if most == 0 {
        return Ok(ProbeResponse { status, body });
    }
    while let Some(piece) = poll_fn(|cx| connection.poll_data(cx, &mut incoming)).await {
        body.extend_from_slice(&piece.map_err(ProxyError::Http)?);
        if body.len() > most {
            return Err(ProxyError::Malformed);
        }
    }
    Ok(ProbeResponse { status, body })
}
