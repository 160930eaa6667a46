//! HTTP/2 from clients, by hyper. A client negotiates it under TLS (ALPN).
//!
//! Each stream is a task of the connection's worker. Timers, and the end of a connection, are the gateway's.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use hyper::rt::Executor;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use crate::client_connection::{ClientTimeouts, ConnectionState, KEEP_ALIVE_TIMEOUT, SharedTimer};
use crate::client_io::ClientIo;
use crate::proxy::{WorkerState, handle};

/// Requests that one connection may have in flight.
const MAX_CONCURRENT_STREAMS: u32 = 100;
/// How much of a body a client may send ahead, in a stream and in all of them.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024;
/// The largest header list that is read. Up to here, one too large is refused in the dialect of its route.
const MAX_HEADER_LIST: u32 = 32 * 1024;
/// How much of an answer is held for a client that does not take it, in a stream.
const MAX_SEND_BUFFER: usize = 64 * 1024;
/// Streams that a client resets before they are looked at, and that are reset for a client's faults, before its
/// connection is closed: CVE-2023-44487 and CVE-2025-8671.
const MAX_PENDING_RESETS: usize = 20;
/// How long the streams of a connection that takes no more of them may last.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// Runs streams on the worker of their connection.
#[derive(Clone, Copy, Debug)]
struct LocalExecutor;

impl<F: Future + 'static> Executor<F> for LocalExecutor {
    fn execute(&self, stream: F) {
        actix_rt::spawn(async move { drop(stream.await) });
    }
}

/// Answers a client until its connection is over; once `stop` is ready, only the requests that have begun.
pub(crate) async fn serve(
    worker: &Rc<WorkerState>,
    io: ClientIo,
    state: &Rc<ConnectionState>,
    times: ClientTimeouts,
    mut stop: Pin<&mut impl Future<Output = ()>>,
) {
    let (worker, streams) = (Rc::clone(worker), Rc::clone(state));
    let service =
        service_fn(move |request| handle(Rc::clone(&worker), streams.begin_request(), SharedTimer::default(), request));
    let mut connection = pin!(builder().serve_connection(TokioIo::new(io), service));
    let mut ending: Option<Instant> = None;
    poll_fn(|cx| {
        loop {
            if connection.as_mut().poll(cx).is_ready() || state.is_rapid_reset_attack() {
                return Poll::Ready(());
            }
            if ending.is_none() && (state.is_draining() || stop.as_mut().poll(cx).is_ready()) {
                ending = Some(Instant::now());
                connection.as_mut().graceful_shutdown();
                continue;
            }
            let stalled = state.stalled_since().map(|since| since + times.send);
            let ended = ending.map(|since| since + DRAIN_TIMEOUT);
            let idle = state.idle_since().filter(|_| ending.is_none()).map(|since| since + KEEP_ALIVE_TIMEOUT);
            // A stream that waits for window wakes its own task alone: look again in time.
            let again = Instant::now() + times.send;
            let due = [stalled, ended, idle].into_iter().flatten().min().unwrap_or(again);
            match state.timer.borrow_mut().poll(cx, due) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(()) if idle == Some(due) => state.start_draining(),
                Poll::Ready(()) if due == again => {}
                Poll::Ready(()) => return Poll::Ready(()),
            }
        }
    })
    .await;
}

fn builder() -> Builder<LocalExecutor> {
    let mut builder = Builder::new(LocalExecutor);
    builder
        .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_HEADER_LIST)
        .max_send_buf_size(MAX_SEND_BUFFER)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_PENDING_RESETS);
    builder
}
