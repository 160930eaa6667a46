//! No program panics or complains because its output goes into a closed pipe (`| head`). The commands are those of the
//! command line's own definition, so a new one is covered by itself.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use clap::{Arg, Command as Definition, CommandFactory as _};
use rustix::process::{Pid, Signal, kill_process};
use stele::args::Args;

use crate::support::{CommandOutput, Installation, KillOnDrop, eventually};

const SERVICES: [&str; 5] = ["svc-cloudbox", "svc-tms", "svc-portal", "svc-mefp", "svc-jwt"];
/// The exit code of a Rust program that panics.
const PANIC_EXIT_CODE: i32 = 101;

/// A pipe that has no reader.
fn closed_pipe() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

/// The words of every command that does something, subcommand by subcommand.
fn collect_commands(definition: &Definition, words: &[String], found: &mut Vec<(Vec<String>, Definition)>) {
    let mut below = definition.get_subcommands().filter(|command| command.get_name() != "help").peekable();
    if below.peek().is_none() {
        found.push((words.to_vec(), definition.clone()));
    }
    for command in below {
        collect_commands(command, &[words, &[command.get_name().to_owned()]].concat(), found);
    }
}

fn all_commands() -> Vec<(Vec<String>, Definition)> {
    let mut found = Vec::new();
    let mut definition = Args::command();
    definition.build();
    collect_commands(&definition, &[], &mut found);
    assert!(found.len() > 15, "{found:?}");
    found
}

/// What must stand behind the words of a command so that it can be run.
fn required_arguments(definition: &Definition) -> Vec<String> {
    let mut required: Vec<_> = definition.get_arguments().filter(|arg| arg.is_required_set()).cloned().collect();
    for group in definition.get_groups().filter(|group| group.is_required_set()) {
        let first = group.get_args().next().unwrap();
        required.extend(definition.get_arguments().find(|arg| arg.get_id() == first).cloned());
    }
    let mut words: Vec<_> = required.iter().flat_map(argument_values).collect();
    // Not to be waited for.
    if definition.get_arguments().any(|arg| arg.get_id() == "lead") {
        words.extend(["--lead", "0"].map(str::to_owned));
    }
    words
}

fn argument_values(arg: &Arg) -> Vec<String> {
    let value = match arg.get_id().as_str() {
        "key" => "seal-1",
        "user" => "mark",
        _ => "sample",
    };
    let takes_value = arg.get_action().takes_values();
    let option = arg.get_long().map(|long| format!("--{long}"));
    option.into_iter().chain(takes_value.then(|| value.to_owned())).collect()
}

/// A home with a user in it, where nothing but errors is logged.
fn installation_with_user() -> Installation {
    let home = Installation::with_settings(&[("STELE_HASH_COST", "64,1,1,weak"), ("STELE_LOG", "error")]);
    home.run(&["migrate"]).assert_success();
    home.add_user("mark", "a-password", &[]);
    home
}

/// Runs a command to its end, with its output in a closed pipe and, unless `errors` is one too, its errors kept.
fn run_into_closed_pipe(mut command: Command, errors: bool) -> CommandOutput {
    let err = tempfile::NamedTempFile::new().unwrap();
    let stderr = if errors { closed_pipe() } else { err.reopen().unwrap().into() };
    let mut child = KillOnDrop(command.stdin(Stdio::piped()).stdout(closed_pipe()).stderr(stderr).spawn().unwrap());
    let _ = child.0.stdin.take().unwrap().write_all(b"a-password\n");
    let status = eventually(&format!("the end of {command:?}"), || child.0.try_wait().unwrap());
    CommandOutput { code: status.code(), stdout: String::new(), stderr: std::fs::read_to_string(err.path()).unwrap() }
}

/// It ended by itself, and said nothing about its output.
#[track_caller]
fn assert_quiet(what: &[String], outcome: &CommandOutput) {
    assert!(outcome.code.is_some_and(|code| code != PANIC_EXIT_CODE), "{what:?}: {outcome:?}");
    let errors = outcome.stderr.to_ascii_lowercase();
    for noise in ["panicked", "pipe", "standard output"] {
        assert!(!errors.contains(noise), "{what:?}: {outcome:?}");
    }
    let fault = outcome.stderr.starts_with("error: ") && outcome.stderr.lines().count() == 1;
    assert!(outcome.stderr.is_empty() || fault, "{what:?}: {outcome:?}");
}

