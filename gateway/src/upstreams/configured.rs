//! An upstream as the settings name it.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hyper::header::HeaderValue;
use hyper::http::uri::Authority;

use super::resolve::Resolver;

/// A resolver that takes longer has no answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// `http://host:port`, and the addresses that this had when it was last looked up.
#[derive(Debug)]
pub(super) struct Configured {
    authority: Authority,
    port: u16,
    host: HeaderValue,
    addresses: Mutex<Vec<SocketAddr>>,
    literal: bool,
}

impl Configured {
    /// Only `http://host:port`: a path would be joined to the client's in ways nobody expects.
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        let fault = || format!("`{url}` is not an upstream; write http://host:port, without a path");
        let rest = url.strip_prefix("http://").ok_or_else(fault)?;
        let authority: Authority = rest.strip_suffix('/').unwrap_or(rest).parse().map_err(|_| fault())?;
        let port = authority.port_u16().filter(|&port| port > 0).ok_or_else(fault)?;
        if bare(authority.host()).is_empty() || authority.as_str().contains('@') {
            return Err(fault());
        }
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| fault())?;
        let literal = bare(authority.host()).parse::<IpAddr>().ok();
        let addresses = literal.map(|ip| SocketAddr::new(ip, port)).into_iter().collect();
        Ok(Self { authority, port, host, addresses: Mutex::new(addresses), literal: literal.is_some() })
    }

    /// `host:port`.
    pub(super) fn name(&self) -> &str {
        self.authority.as_str()
    }

    pub(super) fn host(&self) -> &HeaderValue {
        &self.host
    }

    /// Whether it is an address, and not a name.
    pub(super) fn is_literal(&self) -> bool {
        self.literal
    }

    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks for the addresses again. No answer, or none with an address in it, changes nothing: a resolver that is
    /// away must not take the service with it.
    pub(super) async fn look_up(&self, resolver: &dyn Resolver) {
        if self.literal {
            return;
        }
        let found = tokio::time::timeout(PATIENCE, resolver.lookup(self.authority.host(), self.port)).await;
        match found {
            // In order, for resolvers turn their answers to spread the load.
            Ok(Ok(mut addresses)) if !addresses.is_empty() => {
                addresses.sort();
                addresses.dedup();
                self.keep(addresses);
            }
            Ok(Ok(_)) => tracing::debug!(name = self.name(), "no address"),
            Ok(Err(cause)) => tracing::debug!(name = self.name(), %cause, "cannot be looked up"),
            Err(_) => tracing::debug!(name = self.name(), "cannot be looked up: no answer in time"),
        }
    }

    pub(super) fn take_over(&self, same: &Self) {
        self.keep(same.addresses());
    }

    fn keep(&self, addresses: Vec<SocketAddr>) {
        *self.addresses.lock().unwrap_or_else(PoisonError::into_inner) = addresses;
    }
}

/// An IPv6 address without its brackets.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host)
}
