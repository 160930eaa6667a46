//! What a client asks for at the token endpoint: the target and the scope of an access token.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::Dependencies;
use crate::oauth::access_token::whole_seconds;
use crate::oauth::{
    ACCESS_TOKEN_LIFETIME, AccessToken, Audience, OAuthClient, OAuthError, OAuthResult, Resource, ResourceName, Scope,
    TokenGrant, TokenSubject,
};
use crate::time::Timestamp;

/// The most different values of `audience` and `resource` in a request. Two can name the same resource server: its name
/// and its URI.
const MAX_TARGETS: usize = 4;

/// The target and the scope that a client asks for.
#[derive(Clone, Debug, Default)]
pub struct TokenRequest<'a> {
    /// The values of `audience` (RFC 8693 §2.1): the name of a resource server, or its audience.
    pub audiences: Vec<&'a str>,
    /// The values of `resource` (RFC 8707 §2): the audience of a resource server.
    pub resources: Vec<&'a str>,
    /// The value of `scope` (RFC 6749 §3.3); `None` for all that the client is registered for.
    pub scope: Option<&'a str>,
}

impl TokenRequest<'_> {
    /// The resource server that the request names. Without a name it is the client's only one.
    ///
    /// # Errors
    /// `InvalidTarget` unless all values name the same resource server, for which the client is registered;
    /// `Unavailable`, `Internal`.
    pub(super) async fn find_target(&self, deps: &Dependencies, client: &OAuthClient) -> OAuthResult<Arc<Resource>> {
        let mut names = BTreeSet::new();
        let mut uris: BTreeSet<&str> = self.resources.iter().copied().collect();
        for text in &self.audiences {
            match ResourceName::parse(text) {
                Some(name) => names.insert(name),
                None => uris.insert(text),
            };
        }
        if names.len() + uris.len() > MAX_TARGETS {
            return Err(OAuthError::InvalidTarget);
        }
        if names.is_empty() && uris.is_empty() && client.resources.len() == 1 {
            names.clone_from(&client.resources);
        }
        let mut found = Vec::new();
        for name in &names {
            found.push(deps.oauth_registry.find_resource(name).await?);
        }
        for uri in uris {
            found.push(find_by_audience(deps, Audience::parse(uri)).await?);
        }
        let target = found.pop().flatten().ok_or(OAuthError::InvalidTarget)?;
        let is_same = |other: &Option<Arc<Resource>>| other.as_ref().is_some_and(|other| other.name == target.name);
        let is_allowed = client.resources.contains(&target.name) && found.iter().all(is_same);
        if is_allowed { Ok(target) } else { Err(OAuthError::InvalidTarget) }
    }

    /// The scope to grant: the requested one, or without one all that `client` is registered for and that `limit`, the
    /// scope of a subject token, includes.
    ///
    /// # Errors
    /// `InvalidScope` if the requested scope is malformed or wider.
    pub(super) fn grantable_scope(&self, client: &OAuthClient, limit: Option<&Scope>) -> OAuthResult<Scope> {
        let limit = limit.unwrap_or(&client.scopes);
        let Some(text) = self.scope else { return Ok(client.scopes.intersection(limit)) };
        let requested = Scope::parse(text).ok_or(OAuthError::InvalidScope)?;
        let is_within = requested.is_subset_of(&client.scopes) && requested.is_subset_of(limit);
        if is_within { Ok(requested) } else { Err(OAuthError::InvalidScope) }
    }
}

async fn find_by_audience(deps: &Dependencies, audience: Option<Audience>) -> OAuthResult<Option<Arc<Resource>>> {
    let Some(audience) = audience else { return Ok(None) };
    Ok(deps.oauth_registry.find_resource_by_audience(&audience).await?)
}

/// An access token for `client` that is valid from now on, and never after `not_after`. `None` if that leaves it no
/// second.
pub(super) fn grant_token(
    deps: &Dependencies,
    client: &OAuthClient,
    subject: TokenSubject,
    target: &Resource,
    scope: Scope,
    not_after: Option<Timestamp>,
) -> Option<TokenGrant> {
    let issued_at = whole_seconds(deps.now());
    let latest = issued_at.saturating_add(ACCESS_TOKEN_LIFETIME);
    let expires = not_after.map_or(latest, |end| latest.min(whole_seconds(end)));
    let token = AccessToken {
        id: AccessToken::generate_id(client, deps.random.as_ref()),
        subject,
        audience: target.audience(),
        client: client.id.clone(),
        scope,
        issued_at,
        expires,
    };
    let lifetime = expires.saturating_duration_since(issued_at);
    (lifetime > Duration::ZERO).then_some(TokenGrant { token, algorithm: client.algorithm })
}
