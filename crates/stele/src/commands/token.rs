//! `stele token`.

use stele_core::Error;
use stele_core::usecase::client_token;
use stele_web::Context;

use super::{CommandError, say};
use crate::args::Token;

pub(crate) async fn run(context: &Context, command: Token) -> Result<(), CommandError> {
    let Token::Add { name } = command;
    let token = match client_token::add(&context.deps, &name).await {
        Err(Error::IdentifierTaken) => return Err(CommandError::Refused(format!("there is a token `{name}` already"))),
        other => other?,
    };
    say(token.expose())
}
