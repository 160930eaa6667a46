//! Rows of OAuth clients and resource servers. Lists are separated by spaces, which none of their elements has.

use diesel::QueryResult;
use diesel::prelude::Insertable;
use diesel::{Queryable, Selectable};
use stele_core::oauth::{
    Audience, ClientId, ExpiringSecret, Grant, LegacyTokenType, OAuthClient, RedirectUri, Resource, ResourceName,
    ResourceUri, Scope, SecretHash, Secrets, SigningAlgorithm, SubjectTokenType,
};
use stele_core::time::Timestamp;

use super::schema::{oauth_clients, oauth_resources};
use crate::error::corrupt_column_error;

#[derive(Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = oauth_clients)]
pub(super) struct ClientRow {
    id: String,
    grants: String,
    resources: String,
    subject_types: String,
    scopes: String,
    algorithm: String,
    redirect_uris: String,
    secret: Vec<u8>,
    secret_created_at: i64,
    previous_secret: Option<Vec<u8>>,
    previous_created_at: Option<i64>,
    previous_expires_at: Option<i64>,
    created_at: i64,
}

#[derive(Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = oauth_resources)]
pub(super) struct ResourceRow {
    name: String,
    audience: String,
    legacy_tokens: String,
    secret: Vec<u8>,
    secret_created_at: i64,
    previous_secret: Option<Vec<u8>>,
    previous_created_at: Option<i64>,
    previous_expires_at: Option<i64>,
    created_at: i64,
}

/// The columns of [`Secrets`], which both tables have.
#[derive(Clone)]
pub(super) struct SecretColumns {
    pub(super) secret: Vec<u8>,
    pub(super) secret_created_at: i64,
    pub(super) previous_secret: Option<Vec<u8>>,
    pub(super) previous_created_at: Option<i64>,
    pub(super) previous_expires_at: Option<i64>,
}

impl SecretColumns {
    pub(super) fn new(secrets: &Secrets) -> Self {
        let previous = secrets.previous.as_ref();
        Self {
            secret: secrets.current.0.to_vec(),
            secret_created_at: secrets.created_at.as_micros(),
            previous_secret: previous.map(|secret| secret.hash.0.to_vec()),
            previous_created_at: previous.map(|secret| secret.created_at.as_micros()),
            previous_expires_at: previous.map(|secret| secret.expires_at.as_micros()),
        }
    }

    fn into_secrets(self, column: &'static str) -> QueryResult<Secrets> {
        let hash = |bytes: Vec<u8>| bytes.try_into().map(SecretHash).map_err(|_| corrupt_column_error(column));
        let previous = match (self.previous_secret, self.previous_created_at, self.previous_expires_at) {
            (None, None, None) => None,
            (Some(secret), Some(created_at), Some(expires_at)) => Some(ExpiringSecret {
                hash: hash(secret)?,
                created_at: Timestamp::from_micros(created_at),
                expires_at: Timestamp::from_micros(expires_at),
            }),
            _ => return Err(corrupt_column_error(column)),
        };
        let created_at = Timestamp::from_micros(self.secret_created_at);
        Ok(Secrets { current: hash(self.secret)?, created_at, previous })
    }
}

/// A list as text.
fn join(words: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let words: Vec<_> = words.into_iter().collect();
    words.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join(" ")
}

/// The elements of a list. Words that this program does not know are left out: a later version has given the client or
/// resource server a permission that this one cannot grant.
fn split_known<T, C: FromIterator<T>>(text: &str, parse: impl Fn(&str) -> Option<T>) -> C {
    text.split(' ').filter_map(parse).collect()
}

impl ClientRow {
    pub(super) fn new(client: &OAuthClient) -> Self {
        let SecretColumns { secret, secret_created_at, previous_secret, previous_created_at, previous_expires_at } =
            SecretColumns::new(&client.secrets);
        Self {
            id: client.id.to_string(),
            grants: join(client.grants.iter().map(|grant| grant.as_str())),
            resources: join(client.resources.iter().map(ResourceName::as_str)),
            subject_types: join(client.subject_types.iter().map(|kind| kind.name())),
            scopes: client.scopes.to_string(),
            algorithm: client.algorithm.as_str().to_owned(),
            redirect_uris: join(client.redirect_uris.iter().map(RedirectUri::as_str)),
            secret,
            secret_created_at,
            previous_secret,
            previous_created_at,
            previous_expires_at,
            created_at: client.created_at.as_micros(),
        }
    }

    pub(super) fn into_client(self) -> QueryResult<OAuthClient> {
        let secrets = SecretColumns {
            secret: self.secret,
            secret_created_at: self.secret_created_at,
            previous_secret: self.previous_secret,
            previous_created_at: self.previous_created_at,
            previous_expires_at: self.previous_expires_at,
        };
        let corrupt = corrupt_column_error;
        Ok(OAuthClient {
            id: ClientId::parse(&self.id).ok_or_else(|| corrupt("oauth_clients.id"))?,
            secrets: secrets.into_secrets("oauth_clients.secret")?,
            grants: split_known(&self.grants, Grant::parse),
            resources: split_known(&self.resources, ResourceName::parse),
            subject_types: split_known(&self.subject_types, SubjectTokenType::parse),
            scopes: Scope::parse(&self.scopes).ok_or_else(|| corrupt("oauth_clients.scopes"))?,
            algorithm: SigningAlgorithm::parse(&self.algorithm).ok_or_else(|| corrupt("oauth_clients.algorithm"))?,
            redirect_uris: split_known(&self.redirect_uris, |uri| RedirectUri::parse(uri).ok()),
            created_at: Timestamp::from_micros(self.created_at),
        })
    }
}

impl ResourceRow {
    pub(super) fn new(resource: &Resource) -> Self {
        let SecretColumns { secret, secret_created_at, previous_secret, previous_created_at, previous_expires_at } =
            SecretColumns::new(&resource.secrets);
        Self {
            name: resource.name.to_string(),
            audience: resource.audience().to_string(),
            legacy_tokens: join(resource.legacy_tokens.iter().map(|kind| kind.name())),
            secret,
            secret_created_at,
            previous_secret,
            previous_created_at,
            previous_expires_at,
            created_at: resource.created_at.as_micros(),
        }
    }

    pub(super) fn into_resource(self) -> QueryResult<Resource> {
        let secrets = SecretColumns {
            secret: self.secret,
            secret_created_at: self.secret_created_at,
            previous_secret: self.previous_secret,
            previous_created_at: self.previous_created_at,
            previous_expires_at: self.previous_expires_at,
        };
        let resource = Resource {
            name: ResourceName::parse(&self.name).ok_or_else(|| corrupt_column_error("oauth_resources.name"))?,
            // A URN of this server, which is no URI of a resource server, is made of the name.
            uri: ResourceUri::parse(&self.audience),
            secrets: secrets.into_secrets("oauth_resources.secret")?,
            legacy_tokens: split_known(&self.legacy_tokens, LegacyTokenType::parse),
            created_at: Timestamp::from_micros(self.created_at),
        };
        match Audience::parse(&self.audience) == Some(resource.audience()) {
            true => Ok(resource),
            false => Err(corrupt_column_error("oauth_resources.audience")),
        }
    }
}
