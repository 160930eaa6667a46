//! Counts the instructions and allocations of a request with Valgrind. Unlike a time, the counts do not depend on the
//! machine or its load.

use std::net::SocketAddr;
use std::process::Command;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::RunningService;

/// Environment variable with the number of repetitions for the measured process.
const REPETITIONS_VAR: &str = "STELE_TEST_TIMES";
/// The counts of two runs are subtracted, so that start and stop of the process cancel out.
const BASELINE_REPETITIONS: u64 = 20;
const MEASURED_REPETITIONS: u64 = 120;

/// Average counts of one repetition, client and server together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValgrindCounts {
    /// Executed instructions.
    pub instructions: u64,
    /// Heap allocations.
    pub allocations: u64,
}

/// The number of repetitions for this process; `None` unless [`measure_with_valgrind`] started the process.
#[expect(clippy::disallowed_methods, reason = "no setting of the product's")]
pub fn repetitions() -> Option<u64> {
    std::env::var(REPETITIONS_VAR).ok().map(|times| times.parse().unwrap())
}

/// Runs the test named `test` of this program under Valgrind; returns the counts per repetition. The test must repeat
/// the measured operation as often as [`repetitions`] says.
pub fn measure_with_valgrind(test: &str) -> ValgrindCounts {
    // The runs are in parallel, because the counts do not depend on the load.
    let measure = |tool: &'static str, flags: &'static [&'static str], parse_count: fn(&str) -> Option<u64>| {
        move || {
            (run_tool(test, MEASURED_REPETITIONS, tool, flags, parse_count)
                - run_tool(test, BASELINE_REPETITIONS, tool, flags, parse_count))
                / (MEASURED_REPETITIONS - BASELINE_REPETITIONS)
        }
    };
    let instructions = measure("cachegrind", &["--cache-sim=no", "--cachegrind-out-file=/dev/null"], |line| {
        let (name, number) = line.split_once(':')?;
        (name.split_whitespace().collect::<String>() == "Irefs").then(|| parse_number(number))?
    });
    let allocations = measure("dhat", &["--dhat-out-file=/dev/null"], |line| {
        parse_number(line.strip_prefix("Total:")?.split_once(" in ")?.1.strip_suffix(" blocks")?)
    });
    std::thread::scope(|scope| {
        let (instructions, allocations) = (scope.spawn(instructions), scope.spawn(allocations));
        ValgrindCounts { instructions: instructions.join().unwrap(), allocations: allocations.join().unwrap() }
    })
}

/// The count that `tool` reports for the test with this number of repetitions.
fn run_tool(test: &str, repetitions: u64, tool: &str, flags: &[&str], parse_count: fn(&str) -> Option<u64>) -> u64 {
    let mut command = Command::new("valgrind");
    command.arg(format!("--tool={tool}")).args(flags).arg(std::env::current_exe().unwrap());
    command
        .args(["--exact", test, "--include-ignored", "--nocapture", "--test-threads=1"])
        .env(REPETITIONS_VAR, repetitions.to_string());
    let output = command.output().expect("valgrind is installed (scripts/test does that)");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stdout));
    // A name that matches no test also succeeds, after no work.
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "no test is called {test}");
    // Valgrind's lines begin with `==PID== `.
    let lines = text.lines().filter_map(|line| line.strip_prefix("==")?.split_once("== "));
    let counts: Vec<u64> = lines.filter_map(|(_, line)| parse_count(line.trim())).collect();
    assert_eq!(counts.len(), 1, "{text}");
    counts[0]
}

fn parse_number(text: &str) -> Option<u64> {
    text.trim().replace(',', "").parse().ok()
}

/// A minimal HTTP client on one keep-alive connection. The client's instructions and allocations are few compared to
/// the server's.
pub struct KeepAliveConnection(TcpStream);

impl KeepAliveConnection {
    /// Connects to a service.
    pub async fn connect(service: &RunningService) -> Self {
        Self::connect_to(service.address()).await
    }

    /// Connects to a server at this address.
    pub async fn connect_to(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    /// Sends `request` unchanged; returns the whole response, which must have a `Content-Length`.
    pub async fn request(&mut self, request: &str) -> String {
        self.0.write_all(request.as_bytes()).await.unwrap();
        let (mut response, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            let read = self.0.read(&mut buffer).await.unwrap();
            assert!(read > 0, "closed after {}", String::from_utf8_lossy(&response));
            response.extend_from_slice(&buffer[..read]);
            let text = std::str::from_utf8(&response).unwrap_or_default();
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let fields = head.lines().filter_map(|line| line.split_once(": "));
            let length = fields.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length")).unwrap().1;
            if body.len() == length.parse::<usize>().unwrap() {
                return text.to_owned();
            }
        }
    }
}
