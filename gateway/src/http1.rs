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

use crate::client_io::ClientIo;
use crate::close::{Input, close, close_with, reset};
use crate::connection::{ConnectionState, EntryPoint, KEEP_ALIVE, Phase, Scheme, Times};
use crate::library_answer;
use crate::proxy::{ClientAborted, WorkerState, handle};
use crate::refusal::{self, Cause};
use crate::request;
use crate::response_body::ResponseBody;

/// The largest head that is read. Up to here, one too large is refused in the dialect of its route.
const MAX_HEAD: usize = 32 * 1024;

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
        match has_more(&io, state, times, stop.as_mut()).await {
            HasMore::Yes => {}
            HasMore::Late if !state.has_served() => return refuse(worker, io, state, Cause::SlowRequest, b"").await,
            HasMore::Late | HasMore::Stopped => return close(io, Input::Read).await,
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
            Ended::Late if has_begun() => return refuse(worker, io, state, Cause::SlowRequest, b"").await,
            // Idle.
            Ended::Late => {}
            Ended::Done if state.has_unread() || !parts.read_buf.is_empty() => return close(io, Input::Unread).await,
            Ended::Done => return close(io, Input::Read).await,
            Ended::Failed(error) if error.is_parse_version_h2() => {
                return refuse(worker, io, state, Cause::BadRequest, b"").await;
            }
            Ended::Failed(_) => match io.take_own_answer() {
                Some(answer) => return refuse(worker, io, state, cause_of(&answer), &answer).await,
                None => return close(io, Input::Unread).await,
            },
        }
    }
}

/// Why hyper refused a head, by its own answer.
fn cause_of(answer: &[u8]) -> Cause {
    match library_answer::status(answer) {
        Some(408) => Cause::SlowRequest,
        Some(414 | 431) => Cause::HeadersTooLarge,
        _ => Cause::BadRequest,
    }
}

/// Answers a head that cannot be read, or does not come to its end, and ends the connection: with a body in the dialect of
/// the route that the head is for, as far as it was read. `answer` is hyper's own, whose date is kept, or empty.
async fn refuse(worker: &WorkerState, io: ClientIo, state: &ConnectionState, cause: Cause, answer: &[u8]) {
    let config = worker.live.config();
    let route = request::path_of(&state.beginning()).and_then(|path| config.table.find(&path));
    let (status, body) = match route.filter(|_| state.entry_point == EntryPoint::Routes) {
        Some(route) => {
            worker.live.count.refused(&route.service, cause);
            let is_ok = config.status_200.covers(&route.service);
            (if is_ok { StatusCode::OK } else { cause.status() }, route.refusals.answer(cause).body)
        }
        None => (cause.status(), refusal::without_route(cause).body),
    };
    close_with(io, &library_answer::with_body(answer, status, &body)).await;
}

/// How HTTP/1.1 is read and written.
pub(crate) fn builder() -> Builder {
    let mut builder = Builder::new();
    // Some clients look the names of an answer's headers up by letter case.
    builder.half_close(true).title_case_headers(true).max_buf_size(MAX_HEAD).writev(false);
    builder
}

/// Whether a request has begun.
enum HasMore {
    Yes,
    /// The time is over.
    Late,
    /// The server stops.
    Stopped,
}

/// Waits for the first byte of a request, with no buffer for it, until the time is over or `stop` is ready.
async fn has_more(
    io: &ClientIo,
    state: &ConnectionState,
    times: Times,
    mut stop: Pin<&mut impl Future<Output = ()>>,
) -> HasMore {
    let Phase::Idle(since) = state.phase() else { return HasMore::Yes };
    let due = since + if state.has_served() { KEEP_ALIVE } else { times.head };
    if !state.has_served() && state.scheme == Scheme::Https {
        // The first request may have come with the handshake.
        return if Instant::now() < due { HasMore::Yes } else { HasMore::Late };
    }
    poll_fn(|cx| {
        if io.tcp().poll_read_ready(cx).is_ready() {
            return Poll::Ready(HasMore::Yes);
        }
        if stop.as_mut().poll(cx).is_ready() {
            return Poll::Ready(HasMore::Stopped);
        }
        state.alarm.borrow_mut().poll(cx, due).map(|()| HasMore::Late)
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
