//! The command line that the gateway and every service share.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::common_settings::LISTEN;
use crate::config::{self, ConfigError, DATA, Settings};
use crate::log_sanitizer::escape_invisible;
use crate::setting::{AnySetting as _, SettingList};

/// What went wrong with a command line, a setting or a start: nothing that a retry would mend.
pub const EXIT_USAGE_ERROR: u8 = 2;

/// The command line of program `name`: `--listen`, `--data`, `--config`, `--healthcheck`, and a help that lists `settings`.
pub fn command(name: &'static str, about: &'static str, settings: &[SettingList]) -> Command {
    Command::new(name)
        .version(env!("CARGO_PKG_VERSION"))
        .about(about)
        .after_help(config::settings_help(settings))
        .arg(Arg::new("listen").long("listen").value_name("ADDRESS:PORT").help("Where to serve (STELE_LISTEN)"))
        .arg(Arg::new("data").long("data").value_name("DIR").help("The data folder (STELE_DATA)"))
        .arg(
            Arg::new("config")
                .long("config")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("A TOML file with settings"),
        )
        .arg(
            Arg::new("healthcheck")
                .long("healthcheck")
                .action(ArgAction::SetTrue)
                .help("Ask the running program whether it is ready; exits with 0 or 1"),
        )
}

/// What the command line says. Help and version are printed, a wrong option is told in one line; either ends here.
///
/// # Errors
/// The code to exit with.
pub fn parse_command_line(command: Command) -> Result<ArgMatches, ExitCode> {
    let name = command.get_name().to_owned();
    command.try_get_matches().map_err(|error| {
        if !error.use_stderr() {
            // To a closed pipe (`--help | head`) there is nobody to complain to.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        let text = error.to_string();
        let reason = text.split("\n\nUsage:").next().unwrap_or(&text);
        let reason = reason.split("\n\nFor more").next().unwrap_or(reason).trim_start_matches("error: ");
        print_error(&format!("{reason} (see `{name} --help`)"));
        ExitCode::from(EXIT_USAGE_ERROR)
    })
}

/// The settings as the command line, the environment and the TOML file give them.
///
/// # Errors
/// What [`Settings::load`] says.
pub fn load_settings(matches: &ArgMatches, known: &[SettingList]) -> Result<Settings, ConfigError> {
    let config = matches.get_one::<PathBuf>("config");
    let given = [("listen", LISTEN.name()), ("data", DATA.name())];
    let overrides: Vec<_> =
        given.iter().filter_map(|(arg, name)| Some((*name, matches.get_one::<String>(arg)?.clone()))).collect();
    Ok(Settings::load(config.map(PathBuf::as_path), known)?.with_values(overrides))
}

/// Ends a program: nothing on success, one line on standard error and code 2 on a fault.
pub fn exit_code(result: Result<(), ConfigError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print_error(&error.to_string());
            ExitCode::from(EXIT_USAGE_ERROR)
        }
    }
}

/// Prints one line on standard error, whatever the message has in it.
pub fn print_error(message: &str) {
    write_stderr_line("error", message);
}

/// Prints a warning, one line on standard error.
pub fn print_warning(message: &str) {
    write_stderr_line("warning", message);
}

fn write_stderr_line(kind: &str, message: &str) {
    let line: Vec<_> = message.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    // `eprintln!` would panic on a closed pipe.
    let _ = writeln!(std::io::stderr(), "{kind}: {}", escape_invisible(&line.join(" "), &[]));
}
