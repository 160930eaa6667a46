//! Registered clients.

use std::collections::BTreeSet;

use super::{ClientId, Grant, RedirectUri, ResourceName, Scope, Secrets, SigningAlgorithm, SubjectTokenType};
use crate::time::Timestamp;

/// A confidential client (RFC 6749 2.1), which an administrator has registered. It may do only what is listed here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuthClient {
    /// The `client_id`.
    pub id: ClientId,
    /// The secrets with which the client authenticates.
    pub secrets: Secrets,
    /// The grants that the client may use.
    pub grants: BTreeSet<Grant>,
    /// The registered resource servers for which the client may get tokens.
    pub resources: BTreeSet<ResourceName>,
    /// The kinds of tokens that the client may exchange.
    pub subject_types: BTreeSet<SubjectTokenType>,
    /// The scope tokens that the client may ask for.
    pub scopes: Scope,
    /// The algorithm that signs the client's access tokens.
    pub algorithm: SigningAlgorithm,
    /// The redirect URIs of the authorization code grant, which does not exist yet, in the order of the command line.
    pub redirect_uris: Vec<RedirectUri>,
    /// When the client was added.
    pub created_at: Timestamp,
}
