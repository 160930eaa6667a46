//! Tokens that a request presents to be exchanged or introspected: legacy tokens and access tokens, and the live
//! sessions behind them.

use super::authenticate::{find_account_of_session, find_live_session};
use crate::oauth::{AccessToken, LegacyTokenType, TokenLookup, UserSubject};
use crate::session::{Session, TicketKind, Token, TokenKey};
use crate::time::Timestamp;
use crate::user::{Account, UserRef};
use crate::{Dependencies, Result};

/// A token as the service has read it by the type that the request names.
#[derive(Debug)]
pub enum PresentedToken {
    /// 32 hex digits: the token of a session, or a one-time token.
    Opaque(Token),
    /// A login token of the JWT dialect with a valid signature.
    LoginJwt {
        /// The token of the session that it names (`jti`).
        session: Token,
        /// The id of the user that it names (`sub`).
        user: String,
        /// When it expires (`exp`).
        expires: Timestamp,
    },
    /// An access token of this server with a valid signature, which has not expired.
    AccessToken(Box<AccessToken>),
    /// Text that is no token of the named type.
    Unreadable,
}

/// A user with the live session that a token goes back to.
pub(super) struct LiveSubject {
    pub(super) subject: UserSubject,
    pub(super) account: Account,
    /// When the session ends unless it is used before, or the token expires, which use does not extend.
    pub(super) expires: Timestamp,
}

impl PresentedToken {
    /// The key of the session that the token names as a token of the type `kind`; `None` if it is none, or if it is
    /// one-time and so names no session before it is redeemed.
    pub(super) fn session_key(&self, kind: LegacyTokenType) -> Option<TokenKey> {
        match (kind.lookup(), self) {
            (TokenLookup::Session, Self::Opaque(token))
            | (TokenLookup::LoginJwt, Self::LoginJwt { session: token, .. }) => Some(token.key()),
            _ => None,
        }
    }

    /// Whether `session` is of the user whom the token names, if it names one.
    pub(super) fn is_of(&self, session: &Session) -> bool {
        match self {
            Self::LoginJwt { user, .. } => session.user.to_string() == *user,
            _ => true,
        }
    }
}

/// Finds the live session behind a legacy token of the type `kind`, as the dialect itself would, and extends its
/// lifetime: an exchange is a use. A one-time token is consumed if its audience is `audience`.
pub(super) async fn find_legacy_subject(
    deps: &Dependencies,
    kind: LegacyTokenType,
    token: &PresentedToken,
    audience: &str,
) -> Result<Option<LiveSubject>> {
    if let (TokenLookup::Handover, PresentedToken::Opaque(one_time)) = (kind.lookup(), token) {
        return redeem_handover(deps, kind, one_time, audience).await;
    }
    let Some(key) = token.session_key(kind) else { return Ok(None) };
    let found = find_live_session(deps, kind.dialect(), &key).await?;
    let found = found.filter(|(session, _)| token.is_of(session));
    Ok(found.map(|(session, account)| LiveSubject::new(key, &session, account, kind).limited_to(token)))
}

/// Redeems a one-time token of MeFP. The session that it goes back to is the one that the source app opened, which has no
/// token. Its lifetime stays, because the user need not be at that app any more.
async fn redeem_handover(
    deps: &Dependencies,
    kind: LegacyTokenType,
    token: &Token,
    audience: &str,
) -> Result<Option<LiveSubject>> {
    // Redeemed first and only once, so that of two requests at once one finds nothing.
    let ticket = deps.state.redeem_ticket(&token.key(), TicketKind::Handover, audience, deps.now()).await?;
    let Some(ticket) = ticket else { return Ok(None) };
    let key = TokenKey::app_bound(kind.dialect(), &ticket.source, ticket.user);
    let session = deps.state.find_session(&key, deps.now()).await?;
    let is_of_ticket = |s: &Session| s.dialect == kind.dialect() && s.user == ticket.user && s.epoch == ticket.epoch;
    let Some(session) = session.filter(is_of_ticket) else { return Ok(None) };
    // The user is read last: a password that changes meanwhile has moved the epoch.
    let account = find_account_of_session(deps, &session).await?;
    Ok(account.map(|account| LiveSubject::new(key, &session, account, kind)))
}

impl LiveSubject {
    pub(super) fn new(key: TokenKey, session: &Session, account: Account, kind: LegacyTokenType) -> Self {
        Self { subject: UserSubject::new(key, session, kind.acr()), account, expires: session.expires }
    }

    /// The same, valid no longer than `token`.
    pub(super) fn limited_to(mut self, token: &PresentedToken) -> Self {
        if let PresentedToken::LoginJwt { expires, .. } = token {
            self.expires = self.expires.min(*expires);
        }
        self
    }
}

/// The user of `session`; `None` without a session, and if the session has ended by a change of the password or because
/// the user is disabled. Without a session the decoy row is read, so that the work is the same.
pub(super) async fn find_session_user(deps: &Dependencies, session: Option<&Session>) -> Result<Option<Account>> {
    let user = session.map_or(UserRef::DECOY, |session| UserRef::Id(session.user));
    let account = deps.users.find_by_ref(user).await?;
    Ok(account.zip(session).filter(|(account, session)| session.is_valid_for(account)).map(|(account, _)| account))
}

/// Whether the client to which `token` was issued is still registered.
pub(super) async fn is_client_registered(deps: &Dependencies, token: &AccessToken) -> Result<bool> {
    let client = deps.oauth_registry.find_client(&token.client).await?;
    Ok(client.is_some_and(|client| token.is_issued_to(&client)))
}

/// The holder of a live access token.
pub(super) enum TokenHolder {
    /// The client itself.
    Client,
    /// A user in this live session.
    User(Session, Box<Account>),
}

/// Finds the holder of an access token, which must be neither expired nor revoked; a user's session must be the one in
/// which the token was issued, live, and of an enabled user with the same credential. One round trip to the state store
/// and, for a user, one read of the user. `None` as the token costs the same and finds nothing.
///
/// The caller has checked the client.
pub(super) async fn find_token_holder(deps: &Dependencies, token: Option<&AccessToken>) -> Result<Option<TokenHolder>> {
    let now = deps.now();
    let user_subject = token.and_then(AccessToken::user_subject);
    let unknown_key = || Token::generate(deps.random.as_ref()).key();
    let session_key = match token {
        Some(_) => user_subject.map(|subject| subject.session),
        None => Some(unknown_key()),
    };
    let token_key = token.map_or_else(unknown_key, AccessToken::key);
    let found = deps.state.find_session_and_revocation(session_key.as_ref(), &token_key, now).await?;
    let is_valid = token.is_some_and(|token| now < token.expires) && !found.is_revoked;
    if token.is_some() && user_subject.is_none() {
        return Ok(is_valid.then_some(TokenHolder::Client));
    }
    let is_issued_in = |session: &Session| user_subject.is_some_and(|subject| subject.is_in(session));
    let session = found.session.filter(|session| is_valid && is_issued_in(session));
    let account = find_session_user(deps, session.as_ref()).await?;
    Ok(session.zip(account).map(|(session, account)| TokenHolder::User(session, Box::new(account))))
}
