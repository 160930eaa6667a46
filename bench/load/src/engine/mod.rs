//! The load generator: one thread, connections that are kept, requests that were written before the clock starts.
//!
//! - closed loop: each connection sends its next request when it has its answer; a connection is a client that never
//!   thinks. Latency is from sending to the last byte of the answer.
//! - open loop: requests are due at a steady rate, whether or not the earlier ones are answered. One for which no
//!   connection is free waits, and its latency is from when it was due: a server that stands still for a second is not
//!   forgiven the requests that would have come in it ("corrected" latency).
//!
//! It shares the machine with what it measures, so it does little: one `write` and one `read` a request, no header is
//! looked at but the status and the length, and one search for what a right answer has in it.

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

/// How long answers are waited for after the clock has stopped.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// How many events are taken at once.
const EVENT_CAPACITY: usize = 1_024;
/// The token of the timer, beyond those of connections.
const TIMER_TOKEN: Token = Token(usize::MAX - 1);

/// How requests are spread over time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LoopMode {
    /// Each connection as fast as it is answered.
    Closed,
    /// This many a second.
    Open(f64),
}

/// What came of a run.
#[derive(Debug)]
pub(crate) struct LoadResult {
    /// Requests answered as expected while the clock ran.
    pub(crate) completed: u64,
    /// Requests that were not, and why the first was not.
    pub(crate) errors: u64,
    pub(crate) first_error: Option<String>,
    /// How long the clock ran, in seconds.
    pub(crate) elapsed_seconds: f64,
    /// Latencies in microseconds, of every request that was answered.
    pub(crate) latency: Histogram<u64>,
}

impl LoadResult {
    /// Requests a second.
    pub(crate) fn rate(&self) -> f64 {
        self.completed as f64 / self.elapsed_seconds.max(f64::EPSILON)
    }
}

/// Connections to one server.
pub(crate) struct LoadGenerator {
    poll: Poll,
    connections: Vec<Connection>,
    expected: ExpectedResponse,
    buffer: Vec<u8>,
}

/// One run of a load.
struct Run<'a> {
    requests: &'a mut Requests,
    stop: Instant,
    outcome: LoadResult,
    /// Connections that wait for an answer.
    in_flight: usize,
    /// When requests that nobody could send yet were due.
    overdue: std::collections::VecDeque<Instant>,
    /// Connections that wait for a request, in an open loop.
    idle_connections: Vec<usize>,
    is_open_loop: bool,
}

impl LoadGenerator {
    /// Opens `connections` to `address`, whose right answers are `expected`.
    ///
    /// # Errors
    /// If the server does not take them.
    pub(crate) fn connect(address: SocketAddr, connections: usize, expected: ExpectedResponse) -> Result<Self> {
        let poll = Poll::new()?;
        let mut all = Vec::with_capacity(connections);
        for index in 0..connections {
            let mut stream = connection::connect(address)
                .map_err(|e| BenchError::new(format!("{address} does not take connection {index}: {e}")))?;
            poll.registry().register(&mut stream, Token(index), Interest::READABLE | Interest::WRITABLE)?;
            all.push(Connection::new(stream));
        }
        Ok(Self { poll, connections: all, expected, buffer: vec![0; 64 * 1024] })
    }

    /// Sends `requests` for `time`, or until there are no more, and waits for what is not answered yet.
    ///
    /// # Errors
    /// If the system fails. What the server does wrong is counted in the outcome.
    pub(crate) fn run(&mut self, requests: &mut Requests, pace: LoopMode, time: Duration) -> Result<LoadResult> {
        let begun = Instant::now();
        let latency = Histogram::new_with_bounds(1, 120_000_000, 3).map_err(|e| BenchError::new(e.to_string()))?;
        let outcome = LoadResult { completed: 0, errors: 0, first_error: None, elapsed_seconds: 0.0, latency };
        let open = matches!(pace, LoopMode::Open(_));
        let mut run = Run {
            requests,
            stop: begun + time,
            outcome,
            in_flight: 0,
            overdue: <_>::default(),
            idle_connections: Vec::new(),
            is_open_loop: open,
        };
        let mut beat = match pace {
            LoopMode::Closed => None,
            LoopMode::Open(rate) => Some(RateTimer::start(rate, begun, self.poll.registry(), TIMER_TOKEN)?),
        };
        for index in 0..self.connections.len() {
            if self.connections[index].is_broken() {
                run.record_error("a connection was lost before");
            } else if open {
                run.idle_connections.push(index);
            } else {
                self.send(index, Instant::now(), &mut run);
            }
        }
        self.poll_once(&mut run, &mut beat)?;
        if let Some(beat) = beat {
            beat.stop(self.poll.registry())?;
        }
        let over = run.requests.exhausted_at().filter(|ended| *ended < run.stop).unwrap_or(run.stop);
        run.outcome.elapsed_seconds = over.duration_since(begun).as_secs_f64();
        Ok(run.outcome)
    }

