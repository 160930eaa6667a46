//! Client tokens, which identify client applications: TMS logins carry one beside the user's proof (TMS document).

use super::audit_scope::AuditScope;
use crate::app::ClientToken;
use crate::event::Action;
use crate::session::Token;
use crate::{Dependencies, Error, Result, UseCases};

impl UseCases {
    /// Adds a client token for the application `name` (administrator). Only the hash of the token is stored, so the
    /// token cannot be shown again.
    ///
    /// # Errors
    /// `Invalid` for the name; `IdentifierTaken` if a client token has the name; `Unavailable`, `Internal`.
    pub async fn add_client_token(&self, name: &str) -> Result<Token> {
        let mut audit = AuditScope::start_for_administrator(&self.deps, Action::AddClientToken);
        let outcome = create_token(&self.deps, name, &mut audit).await;
        audit.finish(outcome)
    }
}

async fn create_token(deps: &Dependencies, name: &str, audit: &mut AuditScope<'_>) -> Result<Token> {
    if !crate::app::App::is_valid_name(name) {
        return Err(Error::Invalid("name"));
    }
    let token = Token::generate(deps.random.as_ref());
    let record = ClientToken { name: name.to_owned(), hash: token.key().0, created_at: deps.now() };
    audit.set_subject(&record);
    if deps.users.add_client_token(&record).await? { Ok(token) } else { Err(Error::IdentifierTaken) }
}

impl UseCases {
    /// Finds the client application of a token.
    ///
    /// # Errors
    /// `NotAuthenticated` if no application has the token; `Unavailable`, `Internal`.
    pub async fn authenticate_client(&self, token: &Token) -> Result<ClientToken> {
        self.deps.users.find_client_token(&token.key().0).await?.ok_or(Error::NotAuthenticated)
    }
}
