//! Access tokens for clients themselves (`client_credentials`, RFC 6749 §4.4).

use super::audit_scope::AuditScope;
use super::client_authentication::AuthenticatedClient;
use super::token_request::{TokenRequest, grant_token};
use crate::event::Action;
use crate::oauth::{Grant, OAuthClient, OAuthError, OAuthResult, TokenGrant, TokenSubject};
use crate::{Dependencies, Error, UseCases};

impl UseCases {
    /// Grants a client an access token for itself.
    ///
    /// # Errors
    /// `UnauthorizedClient`, `InvalidTarget`, `InvalidScope`; `Unavailable`, `Internal`.
    pub async fn issue_client_token(
        &self,
        client: &AuthenticatedClient,
        request: &TokenRequest<'_>,
    ) -> OAuthResult<TokenGrant> {
        let mut audit = AuditScope::start(&self.deps, Action::IssueToken, &client.caller);
        audit.set_subject(&client.client().id);
        let outcome = grant_client_token(&self.deps, client.client(), request).await;
        audit.finish_oauth(outcome)
    }
}

async fn grant_client_token(
    deps: &Dependencies,
    client: &OAuthClient,
    request: &TokenRequest<'_>,
) -> OAuthResult<TokenGrant> {
    if !client.grants.contains(&Grant::ClientCredentials) {
        return Err(OAuthError::UnauthorizedClient);
    }
    let target = request.find_target(deps, client).await?;
    let scope = request.grantable_scope(client, None)?;
    grant_token(deps, client, TokenSubject::Client, &target, scope, None)
        .ok_or_else(|| Error::internal("an access token would not be valid for a second").into())
}