    fn poll_once(&mut self, run: &mut Run<'_>, beat: &mut Option<RateTimer>) -> Result<()> {
        let mut events = Events::with_capacity(EVENT_CAPACITY);
        let deadline = run.stop + DRAIN_TIMEOUT;
        loop {
            let now = Instant::now();
            let over = now >= run.stop || run.requests.is_empty();
            if over && run.in_flight == 0 {
                // Those that were due and could never be sent.
                let left = run.overdue.len() as u64;
                run.outcome.errors += left;
                if left > 0 {
                    run.outcome.first_error.get_or_insert_with(|| "no connection became free in time".to_owned());
                }
                return Ok(());
            }
            if now >= deadline {
                let busy = run.in_flight;
                (0..busy).for_each(|_| run.record_error("no answer in time"));
                self.connections.iter_mut().filter(|c| c.is_awaiting_response()).for_each(Connection::abort);
                run.in_flight = 0;
                return Ok(());
            }
            let until = if over { deadline } else { run.stop };
            match self.poll.poll(&mut events, Some(until.saturating_duration_since(now))) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                other => other?,
            }
            for event in &events {
                match event.token() {
                    TIMER_TOKEN => {
                        if let Some(beat) = beat {
                            beat.take_due(run.stop, &mut run.overdue)?;
                        }
                    }
                    Token(index) => self.handle_event(index, event.is_readable() || event.is_read_closed(), run),
                }
            }
            self.send_overdue(run);
        }
    }

    /// Goes on with a connection on which something has happened.
    fn handle_event(&mut self, index: usize, readable: bool, run: &mut Run<'_>) {
        let connection = &mut self.connections[index];
        if connection.has_unsent_data() && !connection.write(run.requests) {
            return run.record_lost("the connection was lost while sending");
        }
        if !readable || !connection.is_awaiting_response() {
            return;
        }
        match connection.read(&mut self.buffer, &self.expected) {
            ReadOutcome::Waiting => {}
            ReadOutcome::Completed(since) => {
                let now = Instant::now();
                run.record_response(since, now);
                self.send_next(index, now, run);
            }
            ReadOutcome::UnexpectedResponse(why) => {
                run.in_flight -= 1;
                run.record_error(&why);
                self.send_next(index, Instant::now(), run);
            }
            ReadOutcome::Disconnected(why) => run.record_lost(&why),
        }
    }

    /// Sends the next request on a connection that has its answer.
    fn send_next(&mut self, index: usize, now: Instant, run: &mut Run<'_>) {
        if run.is_open_loop {
            run.idle_connections.push(index);
        } else if now < run.stop {
            self.send(index, now, run);
        }
    }

    /// Sends what is due, as far as there are connections.
    fn send_overdue(&mut self, run: &mut Run<'_>) {
        while let (Some(&due), Some(&index)) = (run.overdue.front(), run.idle_connections.last()) {
            run.idle_connections.pop();
            if !self.send(index, due, run) {
                return;
            }
            run.overdue.pop_front();
        }
    }

    /// Gives whether there was one.
    fn send(&mut self, index: usize, since: Instant, run: &mut Run<'_>) -> bool {
        let Some(range) = run.requests.next() else { return false };
        run.in_flight += 1;
        let connection = &mut self.connections[index];
        connection.start_request(range, since);
        if !connection.write(run.requests) {
            run.record_lost("the connection was lost while sending");
        }
        true
    }
}

impl Run<'_> {
    fn record_response(&mut self, since: Instant, now: Instant) {
        self.in_flight -= 1;
        let micros = u64::try_from(now.duration_since(since).as_micros()).unwrap_or(u64::MAX);
        self.outcome.latency.saturating_record(micros.max(1));
        if now < self.stop {
            self.outcome.completed += 1;
        }
    }

    fn record_lost(&mut self, why: &str) {
        self.in_flight -= 1;
        self.record_error(why);
    }

    fn record_error(&mut self, why: &str) {
        self.outcome.errors += 1;
        self.outcome.first_error.get_or_insert_with(|| why.to_owned());
    }
}
