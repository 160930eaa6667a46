//! External benchmark tools and servers: finds them, runs wrk, h2load, pgbench and redis-benchmark, and parses their
//! output.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use stele_bench_kit::{BenchError, Result};

/// Required programs, and the Debian packages that contain them.
const REQUIRED_TOOLS: [(&str, &str); 11] = [
    ("nginx", "nginx-light"),
    ("haproxy", "haproxy"),
    ("wrk", "wrk"),
    ("h2load", "nghttp2-client"),
    ("openssl", "openssl"),
    ("redis-server", "redis-server"),
    ("redis-benchmark", "redis-tools"),
    ("initdb", "postgresql"),
    ("postgres", "postgresql"),
    ("psql", "postgresql-client"),
    ("pgbench", "postgresql"),
];

/// The path of the program `name`, if it is installed.
pub(crate) fn find_tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.extend(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    // Debian installs PostgreSQL's own programs in a folder for each version.
    let versions = std::fs::read_dir("/usr/lib/postgresql").map(|entries| entries.flatten().collect::<Vec<_>>());
    let mut versions: Vec<PathBuf> = versions.unwrap_or_default().into_iter().map(|version| version.path()).collect();
    versions.sort();
    // First in the list, since the server and its tools must have the same version.
    folders.splice(0..0, versions.iter().rev().map(|version| version.join("bin")));
    folders.into_iter().map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// The path of the program `name`.
///
/// # Errors
/// If it is not installed.
pub(crate) fn require_tool(name: &str) -> Result<PathBuf> {
    find_tool(name)
        .ok_or_else(|| BenchError::new(format!("{name} is not installed; install the Debian package that contains it")))
}

/// Checks that all required programs are installed.
///
/// # Errors
/// Names the missing ones and the command that installs them.
pub(crate) fn ensure_installed() -> Result<()> {
    let missing: Vec<_> = REQUIRED_TOOLS.iter().filter(|(program, _)| find_tool(program).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let programs: Vec<_> = missing.iter().map(|(program, _)| *program).collect();
    let mut packages: Vec<_> = missing.iter().map(|(_, package)| *package).collect();
    packages.dedup();
    Err(BenchError::new(format!("missing: {}; run apt-get install {}", programs.join(", "), packages.join(" "))))
}

/// A tool's result: requests per second, and latencies in milliseconds if the tool reports them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ToolResult {
    pub(crate) rate: f64,
    pub(crate) requests: u64,
    pub(crate) errors: u64,
    pub(crate) p50: Option<f64>,
    pub(crate) p99: Option<f64>,
}

/// Runs `wrk` with one thread: GET `path` in a closed loop.
///
/// # Errors
/// If it fails, or its output cannot be parsed.
pub(crate) fn run_wrk(address: SocketAddr, path: &str, connections: usize, time: Duration) -> Result<ToolResult> {
    // wrk accepts only whole seconds.
    let seconds = time.as_secs_f64().round().max(1.0);
    let mut command = Command::new(require_tool("wrk")?);
    command.args(["-t1", &format!("-c{connections}"), &format!("-d{seconds}s"), "--latency"]);
    let text = run_and_capture(command.arg(format!("http://{address}{path}")))?;
    let value_after = |label: &str| {
        let line = text.lines().find_map(|line| line.trim_start().strip_prefix(label));
        line.map(|value| value.trim_start_matches(':').trim().to_owned())
    };
    let rate = value_after("Requests/sec")
        .and_then(|rate| rate.parse().ok())
        .ok_or_else(|| unreadable_output("wrk", &text))?;
    let percentile = |label| value_after(label).and_then(|time| parse_milliseconds(&time));
    // "Non-2xx or 3xx responses: 5", "Socket errors: connect 0, read 5, write 0, timeout 0".
    let sockets = value_after("Socket errors").unwrap_or_default();
    let socket_errors = sockets.split([' ', ',']).filter_map(|word| word.parse::<u64>().ok()).sum::<u64>();
    let status_errors =
        value_after("Non-2xx or 3xx responses").and_then(|count| count.parse::<u64>().ok()).unwrap_or_default();
    let errors = socket_errors + status_errors;
    let count = text.lines().find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok());
    let count = count.ok_or_else(|| unreadable_output("wrk", &text))?;
    Ok(ToolResult { rate, requests: count, errors, p50: percentile("50%"), p99: percentile("99%") })
}

