//! The `stele` command: the gateway and every dialect in one process, and administration.
//!
//! [`args`] parses the command line, `commands` runs the commands, [`services`] lists the dialects.

pub mod args;
mod commands;
pub mod services;

use std::process::ExitCode;

use stele_service::{cli, telemetry};

use crate::args::Command;
use crate::commands::up::CertificateSource;
use crate::commands::{
    CommandError, admin, app, audit, challenge, check, export, import, keys, oauth, passwords, session, sunset, token,
    up, user,
};

/// Exit code of an import that refused some rows.
const EXIT_ROWS_REFUSED: u8 = 3;

/// Runs the command that the command line names. Exit code 0: success; 1: the operation was refused (no such user, …)
/// or failed; 2: the command line, a setting, a key, a file or a port is invalid or unavailable; 3: an import refused some
/// rows.
pub fn run() -> ExitCode {
    let args = match args::parse_command_line() {
        Ok(args) => args,
        Err(code) => return code,
    };
    let result = (|| {
        let settings = args.settings()?;
        let _telemetry = match args.command {
            Command::Up { .. } => telemetry::start(&settings, "stele")?,
            _ => telemetry::start_logging_only(&settings)?,
        };
        let system = actix_web::rt::System::new();
        system.block_on(async {
            match args.command {
                Command::Up { tls_self_signed, .. } => {
                    let certificate =
                        if tls_self_signed { CertificateSource::SelfSigned } else { CertificateSource::Settings };
                    up::run(settings, certificate).await
                }
                Command::User(command) => {
                    admin::run_with_context(settings, async |context| user::run(context, command).await).await
                }
                Command::Session(command) => {
                    admin::run_with_context(settings, async |context| session::run(context, command).await).await
                }
                Command::App(command) => {
                    admin::run_with_context(settings, async |context| app::run(context, command).await).await
                }
                Command::Token(command) => {
                    admin::run_with_context(settings, async |context| token::run(context, command).await).await
                }
                Command::Import(command) => import::run(&settings, *command).await,
                Command::Export(options) => export::run(&settings, options).await,
                Command::Client(command) => oauth::client::run(&settings, command).await,
                Command::Resource(command) => oauth::resource::run(&settings, command).await,
                Command::Keys(command) => keys::run(&settings, command).await,
                Command::Challenge(command) => challenge::run(&settings, command).await,
                Command::Passwords(command) => passwords::run(&settings, command).await,
                Command::Sunset(command) => sunset::run(&settings, *command).await,
                Command::Audit(command) => audit::run(&settings, *command).await,
                Command::Migrate => admin::migrate(settings).await,
                Command::Check => check::run(settings).await,
            }
        })
    })();
    match result {
        Ok(()) | Err(CommandError::OutputClosed) => ExitCode::SUCCESS,
        Err(CommandError::RowsRefused) => ExitCode::from(EXIT_ROWS_REFUSED),
        Err(CommandError::Setup(error)) => cli::exit_code(Err(error)),
        Err(CommandError::Failed(reason)) => {
            cli::print_error(&reason);
            ExitCode::FAILURE
        }
    }
}
