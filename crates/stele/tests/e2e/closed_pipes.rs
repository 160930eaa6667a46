//! Closed pipes (`| head`): no program panics or prints an error because its output cannot be written. The commands are
//! read from the definition of the command line, so that a new command is covered automatically.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use clap::{Arg, Command as CommandDefinition, CommandFactory as _};
use rustix::process::{Pid, Signal, kill_process};
use stele::args::Args;

use crate::support::{CommandOutput, Installation, KillOnDrop, eventually};

/// The exit code of a Rust program that panics.
const PANIC_EXIT_CODE: i32 = 101;

/// A pipe without a reader.
fn closed_pipe() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

/// Collects every command that has no subcommands: the words that name the command, and its definition.
fn collect_commands(
    definition: &CommandDefinition,
    words: &[String],
    found: &mut Vec<(Vec<String>, CommandDefinition)>,
) {
    let mut subcommands = definition.get_subcommands().filter(|command| command.get_name() != "help").peekable();
    if subcommands.peek().is_none() {
        found.push((words.to_vec(), definition.clone()));
    }
    for command in subcommands {
        collect_commands(command, &[words, &[command.get_name().to_owned()]].concat(), found);
    }
}

fn all_commands() -> Vec<(Vec<String>, CommandDefinition)> {
    let mut found = Vec::new();
    let mut definition = Args::command();
    definition.build();
    collect_commands(&definition, &[], &mut found);
    assert!(found.len() > 15, "{found:?}");
    found
}

/// The arguments that a command requires, with values that it accepts.
fn required_arguments(definition: &CommandDefinition) -> Vec<String> {
    let mut required: Vec<_> = definition.get_arguments().filter(|arg| arg.is_required_set()).cloned().collect();
    for group in definition.get_groups().filter(|group| group.is_required_set()) {
        let first = group.get_args().next().unwrap();
        required.extend(definition.get_arguments().find(|arg| arg.get_id() == first).cloned());
    }
    let mut words: Vec<_> = required.iter().flat_map(argument_values).collect();
    // A new key then becomes active at once, so that the test need not wait.
    if definition.get_arguments().any(|arg| arg.get_id() == "lead") {
        words.extend(["--lead", "0"].map(str::to_owned));
    }
    words
}

fn argument_values(arg: &Arg) -> Vec<String> {
    let value = match arg.get_id().as_str() {
        "dialect" => "tms",
        "key" => "seal-1",
        // Of a session or a brown-out.
        "id" => "1",
        "grants" => "client_credentials",
        "resources" => "orders",
        "user" => "mark",
        _ => "sample",
    };
    let takes_value = arg.get_action().takes_values();
    let option = arg.get_long().map(|long| format!("--{long}"));
    option.into_iter().chain(takes_value.then(|| value.to_owned())).collect()
}

/// An installation with a user, which logs errors only.
fn installation_with_user() -> Installation {
    let installation = Installation::with_settings(&[("STELE_HASH_COST", "64,1,1,weak"), ("STELE_LOG", "error")]);
    installation.run(&["migrate"]).assert_success();
    installation.add_user("mark", "a-password", &[]);
    installation.run(&["resource", "add", "orders"]).assert_success();
    installation
}

/// Where a command's standard error goes.
#[derive(Clone, Copy, Debug)]
enum Stderr {
    Captured,
    ClosedPipe,
}

const STDERR_VARIANTS: [Stderr; 2] = [Stderr::Captured, Stderr::ClosedPipe];

/// Runs a command to its end with its standard output in a closed pipe.
fn run_into_closed_pipe(mut command: Command, stderr: Stderr) -> CommandOutput {
    let captured = tempfile::NamedTempFile::new().unwrap();
    let stderr = match stderr {
        Stderr::Captured => captured.reopen().unwrap().into(),
        Stderr::ClosedPipe => closed_pipe(),
    };
    let mut child = KillOnDrop(command.stdin(Stdio::piped()).stdout(closed_pipe()).stderr(stderr).spawn().unwrap());
    let _ = child.0.stdin.take().unwrap().write_all(b"a-password\n");
    let status = eventually(&format!("the end of {command:?}"), || child.0.try_wait().unwrap());
    let stderr = std::fs::read_to_string(captured.path()).unwrap();
    CommandOutput { code: status.code(), stdout: String::new(), stderr }
}

/// Asserts that a command did not panic and reported no error about its output.
#[track_caller]
fn assert_quiet(what: &[String], outcome: &CommandOutput) {
    assert!(outcome.code.is_some_and(|code| code != PANIC_EXIT_CODE), "{what:?}: {outcome:?}");
    let errors = outcome.stderr.to_ascii_lowercase();
    for noise in ["panicked", "pipe", "standard output"] {
        assert!(!errors.contains(noise), "{what:?}: {outcome:?}");
    }
    let is_one_error = outcome.stderr.starts_with("error: ") && outcome.stderr.lines().count() == 1;
    assert!(outcome.stderr.is_empty() || is_one_error, "{what:?}: {outcome:?}");
}

#[test]
fn commands_tolerate_a_closed_pipe() {
    let installation = installation_with_user();
    for (words, definition) in all_commands().into_iter().filter(|(words, _)| words != &["up"]) {
        let words = [words, required_arguments(&definition)].concat();
        let line = std::iter::once("stele".to_owned()).chain(words.clone());
        let parsed = Args::command().try_get_matches_from(line);
        assert!(parsed.is_ok(), "{words:?}: `argument_values` needs a value that this command accepts: {parsed:?}");
        let args: Vec<_> = words.iter().map(String::as_str).collect();
        for stderr in STDERR_VARIANTS {
            assert_quiet(&words, &run_into_closed_pipe(installation.command(&args), stderr));
        }
    }
}