#[test]
fn commands_tolerate_a_closed_pipe() {
    let home = installation_with_user();
    for (words, definition) in all_commands().into_iter().filter(|(words, _)| words != &["up"]) {
        let words = [words, required_arguments(&definition)].concat();
        let line = std::iter::once("stele".to_owned()).chain(words.clone());
        let parsed = Args::command().try_get_matches_from(line);
        assert!(parsed.is_ok(), "{words:?}: `given` must know a value that this command takes: {parsed:?}");
        let args: Vec<_> = words.iter().map(String::as_str).collect();
        for errors in [false, true] {
            assert_quiet(&words, &run_into_closed_pipe(home.command(&args), errors));
        }
    }
}

#[test]
fn successful_commands_exit_cleanly_into_a_closed_pipe() {
    let home = installation_with_user();
    let rotate = ["keys", "rotate", "--lead", "0"];
    let commands: [&[&str]; 11] = [
        &["check"],
        &["migrate"],
        &["user", "list"],
        &["user", "list", "--json"],
        &["user", "show", "mark"],
        &["app", "add", "melink"],
        &["token", "add", "console"],
        &["audit", "--all", "--json"],
        &["keys", "list"],
        &rotate,
        &["challenge", "off", "--yes", "--json"],
    ];
    for args in commands {
        let outcome = run_into_closed_pipe(home.command(args), false);
        assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{args:?}");
    }
    // The work was done all the same, to its end.
    let keys = home.run(&["keys", "list", "--json"]).assert_success().stdout.clone();
    assert!(keys.contains(r#""key":"seal-2""#), "{keys}");
    assert_eq!(home.run(&["challenge", "on"]).assert_success().stdout.matches("are allowed").count(), 1);
}

#[test]
fn unwritable_output_is_an_error() {
    let home = installation_with_user();
    for args in [&["check"][..], &["user", "list"]] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let outcome = home.command(args).stdout(full).output().unwrap();
        let error = String::from_utf8(outcome.stderr).unwrap();
        assert_eq!(outcome.status.code(), Some(1), "{args:?}: {error}");
        assert!(error.starts_with("error: standard output cannot be written"), "{error}");
    }
}

#[test]
fn help_tolerates_a_closed_pipe() {
    let home = installation_with_user();
    let mut lines = vec![vec!["--help".to_owned()], vec!["--version".to_owned()], vec!["--wrong".to_owned()]];
    for (words, _) in all_commands() {
        for option in ["--help", "--wrong"] {
            lines.push([words.clone(), vec![option.to_owned()]].concat());
        }
    }
    for words in lines {
        let args: Vec<_> = words.iter().map(String::as_str).collect();
        for errors in [false, true] {
            assert_quiet(&words, &run_into_closed_pipe(home.command(&args), errors));
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
    let home = installation_with_user();
    for name in SERVICES.into_iter().chain(["gateway"]) {
        for option in ["--help", "--version", "--wrong", "--healthcheck"] {
            for errors in [false, true] {
                let outcome = run_into_closed_pipe(home.program(&binary_path(name), &[option]), errors);
                assert_quiet(&[name.to_owned(), option.to_owned()], &outcome);
            }
        }
    }
}

/// An address that was free a moment ago.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn send_request(address: SocketAddr, request: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// Servers go on: their lines are lost, and nothing else.
#[test]
fn servers_keep_serving_with_closed_pipes() {
    let mut home = installation_with_user();
    home.set("STELE_LOG", "debug");
    home.set("STELE_MEFP_SECRET", "0123456789abcdef0123456789abcdef");
    for name in ["stele", "gateway", "svc-portal"] {
        let address = free_address();
        let mut command = home.program(&binary_path(name), &[]);
        if name == "stele" {
            command.args(["up", "--demo"]);
        }
        command.env("STELE_LISTEN", address.to_string()).stdout(closed_pipe()).stderr(closed_pipe());
        let mut child = KillOnDrop(command.spawn().unwrap());
        let health = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        eventually(&format!("{name} serves"), || {
            assert_eq!(child.0.try_wait().unwrap(), None, "{name} ended");
            send_request(address, &health).filter(|answer| answer.starts_with("HTTP/1.1 200"))
        });
        let body = "username=13800138003&password=eA==";
        let head = format!("POST /i/login HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {}", body.len());
        for _ in 0..3 {
            let answer = send_request(address, &format!("{head}\r\n\r\n{body}")).unwrap();
            assert!(answer.starts_with("HTTP/1.1 "), "{name}: {answer}");
        }
        kill_process(Pid::from_child(&child.0), Signal::TERM).unwrap();
        let status = eventually(&format!("the end of {name}"), || child.0.try_wait().unwrap());
        assert_eq!(status.code(), Some(0), "{name}");
    }
}