/// A version of HTTP, over TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HttpVersion {
    Http1,
    Http2,
}

/// The request that `h2load` repeats.
#[derive(Clone, Debug)]
pub(crate) struct H2loadRequest {
    pub(crate) address: SocketAddr,
    pub(crate) version: HttpVersion,
    pub(crate) path: &'static str,
    /// The file with the body of a POST; `None` for a GET.
    pub(crate) body: Option<PathBuf>,
}

/// Runs `h2load` with one thread: a closed loop with one request at a time on each connection. `log` is the path of its
/// request log, from which the latencies are read.
///
/// # Errors
/// If it fails, or its output cannot be parsed.
pub(crate) fn run_h2load(
    request: &H2loadRequest,
    connections: usize,
    warmup: Duration,
    time: Duration,
    log: &Path,
) -> Result<ToolResult> {
    let H2loadRequest { address, version, path, body } = request;
    let seconds = time.as_secs_f64().round().max(1.0);
    // h2load appends to an existing log.
    let _ = std::fs::remove_file(log);
    let mut command = Command::new(require_tool("h2load")?);
    command.args(["-t1", "-m1", &format!("-c{connections}"), &format!("-D{seconds}")]);
    command.arg(format!("--warm-up-time={}ms", warmup.as_millis())).arg("--log-file").arg(log);
    if *version == HttpVersion::Http1 {
        command.arg("--h1");
    }
    if let Some(body) = body {
        command.arg("-d").arg(body).args(["-H", "content-type: application/json"]);
    }
    let text = run_and_capture(command.arg(format!("https://{address}{path}")))?;
    // "finished in 3.00s, 12345.67 req/s, 1.23MB/s"; "requests: 9 total, 9 started, 9 done, 9 succeeded, 0 failed, …"
    let find_line = |start: &str| text.lines().find_map(|line| line.strip_prefix(start));
    let number_before = |line: &str, label: &str| -> Option<f64> {
        line.split(", ").find_map(|part| part.trim().strip_suffix(label)?.trim().parse().ok())
    };
    let parse_output = || {
        let (requests, protocol) = (find_line("requests:")?, find_line("Application protocol:")?);
        let is_requested_version = protocol.trim() == if *version == HttpVersion::Http1 { "http/1.1" } else { "h2" };
        let (done, succeeded) = (number_before(requests, "done")?, number_before(find_line("status codes:")?, "2xx")?);
        let errors = if is_requested_version { done - succeeded } else { done };
        Some((number_before(find_line("finished in")?, "req/s")?, done, errors))
    };
    let (rate, count, errors) = parse_output().ok_or_else(|| unreadable_output("h2load", &text))?;
    let mut latencies = latencies_from_log(log)?;
    latencies.sort_unstable();
    let percentile = |share: f64| {
        let at = (latencies.len() as f64 * share) as usize;
        latencies.get(at).map(|micros| *micros as f64 / 1_000.0)
    };
    let (p50, p99) = (percentile(0.5), percentile(0.99));
    Ok(ToolResult { rate, requests: count as u64, errors: errors as u64, p50, p99 })
}

/// The latencies in h2load's log (third column), in microseconds.
fn latencies_from_log(log: &Path) -> Result<Vec<u64>> {
    let text = std::fs::read_to_string(log)?;
    Ok(text.lines().filter_map(|line| line.split('\t').nth(2)?.parse().ok()).collect())
}

