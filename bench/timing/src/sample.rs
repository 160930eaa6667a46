//! Measuring.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use stele_bench_kit::{Answer, Blocking, Failure, Progress, Result};

/// No answer takes longer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many pairs are sent before any is measured, one in so many of those that are.
const WARM_UP: u64 = 20;

/// A time of each kind, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair {
    pub first: f64,
    pub second: f64,
}

/// Two kinds of requests, by number.
pub(crate) type Kinds<'a> = [&'a dyn Fn(u64) -> Vec<u8>; 2];

/// Sends `count` pairs to `address` and measures each request from its first byte sent to its answer's last byte
/// received. `after`, if there is one, is sent after each, and measured in its place. `check` sees every answer's kind.
pub(crate) fn measure(
    name: &str,
    address: SocketAddr,
    count: u64,
    kinds: Kinds<'_>,
    after: Option<&dyn Fn(u64) -> Vec<u8>>,
    check: &mut dyn FnMut(usize, &Answer) -> Result<()>,
) -> Result<Vec<Pair>> {
    let progress = Progress::new(name, count);
    let mut connection = Blocking::open(address, PATIENCE)?;
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let (warm_up, mut pairs) = (count / WARM_UP, Vec::new());
    for number in 0..warm_up + count {
        // Which of the two comes first is not to be known, so that neither always follows the other.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let second_first = state & 0x1000 != 0;
        let mut times = [0.0; 2];
        for kind in if second_first { [1, 0] } else { [0, 1] } {
            let request = kinds[kind](number);
            let (mut time, reply) = timed(&mut connection, address, &request)?;
            check(kind, &reply)?;
            if let Some(after) = after {
                time = timed(&mut connection, address, &after(number * 2 + kind as u64))?.0;
            }
            times[kind] = time;
        }
        if number >= warm_up {
            pairs.push(Pair { first: times[0], second: times[1] });
            progress.add(1);
        }
    }
    progress.finish();
    Ok(pairs)
}

fn timed(connection: &mut Blocking, address: SocketAddr, request: &[u8]) -> Result<(f64, Answer)> {
    if !connection.is_open() {
        *connection = Blocking::open(address, PATIENCE)?;
    }
    let begun = Instant::now();
    let answer = connection.exchange(request)?;
    let time = begun.elapsed();
    if answer.status >= 500 {
        let told = String::from_utf8_lossy(answer.body).into_owned();
        return Err(Failure::new(format!("{}: {told}", answer.status)));
    }
    Ok((time.as_nanos() as f64, answer.to_answer()))
}
