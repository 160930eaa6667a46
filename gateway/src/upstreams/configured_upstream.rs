//! An upstream as the settings name it.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hyper::header::HeaderValue;
use hyper::http::uri::Authority;

use super::resolver::Resolver;

/// A resolver that takes longer has no answer.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// `http://host:port`, and the addresses that this had when it was last looked up.
#[derive(Debug)]
pub(super) struct ConfiguredUpstream {
    authority: Authority,
    port: u16,
    host_header: HeaderValue,
    addresses: Mutex<Vec<SocketAddr>>,
    is_ip_literal: bool,
}

impl ConfiguredUpstream {
    /// Only `http://host:port`: a path would be joined to the client's in ways nobody expects.
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        let fault = || format!("`{url}` is not an upstream; write http://host:port, without a path");
        let rest = url.strip_prefix("http://").ok_or_else(fault)?;
        let authority: Authority = rest.strip_suffix('/').unwrap_or(rest).parse().map_err(|_| fault())?;
        let port = authority.port_u16().filter(|&port| port > 0).ok_or_else(fault)?;
        if without_brackets(authority.host()).is_empty() || authority.as_str().contains('@') {
            return Err(fault());
        }
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| fault())?;
        let literal = without_brackets(authority.host()).parse::<IpAddr>().ok();
        let addresses = literal.map(|ip| SocketAddr::new(ip, port)).into_iter().collect();
        Ok(Self {
            authority,
            port,
            host_header: host,
            addresses: Mutex::new(addresses),
            is_ip_literal: literal.is_some(),
        })
    }

    /// `host:port`.
    pub(super) fn name(&self) -> &str {
        self.authority.as_str()
    }

    pub(super) fn host_header(&self) -> &HeaderValue {
        &self.host_header
    }

    /// Whether it is an address, and not a name.
    pub(super) fn is_ip_literal(&self) -> bool {
        self.is_ip_literal
    }

    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks for the addresses again. No answer, or none with an address in it, changes nothing: a resolver that is
    /// away must not take the service with it.
    pub(super) async fn resolve(&self, resolver: &dyn Resolver) {
        if self.is_ip_literal {
            return;
        }
        let found = tokio::time::timeout(LOOKUP_TIMEOUT, resolver.lookup(self.authority.host(), self.port)).await;
        match found {
            // In order, for resolvers turn their answers to spread the load.
            Ok(Ok(mut addresses)) if !addresses.is_empty() => {
                addresses.sort();
                addresses.dedup();
                self.set_addresses(addresses);
            }
            Ok(Ok(_)) => tracing::debug!(name = self.name(), "no address"),
            Ok(Err(cause)) => tracing::debug!(name = self.name(), %cause, "cannot be looked up"),
            Err(_) => tracing::debug!(name = self.name(), "cannot be looked up: no answer in time"),
        }
    }

    pub(super) fn inherit_addresses(&self, same: &Self) {
        self.set_addresses(same.addresses());
    }

    fn set_addresses(&self, addresses: Vec<SocketAddr>) {
        *self.addresses.lock().unwrap_or_else(PoisonError::into_inner) = addresses;
    }
}

/// An IPv6 address without its brackets.
fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host)
}
