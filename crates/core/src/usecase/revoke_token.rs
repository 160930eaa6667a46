//! Revocation of an access token by its client (RFC 7009).

use super::audit_scope::AuditScope;
use super::client_authentication::AuthenticatedClient;
use super::presented_token::PresentedToken;
use crate::UseCases;
use crate::event::{Action, Outcome};
use crate::oauth::{OAuthError, OAuthResult};

impl UseCases {
    /// Revokes an access token of `client` until it expires. A token that is no valid access token of this server is
    /// ignored (RFC 7009 §2.2): a client cannot end a session by its legacy token.
    ///
    /// # Errors
    /// `OtherClientsToken`; `Unavailable`, `Internal`.
    pub async fn revoke_token(&self, client: &AuthenticatedClient, token: &PresentedToken) -> OAuthResult<()> {
        let mut audit = AuditScope::start(&self.deps, Action::RevokeToken, &client.caller);
        audit.set_subject(&client.client().id);
        let PresentedToken::AccessToken(token) = token else {
            // Ignored, but not done: recorded as a refusal.
            audit.finish_with_outcome(Outcome::NotAuthenticated);
            return Ok(());
        };
        if let Some(subject) = token.user_subject() {
            audit.set_subject(subject.user);
        }
        let outcome = match token.client == client.client().id {
            true => self.deps.state.revoke_token(&token.key(), token.expires).await.map_err(OAuthError::from),
            false => Err(OAuthError::OtherClientsToken),
        };
        audit.finish_oauth(outcome)
    }
}
