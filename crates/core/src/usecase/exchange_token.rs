//! Exchange of a legacy session, or of an access token, for an access token (RFC 8693).

use super::audit_scope::AuditScope;
use super::client_authentication::AuthenticatedClient;
use super::presented_token::{PresentedToken, TokenHolder, find_legacy_subject, find_token_holder};
use super::token_request::{TokenRequest, grant_token};
use crate::event::Action;
use crate::oauth::{
    AccessToken, Grant, OAuthClient, OAuthError, OAuthResult, Scope, SubjectTokenType, TokenGrant, TokenSubject,
    UserSubject,
};
use crate::time::Timestamp;
use crate::{Dependencies, UseCases};

/// A request to exchange a token.
#[derive(Debug)]
pub struct ExchangeRequest<'a> {
    /// The type of the subject token, as the request names it. The token is looked up as this type only.
    pub token_type: SubjectTokenType,
    /// The subject token.
    pub token: PresentedToken,
    /// The target and the scope.
    pub request: TokenRequest<'a>,
}

/// What a subject token permits at most.
struct SubjectGrant {
    user: UserSubject,
    not_after: Timestamp,
    /// `None` for a legacy token, which has no scope.
    scope: Option<Scope>,
}

impl UseCases {
    /// Grants a client an access token for the user of a subject token. The new token never has more scope, time or
    /// strength than the subject token, and it is valid no longer than the session.
    ///
    /// A one-time token is consumed, unless the request fails before: because of the client, the target or the scope.
    ///
    /// # Errors
    /// `UnauthorizedClient`, `InvalidTarget`, `InvalidScope`; `BadSubjectToken` if the subject token is not valid as the
    /// named type, or if the client may not exchange this type; `Unavailable`, `Internal`.
    pub async fn exchange_token(
        &self,
        client: &AuthenticatedClient,
        exchange: &ExchangeRequest<'_>,
    ) -> OAuthResult<TokenGrant> {
        let mut audit = AuditScope::start(&self.deps, Action::ExchangeToken(exchange.token_type), &client.caller);
        let outcome = exchange_subject_token(&self.deps, client.client(), exchange, &mut audit).await;
        audit.finish_oauth(outcome)
    }
}

async fn exchange_subject_token(
    deps: &Dependencies,
    client: &OAuthClient,
    exchange: &ExchangeRequest<'_>,
    audit: &mut AuditScope<'_>,
) -> OAuthResult<TokenGrant> {
    let ExchangeRequest { token_type, token, request } = exchange;
    if !client.grants.contains(&Grant::TokenExchange) {
        return Err(OAuthError::UnauthorizedClient);
    }
    if !client.subject_types.contains(token_type) {
        return Err(OAuthError::BadSubjectToken);
    }
    let target = request.find_target(deps, client).await?;
    request.grantable_scope(client, None)?;
    let found = find_subject(deps, client, *token_type, token).await?;
    let SubjectGrant { user, not_after, scope } = found.ok_or(OAuthError::BadSubjectToken)?;
    audit.set_subject(user.user);
    let scope = request.grantable_scope(client, scope.as_ref())?;
    grant_token(deps, client, TokenSubject::User(user), &target, scope, Some(not_after))
        .ok_or(OAuthError::BadSubjectToken)
}

async fn find_subject(
    deps: &Dependencies,
    client: &OAuthClient,
    token_type: SubjectTokenType,
    token: &PresentedToken,
) -> OAuthResult<Option<SubjectGrant>> {
    match token_type {
        SubjectTokenType::Legacy(kind) => {
            let live = find_legacy_subject(deps, kind, token, client.id.as_str()).await?;
            Ok(live.map(|live| SubjectGrant { user: live.subject, not_after: live.expires, scope: None }))
        }
        SubjectTokenType::AccessToken => match token {
            PresentedToken::AccessToken(token) => find_access_token_subject(deps, client, token).await,
            _ => Ok(None),
        },
    }
}

/// The user of an access token that was issued to `client`. A token of another client may have been stolen, and a token
/// for a client itself has no user.
async fn find_access_token_subject(
    deps: &Dependencies,
    client: &OAuthClient,
    token: &AccessToken,
) -> OAuthResult<Option<SubjectGrant>> {
    let Some(user) = token.user_subject() else { return Ok(None) };
    if !token.is_issued_to(client) {
        return Ok(None);
    }
    let Some(TokenHolder::User(session, _)) = find_token_holder(deps, Some(token)).await? else { return Ok(None) };
    let not_after = token.expires.min(session.expires);
    Ok(Some(SubjectGrant { user, not_after, scope: Some(token.scope.clone()) }))
}
