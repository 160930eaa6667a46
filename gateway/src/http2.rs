//! HTTP/2 client connections, served by hyper after ALPN negotiation under TLS.
//!
//! Each stream is a task on the connection's worker. The gateway handles timeouts, draining and the
//! detection of rapid resets.

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
use crate::proxy::{WorkerState, handle_request};

/// Maximum of requests in flight per connection.
const MAX_CONCURRENT_STREAMS: u32 = 100;
/// Flow-control window of a stream, in bytes: how much of a request body a client may send ahead (backpressure).
const STREAM_WINDOW: u32 = 64 * 1024;
/// Flow-control window of all streams of a connection, in bytes.
const CONNECTION_WINDOW: u32 = 256 * 1024;
/// Largest header list that hyper accepts, in bytes. A smaller list that exceeds the gateway's own limit is rejected
/// with the error page of its route.
const MAX_HEADER_LIST: u32 = 32 * 1024;
/// Maximum bytes of a response that are buffered per stream while the client does not read.
const MAX_SEND_BUFFER: usize = 64 * 1024;
/// Streams reset by the client before they are accepted (CVE-2023-44487), and streams reset by the server for protocol
/// errors (CVE-2025-8671). Beyond either number the connection is closed.
const MAX_PENDING_RESETS: usize = 20;
/// How long the streams of a draining connection may take to complete.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// Runs streams on the worker of their connection.
#[derive(Clone, Copy, Debug)]
struct LocalExecutor;

impl<F: Future + 'static> Executor<F> for LocalExecutor {
    fn execute(&self, stream: F) {
        actix_rt::spawn(async move { drop(stream.await) });
    }
}

/// Serves a client connection until it ends, the client stops reading responses, or the client resets most of its
/// requests (rapid reset). On `shutdown`, after [`KEEP_ALIVE_TIMEOUT`] without a request, and after a response that
/// ends keep-alive, the connection drains: it accepts no new streams, and ends after the open ones.
pub(crate) async fn serve(
    worker: &Rc<WorkerState>,
    io: ClientIo,
    state: &Rc<ConnectionState>,
    timeouts: ClientTimeouts,
    mut shutdown: Pin<&mut impl Future<Output = ()>>,
) {
    let (worker, connection_state) = (Rc::clone(worker), Rc::clone(state));
    let service = service_fn(move |request| {
        handle_request(Rc::clone(&worker), connection_state.begin_request(), SharedTimer::default(), request)
    });
    let mut connection = pin!(builder().serve_connection(TokioIo::new(io), service));
    let mut draining_since: Option<Instant> = None;
    poll_fn(|cx| {
        loop {
            if connection.as_mut().poll(cx).is_ready() || state.is_rapid_reset_attack() {
                return Poll::Ready(());
            }
            if draining_since.is_none() && (state.is_draining() || shutdown.as_mut().poll(cx).is_ready()) {
                draining_since = Some(Instant::now());
                connection.as_mut().graceful_shutdown();
                continue;
            }
            let send_deadline = state.stalled_since().map(|since| since + timeouts.send);
            let drain_deadline = draining_since.map(|since| since + DRAIN_TIMEOUT);
            let idle_since = state.idle_since().filter(|_| draining_since.is_none());
            let idle_deadline = idle_since.map(|since| since + KEEP_ALIVE_TIMEOUT);
            // A stream that waits for its window wakes only its own task, so check again after the send timeout.
            let recheck_at = Instant::now() + timeouts.send;
            let deadlines = [send_deadline, drain_deadline, idle_deadline];
            let deadline = deadlines.into_iter().flatten().min().unwrap_or(recheck_at);
            match state.timer.borrow_mut().poll(cx, deadline) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(()) if idle_deadline == Some(deadline) => state.start_draining(),
                Poll::Ready(()) if deadline == recheck_at => {}
                Poll::Ready(()) => return Poll::Ready(()),
            }
        }
    })
    .await;
}

/// hyper's HTTP/2 server with the options of the gateway.
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
