//! HTTP/1.1 and HTTP/1.0 client connections, served by hyper. The gateway handles timeouts, keep-alive, graceful
//! shutdown, error pages for heads that hyper cannot parse, and the close of a connection.
//!
//! hyper drives a connection while requests arrive. When the connection has been idle for the head timeout, the gateway
//! drops hyper's buffers and waits for readability, so that idle connections hold no memory.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::server::conn::http1::{Builder, Connection};
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use crate::client_connection::{ClientTimeouts, ConnectionState, KEEP_ALIVE_TIMEOUT, ListenerRole, Phase, Scheme};
use crate::client_io::ClientIo;
use crate::error_pages::{self, Rejection};
use crate::hyper_error_response;
use crate::lingering_close::{RequestInput, close, reset_on_drop, send_and_close};
use crate::proxy::{ClientAborted, WorkerState, handle_request};
use crate::request_head;
use crate::response_body::ResponseBody;

/// Largest head that hyper parses, in bytes. For a larger one, [`reject`] replaces hyper's error with an error page, by
/// the part of the head that was received. A smaller one is parsed, and then checked against the gateway's own limit.
const MAX_READ_BUFFER: usize = 32 * 1024;

/// Why hyper's part of a connection ended.
enum ConnectionEnd {
    /// The last response of the connection was sent, or the client closed the connection.
    Finished,
    Failed(hyper::Error),
    /// The head timeout or the send timeout expired, or the connection was idle for the head timeout.
    TimedOut,
}

/// Serves a client connection until it ends. Once `shutdown` is ready, the connection ends after the request in flight.
pub(crate) async fn serve(
    worker: &Rc<WorkerState>,
    mut io: ClientIo,
    state: &Rc<ConnectionState>,
    timeouts: ClientTimeouts,
    mut shutdown: Pin<&mut impl Future<Output = ()>>,
) {
    loop {
        match wait_for_request(&io, state, timeouts, shutdown.as_mut()).await {
            NextRequest::Started => {}
            NextRequest::TimedOut if !state.has_received_request() => {
                return reject(worker, io, state, Rejection::RequestTimeout, b"").await;
            }
            NextRequest::TimedOut | NextRequest::ShuttingDown => return close(io, RequestInput::Consumed).await,
        }
        let service = service_fn(|request| {
            handle_request(Rc::clone(worker), state.begin_request(), Rc::clone(&state.timer), request)
        });
        let mut connection = builder().serve_connection(TokioIo::new(io), service);
        let end = drive_connection(&mut connection, state, timeouts, shutdown.as_mut()).await;
        let parts = connection.into_parts();
        io = parts.io.into_inner();
        let has_partial_head = || matches!(state.phase(), Phase::ReadingHead(_)) || !parts.read_buf.is_empty();
        match end {
            _ if state.needs_reset() => return reset_on_drop(&io),
            ConnectionEnd::TimedOut if state.is_write_timed_out(&timeouts) => return,
            ConnectionEnd::TimedOut if has_partial_head() => {
                return reject(worker, io, state, Rejection::RequestTimeout, b"").await;
            }
            // Idle: free the buffers and wait for the next request.
            ConnectionEnd::TimedOut => {}
            ConnectionEnd::Finished if state.has_unread_input() || !parts.read_buf.is_empty() => {
                return close(io, RequestInput::Unread).await;
            }
            ConnectionEnd::Finished => return close(io, RequestInput::Consumed).await,
            ConnectionEnd::Failed(error) if error.is_parse_version_h2() => {
                return reject(worker, io, state, Rejection::BadRequest, b"").await;
            }
            ConnectionEnd::Failed(_) => match io.take_suppressed_response() {
                Some(response) => return reject(worker, io, state, rejection_for(&response), &response).await,
                None => return close(io, RequestInput::Unread).await,
            },
        }
    }
}

/// Maps the error response of hyper to a rejection.
fn rejection_for(hyper_response: &[u8]) -> Rejection {
    match hyper_error_response::status_of_bare_error(hyper_response) {
        Some(408) => Rejection::RequestTimeout,
        Some(414 | 431) => Rejection::HeadersTooLarge,
        _ => Rejection::BadRequest,
    }
}

