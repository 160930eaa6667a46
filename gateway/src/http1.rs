//! HTTP/1.1 and 1.0 from clients, by hyper. Timers, closing and idle connections are the gateway's.
//!
//! hyper holds a connection while requests come. One that is idle for as long as a head may take is taken from it, with
//! its buffers, and waits for its next byte alone.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use hyper::body::Incoming;
use hyper::server::conn::http1::{Builder, Connection};
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use crate::client_io::ClientIo;
use crate::close::{Input, close, close_with, reset};
use crate::connection::{ConnectionState, KEEP_ALIVE, Phase, Scheme, Times};
use crate::proxy::{ClientAborted, WorkerState, handle};
use crate::response_body::ResponseBody;

/// The largest head that is read. Up to here, one too large is refused in the dialect of its route.
const MAX_HEAD: usize = 32 * 1024;

const TIMEOUT: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
const BAD_REQUEST: &[u8] = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// Why hyper holds a connection no longer.
enum Ended {
    /// Its last request is answered, or the client has closed it.
    Done,
    Failed(hyper::Error),
    /// The client took longer than it may, or has nothing to ask.
    Late,
}

/// Answers a client until its connection is over, or `stop` is ready.
pub(crate) async fn serve(
    worker: &Rc<WorkerState>,
    mut io: ClientIo,
    state: &Rc<ConnectionState>,
    times: Times,
    mut stop: Pin<&mut impl Future<Output = ()>>,
) {
    loop {
        if !has_more(&io, state, times, stop.as_mut()).await {
            return close(io, Input::Read).await;
        }
        let service = service_fn(|request| handle(Rc::clone(worker), state.begin(), Rc::clone(&state.alarm), request));
        let mut connection = builder().serve_connection(TokioIo::new(io), service);
        let ended = drive(&mut connection, state, times, stop.as_mut()).await;
        let parts = connection.into_parts();
        io = parts.io.into_inner();
        let has_begun = || matches!(state.phase(), Phase::Head(_)) || !parts.read_buf.is_empty();
        match ended {
            _ if state.is_broken_off() => return reset(&io),
            Ended::Late if state.is_stalled(&times) => return,
            Ended::Late if has_begun() => return close_with(io, TIMEOUT).await,
            // Idle.
            Ended::Late => {}
            Ended::Done if state.has_unread() || !parts.read_buf.is_empty() => return close(io, Input::Unread).await,
            Ended::Done => return close(io, Input::Read).await,
            Ended::Failed(error) if error.is_parse_version_h2() => return close_with(io, BAD_REQUEST).await,
            Ended::Failed(_) => return close(io, Input::Unread).await,
        }
    }
}

/// How HTTP/1.1 is read and written.
pub(crate) fn builder() -> Builder {
    let mut builder = Builder::new();
    // Some clients look the names of an answer's headers up by letter case.
    builder.half_close(true).title_case_headers(true).max_buf_size(MAX_HEAD).writev(false);
    builder
}

/// Waits for the first byte of a request, with no buffer for it: whether one came before the time was over and `stop`
/// was ready.
async fn has_more(
    io: &ClientIo,
    state: &ConnectionState,
    times: Times,
    mut stop: Pin<&mut impl Future<Output = ()>>,
) -> bool {
    let Phase::Idle(since) = state.phase() else { return true };
    let due = since + if state.has_served() { KEEP_ALIVE } else { times.head };
    if !state.has_served() && state.scheme == Scheme::Https {
        // The first request may have come with the handshake.
        return Instant::now() < due;
    }
    poll_fn(|cx| {
        if io.tcp().poll_read_ready(cx).is_ready() {
            return Poll::Ready(true);
        }
        let is_over = stop.as_mut().poll(cx).is_ready() || state.alarm.borrow_mut().poll(cx, due).is_ready();
        if is_over { Poll::Ready(false) } else { Poll::Pending }
    })
    .await
}

async fn drive<S>(
    connection: &mut Connection<TokioIo<ClientIo>, S>,
    state: &ConnectionState,
    times: Times,
    mut stop: Pin<&mut impl Future<Output = ()>>,
) -> Ended
where
    S: HttpService<Incoming, ResBody = ResponseBody, Error = ClientAborted>,
{
    let mut is_stopping = false;
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(result) = Pin::new(&mut *connection).poll(cx) {
                return Poll::Ready(result.map_or_else(Ended::Failed, |()| Ended::Done));
            }
            // A head that has begun is waited for, and answered.
            if is_stopping || !state.is_idle() || stop.as_mut().poll(cx).is_pending() {
                return state.poll_late(cx, &times).map(|()| Ended::Late);
            }
            is_stopping = true;
            Pin::new(&mut *connection).graceful_shutdown();
        }
    })
    .await
}
