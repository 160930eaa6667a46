//! What a call costs the processor and the allocator, counted by Valgrind: the same on a slow machine and a busy one,
//! where a time would be neither.

use std::net::SocketAddr;
use std::process::Command;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::RunningService;

/// Tells the process that is counted how often to do it.
const REPETITIONS_VAR: &str = "STELE_TEST_TIMES";
/// What is counted is the difference of these, so that starting and stopping are not.
const BASELINE_REPETITIONS: u64 = 20;
const MEASURED_REPETITIONS: u64 = 120;

/// What it costs to do something once, on average, client and server together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValgrindCounts {
    /// Instructions of the processor.
    pub instructions: u64,
    /// Allocations.
    pub allocations: u64,
}

/// How often this process is to do what is counted; `None` if it is not one that [`measure_with_valgrind`] started.
#[expect(clippy::disallowed_methods, reason = "no setting of the product's")]
pub fn repetitions() -> Option<u64> {
    std::env::var(REPETITIONS_VAR).ok().map(|times| times.parse().unwrap())
}

/// What the test called `test` of this program costs for each of the [`repetitions`] that it is told to do something.
pub fn measure_with_valgrind(test: &str) -> ValgrindCounts {
    // Two at a time: nothing here is a matter of time.
    let run = |tool: &'static str, flags: &'static [&'static str], told: fn(&str) -> Option<u64>| {
        move || {
            (run_tool(test, MEASURED_REPETITIONS, tool, flags, told)
                - run_tool(test, BASELINE_REPETITIONS, tool, flags, told))
                / (MEASURED_REPETITIONS - BASELINE_REPETITIONS)
        }
    };
    let instructions = run("cachegrind", &["--cache-sim=no", "--cachegrind-out-file=/dev/null"], |line| {
        let (what, number) = line.split_once(':')?;
        (what.split_whitespace().collect::<String>() == "Irefs").then(|| parse_number(number))?
    });
    let allocations = run("dhat", &["--dhat-out-file=/dev/null"], |line| {
        parse_number(line.strip_prefix("Total:")?.split_once(" in ")?.1.strip_suffix(" blocks")?)
    });
    std::thread::scope(|scope| {
        let (instructions, allocations) = (scope.spawn(instructions), scope.spawn(allocations));
        ValgrindCounts { instructions: instructions.join().unwrap(), allocations: allocations.join().unwrap() }
    })
}

/// What `tool` counts while the test does it so many times.
fn run_tool(test: &str, times: u64, tool: &str, flags: &[&str], parse_count: fn(&str) -> Option<u64>) -> u64 {
    let mut command = Command::new("valgrind");
    command.arg(format!("--tool={tool}")).args(flags).arg(std::env::current_exe().unwrap());
    command
        .args(["--exact", test, "--include-ignored", "--nocapture", "--test-threads=1"])
        .env(REPETITIONS_VAR, times.to_string());
    let output = command.output().expect("valgrind is installed (scripts/test does that)");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stdout));
    // Each line begins with `==` and the process's number.
    let lines = text.lines().filter_map(|line| line.strip_prefix("==")?.split_once("== "));
    let counts: Vec<u64> = lines.filter_map(|(_, line)| parse_count(line.trim())).collect();
    assert_eq!(counts.len(), 1, "{text}");
    counts[0]
}

fn parse_number(text: &str) -> Option<u64> {
    text.trim().replace(',', "").parse().ok()
}

/// A connection that is kept, and no more of a client than that: what it costs is little beside the server.
pub struct KeepAliveConnection(TcpStream);

impl KeepAliveConnection {
    /// Connects to a service.
    pub async fn connect(service: &RunningService) -> Self {
        Self::connect_to(service.address()).await
    }

    /// Connects to whoever listens there.
    pub async fn connect_to(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    /// Sends `request` as it is, and gives the whole answer, which must tell its length.
    pub async fn request(&mut self, request: &str) -> String {
        self.0.write_all(request.as_bytes()).await.unwrap();
        let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            let read = self.0.read(&mut buffer).await.unwrap();
            assert!(read > 0, "closed after {}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&buffer[..read]);
            let text = std::str::from_utf8(&answer).unwrap_or_default();
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let fields = head.lines().filter_map(|line| line.split_once(": "));
            let length = fields.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length")).unwrap().1;
            if body.len() == length.parse::<usize>().unwrap() {
                return text.to_owned();
            }
        }
    }
}
