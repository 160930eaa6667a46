//! Tokens of client applications (TMS document: the logins carry one too).

use super::watch::Watch;
use crate::app::ClientToken;
use crate::event::Act;
use crate::session::Token;
use crate::{Deps, Error, Result, UseCases};

impl UseCases {
    /// Adds a client token; this is the only time that it is seen.
    ///
    /// # Errors
    /// `Invalid` name, `IdentifierTaken`; faults of ours.
    pub async fn add_client_token(&self, name: &str) -> Result<Token> {
        let mut watch = Watch::administrative(&self.deps, Act::AddClientToken);
        let outcome = issue(&self.deps, name, &mut watch).await;
        watch.end(outcome)
    }
}

async fn issue(deps: &Deps, name: &str, watch: &mut Watch<'_>) -> Result<Token> {
    if !crate::app::App::valid_name(name) {
        return Err(Error::Invalid("name"));
    }
    let token = Token::generate(deps.random.as_ref());
    let record = ClientToken { name: name.to_owned(), hash: token.key().0, created_at: deps.now() };
    watch.concerns(&record);
    if deps.users.add_client_token(&record).await? { Ok(token) } else { Err(Error::IdentifierTaken) }
}

impl UseCases {
    /// Whose client token this is.
    ///
    /// # Errors
    /// `NotAuthenticated` if no client has it; faults of ours.
    pub async fn recognise_client_token(&self, token: &Token) -> Result<ClientToken> {
        self.deps.users.client_token(&token.key().0).await?.ok_or(Error::NotAuthenticated)
    }
}
