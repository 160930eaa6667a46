//! An upstream URL from the settings, and the addresses that its name resolves to.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hyper::header::HeaderValue;
use hyper::http::uri::Authority;

use super::resolver::Resolver;

/// Timeout of one name lookup.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// `http://host:port`, and the addresses of the last successful lookup.
#[derive(Debug)]
pub(super) struct ConfiguredUpstream {
    authority: Authority,
    port: u16,
    host_header: HeaderValue,
    addresses: Mutex<Vec<SocketAddr>>,
    is_ip_literal: bool,
}

impl ConfiguredUpstream {
    /// Parses `http://host:port`. A path is rejected, because it would be unclear how to combine
    /// it with the path of a request.
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        let invalid_url = || format!("`{url}` is not an upstream; write http://host:port, without a path");
        let authority = url.strip_prefix("http://").ok_or_else(invalid_url)?;
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let authority: Authority = authority.parse().map_err(|_| invalid_url())?;
        let port = authority.port_u16().filter(|&port| port > 0).ok_or_else(invalid_url)?;
        if without_brackets(authority.host()).is_empty() || authority.as_str().contains('@') {
            return Err(invalid_url());
        }
        let host_header = HeaderValue::from_str(authority.as_str()).map_err(|_| invalid_url())?;
        let ip_literal = without_brackets(authority.host()).parse::<IpAddr>().ok();
        let addresses = ip_literal.map(|ip| SocketAddr::new(ip, port)).into_iter().collect();
        Ok(Self { authority, port, host_header, addresses: Mutex::new(addresses), is_ip_literal: ip_literal.is_some() })
    }

    /// `host:port`.
    pub(super) fn name(&self) -> &str {
        self.authority.as_str()
    }

    pub(super) fn host_header(&self) -> &HeaderValue {
        &self.host_header
    }

    /// Whether the host is an IP address, which needs no lookup.
    pub(super) fn is_ip_literal(&self) -> bool {
        self.is_ip_literal
    }

    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks the name up again, unless it is an IP address. A lookup that fails or returns no address keeps the
    /// previous addresses, so that an outage of the resolver is no outage of the service.
    pub(super) async fn resolve(&self, resolver: &dyn Resolver) {
        if self.is_ip_literal {
            return;
        }
        let result = tokio::time::timeout(LOOKUP_TIMEOUT, resolver.lookup(self.authority.host(), self.port)).await;
        match result {
            // Sorted, because resolvers rotate their answers, and another order is no change of the instances.
            Ok(Ok(mut addresses)) if !addresses.is_empty() => {
                addresses.sort();
                addresses.dedup();
                self.set_addresses(addresses);
            }
            Ok(Ok(_)) => tracing::debug!(name = self.name(), "name lookup returned no address"),
            Ok(Err(cause)) => tracing::debug!(name = self.name(), %cause, "name lookup failed"),
            Err(_) => tracing::debug!(name = self.name(), "name lookup timed out"),
        }
    }

    pub(super) fn inherit_addresses(&self, old: &Self) {
        self.set_addresses(old.addresses());
    }

    fn set_addresses(&self, addresses: Vec<SocketAddr>) {
        *self.addresses.lock().unwrap_or_else(PoisonError::into_inner) = addresses;
    }
}

/// Removes the brackets of an IPv6 address.
fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}
