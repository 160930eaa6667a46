//! The gateway as a program: command line, settings, log, SIGHUP, SIGTERM.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

fn gateway_command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
    command
        .env_clear()
        .env("STELE_ADMIN_LISTEN", "127.0.0.1:0")
        .env("STELE_LOG_FORMAT", "json")
        .env("STELE_DRAIN", "0");
    command.args(["--listen", "127.0.0.1:0"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The only line that a gateway printed when it failed to start.
fn startup_error(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

/// A running gateway, killed when dropped.
struct RunningGateway(Child);

impl Drop for RunningGateway {
    fn drop(&mut self) {
        let _ = self.0.kill();
    }
}

#[test]
fn help_lists_every_setting_and_version_names_the_program() {
    let output = gateway_command().arg("--help").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for setting in gateway::settings().into_iter().flatten() {
        let (name, help) = (setting.name(), setting.help().replace('`', ""));
        assert!(text.contains(name) && text.contains(&help), "{name}");
    }
    assert!(gateway_command().arg("--version").output().unwrap().stdout.starts_with(b"gateway "));
}

#[test]
fn a_failed_start_prints_one_line_and_exits_with_code_2() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "[[route]]\nprefix = '/a/'\nservise = 'x'\n").unwrap();
    let text = startup_error(&gateway_command().env("STELE_ROUTES", file.path()).output().unwrap());
    assert!(text.contains(&format!("{}:3: unknown field `servise`", file.path().display())), "{text}");
    let text = startup_error(&gateway_command().env("STELE_UPSTREAM_TMS", "ftp://x").output().unwrap());
    assert!(text.contains("STELE_UPSTREAM_TMS: `ftp://x`"), "{text}");
    let other_listener = crate::support::local_listener();
    let text = startup_error(
        &gateway_command()
            .env("STELE_ADMIN_LISTEN", other_listener.local_addr().unwrap().to_string())
            .output()
            .unwrap(),
    );
    assert!(text.contains("STELE_ADMIN_LISTEN") && text.contains("in use"), "{text}");
}

fn send_request(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// Starts the program and waits until it is ready. Returns the program, the rest of its log, and its public address.
fn start_program(command: &mut Command) -> (RunningGateway, impl Iterator<Item = Value> + use<>, String) {
    let mut child = RunningGateway(command.spawn().unwrap());
    let lines = BufReader::new(child.0.stderr.take().unwrap()).lines();
    let mut log = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let ready = log.find(|line| line["message"] == "ready" && line["listen"].is_string()).unwrap();
    let address = ready["listen"].as_str().unwrap().to_owned();
    (child, log, address)
}

const REQUEST_TAIL: &str = "HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

#[test]
fn sighup_reloads_the_table_and_rejects_an_invalid_one() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let built_in = include_str!("../../routes.toml");
    let write_table = |text: &str| std::fs::write(file.path(), text).unwrap();
    write_table(built_in);
    let (child, mut log, address) = start_program(gateway_command().env("STELE_ROUTES", file.path()));
    let send_sighup = || kill_process(Pid::from_child(&child.0), Signal::HUP).unwrap();
    let has_route = |path: &str| !send_request(&address, &format!("GET {path} {REQUEST_TAIL}")).contains("no_route");
    assert!(has_route("/auth/x") && !has_route("/sso/x"));
    write_table(&built_in.replace("\"/auth/\"", "\"/sso/\""));
    send_sighup();
    assert!(log.any(|line| line["message"] == "SIGHUP: the new routing table is in force"));
    assert!(!has_route("/auth/x") && has_route("/sso/x"));
    write_table(&built_in.replacen("\nprefix", "\nprefox", 1));
    send_sighup();
    let line = log.find(|line| line["message"] == "SIGHUP: the old routing table stays in force").unwrap();
    let line_number = 1 + built_in.lines().position(|line| line.starts_with("prefix")).unwrap();
    let text = line["error"].as_str().unwrap();
    assert!(text.contains(&format!("{}:{line_number}: ", file.path().display())) && text.contains("prefox"), "{text}");
    assert!(!has_route("/auth/x") && has_route("/sso/x"));
}

#[test]
fn sigterm_drains_and_a_second_sigterm_exits_at_once() {
    let is_stopping = |line: Value| line["message"].as_str().unwrap().starts_with("shutting down");
    let (mut child, mut log, address) = start_program(gateway_command().env("STELE_DRAIN", "1s"));
    let signalled_at = Instant::now();
    kill_process(Pid::from_child(&child.0), Signal::TERM).unwrap();
    assert!(log.any(is_stopping));
    let request_health = || send_request(&address, &format!("GET /healthz {REQUEST_TAIL}"));
    let request_readiness = || send_request(&address, &format!("GET /readyz {REQUEST_TAIL}"));
    // Without services the gateway is never ready: only closed keep-alive connections show that it drains.
    let keep_alive_request = "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n";
    assert!(send_request(&address, keep_alive_request).to_ascii_lowercase().contains("connection: close"));
    assert!(request_health().starts_with("HTTP/1.1 200") && request_readiness().starts_with("HTTP/1.1 503"));
    assert!(child.0.wait().unwrap().success());
    assert!(signalled_at.elapsed() >= Duration::from_secs(1), "{:?}", signalled_at.elapsed());

    let (mut child, mut log, _) = start_program(gateway_command().env("STELE_DRAIN", "1h"));
    kill_process(Pid::from_child(&child.0), Signal::TERM).unwrap();
    assert!(log.any(is_stopping));
    kill_process(Pid::from_child(&child.0), Signal::TERM).unwrap();
    assert_eq!(child.0.wait().unwrap().code(), Some(130));
}

#[test]
fn the_log_has_no_secrets_and_is_rate_limited_and_sigterm_exits() {
    let mut child = RunningGateway(gateway_command().spawn().unwrap());
    let mut log = BufReader::new(child.0.stderr.take().unwrap()).lines().map(|line| line.unwrap());
    let ready = log.find(|line| line.contains("\"ready\"")).unwrap();
    let ready: Value = serde_json::from_str(&ready).unwrap();
    let (public, admin) = (ready["listen"].as_str().unwrap(), ready["admin_listen"].as_str().unwrap());
    let head = "Host: h\r\nConnection: close\r\nAuthorization: hidden-header\r\n";
    let text = send_request(
        public,
        &format!("POST /i/..?hidden=query HTTP/1.1\r\n{head}Content-Length: 11\r\n\r\nhidden-body"),
    );
    assert!(text.starts_with("HTTP/1.1 404"), "{text}");
    let long =
        format!("POST /i/{} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", "x".repeat(15_000));
    assert!(send_request(public, &long).starts_with("HTTP/1.1 "));
    let text = send_request(admin, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    // One client is rejected 200 times.
    let rejected_request = "POST /nowhere HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    (0..200).for_each(|_| drop(send_request(public, rejected_request)));
    let metrics = send_request(admin, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert!(metrics.contains("stele_gateway_unlogged_requests_total 1"), "{metrics}");
    kill_process(Pid::from_child(&child.0), Signal::TERM).unwrap();
    assert!(child.0.wait().unwrap().success());
    let log: Vec<_> = log.collect();
    assert!(log.iter().all(|line| !line.contains("hidden")), "{log:?}");
    let lines = log.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let line = lines.into_iter().find(|line| line["message"] == "request").unwrap();
    assert_eq!((&line["method"], &line["path"], &line["status"]), (&"POST".into(), &"/i/..".into(), &404.into()));
    assert_eq!((&line["service"], line["id"].as_str().map(str::len)), (&"portal".into(), Some(32)));
    assert!(line["ms"].is_u64() && line["left_out"].is_null());
    // Long paths are truncated in the log, and only some of a client's rejections are logged.
    let longest = log.iter().map(String::len).max().unwrap();
    assert!(longest < 1_000, "a line of {longest} bytes");
    assert!(log.iter().any(|line| line.contains("xxx…")), "{log:?}");
    assert!(log.len() < 100, "{} lines", log.len());
}
