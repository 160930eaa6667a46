//! OAuth 2.0: the values of clients, resource servers and access tokens.
//!
//! [`OAuthClient`] and [`Resource`] are registered by an administrator; there is no dynamic registration. Both
//! authenticate with a [`ClientSecret`], of which only the hash is stored. [`SubjectTokenType`] names the tokens that a
//! client may exchange (RFC 8693) and [`LegacyTokenType`] those that a resource server may introspect (RFC 7662).
//! [`Acr`] says in a token how strong the login was.
//!
//! [`AccessRules`] say who may reach which hosts and paths behind a reverse proxy that asks Stele (forward auth).

mod access_rules;
pub(crate) mod access_token;
mod acr;
mod algorithm;
mod client;
mod error;
mod grant;
mod name;
mod protected_url;
mod redirect_uri;
mod registry_cache;
mod resource;
mod scope;
mod secret;
mod subject_token_type;
mod uri;

pub use access_rules::{AccessDecision, AccessRule, AccessRules};
pub use access_token::{
    ACCESS_TOKEN_LIFETIME, AccessToken, LegacyTokenInfo, TokenGrant, TokenInfo, TokenSubject, UserSubject,
};
pub use acr::Acr;
pub use algorithm::SigningAlgorithm;
pub use client::OAuthClient;
pub use error::{OAuthError, OAuthResult};
pub use grant::Grant;
pub use name::{ClientId, ResourceName};
pub use protected_url::{PathPrefix, RequestHost, RequestPath};
pub use redirect_uri::{RedirectUri, RedirectUriError};
pub use registry_cache::{MAX_AGE as REGISTRY_CACHE_MAX_AGE, OAuthRegistryCache};
pub use resource::{Audience, Resource, ResourceUri};
pub use scope::Scope;
pub use secret::{ClientSecret, ExpiringSecret, SecretHash, Secrets};
pub use subject_token_type::{LegacyTokenType, SubjectTokenType, TokenLookup};
