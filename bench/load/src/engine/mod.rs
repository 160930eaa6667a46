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
mod open;
mod requests;
mod response;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::{Events, Interest, Poll, Token};
use stele_bench_kit::{Failure, Result};

pub(crate) use requests::Requests;
pub(crate) use response::Expected;

use connection::{Connection, Progress};
use open::Beat;

/// How long answers are waited for after the clock has stopped.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many events are taken at once.
const EVENTS: usize = 1_024;
/// The token of the timer, beyond those of connections.
const TIMER: Token = Token(usize::MAX - 1);

/// How requests are spread over time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// Each connection as fast as it is answered.
    Closed,
    /// This many a second.
    Open(f64),
}

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Requests answered as expected while the clock ran.
    pub(crate) done: u64,
    /// Requests that were not, and why the first was not.
    pub(crate) errors: u64,
    pub(crate) first_error: Option<String>,
    /// How long the clock ran, in seconds.
    pub(crate) seconds: f64,
    /// Latencies in microseconds, of every request that was answered.
    pub(crate) latency: Histogram<u64>,
}

impl Outcome {
    /// Requests a second.
    pub(crate) fn rate(&self) -> f64 {
        self.done as f64 / self.seconds.max(f64::EPSILON)
    }
}

/// Connections to one server.
pub(crate) struct Load {
    poll: Poll,
    connections: Vec<Connection>,
    expected: Expected,
    buffer: Vec<u8>,
}

/// One run of a load.
struct Run<'a> {
    requests: &'a mut Requests,
    stop: Instant,
    outcome: Outcome,
    /// Connections that wait for an answer.
    busy: usize,
    /// When requests that nobody could send yet were due.
    late: std::collections::VecDeque<Instant>,
    /// Connections that wait for a request, in an open loop.
    free: Vec<usize>,
    open: bool,
}

impl Load {
    /// Opens `connections` to `address`, whose right answers are `expected`.
    ///
    /// # Errors
    /// If the server does not take them.
    pub(crate) fn connect(address: SocketAddr, connections: usize, expected: Expected) -> Result<Self> {
        let poll = Poll::new()?;
        let mut all = Vec::with_capacity(connections);
        for index in 0..connections {
            let mut stream = connection::connect(address)
                .map_err(|e| Failure::new(format!("{address} does not take connection {index}: {e}")))?;
            poll.registry().register(&mut stream, Token(index), Interest::READABLE | Interest::WRITABLE)?;
            all.push(Connection::new(stream));
        }
        Ok(Self { poll, connections: all, expected, buffer: vec![0; 64 * 1024] })
    }

    /// Sends `requests` for `time`, or until there are no more, and waits for what is not answered yet.
    ///
    /// # Errors
    /// If the system fails. What the server does wrong is counted in the outcome.
    pub(crate) fn run(&mut self, requests: &mut Requests, pace: Pace, time: Duration) -> Result<Outcome> {
        let begun = Instant::now();
        let latency = Histogram::new_with_bounds(1, 120_000_000, 3).map_err(|e| Failure::new(e.to_string()))?;
        let outcome = Outcome { done: 0, errors: 0, first_error: None, seconds: 0.0, latency };
        let open = matches!(pace, Pace::Open(_));
        let mut run =
            Run { requests, stop: begun + time, outcome, busy: 0, late: <_>::default(), free: Vec::new(), open };
        let mut beat = match pace {
            Pace::Closed => None,
            Pace::Open(rate) => Some(Beat::start(rate, begun, self.poll.registry(), TIMER)?),
        };
        for index in 0..self.connections.len() {
            if self.connections[index].is_broken() {
                run.fail("a connection was lost before");
            } else if open {
                run.free.push(index);
            } else {
                self.send(index, Instant::now(), &mut run);
            }
        }
        self.turn(&mut run, &mut beat)?;
        if let Some(beat) = beat {
            beat.end(self.poll.registry())?;
        }
        let over = run.requests.ended().filter(|ended| *ended < run.stop).unwrap_or(run.stop);
        run.outcome.seconds = over.duration_since(begun).as_secs_f64();
        Ok(run.outcome)
    }

