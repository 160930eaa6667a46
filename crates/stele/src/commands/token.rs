//! `stele token`.

use stele_app::Context;
use stele_core::Error;

use super::{CommandError, say};
use crate::args::Token;

pub(crate) async fn run(context: &Context, command: Token) -> Result<(), CommandError> {
    let Token::Add { name } = command;
    let token = match context.use_cases.add_client_token(&name).await {
        Err(Error::IdentifierTaken) => return Err(CommandError::Refused(format!("there is a token `{name}` already"))),
        other => other?,
    };
    say(token.expose())
}
