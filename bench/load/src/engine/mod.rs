//! Load generator: one thread, keep-alive connections, requests prepared before the measurement.
//!
//! - closed loop: each connection sends its next request as soon as it has the response. Latency is from sending to the
//!   last byte of the response.
//! - open loop: requests are due at a constant rate, regardless of responses. A request waits while no connection is
//!   idle, and its latency counts from when it was due. A server that stalls is thus charged for the requests that
//!   arrive meanwhile (no coordinated omission).
//!
//! The load generator shares the machine with the servers, so it does little work: one `write` and one `read` per
//! request. It parses only the status and `Content-Length` of the head, and searches the body once for a marker.

mod connection;
mod open_loop;
mod requests;
mod response;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::{Events, Interest, Poll, Token};
use stele_bench_kit::{BenchError, Result};

pub(crate) use requests::Requests;
pub(crate) use response::ExpectedResponse;

use connection::{Connection, ReadOutcome};
use open_loop::RateTimer;

/// The longest wait for responses after the end of the measurement.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Events per poll.
const EVENT_CAPACITY: usize = 1_024;
/// The timer's token, above those of connections.
const TIMER_TOKEN: Token = Token(usize::MAX - 1);

/// When requests are sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LoopMode {
    /// Closed loop: each connection sends as soon as it has the response.
    Closed,
    /// Open loop: this many requests per second.
    Open(f64),
}

/// Result of a run.
#[derive(Debug)]
pub(crate) struct LoadResult {
    /// Expected responses within the measured time.
    pub(crate) completed: u64,
    /// Failed requests and unexpected responses.
    pub(crate) errors: u64,
    /// The description of the first error.
    pub(crate) first_error: Option<String>,
    /// The measured time, in seconds.
    pub(crate) elapsed_seconds: f64,
    /// Latencies of all expected responses, in microseconds.
    pub(crate) latency: Histogram<u64>,
}

impl LoadResult {
    /// Requests per second.
    pub(crate) fn rate(&self) -> f64 {
        self.completed as f64 / self.elapsed_seconds.max(f64::EPSILON)
    }
}

/// What a connection is ready for. A readable one may be writable as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readiness {
    Readable,
    Writable,
}

/// The load generator: connections to one server.
pub(crate) struct LoadGenerator {
    poll: Poll,
    connections: Vec<Connection>,
    expected: ExpectedResponse,
    buffer: Vec<u8>,
}

/// State of one run.
struct Run<'a> {
    requests: &'a mut Requests,
    stop: Instant,
    result: LoadResult,
    /// The number of connections that wait for a response.
    in_flight: usize,
    /// Due times of the requests that wait for an idle connection.
    overdue: std::collections::VecDeque<Instant>,
    /// Indices of idle connections, in an open loop.
    idle_connections: Vec<usize>,
    mode: LoopMode,
}

impl LoadGenerator {
    /// Opens `connections` to `address`, and expects responses that match `expected`.
    ///
    /// # Errors
    /// If the server does not accept them.
    pub(crate) fn connect(address: SocketAddr, connections: usize, expected: ExpectedResponse) -> Result<Self> {
        let poll = Poll::new()?;
        let mut opened = Vec::with_capacity(connections);
        for index in 0..connections {
            let mut stream = connection::connect(address)
                .map_err(|e| BenchError::new(format!("{address} does not accept connection {index}: {e}")))?;
            poll.registry().register(&mut stream, Token(index), Interest::READABLE | Interest::WRITABLE)?;
            opened.push(Connection::new(stream));
        }
        Ok(Self { poll, connections: opened, expected, buffer: vec![0; 64 * 1024] })
    }

    /// Sends `requests` for `time`, or until there are no more, and waits for outstanding responses.
    ///
    /// # Errors
    /// If a system call fails. Errors of the server are counted in the result.
    pub(crate) fn run(&mut self, requests: &mut Requests, mode: LoopMode, time: Duration) -> Result<LoadResult> {
        let started_at = Instant::now();
        let latency = Histogram::new_with_bounds(1, 120_000_000, 3).map_err(|e| BenchError::new(e.to_string()))?;
        let result = LoadResult { completed: 0, errors: 0, first_error: None, elapsed_seconds: 0.0, latency };
        let mut run = Run {
            requests,
            stop: started_at + time,
            result,
            in_flight: 0,
            overdue: <_>::default(),
            idle_connections: Vec::new(),
            mode,
        };
        let mut timer = match mode {
            LoopMode::Closed => None,
            LoopMode::Open(rate) => Some(RateTimer::start(rate, started_at, self.poll.registry(), TIMER_TOKEN)?),
        };
        for index in 0..self.connections.len() {
            if self.connections[index].is_broken() {
                run.record_error("a connection failed earlier");
            } else if matches!(mode, LoopMode::Open(_)) {
                run.idle_connections.push(index);
            } else {
                self.send(index, Instant::now(), &mut run);
            }
        }
        self.poll_until_done(&mut run, &mut timer)?;
        if let Some(timer) = timer {
            timer.stop(self.poll.registry())?;
        }
        let ended_at = run.requests.exhausted_at().filter(|at| *at < run.stop).unwrap_or(run.stop);
        run.result.elapsed_seconds = ended_at.duration_since(started_at).as_secs_f64();
        Ok(run.result)
    }

