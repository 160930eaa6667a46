//! Registering OAuth clients and resource servers, and rotating their secrets (administrator).

mod registry_error;

use std::collections::BTreeSet;
use std::time::Duration;

use super::administration::Administration;
use crate::event::{Action, Outcome, Subject};
use crate::oauth::{
    ClientId, ClientSecret, Grant, LegacyTokenType, OAuthClient, RedirectUri, Resource, ResourceName, ResourceUri,
    Scope, Secrets, SigningAlgorithm, SubjectTokenType,
};
use crate::ports::{ClientAddition, OAuthRegistry, ResourceAddition, ResourceRemoval};
use crate::time::Timestamp;
use crate::{Error, Result};

pub use self::registry_error::RegistryError;

/// A client to be registered: see [`OAuthClient`].
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields are explained at the fields of the same names of `OAuthClient`")]
pub struct NewOAuthClient {
    pub id: ClientId,
    pub grants: BTreeSet<Grant>,
    pub resources: BTreeSet<ResourceName>,
    pub subject_types: BTreeSet<SubjectTokenType>,
    pub scopes: Scope,
    pub algorithm: SigningAlgorithm,
    pub redirect_uris: Vec<RedirectUri>,
}

/// A resource server to be registered: see [`Resource`].
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields are explained at the fields of the same names of `Resource`")]
pub struct NewResource {
    pub name: ResourceName,
    pub uri: Option<ResourceUri>,
    pub legacy_tokens: BTreeSet<LegacyTokenType>,
}

/// Which secrets a rotation leaves valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretRotation {
    /// The newest secret is valid for this long from now, beside the new one.
    Add {
        /// How long.
        overlap: Duration,
    },
    /// The newest secret, whose text was lost, ends at once. The one before it, which is still in use, is valid for
    /// this long from now.
    ReplaceNewest {
        /// How long.
        overlap: Duration,
    },
}

/// The result of a rotation.
#[derive(Debug)]
pub struct RotatedSecret {
    /// The new secret, which cannot be shown again.
    pub secret: ClientSecret,
    /// Until when the secret before it is valid; `None` if it has ended.
    pub previous_expires_at: Option<Timestamp>,
}

impl RotatedSecret {
    fn new(secret: ClientSecret, secrets: &Secrets) -> Self {
        Self { secret, previous_expires_at: secrets.previous.as_ref().map(|previous| previous.expires_at) }
    }
}

/// How many records of a listing are read at a time.
const PAGE: u32 = 200;

