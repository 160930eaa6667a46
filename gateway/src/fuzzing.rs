//! The way of a request from a client's bytes to a service's, without sockets, for the fuzz target in `fuzz/`. Not part
//! of any other build.

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
use crate::proxy::{build_upstream_request, has_framing_header};
use crate::request_body::{BodyLimits, RequestBody};
use crate::request_head::{self, RequestLine};
use crate::routing_table::RoutingTable;

/// Where the requests come from.
pub const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const BODY_LIMIT: u64 = 64 * 1024;

static TABLE: LazyLock<Option<RoutingTable>> = LazyLock::new(|| RoutingTable::built_in().ok());

/// What a service gets for a request that the gateway takes.
#[derive(Debug, PartialEq, Eq)]
pub struct Forwarded {
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The body that the client sent.
    pub body: Vec<u8>,
    /// Every byte that the service is sent.
    pub written: Vec<u8>,
}

/// What services get when a client sends `pieces`, one after another, and then no more.
pub fn forwarded(pieces: &[&[u8]]) -> Vec<Forwarded> {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().build() else { return Vec::new() };
    let all = Rc::new(RefCell::new(Vec::new()));
    let service = service_fn(|request: Request<Incoming>| {
        let all = Rc::clone(&all);
        async move {
            let is_bodiless = request.body().size_hint().exact() == Some(0);
            let mut answer = Response::new(RequestBody::Full(None));
            match forward_request(request).await {
                Some(forwarded) => all.borrow_mut().push(forwarded),
                // As the proxy does: what follows a body that was not read is not looked at.
                None if !is_bodiless => {
                    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                None => {}
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let io = TokioIo::new(MemoryIo {
        input: pieces.iter().map(|piece| piece.to_vec()).rev().collect(),
        ..MemoryIo::default()
    });
    // What is no HTTP ends the connection.
    let _ = runtime.block_on(http1::builder().serve_connection(io, service));
    all.take()
}

/// Does with a request what the proxy does.
async fn forward_request(request: Request<Incoming>) -> Option<Forwarded> {
    let (parts, incoming) = request.into_parts();
    let mut line = RequestLine::new(parts.method, parts.uri, parts.version);
    line.match_route(TABLE.as_ref()?);
    let mut headers = parts.headers;
    if request_head::is_malformed(&line, &headers) {
        return None;
    }
    request_head::validate(&line, &headers, incoming.size_hint().exact(), BODY_LIMIT).ok()?;
    let trust = Settings::default().get(&TRUSTED_PROXIES).ok()?;
    let (caller, host) = (ClientIdentity::resolve(PEER, &headers, &trust), HeaderValue::from_static("service"));
    let framed = has_framing_header(&headers);
    let limits = BodyLimits { max_bytes: BODY_LIMIT, deadline: Instant::now() + Duration::from_secs(1) };
    let body = RequestBody::receive(incoming, limits, &SharedTimer::default()).await.ok()?;
    let body = collect_body(body).await?;
    let added = AddedHeaders { client: &caller, scheme: Scheme::Http, host: &host, hop_secret: None };
    crate::headers::rewrite_request_headers(&line, &mut headers, &added);
    let request = build_upstream_request(&line, headers, RequestBody::Full(Some(body.clone())), framed);
    let (method, target) = (line.method.to_string(), line.target().to_owned());
    Some(Forwarded { method, target, body: body.to_vec(), written: serialize_request(request).await? })
}

async fn collect_body(body: RequestBody) -> Option<Bytes> {
    let (mut body, mut all) = (pin!(body), Vec::new());
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        all.extend_from_slice(frame.ok()?.data_ref()?);
    }
    Some(all.into())
}

/// What hyper writes for a request.
async fn serialize_request(request: Request<RequestBody>) -> Option<Vec<u8>> {
    let output = Rc::default();
    let io = MemoryIo { output: Rc::clone(&output), is_open: true, ..MemoryIo::default() };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(io)).await.ok()?;
    let (mut connection, mut answer) = (pin!(connection), pin!(sender.send_request(request)));
    poll_fn(|cx| {
        // All is written at once, and no answer comes.
        let _ = connection.as_mut().poll(cx);
        let _ = answer.as_mut().poll(cx);
        Poll::Ready(())
    })
    .await;
    Some(output.take())
}

/// A socket whose other side has sent some pieces, the last one first.
#[derive(Default)]
struct MemoryIo {
    input: Vec<Vec<u8>>,
    output: Rc<RefCell<Vec<u8>>>,
    /// The other side may send more.
    is_open: bool,
}

impl AsyncRead for MemoryIo {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Some(mut piece) = self.input.pop() else {
            return if self.is_open { Poll::Pending } else { Poll::Ready(Ok(())) };
        };
        let rest = piece.split_off(piece.len().min(buf.remaining()));
        buf.put_slice(&piece);
        if !rest.is_empty() {
            self.input.push(rest);
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
