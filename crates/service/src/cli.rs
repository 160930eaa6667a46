//! Command-line parsing shared by the gateway and every service, and output on standard error.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::common_settings::LISTEN;
use crate::config::{self, ConfigError, DATA, Settings};
use crate::log_sanitizer::escape_invisible;
use crate::setting::{AnySetting as _, SettingList};

/// Exit code after an invalid command line or setting, or when a program cannot start or its server fails. One line on
/// standard error names the cause.
pub const EXIT_USAGE_ERROR: u8 = 2;

/// The command line of the program `name`: `--listen`, `--data`, `--config`, `--healthcheck`, and `--help` with the
/// list of `settings`.
pub fn build_command(name: &'static str, about: &'static str, settings: &[SettingList]) -> Command {
    Command::new(name)
        .version(env!("CARGO_PKG_VERSION"))
        .about(about)
        .after_help(config::settings_help(settings))
        .arg(
            Arg::new("listen")
                .long("listen")
                .value_name("ADDRESS:PORT")
                .help("Address and port to listen on (STELE_LISTEN)"),
        )
        .arg(Arg::new("data").long("data").value_name("DIR").help("Data folder (STELE_DATA)"))
        .arg(
            Arg::new("config")
                .long("config")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("TOML file with settings"),
        )
        .arg(
            Arg::new("healthcheck")
                .long("healthcheck")
                .action(ArgAction::SetTrue)
                .help("Check whether the running program is ready, and exit with 0 (ready) or 1"),
        )
}

/// Parses the command line. Prints help or the version if requested, and one line for an invalid option.
///
/// # Errors
/// The exit code, if help, the version or an error was printed.
pub fn parse_command_line(command: Command) -> Result<ArgMatches, ExitCode> {
    let name = command.get_name().to_owned();
    command.try_get_matches().map_err(|error| {
        if !error.use_stderr() {
            // A closed pipe (`--help | head`) is not an error.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        let message = error.to_string();
        let reason = message.split("\n\nUsage:").next().unwrap_or(&message);
        let reason = reason.split("\n\nFor more").next().unwrap_or(reason).trim_start_matches("error: ");
        print_error(&format!("{reason} (see `{name} --help`)"));
        ExitCode::from(EXIT_USAGE_ERROR)
    })
}

/// Loads the settings from the command line, the environment and the TOML file, in that order of precedence.
///
/// # Errors
/// As [`Settings::load`].
pub fn load_settings(matches: &ArgMatches, known_settings: &[SettingList]) -> Result<Settings, ConfigError> {
    let config_path = matches.get_one::<PathBuf>("config");
    let options = [("listen", LISTEN.name()), ("data", DATA.name())];
    let overrides: Vec<_> =
        options.iter().filter_map(|(arg, name)| Some((*name, matches.get_one::<String>(arg)?.clone()))).collect();
    Ok(Settings::load(config_path.map(PathBuf::as_path), known_settings)?.with_values(overrides))
}

/// The exit code of a program with this result. For an error, prints it on standard error and returns
/// [`EXIT_USAGE_ERROR`].
pub fn exit_code(result: Result<(), ConfigError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print_error(&error.to_string());
            ExitCode::from(EXIT_USAGE_ERROR)
        }
    }
}

/// Prints an error as one line on standard error; invisible characters are escaped.
pub fn print_error(message: &str) {
    write_stderr_line("error", message);
}

/// Prints a warning as one line on standard error; invisible characters are escaped.
pub fn print_warning(message: &str) {
    write_stderr_line("warning", message);
}

fn write_stderr_line(kind: &str, message: &str) {
    let lines: Vec<_> = message.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    // `eprintln!` would panic on a closed pipe.
    let _ = writeln!(std::io::stderr(), "{kind}: {}", escape_invisible(&lines.join(" "), &[]));
}
