//! Why a registration, rotation or removal was not done, with the remedy.

use crate::Error;
use crate::event::Outcome;
use crate::oauth::{ClientId, LegacyTokenType, ResourceName};
use crate::time::{Offset, Timestamp};

/// Why a registration, rotation or removal was not done.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// A client has the id.
    #[error("a client `{0}` exists already; choose another name, or remove that client first")]
    ClientExists(ClientId),
    /// A resource server has the name.
    #[error("a resource server `{0}` exists already; choose another name, or remove that one first")]
    ResourceExists(ResourceName),
    /// A resource server has the URI.
    #[error("another resource server has this URI (`stele resource list`); choose another --uri")]
    AudienceTaken,
    /// The client has no grant.
    #[error("a client without a grant can do nothing; name one with --grants")]
    NoGrant,
    /// The client has no resource server.
    #[error("every access token is for a resource server; name those of the client with --resources")]
    NoResource,
    /// The client may exchange tokens, but none of any kind.
    #[error("token-exchange needs the kinds of tokens that the client may exchange; name them with --subject-types")]
    NoSubjectType,
    /// The client has kinds of tokens to exchange, but not the grant.
    #[error("--subject-types has no effect without the grant token-exchange; add it to --grants")]
    NoExchangeGrant,
    /// A resource server that the client names is not registered.
    #[error("no resource server `{0}` is registered; add it first (`stele resource add {0}`)")]
    UnknownResource(ResourceName),
    /// Tokens of this kind cannot be introspected.
    #[error("{} is a one-time token, which cannot be introspected; leave it out of --legacy-tokens", .0.name())]
    OneTimeToken(LegacyTokenType),
    /// No client has the id.
    #[error("no client `{0}` is registered; `stele client list` lists them")]
    UnknownClient(ClientId),
    /// No resource server has the name.
    #[error("no resource server `{0}` is registered; `stele resource list` lists them")]
    NoSuchResource(ResourceName),
    /// Clients name the resource server.
    #[error("clients use the resource server: {}; remove them first (`stele client remove`)", join(.0))]
    ResourceInUse(Vec<ClientId>),
    /// The secret before the newest one is still valid.
    #[error(
        "two secrets are valid, the older one until {}; wait until then, end both now with --overlap 0s, or, if the \
         newest one was lost, replace it with --replace-newest", .0.to_rfc3339(Offset::UTC)
    )]
    StillRotating(Timestamp),
    /// Only one secret is valid, which must not end at once.
    #[error("only one secret is valid, and it may be in use; rotate without --replace-newest")]
    NothingToReplace,
    /// Another rotation came first.
    #[error("the secret was rotated meanwhile by another command; run this one again if you still need to")]
    ChangedMeanwhile,
    /// The stores failed.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl RegistryError {
    /// The outcome in the audit log.
    pub(super) fn outcome(&self) -> Outcome {
        match self {
            Self::ClientExists(_) | Self::ResourceExists(_) | Self::AudienceTaken => Outcome::IdentifierTaken,
            Self::Failed(Error::Unavailable(_)) => Outcome::Unavailable,
            Self::Failed(_) => Outcome::Internal,
            Self::ResourceInUse(_) | Self::StillRotating(_) | Self::NothingToReplace | Self::ChangedMeanwhile => {
                Outcome::NotAllowed
            }
            _ => Outcome::Invalid,
        }
    }
}

fn join(ids: &[ClientId]) -> String {
    ids.iter().map(ClientId::as_str).collect::<Vec<_>>().join(", ")
}
