//! Forward auth: whether the user of a request may reach a host and path behind a reverse proxy, which asks about each
//! request.

use super::RequestInfo;
use super::audit_scope::AuditScope;
use super::authenticate::find_live_session_where;
use super::presented_token::{TokenHolder, find_token_holder, is_client_registered};
use crate::event::{Action, Outcome};
use crate::oauth::{AccessDecision, AccessToken, Acr, LegacyTokenType, TokenLookup};
use crate::session::{Session, Token, TokenKey};
use crate::user::User;
use crate::{Dependencies, Error, Result, UseCases};

/// The dialect whose clients send a cookie.
const COOKIE_DIALECT: LegacyTokenType = LegacyTokenType::PortalSession;

/// The credential of a request, as the service has read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessCredential {
    /// The token of a session. The session says which dialect's it is.
    SessionToken(Token),
    /// The token of a portal session, from the portal's cookie.
    Cookie(Token),
    /// A login token of the JWT dialect with a valid signature.
    LoginJwt {
        /// The token of the session that it names (`jti`).
        session: Token,
        /// The id of the user that it names (`sub`).
        user: String,
    },
    /// An access token of this server with a valid signature.
    AccessToken(Box<AccessToken>),
}

/// A user who may reach what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessGrant {
    /// The user.
    pub user: User,
    /// The key of the session.
    pub session: TokenKey,
    /// The kind of the session's token, which names its dialect.
    pub kind: LegacyTokenType,
    /// How strong the login was.
    pub acr: Acr,
}

impl UseCases {
    /// Finds the user of `credential`, whose session must be live, and applies what the access rules say about the
    /// request. Using a session extends its lifetime; using an access token does not. One round trip to the state store
    /// and one read of the user; one more round trip when the session is extended; for an access token, a registry read
    /// when the cached record of its client has expired.
    ///
    /// An access token is accepted only where the rule names its audience, so that no service can use the tokens that it
    /// gets at another, and only of a user.
    ///
    /// An allowed request is no audit event: a page makes dozens of them, and the proxy logs each. A denied one of a known
    /// user is, since it shows who tried what the rules forbid; repetitions are merged into one entry a minute. A request
    /// without a live session concerns no user, and is none.
    ///
    /// # Errors
    /// `NotAuthenticated` if the credential has no live session of a dialect that accepts it; `NotAllowed` if the rules
    /// deny the request; `Unavailable`, `Internal` (if a store does not answer, no request is allowed).
    pub async fn check_access(
        &self,
        caller: &RequestInfo,
        credential: &AccessCredential,
        decision: AccessDecision<'_>,
    ) -> Result<AccessGrant> {
        let grant = match credential {
            AccessCredential::AccessToken(token) => find_user_of_access_token(&self.deps, token, decision).await?,
            _ => find_user(&self.deps, credential).await?,
        };
        let grant = grant.ok_or(Error::NotAuthenticated)?;
        let is_allowed = match decision {
            AccessDecision::AnyUser => true,
            AccessDecision::ByRule(rule) => rule.allows(grant.user.role, grant.acr),
            AccessDecision::Denied => false,
        };
        if is_allowed {
            return Ok(grant);
        }
        let mut audit = AuditScope::start(&self.deps, Action::CheckAccess, caller);
        audit.set_subject(grant.user.id);
        audit.finish_with_outcome(Outcome::NotAllowed);
        Err(Error::NotAllowed)
    }
}

async fn find_user(deps: &Dependencies, credential: &AccessCredential) -> Result<Option<AccessGrant>> {
    let key = match credential {
        AccessCredential::SessionToken(token) | AccessCredential::Cookie(token) => token.key(),
        AccessCredential::LoginJwt { session, .. } => session.key(),
        AccessCredential::AccessToken(_) => return Ok(None),
    };
    let found = find_live_session_where(deps, &key, |session| accepts(credential, session)).await?;
    let grant = found.and_then(|(session, account)| {
        let kind = LegacyTokenType::of_dialect(&session.dialect)?;
        Some(AccessGrant { user: account.user, session: key, kind, acr: kind.acr() })
    });
    Ok(grant)
}

async fn find_user_of_access_token(
    deps: &Dependencies,
    token: &AccessToken,
    decision: AccessDecision<'_>,
) -> Result<Option<AccessGrant>> {
    let AccessDecision::ByRule(rule) = decision else { return Ok(None) };
    if rule.audience.as_ref() != Some(&token.audience) || !is_client_registered(deps, token).await? {
        return Ok(None);
    }
    let holder = find_token_holder(deps, Some(token)).await?;
    let (Some(subject), Some(TokenHolder::User(session, account))) = (token.user_subject(), holder) else {
        return Ok(None);
    };
    let Some(kind) = LegacyTokenType::of_dialect(&session.dialect) else { return Ok(None) };
    let acr = subject.acr.min(kind.acr());
    Ok(Some(AccessGrant { user: account.user, session: subject.session, kind, acr }))
}

/// Whether the dialect of `session` accepts `credential` as its token. The session token in a login JWT is public to all who
/// read its payload, in a log for instance, so without the signature it is no credential.
fn accepts(credential: &AccessCredential, session: &Session) -> bool {
    let Some(kind) = LegacyTokenType::of_dialect(&session.dialect) else { return false };
    match credential {
        AccessCredential::SessionToken(_) => kind.lookup() == TokenLookup::Session,
        AccessCredential::Cookie(_) => kind == COOKIE_DIALECT,
        AccessCredential::LoginJwt { user, .. } => {
            kind.lookup() == TokenLookup::LoginJwt && session.user.to_string() == *user
        }
        AccessCredential::AccessToken(_) => false,
    }
}
