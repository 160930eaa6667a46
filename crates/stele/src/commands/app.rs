//! `stele app`: registers MeFP apps.

use stele_app::Context;
use stele_core::Error;
use stele_service::cli;
use zeroize::Zeroizing;

use super::admin::read_secret_from_stdin;
use super::{CommandError, print_line};
use crate::args::{AppCommand, AppSecret};

pub(crate) async fn run(context: &Context, command: AppCommand) -> Result<(), CommandError> {
    let AppCommand::Add { name, secret, secret_stdin, may_token } = command;
    let secret = match secret {
        Some(AppSecret(secret)) => {
            cli::print_warning("every user of this machine can read --secret in the process list; use --secret-stdin");
            Some(secret)
        }
        None if secret_stdin => Some(read_secret_from_stdin()?),
        None => None,
    };
    let shared_secret = svc_mefp::secret::load_secret(&context.settings)?;
    let app_secret = match context.use_cases.add_app(&name, secret, may_token).await {
        Err(Error::IdentifierTaken) => {
            return Err(CommandError::Failed(format!("an app `{name}` exists already; choose another name")));
        }
        other => other?,
    };
    print_line(&Zeroizing::new(format!("mefp_secret {}\napp_secret {}", shared_secret.as_str(), app_secret.as_str())))
}
