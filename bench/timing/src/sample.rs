//! Measures the response times of pairs of requests.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use stele_bench_kit::{BenchError, BlockingConnection, Progress, Response, Result};

/// The longest wait for a response.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);
/// Measured pairs per warm-up pair. Warm-up pairs are sent before the first measured one.
const MEASURED_PAIRS_PER_WARMUP_PAIR: u64 = 20;

/// The response times of one pair, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimingPair {
    pub first_nanos: f64,
    pub second_nanos: f64,
}

/// Builds the request with a number, as bytes.
pub(crate) type RequestBuilder<'a> = &'a dyn Fn(u64) -> Vec<u8>;

/// The two kinds of requests of a comparison.
pub(crate) type RequestKinds<'a> = [RequestBuilder<'a>; 2];

/// Sends `count` pairs to `address` and measures each request from the first byte sent to the last byte received. If
/// there is a `follow_up`, it is sent after each request and measured instead. `check_response` is called with the
/// index of the kind and the response to each request of a pair.
pub(crate) fn measure_pairs(
    name: &str,
    address: SocketAddr,
    count: u64,
    kinds: RequestKinds<'_>,
    follow_up: Option<RequestBuilder<'_>>,
    check_response: &mut dyn FnMut(usize, &Response) -> Result<()>,
) -> Result<Vec<TimingPair>> {
    let progress = Progress::new(name, count);
    let mut connection = BlockingConnection::connect(address, RESPONSE_TIMEOUT)?;
    let mut random_state = 0x9E37_79B9_7F4A_7C15_u64;
    let (warm_up, mut pairs) = (count / MEASURED_PAIRS_PER_WARMUP_PAIR, Vec::new());
    for number in 0..warm_up + count {
        // Random order, so that neither kind always follows the other.
        random_state ^= random_state << 13;
        random_state ^= random_state >> 7;
        random_state ^= random_state << 17;
        let is_reversed = random_state & 0x1000 != 0;
        let mut times = [0.0; 2];
        for kind in if is_reversed { [1, 0] } else { [0, 1] } {
            let request = kinds[kind](number);
            let (mut time, response) = measure_request(&mut connection, address, &request)?;
            check_response(kind, &response)?;
            if let Some(follow_up) = follow_up {
                time = measure_request(&mut connection, address, &follow_up(number * 2 + kind as u64))?.0;
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

/// Sends a request and reads the response. Returns the response with its time in nanoseconds.
fn measure_request(
    connection: &mut BlockingConnection,
    address: SocketAddr,
    request: &[u8],
) -> Result<(f64, Response)> {
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