    /// Handles events until the run is over and no response is outstanding.
    fn poll_until_done(&mut self, run: &mut Run<'_>, timer: &mut Option<RateTimer>) -> Result<()> {
        let mut events = Events::with_capacity(EVENT_CAPACITY);
        let deadline = run.stop + DRAIN_TIMEOUT;
        loop {
            let now = Instant::now();
            let is_over = now >= run.stop || run.requests.is_empty();
            if is_over && run.in_flight == 0 {
                // Requests that were due and never sent.
                let unsent = run.overdue.len() as u64;
                run.result.errors += unsent;
                if unsent > 0 {
                    run.result.first_error.get_or_insert_with(|| "no connection became idle in time".to_owned());
                }
                return Ok(());
            }
            if now >= deadline {
                let outstanding = run.in_flight;
                (0..outstanding).for_each(|_| run.record_error("no response in time"));
                self.connections.iter_mut().filter(|c| c.is_awaiting_response()).for_each(Connection::abort);
                run.in_flight = 0;
                return Ok(());
            }
            let until = if is_over { deadline } else { run.stop };
            match self.poll.poll(&mut events, Some(until.saturating_duration_since(now))) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                other => other?,
            }
            for event in &events {
                match event.token() {
                    TIMER_TOKEN => {
                        if let Some(timer) = timer {
                            timer.take_due(run.stop, &mut run.overdue)?;
                        }
                    }
                    Token(index) => {
                        let readable = event.is_readable() || event.is_read_closed();
                        let readiness = if readable { Readiness::Readable } else { Readiness::Writable };
                        self.handle_event(index, readiness, run);
                    }
                }
            }
            self.send_overdue(run);
        }
    }

    /// Writes to or reads from a connection that is ready.
    fn handle_event(&mut self, index: usize, readiness: Readiness, run: &mut Run<'_>) {
        let connection = &mut self.connections[index];
        if connection.has_unsent_data() && !connection.write(run.requests) {
            return run.record_lost("the connection failed during the write");
        }
        if readiness == Readiness::Writable || !connection.is_awaiting_response() {
            return;
        }
        match connection.read(&mut self.buffer, &self.expected) {
            ReadOutcome::Waiting => {}
            ReadOutcome::Completed(since) => {
                let now = Instant::now();
                run.record_response(since, now);
                self.send_next(index, now, run);
            }
            ReadOutcome::UnexpectedResponse(description) => {
                run.in_flight -= 1;
                run.record_error(&description);
                self.send_next(index, Instant::now(), run);
            }
            ReadOutcome::Disconnected(description) => run.record_lost(&description),
        }
    }

    /// Continues with a connection that has its response.
    fn send_next(&mut self, index: usize, now: Instant, run: &mut Run<'_>) {
        if matches!(run.mode, LoopMode::Open(_)) {
            run.idle_connections.push(index);
        } else if now < run.stop {
            self.send(index, now, run);
        }
    }

    /// Sends overdue requests while there are idle connections.
    fn send_overdue(&mut self, run: &mut Run<'_>) {
        while let (Some(&due), Some(&index)) = (run.overdue.front(), run.idle_connections.last()) {
            run.idle_connections.pop();
            if !self.send(index, due, run) {
                return;
            }
            run.overdue.pop_front();
        }
    }

    /// Sends the next request. Returns false if there is none.
    fn send(&mut self, index: usize, since: Instant, run: &mut Run<'_>) -> bool {
        let Some(range) = run.requests.next() else { return false };
        run.in_flight += 1;
        let connection = &mut self.connections[index];
        connection.start_request(range, since);
        if !connection.write(run.requests) {
            run.record_lost("the connection failed during the write");
        }
        true
    }
}

impl Run<'_> {
    fn record_response(&mut self, since: Instant, now: Instant) {
        self.in_flight -= 1;
        let micros = u64::try_from(now.duration_since(since).as_micros()).unwrap_or(u64::MAX);
        self.result.latency.saturating_record(micros.max(1));
        if now < self.stop {
            self.result.completed += 1;
        }
    }

    fn record_lost(&mut self, description: &str) {
        self.in_flight -= 1;
        self.record_error(description);
    }

    fn record_error(&mut self, description: &str) {
        self.result.errors += 1;
        self.result.first_error.get_or_insert_with(|| description.to_owned());
    }
}