/// Sends an error page for a head that is invalid or incomplete, and closes the connection. The route is
/// found by the part of the path that was received. `hyper_response` is hyper's error response, whose `Date` is reused;
/// empty if there is none.
async fn reject(
    worker: &WorkerState,
    io: ClientIo,
    state: &ConnectionState,
    rejection: Rejection,
    hyper_response: &[u8],
) {
    let config = worker.shared.config();
    let path = request_head::partial_head_path(&state.partial_head());
    let matched = path.and_then(|path| config.table.match_path(&path));
    let (status, body) = match matched.filter(|_| state.listener_role == ListenerRole::Proxy) {
        Some((route, _)) => {
            worker.shared.counters.count_rejection(&route.service, rejection);
            let is_sent_as_200 = config.status_200.applies_to(&route.service);
            let status = if is_sent_as_200 { StatusCode::OK } else { rejection.status() };
            (status, route.error_pages.response(rejection).body)
        }
        None => (rejection.status(), error_pages::default_error_page(rejection).body),
    };
    send_and_close(io, &hyper_error_response::with_body(hyper_response, status, &body)).await;
}

/// hyper's HTTP/1.1 server with the options of the gateway.
pub(crate) fn builder() -> Builder {
    let mut builder = Builder::new();
    // Title case, because some clients compare header names case-sensitively.
    builder.half_close(true).title_case_headers(true).max_buf_size(MAX_READ_BUFFER).writev(false);
    builder
}

/// The result of waiting for the next request.
enum NextRequest {
    Started,
    TimedOut,
    ShuttingDown,
}

/// Waits until the socket is readable, the keep-alive or head timeout expires, or `shutdown` is ready. Holds no buffer.
async fn wait_for_request(
    io: &ClientIo,
    state: &ConnectionState,
    timeouts: ClientTimeouts,
    mut shutdown: Pin<&mut impl Future<Output = ()>>,
) -> NextRequest {
    let Phase::Idle(since) = state.phase() else { return NextRequest::Started };
    let deadline = since + if state.has_received_request() { KEEP_ALIVE_TIMEOUT } else { timeouts.head };
    if !state.has_received_request() && state.scheme == Scheme::Https {
        // The TLS layer may already hold the first request, so the socket need not become readable.
        return if Instant::now() < deadline { NextRequest::Started } else { NextRequest::TimedOut };
    }
    poll_fn(|cx| {
        if io.tcp().poll_read_ready(cx).is_ready() {
            return Poll::Ready(NextRequest::Started);
        }
        if shutdown.as_mut().poll(cx).is_ready() {
            return Poll::Ready(NextRequest::ShuttingDown);
        }
        state.timer.borrow_mut().poll(cx, deadline).map(|()| NextRequest::TimedOut)
    })
    .await
}

/// Polls hyper's connection until it ends or a timeout expires. On shutdown, the connection ends after the request in
/// flight.
async fn drive_connection<S>(
    connection: &mut Connection<TokioIo<ClientIo>, S>,
    state: &ConnectionState,
    timeouts: ClientTimeouts,
    mut shutdown: Pin<&mut impl Future<Output = ()>>,
) -> ConnectionEnd
where
    S: HttpService<Incoming, ResBody = ResponseBody, Error = ClientAborted>,
{
    let mut is_shutting_down = false;
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(result) = Pin::new(&mut *connection).poll(cx) {
                return Poll::Ready(result.map_or_else(ConnectionEnd::Failed, |()| ConnectionEnd::Finished));
            }
            // A request whose head has started is read and answered before the shutdown.
            if is_shutting_down || !state.is_idle() || shutdown.as_mut().poll(cx).is_pending() {
                return state.poll_timeout(cx, &timeouts).map(|()| ConnectionEnd::TimedOut);
            }
            is_shutting_down = true;
            Pin::new(&mut *connection).graceful_shutdown();
        }
    })
    .await
}
