//! `stele app`.

use stele_app::Context;
use stele_core::Error;
use stele_service::cli;
use zeroize::Zeroizing;

use super::admin::secret_from_stdin;
use super::{CommandError, say};
use crate::args::{App, AppSecret};

pub(crate) async fn run(context: &Context, command: App) -> Result<(), CommandError> {
    let App::Add { name, secret, secret_stdin, may_token } = command;
    let secret = match secret {
        Some(AppSecret(secret)) => {
            cli::warn("--secret shows the secret to everybody on this machine (ps): use --secret-stdin");
            Some(secret)
        }
        None if secret_stdin => Some(secret_from_stdin()?),
        None => None,
    };
    let shared = svc_mefp::secret::secret(&context.settings)?;
    let secret = match context.use_cases.add_app(&name, secret, may_token).await {
        Err(Error::IdentifierTaken) => return Err(CommandError::Refused(format!("there is an app `{name}` already"))),
        other => other?,
    };
    say(&Zeroizing::new(format!("mefp_secret {}\napp_secret {}", shared.as_str(), secret.as_str())))
}
