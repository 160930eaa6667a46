//! Access tokens as JWTs (RFC 9068): the claims, signing and verification.

use serde::{Deserialize, Serialize};
use stele_core::oauth::{AccessToken, Acr, Audience, ClientId, Scope, TokenGrant, TokenSubject, UserSubject};
use stele_core::session::TokenKey;
use stele_core::time::Timestamp;
use stele_core::user::UserId;
use stele_core::{Error, Result, UseCases};
use stele_jose::{Expected, ExpectedAudience};

use crate::ServiceState;

/// The type in the header (RFC 9068 §2.1). Login tokens of the JWT dialect have `JWT`, so neither passes for the other.
const ACCESS_TOKEN_TYPE: &str = "at+jwt";

/// The claims of an access token (RFC 9068 §2.2), with exactly these types.
#[derive(Debug, Serialize, Deserialize, PartialEq)]
struct Claims {
    iss: String,
    sub: String,
    aud: String,
    exp: i64,
    iat: i64,
    jti: String,
    client_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    #[serde(flatten)]
    session: Option<SessionClaims>,
}

/// The claims about a user's session; a token of a client for itself has none.
#[derive(Debug, Serialize, Deserialize, PartialEq)]
pub(crate) struct SessionClaims {
    pub(crate) sid: String,
    pub(crate) acr: String,
    pub(crate) amr: Vec<String>,
    pub(crate) auth_time: i64,
}

impl ServiceState {
    /// Signs the access token of a grant.
    ///
    /// # Errors
    /// [`Error::Internal`] if there is no signing key for the algorithm, or signing fails.
    pub fn sign_access_token(&self, grant: &TokenGrant) -> Result<String> {
        let claims = Claims::new(&grant.token, self.issuer.as_str());
        self.signer.sign(grant.algorithm, ACCESS_TOKEN_TYPE, &claims, grant.token.issued_at)
    }

    /// Verifies an access token of this server: signature, type, issuer and expiry, but not its audience, nor whether
    /// its session is live. `None` if it is not valid.
    ///
    /// # Errors
    /// [`Error::Internal`] if the key is registered, but missing on this instance.
    pub async fn verify_access_token(&self, use_cases: &UseCases, token: &str) -> Result<Option<AccessToken>> {
        let issuer = self.issuer.as_str();
        let expected = Expected { typ: ACCESS_TOKEN_TYPE, issuer, audience: ExpectedAudience::Any };
        match self.verifier.verify_or_refresh::<Claims>(use_cases, token, &expected).await {
            Ok(claims) => Ok(claims.into_token()),
            Err(Error::NotAuthenticated) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Claims {
    fn new(token: &AccessToken, issuer: &str) -> Self {
        let (sub, session) = match &token.subject {
            TokenSubject::Client => (token.client.to_string(), None),
            TokenSubject::User(subject) => (subject.user.to_string(), Some(SessionClaims::new(subject))),
        };
        Self {
            iss: issuer.to_owned(),
            sub,
            aud: token.audience.to_string(),
            exp: token.expires.as_secs(),
            iat: token.issued_at.as_secs(),
            jti: token.id.clone(),
            client_id: token.client.to_string(),
            scope: token.scope.to_text(),
            session,
        }
    }

    /// The token with these claims; `None` if they are not those of an issued token.
    fn into_token(self) -> Option<AccessToken> {
        let client = ClientId::parse(&self.client_id)?;
        let subject = match self.session {
            Some(session) => TokenSubject::User(session.into_subject(&self.sub)?),
            None if self.sub == self.client_id => TokenSubject::Client,
            None => return None,
        };
        Some(AccessToken {
            id: self.jti,
            subject,
            audience: Audience::parse(&self.aud)?,
            client,
            scope: Scope::parse(&self.scope.unwrap_or_default())?,
            issued_at: Timestamp::from_secs(self.iat),
            expires: Timestamp::from_secs(self.exp),
        })
    }
}

impl SessionClaims {
    pub(crate) fn new(subject: &UserSubject) -> Self {
        Self {
            sid: subject.session.to_string(),
            acr: subject.acr.uri().to_owned(),
            amr: authentication_methods(subject.acr).iter().map(|method| (*method).to_owned()).collect(),
            auth_time: subject.authenticated_at.as_secs(),
        }
    }

    fn into_subject(self, sub: &str) -> Option<UserSubject> {
        Some(UserSubject {
            user: UserId::parse(sub)?,
            session: TokenKey::parse(&self.sid)?,
            acr: Acr::parse_uri(&self.acr)?,
            authenticated_at: Timestamp::from_secs(self.auth_time),
        })
    }
}

/// The values of `amr` (RFC 8176 §2). A digest of the password proves a password too; `acr` says how weakly.
fn authentication_methods(acr: Acr) -> &'static [&'static str] {
    match acr {
        Acr::Legacy | Acr::Password => &["pwd"],
        Acr::MultiFactor => &["pwd", "mfa"],
    }
}