#[test]
fn successful_commands_exit_cleanly_into_a_closed_pipe() {
    let installation = installation_with_user();
    let rotate = ["keys", "rotate", "--lead", "0"];
    let commands: [&[&str]; 25] = [
        &["check"],
        &["migrate"],
        &["user", "list"],
        &["user", "list", "--json"],
        &["user", "show", "mark"],
        &["session", "list", "mark", "--json"],
        &["session", "end", "--user", "mark"],
        &["app", "add", "melink"],
        &["token", "add", "console"],
        &["client", "add", "web", "--grants", "client_credentials", "--resources", "orders"],
        &["client", "list"],
        &["client", "show", "web"],
        &["client", "rotate", "web"],
        &["resource", "list", "--json"],
        &["resource", "rotate", "orders"],
        &["sunset"],
        &["sunset", "--who", "--json"],
        &["sunset", "brownout", "tms", "--from", "now", "--for", "1s"],
        &["sunset", "brownout", "list", "--all"],
        &["sunset", "off", "tms", "--yes"],
        &["sunset", "on", "tms"],
        &["audit", "--all", "--json"],
        &["keys", "list"],
        &rotate,
        &["challenge", "off", "--yes", "--json"],
    ];
    for args in commands {
        let outcome = run_into_closed_pipe(installation.command(args), Stderr::Captured);
        assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{args:?}");
    }
    // The commands did their work completely.
    let keys = installation.run(&["keys", "list", "--json"]).assert_success().stdout.clone();
    assert!(keys.contains(r#""key":"seal-2""#), "{keys}");
    let client = installation.run(&["client", "show", "web", "--json"]).assert_success().stdout.clone();
    assert_eq!(client.matches("created_at").count(), 2, "{client}");
    assert_eq!(installation.run(&["challenge", "on"]).assert_success().stdout.matches("are enabled").count(), 1);
}

#[test]
fn unwritable_output_is_an_error() {
    let installation = installation_with_user();
    for args in [&["check"][..], &["user", "list"], &["resource", "rotate", "orders"]] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let outcome = installation.command(args).stdout(full).output().unwrap();
        let error = String::from_utf8(outcome.stderr).unwrap();
        assert_eq!(outcome.status.code(), Some(1), "{args:?}: {error}");
        assert!(error.starts_with("error: standard output cannot be written"), "{error}");
        assert_eq!(error.contains("`rotate --overlap 0s`"), args.contains(&"rotate"), "{error}");
    }
}

#[test]
fn help_tolerates_a_closed_pipe() {
    let installation = installation_with_user();
    let mut lines = vec![vec!["--help".to_owned()], vec!["--version".to_owned()], vec!["--wrong".to_owned()]];
    for (words, _) in all_commands() {
        for option in ["--help", "--wrong"] {
            lines.push([words.clone(), vec![option.to_owned()]].concat());
        }
    }
    for words in lines {
        let args: Vec<_> = words.iter().map(String::as_str).collect();
        for stderr in STDERR_VARIANTS {
            assert_quiet(&words, &run_into_closed_pipe(installation.command(&args), stderr));
        }
    }
}

fn binary_path(name: &str) -> std::path::PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_stele")).with_file_name(name);
    assert!(path.exists(), "{} is missing: build the whole workspace (scripts/test)", path.display());
    path
}

#[test]
fn services_tolerate_a_closed_pipe() {
    let installation = installation_with_user();
    let services = stele::services::ALL.map(|service| format!("svc-{}", service.name));
    for name in services.iter().map(String::as_str).chain(["gateway"]) {
        for option in ["--help", "--version", "--wrong", "--healthcheck"] {
            for stderr in STDERR_VARIANTS {
                let outcome = run_into_closed_pipe(installation.program(&binary_path(name), &[option]), stderr);
                assert_quiet(&[name.to_owned(), option.to_owned()], &outcome);
            }
        }
    }
}

/// An address of loopback that is free now; another process may take it at any time.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn send_request(address: SocketAddr, request: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    let mut response = String::new();
    stream.read_to_string(&mut response).ok()?;
    Some(response)
}

/// Servers keep serving; only their log lines are lost.
#[test]
fn servers_keep_serving_with_closed_pipes() {
    let mut installation = installation_with_user();
    installation.set("STELE_LOG", "debug");
    installation.set("STELE_MEFP_SECRET", "0123456789abcdef0123456789abcdef");
    for name in ["stele", "gateway", "svc-portal"] {
        let address = free_address();
        let mut command = installation.program(&binary_path(name), &[]);
        if name == "stele" {
            command.args(["up", "--demo"]);
        }
        command.env("STELE_LISTEN", address.to_string()).stdout(closed_pipe()).stderr(closed_pipe());
        let mut child = KillOnDrop(command.spawn().unwrap());
        let health = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        eventually(&format!("{name} serves"), || {
            assert_eq!(child.0.try_wait().unwrap(), None, "{name} exited");
            send_request(address, &health).filter(|response| response.starts_with("HTTP/1.1 200"))
        });
        let body = "username=13800138003&password=eA==";
        let head = format!("POST /i/login HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {}", body.len());
        for _ in 0..3 {
            let response = send_request(address, &format!("{head}\r\n\r\n{body}")).unwrap();
            assert!(response.starts_with("HTTP/1.1 "), "{name}: {response}");
        }
        kill_process(Pid::from_child(&child.0), Signal::TERM).unwrap();
        let status = eventually(&format!("the end of {name}"), || child.0.try_wait().unwrap());
        assert_eq!(status.code(), Some(0), "{name}");
    }
}
