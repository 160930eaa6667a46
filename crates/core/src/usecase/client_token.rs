//! Tokens of client applications (TMS document: the logins carry one too).

use super::audit_scope::AuditScope;
use crate::app::ClientToken;
use crate::event::Action;
use crate::session::Token;
use crate::{Dependencies, Error, Result, UseCases};

impl UseCases {
    /// Adds a client token; this is the only time that it is seen.
    ///
    /// # Errors
    /// `Invalid` name, `IdentifierTaken`; faults of ours.
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
    /// Whose client token this is.
    ///
    /// # Errors
    /// `NotAuthenticated` if no client has it; faults of ours.
    pub async fn authenticate_client(&self, token: &Token) -> Result<ClientToken> {
        self.deps.users.find_client_token(&token.key().0).await?.ok_or(Error::NotAuthenticated)
    }
}