/// Runs `pgbench -M prepared` with `script` in a closed loop, without the initial vacuum.
///
/// # Errors
/// If it fails, or its output cannot be parsed.
pub(crate) fn run_pgbench(
    address: SocketAddr,
    database: &str,
    script: &Path,
    clients: usize,
    time: Duration,
) -> Result<ToolResult> {
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let seconds = time.as_secs_f64().round().max(1.0).to_string();
    let mut command = Command::new(require_tool("pgbench")?);
    command.args(["-n", "-M", "prepared", "-j", "1", "-c", &clients.to_string(), "-T", &seconds]);
    command.args(["-h", &host, "-p", &port, "-U", "stele", "-f"]).arg(script).arg(database);
    let text = run_and_capture(&mut command)?;
    let number_after = |label: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(label))?;
        line.trim_start_matches([' ', '=', ':']).split_whitespace().next()?.split('/').next()?.parse::<f64>().ok()
    };
    let rate = number_after("tps").ok_or_else(|| unreadable_output("pgbench", &text))?;
    let count =
        number_after("number of transactions actually processed").ok_or_else(|| unreadable_output("pgbench", &text))?;
    let errors = number_after("number of failed transactions").unwrap_or_default();
    Ok(ToolResult { rate, requests: count as u64, errors: errors as u64, p50: None, p99: None })
}

/// Runs `redis-benchmark` with one command, `count` times in a closed loop.
///
/// # Errors
/// If it fails, or its output cannot be parsed.
pub(crate) fn run_redis_benchmark(address: SocketAddr, test: &str, clients: usize, count: u64) -> Result<ToolResult> {
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let mut command = Command::new(require_tool("redis-benchmark")?);
    command.args(["-h", &host, "-p", &port, "-t", test, "-c", &clients.to_string(), "-n", &count.to_string()]);
    let text = run_and_capture(command.args(["-r", "1000000", "--csv"]))?;
    // "test","rps","avg_latency_ms","min","p50","p95","p99","max"
    let line = text.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("\"{test}\"")));
    let line = line.ok_or_else(|| unreadable_output("redis-benchmark", &text))?;
    let cells: Vec<f64> = line.split(',').map(|cell| cell.trim_matches('"').parse().unwrap_or(f64::NAN)).collect();
    match cells.get(1) {
        Some(rate) if rate.is_finite() => Ok(ToolResult {
            rate: *rate,
            requests: count,
            errors: 0,
            p50: cells.get(4).copied(),
            p99: cells.get(6).copied(),
        }),
        _ => Err(unreadable_output("redis-benchmark", &text)),
    }
}

fn run_and_capture(command: &mut Command) -> Result<String> {
    let ended = command.stdin(Stdio::null()).output()?;
    if ended.status.success() {
        return Ok(String::from_utf8_lossy(&ended.stdout).into_owned());
    }
    let why = String::from_utf8_lossy(&ended.stderr).trim().to_owned();
    Err(BenchError::new(format!("{}: {why}", command.get_program().to_string_lossy())))
}

fn unreadable_output(tool: &str, text: &str) -> BenchError {
    BenchError::new(format!("cannot parse the output of {tool}: {text}"))
}

/// Parses a time in wrk's format: `812.00us`, `1.04ms`, `2.1s`.
fn parse_milliseconds(text: &str) -> Option<f64> {
    let units = [("us", 0.001), ("ms", 1.0), ("s", 1_000.0), ("m", 60_000.0)];
    let found = units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)));
    let (number, factor) = found?;
    Some(number.trim().parse::<f64>().ok()? * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_parsed_with_their_unit() {
        assert_eq!(parse_milliseconds("812.00us"), Some(0.812));
        assert_eq!(parse_milliseconds("1.04ms"), Some(1.04));
        assert_eq!(parse_milliseconds("2.5s"), Some(2_500.0));
        assert_eq!(parse_milliseconds("fast"), None);
    }
}
