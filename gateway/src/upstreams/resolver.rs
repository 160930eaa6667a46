//! Name resolution (DNS): looks up the addresses of a service's instances.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

/// The pending result of a lookup.
pub type LookupFuture = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// Looks up the addresses of a name.
pub trait Resolver: Send + Sync {
    /// All addresses of `host`, each with `port`.
    fn lookup(&self, host: &str, port: u16) -> LookupFuture;
}

/// The system's resolver: the hosts file, then DNS. Container engines return the address of every container of a
/// service.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SystemResolver;

impl Resolver for SystemResolver {
    fn lookup(&self, host: &str, port: u16) -> LookupFuture {
        let host = host.to_owned();
        Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
    }
}
