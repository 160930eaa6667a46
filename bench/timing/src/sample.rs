//! Measuring.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use stele_bench_kit::{BenchError, BlockingConnection, Progress, Response, Result};

/// No answer takes longer.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);
/// How many pairs are sent before any is measured, one in so many of those that are.
const WARMUP_PAIRS: u64 = 20;

/// A time of each kind, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimingPair {
    pub first_nanos: f64,
    pub second_nanos: f64,
}

/// Two kinds of requests, by number.
pub(crate) type RequestKinds<'a> = [&'a dyn Fn(u64) -> Vec<u8>; 2];

/// Sends `count` pairs to `address` and measures each request from its first byte sent to its answer's last byte
/// received. `after`, if there is one, is sent after each, and measured in its place. `check` sees every answer's kind.
pub(crate) fn measure_pairs(
    name: &str,
    address: SocketAddr,
    count: u64,
    kinds: RequestKinds<'_>,
    after: Option<&dyn Fn(u64) -> Vec<u8>>,
    check: &mut dyn FnMut(usize, &Response) -> Result<()>,
) -> Result<Vec<TimingPair>> {
    let progress = Progress::new(name, count);
    let mut connection = BlockingConnection::connect(address, RESPONSE_TIMEOUT)?;
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let (warm_up, mut pairs) = (count / WARMUP_PAIRS, Vec::new());
    for number in 0..warm_up + count {
        // Which of the two comes first is not to be known, so that neither always follows the other.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let second_first = state & 0x1000 != 0;
        let mut times = [0.0; 2];
        for kind in if second_first { [1, 0] } else { [0, 1] } {
            let request = kinds[kind](number);
            let (mut time, reply) = timed_exchange(&mut connection, address, &request)?;
            check(kind, &reply)?;
            if let Some(after) = after {
                time = timed_exchange(&mut connection, address, &after(number * 2 + kind as u64))?.0;
            }
            times[kind] = time;
        }
        if number >= warm_up {
            pairs.push(TimingPair { first_nanos: times[0], second_nanos: times[1] });
            progress.add(1);
        }
    }
    progress.finish();
    Ok(pairs)
}

fn timed_exchange(connection: &mut BlockingConnection, address: SocketAddr, request: &[u8]) -> Result<(f64, Response)> {
    if !connection.is_open() {
        *connection = BlockingConnection::connect(address, RESPONSE_TIMEOUT)?;
    }
    let begun = Instant::now();
    let answer = connection.request(request)?;
    let time = begun.elapsed();
    if answer.status >= 500 {
        let response_text = String::from_utf8_lossy(answer.body).into_owned();
        return Err(BenchError::new(format!("{}: {response_text}", answer.status)));
    }
    Ok((time.as_nanos() as f64, answer.to_response()))
}
