//! `stele token`.

use stele_core::usecase::client_token;
use stele_web::Context;

use super::CommandError;
use crate::args::Token;

pub(crate) async fn run(context: &Context, command: Token) -> Result<(), CommandError> {
    let Token::Add { name } = command;
    let token = client_token::add(&context.deps, &name).await?;
    println!("{}", token.expose());
    Ok(())
}