impl Administration {
    /// Registers a client. Returns its secret, which cannot be shown again.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn add_oauth_client(&self, new: NewOAuthClient) -> Result<ClientSecret, RegistryError> {
        let id = new.id.clone();
        let result = add_client(self.registry(), new, self.new_secret()).await;
        self.record_registration(Action::AddOAuthClient, &id, result)
    }

    /// The client with this id.
    ///
    /// # Errors
    /// [`RegistryError::UnknownClient`], [`RegistryError::Failed`].
    pub async fn find_oauth_client(&self, id: &ClientId) -> Result<OAuthClient, RegistryError> {
        self.registry().find_client(id).await?.ok_or_else(|| RegistryError::UnknownClient(id.clone()))
    }

    /// Up to 200 clients with ids above `after`, in the order of their ids.
    ///
    /// # Errors
    /// `Unavailable`, `Internal`.
    pub async fn list_oauth_clients(&self, after: Option<&ClientId>) -> Result<Vec<OAuthClient>> {
        self.registry().list_clients(after, PAGE).await
    }

    /// Gives a client a new secret. Services know it within
    /// [`REGISTRY_CACHE_MAX_AGE`](crate::oauth::REGISTRY_CACHE_MAX_AGE).
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn rotate_client_secret(
        &self,
        id: &ClientId,
        rotation: SecretRotation,
    ) -> Result<RotatedSecret, RegistryError> {
        let (secret, now) = self.new_secret();
        let result = async {
            let old = self.find_oauth_client(id).await?.secrets;
            let new = rotate(&old, &secret, now, rotation)?;
            let is_replaced = self.registry().replace_client_secrets(id, &old, &new).await?;
            is_replaced.then(|| RotatedSecret::new(secret, &new)).ok_or(RegistryError::ChangedMeanwhile)
        };
        self.record_registration(Action::RotateClientSecret, id, result.await)
    }

    /// Removes a client. Its access tokens die with it wherever they are introspected.
    ///
    /// # Errors
    /// [`RegistryError::UnknownClient`], [`RegistryError::Failed`].
    pub async fn remove_oauth_client(&self, id: &ClientId) -> Result<(), RegistryError> {
        let result = match self.registry().remove_client(id).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(RegistryError::UnknownClient(id.clone())),
            Err(error) => Err(error.into()),
        };
        self.record_registration(Action::RemoveOAuthClient, id, result)
    }

    /// Registers a resource server. Returns its secret, which cannot be shown again.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn add_resource(&self, new: NewResource) -> Result<ClientSecret, RegistryError> {
        let name = new.name.clone();
        let result = add_resource(self.registry(), new, self.new_secret()).await;
        self.record_registration(Action::AddResource, &name, result)
    }

    /// The resource server of this name.
    ///
    /// # Errors
    /// [`RegistryError::NoSuchResource`], [`RegistryError::Failed`].
    pub async fn find_resource(&self, name: &ResourceName) -> Result<Resource, RegistryError> {
        self.registry().find_resource(name).await?.ok_or_else(|| RegistryError::NoSuchResource(name.clone()))
    }

    /// Up to 200 resource servers with names above `after`, in the order of their names.
    ///
    /// # Errors
    /// `Unavailable`, `Internal`.
    pub async fn list_resources(&self, after: Option<&ResourceName>) -> Result<Vec<Resource>> {
        self.registry().list_resources(after, PAGE).await
    }

    /// Gives a resource server a new secret: as [`Administration::rotate_client_secret`].
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn rotate_resource_secret(
        &self,
        name: &ResourceName,
        rotation: SecretRotation,
    ) -> Result<RotatedSecret, RegistryError> {
        let (secret, now) = self.new_secret();
        let result = async {
            let old = self.find_resource(name).await?.secrets;
            let new = rotate(&old, &secret, now, rotation)?;
            let is_replaced = self.registry().replace_resource_secrets(name, &old, &new).await?;
            is_replaced.then(|| RotatedSecret::new(secret, &new)).ok_or(RegistryError::ChangedMeanwhile)
        };
        self.record_registration(Action::RotateResourceSecret, name, result.await)
    }

    /// Removes a resource server unless a client names it.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn remove_resource(&self, name: &ResourceName) -> Result<(), RegistryError> {
        let result = match self.registry().remove_resource(name).await {
            Ok(ResourceRemoval::Removed) => Ok(()),
            Ok(ResourceRemoval::InUse(clients)) => Err(RegistryError::ResourceInUse(clients)),
            Ok(ResourceRemoval::NotFound) => Err(RegistryError::NoSuchResource(name.clone())),
            Err(error) => Err(error.into()),
        };
        self.record_registration(Action::RemoveResource, name, result)
    }

    fn registry(&self) -> &dyn OAuthRegistry {
        self.deps.oauth_registry.as_ref()
    }

    fn new_secret(&self) -> (ClientSecret, Timestamp) {
        (ClientSecret::generate(self.deps.random.as_ref()), self.now())
    }

    /// Records the action in the audit log, and returns `result`.
    fn record_registration<T>(
        &self,
        action: Action,
        subject: impl Into<Subject>,
        result: Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let outcome = result.as_ref().map_or_else(RegistryError::outcome, |_| Outcome::Done);
        self.record(action, Some(subject.into()), outcome);
        result
    }
}

async fn add_client(
    registry: &dyn OAuthRegistry,
    new: NewOAuthClient,
    (secret, now): (ClientSecret, Timestamp),
) -> Result<ClientSecret, RegistryError> {
    check_permissions(&new)?;
    let NewOAuthClient { id, grants, resources, subject_types, scopes, algorithm, redirect_uris } = new;
    let secrets = Secrets::new(&secret, now);
    let client = OAuthClient {
        id,
        secrets,
        grants,
        resources,
        subject_types,
        scopes,
        algorithm,
        redirect_uris,
        created_at: now,
    };
    match registry.add_client(&client).await? {
        ClientAddition::Added => Ok(secret),
        ClientAddition::IdTaken => Err(RegistryError::ClientExists(client.id)),
        ClientAddition::UnknownResource => Err(find_unknown_resource(registry, client.resources).await?),
    }
}

/// Refuses a client that could do nothing, and permissions that would have no effect.
fn check_permissions(new: &NewOAuthClient) -> Result<(), RegistryError> {
    let may_exchange = new.grants.contains(&Grant::TokenExchange);
    if new.grants.is_empty() {
        return Err(RegistryError::NoGrant);
    }
    if new.resources.is_empty() {
        return Err(RegistryError::NoResource);
    }
    match (may_exchange, new.subject_types.is_empty()) {
        (true, true) => Err(RegistryError::NoSubjectType),
        (false, false) => Err(RegistryError::NoExchangeGrant),
        _ => Ok(()),
    }
}

async fn find_unknown_resource(
    registry: &dyn OAuthRegistry,
    names: BTreeSet<ResourceName>,
) -> Result<RegistryError, RegistryError> {
    for name in names {
        if registry.find_resource(&name).await?.is_none() {
            return Ok(RegistryError::UnknownResource(name));
        }
    }
    Ok(RegistryError::Failed(Error::unavailable("a resource server has been added meanwhile; run the command again")))
}

