//! From the name of a service to the addresses of its instances.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

/// What a lookup comes to.
pub type LookupFuture = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// Finds the addresses of a name.
pub trait Resolver: Send + Sync {
    /// Every address that `host` has now, with `port`.
    fn lookup(&self, host: &str, port: u16) -> LookupFuture;
}

/// The system's resolver: the hosts file, then DNS, which a container engine answers with every container of a service.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SystemResolver;

impl Resolver for SystemResolver {
    fn lookup(&self, host: &str, port: u16) -> LookupFuture {
        let host = host.to_owned();
        Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
    }
}