    fn turn(&mut self, run: &mut Run<'_>, beat: &mut Option<Beat>) -> Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        let deadline = run.stop + PATIENCE;
        loop {
            let now = Instant::now();
            let over = now >= run.stop || run.requests.is_empty();
            if over && run.busy == 0 {
                // Those that were due and could never be sent.
                let left = run.late.len() as u64;
                run.outcome.errors += left;
                if left > 0 {
                    run.outcome.first_error.get_or_insert_with(|| "no connection became free in time".to_owned());
                }
                return Ok(());
            }
            if now >= deadline {
                let busy = run.busy;
                (0..busy).for_each(|_| run.fail("no answer in time"));
                self.connections.iter_mut().filter(|c| c.is_waiting()).for_each(Connection::break_off);
                run.busy = 0;
                return Ok(());
            }
            let until = if over { deadline } else { run.stop };
            match self.poll.poll(&mut events, Some(until.saturating_duration_since(now))) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                other => other?,
            }
            for event in &events {
                match event.token() {
                    TIMER => {
                        if let Some(beat) = beat {
                            beat.due(run.stop, &mut run.late)?;
                        }
                    }
                    Token(index) => self.attend(index, event.is_readable() || event.is_read_closed(), run),
                }
            }
            self.catch_up(run);
        }
    }

    /// Goes on with a connection on which something has happened.
    fn attend(&mut self, index: usize, readable: bool, run: &mut Run<'_>) {
        let connection = &mut self.connections[index];
        if connection.is_writing() && !connection.write(run.requests) {
            return run.lost("the connection was lost while sending");
        }
        if !readable || !connection.is_waiting() {
            return;
        }
        match connection.read(&mut self.buffer, &self.expected) {
            Progress::Waiting => {}
            Progress::Answered(since) => {
                let now = Instant::now();
                run.answered(since, now);
                self.next(index, now, run);
            }
            Progress::Wrong(why) => {
                run.busy -= 1;
                run.fail(&why);
                self.next(index, Instant::now(), run);
            }
            Progress::Lost(why) => run.lost(&why),
        }
    }

    /// Sends the next request on a connection that has its answer.
    fn next(&mut self, index: usize, now: Instant, run: &mut Run<'_>) {
        if run.open {
            run.free.push(index);
        } else if now < run.stop {
            self.send(index, now, run);
        }
    }

    /// Sends what is due, as far as there are connections.
    fn catch_up(&mut self, run: &mut Run<'_>) {
        while let (Some(&due), Some(&index)) = (run.late.front(), run.free.last()) {
            run.free.pop();
            if !self.send(index, due, run) {
                return;
            }
            run.late.pop_front();
        }
    }

    /// Gives whether there was one.
    fn send(&mut self, index: usize, since: Instant, run: &mut Run<'_>) -> bool {
        let Some(range) = run.requests.next() else { return false };
        run.busy += 1;
        let connection = &mut self.connections[index];
        connection.begin(range, since);
        if !connection.write(run.requests) {
            run.lost("the connection was lost while sending");
        }
        true
    }
}

impl Run<'_> {
    fn answered(&mut self, since: Instant, now: Instant) {
        self.busy -= 1;
        let micros = u64::try_from(now.duration_since(since).as_micros()).unwrap_or(u64::MAX);
        self.outcome.latency.saturating_record(micros.max(1));
        if now < self.stop {
            self.outcome.done += 1;
        }
    }

    fn lost(&mut self, why: &str) {
        self.busy -= 1;
        self.fail(why);
    }

    fn fail(&mut self, why: &str) {
        self.outcome.errors += 1;
        self.outcome.first_error.get_or_insert_with(|| why.to_owned());
    }
}
