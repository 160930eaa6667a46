//! Client address: the peer's, or what a trusted proxy reports in `X-Forwarded-For`.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::headers::HeaderLookup;
use crate::setting::parsed;

/// Secret header by which the gateway authenticates itself to the services in the same process (`stele up`). Clients
/// cannot send it: the gateway removes it from their requests.
pub const GATEWAY_SECRET_HEADER: &str = "x-stele-hop";

crate::settings! {
    /// Trusted proxies.
    pub const SETTINGS = "STELE_";
    /// proxies whose `X-Forwarded-*` header fields are trusted
    pub TRUSTED_PROXIES: TrustedProxies =
        parsed(TrustedProxies::parse, "IP addresses and CIDR blocks, separated by commas", "");
}

/// The peers whose `X-Forwarded-For`, `X-Forwarded-Proto` and `X-Request-Id` are trusted: networks, or the gateway that
/// sends the secret.
#[derive(Clone, Default)]
pub struct TrustedProxies {
    networks: Arc<[IpNet]>,
    /// The value of [`GATEWAY_SECRET_HEADER`], generated at start; only in `stele up`, whose services listen on
    /// loopback, where the address does not identify the gateway, since any local process can connect.
    gateway_secret: Option<Arc<Zeroizing<String>>>,
}

impl TrustedProxies {
    fn parse(text: &str) -> Result<Self, String> {
        let proxies = text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(parse_network);
        Ok(Self { networks: proxies.collect::<Result<_, _>>()?, gateway_secret: None })
    }

    /// Trusts exactly the requests with `secret` in [`GATEWAY_SECRET_HEADER`], from any address.
    pub fn with_gateway_secret(secret: Zeroizing<String>) -> Self {
        Self { networks: Arc::new([]), gateway_secret: Some(Arc::new(secret)) }
    }

    /// Whether a request from `peer` with these headers comes from a trusted proxy, by the address or by the gateway
    /// secret, which is compared in constant time.
    pub fn trusts(&self, peer: IpAddr, headers: &impl HeaderLookup) -> bool {
        let peer = peer.to_canonical();
        let received_secret = || headers.first_value(GATEWAY_SECRET_HEADER);
        let has_gateway_secret = self
            .gateway_secret
            .as_ref()
            .is_some_and(|secret| received_secret().is_some_and(|value| value.ct_eq(secret.as_bytes()).into()));
        has_gateway_secret || self.is_trusted_proxy(peer)
    }

    /// The client address: the peer's, or behind a trusted proxy the last address in `X-Forwarded-For` that is not a
    /// trusted proxy's. Entries further left are ignored, since the client can write them.
    pub fn client_address(&self, peer: IpAddr, headers: &impl HeaderLookup) -> IpAddr {
        if !self.trusts(peer, headers) {
            return peer.to_canonical();
        }
        let mut client = peer.to_canonical();
        let values: Vec<_> = headers.all_values("x-forwarded-for").collect();
        for entry in values.iter().rev().flat_map(|value| value.rsplit(|&byte| byte == b',')) {
            let entry = std::str::from_utf8(entry).ok().map(str::trim);
            let Some(address) = entry.and_then(parse_forwarded_for_entry) else { break };
            client = address;
            if !self.is_trusted_proxy(address) {
                break;
            }
        }
        client
    }

    /// Whether `address` is a trusted proxy's.
    pub fn is_trusted_proxy(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|net| net.contains(&address))
    }
}

fn parse_network(text: &str) -> Result<IpNet, String> {
    let parsed = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    parsed.map_err(|_| format!("`{text}` is neither an IP address nor a CIDR block such as 10.0.0.0/8"))
}

/// Parses an entry of `X-Forwarded-For`: an IP address, an IPv4 address with a port, or an IPv6 address in brackets,
/// with or without a port.
fn parse_forwarded_for_entry(entry: &str) -> Option<IpAddr> {
    let without_port = entry.parse::<IpAddr>().ok();
    let parse_with_port = || entry.parse::<std::net::SocketAddr>().ok().map(|socket| socket.ip());
    let parse_bracketed = || entry.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    without_port.or_else(parse_with_port).or_else(parse_bracketed).map(|address| address.to_canonical())
}

/// The part of a client address that the client cannot vary: an IPv4 address, or the /64 of an IPv6 address, of which a
/// subscriber chooses the other bits.
pub fn client_network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};

    use super::*;
    use crate::config::Settings;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        map
    }

    fn resolved_client(proxies: &str, peer: &str, forwarded: &[&str]) -> String {
        let settings = Settings::default().with_values([("STELE_TRUSTED_PROXIES", proxies.to_owned())]);
        let lines: Vec<_> = forwarded.iter().map(|v| ("x-forwarded-for", *v)).collect();
        settings.get(&TRUSTED_PROXIES).unwrap().client_address(peer.parse().unwrap(), &headers(&lines)).to_string()
    }

    #[test]
    fn x_forwarded_for_from_untrusted_peers_is_ignored() {
        assert_eq!(resolved_client("", "192.0.2.1", &["203.0.113.9"]), "192.0.2.1");
        assert_eq!(resolved_client("10.0.0.0/8", "192.0.2.1", &["203.0.113.9"]), "192.0.2.1");
    }

    #[test]
    fn the_last_untrusted_hop_is_the_client() {
        let proxies = "10.0.0.0/8, 192.0.2.7";
        assert_eq!(resolved_client(proxies, "10.1.1.1", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(resolved_client(proxies, "10.1.1.1", &["1.1.1.1, 203.0.113.9, 10.2.2.2"]), "203.0.113.9");
        assert_eq!(resolved_client(proxies, "10.1.1.1", &["1.1.1.1", "203.0.113.9"]), "203.0.113.9");
        assert_eq!(resolved_client(proxies, "10.1.1.1", &["1.1.1.1, garbage"]), "10.1.1.1");
        assert_eq!(resolved_client(proxies, "::ffff:10.1.1.1", &["[2001:db8::1]:443"]), "2001:db8::1");
        assert_eq!(resolved_client(proxies, "10.1.1.1", &[]), "10.1.1.1");
    }

    #[test]
    fn only_the_exact_gateway_secret_is_trusted() {
        let proxies = TrustedProxies::with_gateway_secret(Zeroizing::new("secret".into()));
        let peer = "127.0.0.1".parse().unwrap();
        let good = headers(&[("x-stele-hop", "secret"), ("x-forwarded-for", "203.0.113.9")]);
        assert_eq!(proxies.client_address(peer, &good).to_string(), "203.0.113.9");
        for wrong in ["", "secre", "Secret"] {
            let bad = headers(&[("x-stele-hop", wrong), ("x-forwarded-for", "203.0.113.9")]);
            assert_eq!(proxies.client_address(peer, &bad), peer);
        }
    }

    #[test]
    fn an_invalid_proxy_is_reported_with_its_setting() {
        let settings = Settings::default().with_values([("STELE_TRUSTED_PROXIES", "10.0.0.0/8,gateway".to_owned())]);
        let error = settings.get(&TRUSTED_PROXIES).err().unwrap().to_string();
        assert!(error.contains("STELE_TRUSTED_PROXIES") && error.contains("`gateway`"), "{error}");
    }
}
