//! The registry of OAuth clients and resource servers.

use async_trait::async_trait;

use crate::Result;
use crate::oauth::{Audience, ClientId, OAuthClient, Resource, ResourceName, Secrets};

/// The result of adding a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAddition {
    /// The client was added.
    Added,
    /// A client has this id.
    IdTaken,
    /// A resource server that the client names is not registered.
    UnknownResource,
}

/// The result of adding a resource server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceAddition {
    /// The resource server was added.
    Added,
    /// A resource server has this name.
    NameTaken,
    /// A resource server has this audience.
    AudienceTaken,
}

/// The result of removing a resource server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResourceRemoval {
    /// The resource server was removed.
    Removed,
    /// Clients name the resource server, which stays: up to 100 of them.
    InUse(Vec<ClientId>),
    /// No resource server has this name.
    NotFound,
}

/// The durable registry of clients and resource servers, in the user store. A confirmed write survives a crash.
#[async_trait]
pub trait OAuthRegistry: Send + Sync {
    /// The client with this id: one indexed read.
    async fn find_client(&self, id: &ClientId) -> Result<Option<OAuthClient>>;

    /// The resource server of this name: one indexed read.
    async fn find_resource(&self, name: &ResourceName) -> Result<Option<Resource>>;

    /// The resource server with this audience: one indexed read.
    async fn find_resource_by_audience(&self, audience: &Audience) -> Result<Option<Resource>>;

    /// Up to `limit` clients with ids above `after`, in the order of their ids' bytes.
    async fn list_clients(&self, after: Option<&ClientId>, limit: u32) -> Result<Vec<OAuthClient>>;

    /// Up to `limit` resource servers with names above `after`, in the order of their names' bytes.
    async fn list_resources(&self, after: Option<&ResourceName>, limit: u32) -> Result<Vec<Resource>>;

    /// Adds a client. The check of its resource servers and the addition are one atomic step.
    async fn add_client(&self, client: &OAuthClient) -> Result<ClientAddition>;

    /// Adds a resource server.
    async fn add_resource(&self, resource: &Resource) -> Result<ResourceAddition>;

    /// Replaces a client's secrets if they are still `old`. Returns whether they were.
    async fn replace_client_secrets(&self, id: &ClientId, old: &Secrets, new: &Secrets) -> Result<bool>;

    /// Replaces a resource server's secrets if they are still `old`. Returns whether they were.
    async fn replace_resource_secrets(&self, name: &ResourceName, old: &Secrets, new: &Secrets) -> Result<bool>;

    /// Removes a client. Returns whether it was there.
    async fn remove_client(&self, id: &ClientId) -> Result<bool>;

    /// Removes a resource server unless a client names it. The check and the removal are one atomic step.
    async fn remove_resource(&self, name: &ResourceName) -> Result<ResourceRemoval>;
}
