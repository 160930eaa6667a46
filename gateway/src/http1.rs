//! HTTP/1.1 and 1.0 from clients, by hyper. Timers, closing and idle connections are the gateway's.
//!
//! hyper holds a connection while requests come. One that is idle for as long as a head may take is taken from it, with
//! its buffers, and waits for its next byte alone.

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
use crate::lingering_close::{RequestInput, close, reset, send_and_close};
use crate::proxy::{ClientAborted, WorkerState, handle};
use crate::request_head;
use crate::response_body::ResponseBody;

/// The largest head that is read. Up to here, one too large is refused in the dialect of its route.
const MAX_READ_BUFFER: usize = 32 * 1024;

/// Why hyper holds a connection no longer.
enum ConnectionEnd {
    /// Its last request is answered, or the client has closed it.
    Finished,
    Failed(hyper::Error),
    /// The client took longer than it may, or has nothing to ask.
    TimedOut,
}

/// Answers a client until its connection is over, or `stop` is ready.
pub(crate) async fn serve(
    worker: &Rc<WorkerState>,
    mut io: ClientIo,
    state: &Rc<ConnectionState>,
    times: ClientTimeouts,
    mut stop: Pin<&mut impl Future<Output = ()>>,
) {
    loop {
        match wait_for_request(&io, state, times, stop.as_mut()).await {
            NextRequest::Started => {}
            NextRequest::TimedOut if !state.has_received_request() => {
                return reject(worker, io, state, Rejection::RequestTimeout, b"").await;
            }
            NextRequest::TimedOut | NextRequest::ShuttingDown => return close(io, RequestInput::Consumed).await,
        }
        let service =
            service_fn(|request| handle(Rc::clone(worker), state.begin_request(), Rc::clone(&state.timer), request));
        let mut connection = builder().serve_connection(TokioIo::new(io), service);
        let ended = drive_connection(&mut connection, state, times, stop.as_mut()).await;
        let parts = connection.into_parts();
        io = parts.io.into_inner();
        let has_begun = || matches!(state.phase(), Phase::ReadingHead(_)) || !parts.read_buf.is_empty();
        match ended {
            _ if state.needs_reset() => return reset(&io),
            ConnectionEnd::TimedOut if state.is_write_timed_out(&times) => return,
            ConnectionEnd::TimedOut if has_begun() => {
                return reject(worker, io, state, Rejection::RequestTimeout, b"").await;
            }
            // Idle.
            ConnectionEnd::TimedOut => {}
            ConnectionEnd::Finished if state.has_unread_input() || !parts.read_buf.is_empty() => {
                return close(io, RequestInput::Unread).await;
            }
            ConnectionEnd::Finished => return close(io, RequestInput::Consumed).await,
            ConnectionEnd::Failed(error) if error.is_parse_version_h2() => {
                return reject(worker, io, state, Rejection::BadRequest, b"").await;
            }
            ConnectionEnd::Failed(_) => match io.take_suppressed_response() {
                Some(answer) => return reject(worker, io, state, rejection_for(&answer), &answer).await,
                None => return close(io, RequestInput::Unread).await,
            },
        }
    }
}

/// Why hyper refused a head, by its own answer.
fn rejection_for(answer: &[u8]) -> Rejection {
    match hyper_error_response::status_of_bare_error(answer) {
        Some(408) => Rejection::RequestTimeout,
        Some(414 | 431) => Rejection::HeadersTooLarge,
        _ => Rejection::BadRequest,
    }
}

/// Answers a head that cannot be read, or does not come to its end, and ends the connection: with a body in the dialect of
/// the route that the head is for, as far as it was read. `answer` is hyper's own, whose date is kept, or empty.
async fn reject(worker: &WorkerState, io: ClientIo, state: &ConnectionState, cause: Rejection, answer: &[u8]) {
    let config = worker.shared.config();
    let route = request_head::partial_head_path(&state.partial_head()).and_then(|path| config.table.match_path(&path));
    let (status, body) = match route.filter(|_| state.listener_role == ListenerRole::Proxy) {
        Some(route) => {
            worker.shared.counters.count_rejection(&route.service, cause);
            let is_ok = config.status_200.applies_to(&route.service);
            (if is_ok { StatusCode::OK } else { cause.status() }, route.error_pages.response(cause).body)
        }
        None => (cause.status(), error_pages::default_error_page(cause).body),
    };
    send_and_close(io, &hyper_error_response::with_body(answer, status, &body)).await;
}

/// How HTTP/1.1 is read and written.
pub(crate) fn builder() -> Builder {
    let mut builder = Builder::new();
    // Some clients look the names of an answer's headers up by letter case.
    builder.half_close(true).title_case_headers(true).max_buf_size(MAX_READ_BUFFER).writev(false);
    builder
}

/// Whether a request has begun.
enum NextRequest {
    Started,
    /// The time is over.
    TimedOut,
    /// The server stops.
    ShuttingDown,
}

/// Waits for the first byte of a request, with no buffer for it, until the time is over or `stop` is ready.
async fn wait_for_request(
    io: &ClientIo,
    state: &ConnectionState,
    times: ClientTimeouts,
    mut stop: Pin<&mut impl Future<Output = ()>>,
) -> NextRequest {
    let Phase::Idle(since) = state.phase() else { return NextRequest::Started };
    let due = since + if state.has_received_request() { KEEP_ALIVE_TIMEOUT } else { times.head };
    if !state.has_received_request() && state.scheme == Scheme::Https {
        // The first request may have come with the handshake.
        return if Instant::now() < due { NextRequest::Started } else { NextRequest::TimedOut };
    }
    poll_fn(|cx| {
        if io.tcp().poll_read_ready(cx).is_ready() {
            return Poll::Ready(NextRequest::Started);
        }
        if stop.as_mut().poll(cx).is_ready() {
            return Poll::Ready(NextRequest::ShuttingDown);
        }
        state.timer.borrow_mut().poll(cx, due).map(|()| NextRequest::TimedOut)
    })
    .await
}

async fn drive_connection<S>(
    connection: &mut Connection<TokioIo<ClientIo>, S>,
    state: &ConnectionState,
    times: ClientTimeouts,
    mut stop: Pin<&mut impl Future<Output = ()>>,
) -> ConnectionEnd
where
    S: HttpService<Incoming, ResBody = ResponseBody, Error = ClientAborted>,
{
    let mut is_stopping = false;
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(result) = Pin::new(&mut *connection).poll(cx) {
                return Poll::Ready(result.map_or_else(ConnectionEnd::Failed, |()| ConnectionEnd::Finished));
            }
            // A head that has begun is waited for, and answered.
            if is_stopping || !state.is_idle() || stop.as_mut().poll(cx).is_pending() {
                return state.poll_timeout(cx, &times).map(|()| ConnectionEnd::TimedOut);
            }
            is_stopping = true;
            Pin::new(&mut *connection).graceful_shutdown();
        }
    })
    .await
}
