//! Authentication of OAuth clients and resource servers by their secrets (RFC 6749 §2.3.1).

use std::sync::Arc;

use super::RequestInfo;
use super::audit_scope::AuditScope;
use crate::event::{Action, Subject};
use crate::oauth::{ClientId, ClientSecret, OAuthClient, OAuthError, OAuthResult, Resource, ResourceName, Secrets};
use crate::ports::{AttemptOutcome, ProofResult};
use crate::{Dependencies, Error, UseCases};

/// The credentials that a client or resource server presents.
#[derive(Debug)]
pub struct ClientCredentials<'a> {
    /// The client id, or the name of the resource server: any text.
    pub id: &'a str,
    /// The secret.
    pub secret: &'a ClientSecret,
}

/// A client that has authenticated, with its request. Only [`UseCases::authenticate_oauth_client`] returns one.
#[derive(Clone, Debug)]
pub struct AuthenticatedClient {
    pub(super) client: Arc<OAuthClient>,
    pub(super) caller: RequestInfo,
}

impl AuthenticatedClient {
    /// The client.
    pub fn client(&self) -> &OAuthClient {
        &self.client
    }
}

/// A resource server that has authenticated. Only [`UseCases::authenticate_resource`] returns one.
#[derive(Clone, Debug)]
pub struct AuthenticatedResource {
    pub(super) resource: Arc<Resource>,
}

impl AuthenticatedResource {
    /// The resource server.
    pub fn resource(&self) -> &Resource {
        &self.resource
    }
}

impl UseCases {
    /// Authenticates an OAuth client, for the request `action`, under which the audit log records a failure. An unknown
    /// client costs the same work as a wrong secret.
    ///
    /// A failure counts against the origin of the request, one round trip. A correct secret counts nothing and passes
    /// whatever was counted, so that an attacker at the client's address cannot lock the client out.
    ///
    /// # Errors
    /// `InvalidClient`; `RateLimited` instead of it once the rate limits reject further failures; `Unavailable`,
    /// `Internal`.
    pub async fn authenticate_oauth_client(
        &self,
        caller: &RequestInfo,
        action: Action,
        credentials: &ClientCredentials<'_>,
    ) -> OAuthResult<AuthenticatedClient> {
        let client = match ClientId::parse(credentials.id) {
            Some(id) => self.deps.oauth_registry.find_client(&id).await?,
            None => None,
        };
        let secrets = client.as_ref().map(|client| &client.secrets);
        if !Secrets::verify(secrets, credentials.secret, self.deps.now()) {
            let subject = client.map(|client| Subject::from(&client.id));
            return Err(record_failure(&self.deps, caller, action, subject, credentials.id).await);
        }
        let client = client.ok_or(OAuthError::InvalidClient)?;
        let caller = caller.for_app(client.id.as_str());
        Ok(AuthenticatedClient { client, caller })
    }

    /// Authenticates a resource server by its name and secret, as a client is by
    /// [`UseCases::authenticate_oauth_client`].
    ///
    /// # Errors
    /// As [`UseCases::authenticate_oauth_client`].
    pub async fn authenticate_resource(
        &self,
        caller: &RequestInfo,
        action: Action,
        credentials: &ClientCredentials<'_>,
    ) -> OAuthResult<AuthenticatedResource> {
        let resource = match ResourceName::parse(credentials.id) {
            Some(name) => self.deps.oauth_registry.find_resource(&name).await?,
            None => None,
        };
        let secrets = resource.as_ref().map(|resource| &resource.secrets);
        if !Secrets::verify(secrets, credentials.secret, self.deps.now()) {
            let subject = resource.map(|resource| Subject::from(&resource.name));
            return Err(record_failure(&self.deps, caller, action, subject, credentials.id).await);
        }
        let resource = resource.ok_or(OAuthError::InvalidClient)?;
        Ok(AuthenticatedResource { resource })
    }
}

/// Counts a wrong secret, records it in the audit log, and returns the error to answer.
async fn record_failure(
    deps: &Dependencies,
    caller: &RequestInfo,
    action: Action,
    subject: Option<Subject>,
    id: &str,
) -> OAuthError {
    let mut audit = AuditScope::start(deps, action, caller);
    if let Some(subject) = subject {
        audit.set_subject(subject);
    }
    // Known and unknown ids are counted alike, under a hash of the id.
    let attempt = caller.login_attempt(deps, None, &format!("oauth:{id}"));
    let counted = deps.state.record_login_attempt(&attempt, &ProofResult::Invalid).await;
    let error = match counted {
        Ok(AttemptOutcome::RateLimited { retry_after }) => Error::RateLimited { retry_after }.into(),
        Ok(_) => OAuthError::InvalidClient,
        Err(error) => error.into(),
    };
    audit.finish_with_outcome(error.outcome());
    error
}
