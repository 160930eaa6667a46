//! Measures the response times of pairs of requests.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use stele_bench_kit::{BenchError, BlockingConnection, Progress, Response, Result};

/// The longest wait for a response.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);
/// One warm-up pair is sent per this many measured pairs, before the first of them.
const WARMUP_PAIRS: u64 = 20;

/// The response times of one pair, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimingPair {
    pub first_nanos: f64,
    pub second_nanos: f64,
}

/// Two kinds of requests; each function builds the request of a number.
pub(crate) type RequestKinds<'a> = [&'a dyn Fn(u64) -> Vec<u8>; 2];

/// Sends `count` pairs to `address` and measures each request from the first byte sent to the last byte received. If
/// there is a `follow_up`, it is sent after each request and measured instead. `check` is called with the kind and the
/// response of each request.
pub(crate) fn measure_pairs(
    name: &str,
    address: SocketAddr,
    count: u64,
    kinds: RequestKinds<'_>,
    follow_up: Option<&dyn Fn(u64) -> Vec<u8>>,
    check: &mut dyn FnMut(usize, &Response) -> Result<()>,
) -> Result<Vec<TimingPair>> {
    let progress = Progress::new(name, count);
    let mut connection = BlockingConnection::connect(address, RESPONSE_TIMEOUT)?;
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let (warm_up, mut pairs) = (count / WARMUP_PAIRS, Vec::new());
    for number in 0..warm_up + count {
        // Random order, so that neither kind always follows the other.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let second_first = state & 0x1000 != 0;
        let mut times = [0.0; 2];
        for kind in if second_first { [1, 0] } else { [0, 1] } {
            let request = kinds[kind](number);
            let (mut time, response) = timed_exchange(&mut connection, address, &request)?;
            check(kind, &response)?;
            if let Some(follow_up) = follow_up {
                time = timed_exchange(&mut connection, address, &follow_up(number * 2 + kind as u64))?.0;
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
    let sent_at = Instant::now();
    let response = connection.request(request)?;
    let time = sent_at.elapsed();
    if response.status >= 500 {
        let text = String::from_utf8_lossy(response.body).into_owned();
        return Err(BenchError::new(format!("{}: {text}", response.status)));
    }
    Ok((time.as_nanos() as f64, response.to_response()))
}