async fn add_resource(
    registry: &dyn OAuthRegistry,
    new: NewResource,
    (secret, now): (ClientSecret, Timestamp),
) -> Result<ClientSecret, RegistryError> {
    let NewResource { name, uri, legacy_tokens } = new;
    if let Some(kind) = legacy_tokens.iter().find(|kind| !kind.can_be_introspected()) {
        return Err(RegistryError::OneTimeToken(*kind));
    }
    let resource = Resource { name, uri, secrets: Secrets::new(&secret, now), legacy_tokens, created_at: now };
    match registry.add_resource(&resource).await? {
        ResourceAddition::Added => Ok(secret),
        ResourceAddition::NameTaken => Err(RegistryError::ResourceExists(resource.name)),
        ResourceAddition::AudienceTaken => Err(RegistryError::AudienceTaken),
    }
}

/// The secrets after a rotation. A secret that was promised to be valid ends earlier only if the overlap is zero.
fn rotate(
    old: &Secrets,
    new: &ClientSecret,
    now: Timestamp,
    rotation: SecretRotation,
) -> Result<Secrets, RegistryError> {
    match (rotation, old.live_previous(now)) {
        (SecretRotation::Add { overlap }, Some(previous)) if !overlap.is_zero() => {
            Err(RegistryError::StillRotating(previous.expires_at))
        }
        (SecretRotation::Add { overlap }, _) => Ok(old.rotated(new, now, overlap)),
        (SecretRotation::ReplaceNewest { .. }, None) => Err(RegistryError::NothingToReplace),
        (SecretRotation::ReplaceNewest { overlap }, Some(_)) => Ok(old.with_newest_replaced(new, now, overlap)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::OsRandom;

    const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);
    const DAY: Duration = Duration::from_secs(86_400);

    fn new_client(grants: &[Grant], resources: &[&str], subject_types: &[SubjectTokenType]) -> NewOAuthClient {
        NewOAuthClient {
            id: ClientId::parse("web").unwrap(),
            grants: grants.iter().copied().collect(),
            resources: resources.iter().map(|name| ResourceName::parse(name).unwrap()).collect(),
            subject_types: subject_types.iter().copied().collect(),
            scopes: Scope::default(),
            algorithm: SigningAlgorithm::default(),
            redirect_uris: Vec::new(),
        }
    }

    #[test]
    fn a_client_has_a_grant_a_resource_and_for_exchange_a_kind_of_token() {
        use Grant::{ClientCredentials, TokenExchange};
        let kind = SubjectTokenType::Legacy(LegacyTokenType::TmsSession);
        let check = |grants: &[Grant], resources: &[&str], kinds: &[SubjectTokenType]| {
            check_permissions(&new_client(grants, resources, kinds))
        };
        assert!(check(&[ClientCredentials], &["orders"], &[]).is_ok());
        assert!(check(&[ClientCredentials, TokenExchange], &["orders"], &[kind]).is_ok());
        assert!(matches!(check(&[], &["orders"], &[]), Err(RegistryError::NoGrant)));
        for grant in [ClientCredentials, TokenExchange] {
            assert!(matches!(check(&[grant], &[], &[kind]), Err(RegistryError::NoResource)));
        }
        assert!(matches!(check(&[TokenExchange], &["orders"], &[]), Err(RegistryError::NoSubjectType)));
        assert!(matches!(check(&[ClientCredentials], &["orders"], &[kind]), Err(RegistryError::NoExchangeGrant)));
    }

    #[test]
    fn a_rotation_never_ends_a_secret_earlier_than_promised() {
        let [first, second, third] = [1, 2, 3].map(|_| ClientSecret::generate(&OsRandom));
        let add = SecretRotation::Add { overlap: DAY };
        let replace = SecretRotation::ReplaceNewest { overlap: DAY };
        let alone = Secrets::new(&first, NOW);
        assert!(matches!(rotate(&alone, &second, NOW, replace), Err(RegistryError::NothingToReplace)));
        let both = rotate(&alone, &second, NOW, add).unwrap();
        let end = NOW.saturating_add(DAY);
        let error = rotate(&both, &third, NOW, add).unwrap_err();
        assert!(matches!(error, RegistryError::StillRotating(until) if until == end));
        assert!(rotate(&both, &third, end, add).is_ok(), "the first secret has expired");
        let replaced = rotate(&both, &third, NOW, replace).unwrap();
        assert!(Secrets::verify(Some(&replaced), &first, NOW) && !Secrets::verify(Some(&replaced), &second, NOW));
        let ended = rotate(&both, &third, NOW, SecretRotation::Add { overlap: Duration::ZERO }).unwrap();
        assert!(!Secrets::verify(Some(&ended), &first, NOW) && !Secrets::verify(Some(&ended), &second, NOW));
    }
}
