//! Token introspection (RFC 7662), for access tokens and for legacy tokens.
//!
//! A resource server learns about tokens that concern it. About every other token it learns nothing, and the work is that
//! for a token which does not exist: it is decided first whether the caller may know, and if not, an unknown key is looked
//! up instead of the token's.

use super::authenticate::extend_session;
use super::client_authentication::AuthenticatedResource;
use super::presented_token::{LiveSubject, PresentedToken, find_session_user, find_token_holder, is_client_registered};
use crate::oauth::{LegacyTokenInfo, LegacyTokenType, OAuthResult, Resource, TokenInfo};
use crate::session::Token;
use crate::{Dependencies, Result, UseCases};

/// A request to introspect a token.
#[derive(Debug)]
pub struct IntrospectionRequest {
    /// The type of the legacy token, as the request names it (`token_type_hint`); `None` for an access token.
    pub legacy_type: Option<LegacyTokenType>,
    /// The token.
    pub token: PresentedToken,
}

impl UseCases {
    /// What `caller` may know about a token; `None` if the token is not valid, or if it does not concern the caller: an
    /// access token with another audience, or a legacy token of a type that the caller is not registered for.
    ///
    /// Costs one round trip to the state store and one read of the user (none for a client's own access token), whether
    /// the token is valid or not; one more round trip when the session is extended; for an access token of the caller's
    /// audience, a registry read when the cached record of its client has expired.
    ///
    /// A legacy token is extended as by a use at its dialect: a back end that asks here instead of the old database does so
    /// because the user is active. An access token does not extend the session.
    ///
    /// Records no audit event: an introspection changes nothing, and back ends introspect each request of their own.
    /// Failed authentications are recorded.
    ///
    /// # Errors
    /// `Unavailable`, `Internal`.
    pub async fn introspect_token(
        &self,
        caller: &AuthenticatedResource,
        request: &IntrospectionRequest,
    ) -> OAuthResult<Option<TokenInfo>> {
        let resource = caller.resource();
        Ok(match request.legacy_type {
            Some(kind) => describe_legacy_token(&self.deps, resource, kind, &request.token).await?,
            None => describe_access_token(&self.deps, resource, &request.token).await?,
        })
    }
}

async fn describe_legacy_token(
    deps: &Dependencies,
    resource: &Resource,
    kind: LegacyTokenType,
    token: &PresentedToken,
) -> Result<Option<TokenInfo>> {
    let known_key = token.session_key(kind).filter(|_| resource.legacy_tokens.contains(&kind));
    let key = known_key.unwrap_or_else(|| Token::generate(deps.random.as_ref()).key());
    let session = deps.state.find_session(&key, deps.now()).await?;
    let session = session.filter(|session| session.dialect == kind.dialect() && token.is_of(session));
    let account = find_session_user(deps, session.as_ref()).await?;
    let Some((mut session, account)) = session.zip(account) else { return Ok(None) };
    extend_session(deps, &key, &mut session).await?;
    let LiveSubject { subject, account, expires } = LiveSubject::new(key, &session, account, kind).limited_to(token);
    Ok(Some(TokenInfo::Legacy(LegacyTokenInfo {
        token_type: kind,
        subject,
        username: account.user.display_name().to_owned(),
        expires,
        audience: resource.audience(),
    })))
}

async fn describe_access_token(
    deps: &Dependencies,
    resource: &Resource,
    token: &PresentedToken,
) -> Result<Option<TokenInfo>> {
    let mut token = match token {
        PresentedToken::AccessToken(token) if token.audience == resource.audience() => Some(&**token),
        _ => None,
    };
    if let Some(known) = token
        && !is_client_registered(deps, known).await?
    {
        token = None;
    }
    let holder = find_token_holder(deps, token).await?;
    Ok(token.filter(|_| holder.is_some()).cloned().map(TokenInfo::Access))
}
