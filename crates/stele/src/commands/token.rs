//! `stele token`: issues TMS client tokens.

use stele_app::Context;
use stele_core::Error;

use super::{CommandError, print_line};
use crate::args::TokenCommand;

pub(crate) async fn run(context: &Context, command: TokenCommand) -> Result<(), CommandError> {
    let TokenCommand::Add { name } = command;
    let token = match context.use_cases.add_client_token(&name).await {
        Err(Error::IdentifierTaken) => {
            return Err(CommandError::Failed(format!("a client token `{name}` exists already; choose another name")));
        }
        other => other?,
    };
    print_line(token.expose())
}
