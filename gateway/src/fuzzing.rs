//! Fuzzing harness for request smuggling: parses a client's bytes and returns the bytes that the gateway would send to
//! a service, without sockets. For the targets in `fuzz/`; built only for tests and fuzzing.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::LazyLock;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use stele_service::Settings;
use stele_service::trusted_proxies::TRUSTED_PROXIES;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::client_connection::{Scheme, SharedTimer};
use crate::headers::{AddedHeaders, ClientIdentity};
use crate::http1;
use crate::proxy::{ClientFraming, build_upstream_request};
use crate::request_body::{BodyLimits, RequestBody};
use crate::request_head::{self, RequestLine};
use crate::routing_table::{PrefixAccess, RoutingTable};

/// The client address of the requests.
pub const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const BODY_LIMIT: u64 = 64 * 1024;

static ROUTING_TABLE: LazyLock<Option<RoutingTable>> = LazyLock::new(|| RoutingTable::built_in().ok());

/// A request that the gateway accepted and forwarded.
#[derive(Debug, PartialEq, Eq)]
pub struct ForwardedRequest {
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The body that the client sent.
    pub body: Vec<u8>,
    /// The head and body as sent to the service.
    pub written: Vec<u8>,
}

/// The requests that services receive when a client sends `pieces`, in order, and then closes the connection.
pub fn forward_requests(pieces: &[&[u8]]) -> Vec<ForwardedRequest> {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().build() else { return Vec::new() };
    let requests = Rc::new(RefCell::new(Vec::new()));
    let service = service_fn(|request: Request<Incoming>| {
        let requests = Rc::clone(&requests);
        async move {
            let has_body = request.body().size_hint().exact() != Some(0);
            let mut response = Response::new(RequestBody::Full(None));
            match forward_request(request).await {
                Some(forwarded) => requests.borrow_mut().push(forwarded),
                // As in the proxy, a rejected request whose body was not read is the last of its connection.
                None if has_body => {
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                None => {}
            }
            Ok::<_, Infallible>(response)
        }
    });
    let io = TokioIo::new(MemoryIo {
        input: pieces.iter().map(|piece| piece.to_vec()).rev().collect(),
        ..MemoryIo::default()
    });
    // An error ends the connection, as invalid HTTP does.
    let _ = runtime.block_on(http1::builder().serve_connection(io, service));
    requests.take()
}

/// Validates and rewrites a request as the proxy does. `None` if it is rejected.
async fn forward_request(request: Request<Incoming>) -> Option<ForwardedRequest> {
    let (parts, incoming) = request.into_parts();
    let mut line = RequestLine::new(parts.method, parts.uri, parts.version);
    line.match_route(ROUTING_TABLE.as_ref()?);
    let mut headers = parts.headers;
    if request_head::is_malformed(&line, &headers) {
        return None;
    }
    request_head::validate(&line, &headers, incoming.size_hint().exact(), BODY_LIMIT).ok()?;
    let trusted_proxies = Settings::default().get(&TRUSTED_PROXIES).ok()?;
    let client = ClientIdentity::resolve(PEER, &headers, &trusted_proxies);
    let host = HeaderValue::from_static("service");
    let client_framing = ClientFraming::of(&headers);
    let limits = BodyLimits { max_bytes: BODY_LIMIT, deadline: Instant::now() + Duration::from_secs(1) };
    let body = RequestBody::receive(incoming, limits, &SharedTimer::default()).await.ok()?;
    let body = collect_body(body).await?;
    let access = PrefixAccess::Public;
    let added = AddedHeaders { client: &client, access, scheme: Scheme::Http, host: &host, gateway_secret: None };
    crate::headers::rewrite_request_headers(&line, &mut headers, &added);
    let request = build_upstream_request(&line, headers, RequestBody::Full(Some(body.clone())), client_framing);
    let (method, target) = (line.method.to_string(), line.target().to_owned());
    Some(ForwardedRequest { method, target, body: body.to_vec(), written: serialize_request(request).await? })
}

async fn collect_body(body: RequestBody) -> Option<Bytes> {
    let (mut body, mut bytes) = (pin!(body), Vec::new());
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        bytes.extend_from_slice(frame.ok()?.data_ref()?);
    }
    Some(bytes.into())
}

/// The bytes that hyper writes for a request.
async fn serialize_request(request: Request<RequestBody>) -> Option<Vec<u8>> {
    let output = Rc::default();
    let io = MemoryIo { output: Rc::clone(&output), is_open: true, ..MemoryIo::default() };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(io)).await.ok()?;
    let (mut connection, mut sending) = (pin!(connection), pin!(sender.send_request(request)));
    poll_fn(|cx| {
        // One poll writes the whole request; there is never a response.
        let _ = connection.as_mut().poll(cx);
        let _ = sending.as_mut().poll(cx);
        Poll::Ready(())
    })
    .await;
    Some(output.take())
}

/// An in-memory socket.
#[derive(Default)]
struct MemoryIo {
    /// The pieces to be read, in reverse order.
    input: Vec<Vec<u8>>,
    output: Rc<RefCell<Vec<u8>>>,
    /// Reads past the input wait instead of ending the stream.
    is_open: bool,
}

impl AsyncRead for MemoryIo {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Some(mut piece) = self.input.pop() else {
            return if self.is_open { Poll::Pending } else { Poll::Ready(Ok(())) };
        };
        let remaining = piece.split_off(piece.len().min(buf.remaining()));
        buf.put_slice(&piece);
        if !remaining.is_empty() {
            self.input.push(remaining);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for MemoryIo {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.output.borrow_mut().extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
