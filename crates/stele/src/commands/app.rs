//! `stele app`.

use stele_core::Error;
use stele_core::usecase::add_app;
use stele_web::Context;

use super::CommandError;
use crate::args::App;

pub(crate) async fn run(context: &Context, command: App) -> Result<(), CommandError> {
    let App::Add { name, secret, may_token } = command;
    let shared = svc_mefp::secret::secret(&context.settings)?;
    let secret = match add_app::add_app(&context.deps, &name, secret.map(|secret| secret.0), may_token).await {
        Err(Error::IdentifierTaken) => return Err(CommandError::Refused(format!("there is an app `{name}` already"))),
        other => other?,
    };
    println!("mefp_secret {}\napp_secret {}", shared.as_str(), secret.as_str());
    Ok(())
}
