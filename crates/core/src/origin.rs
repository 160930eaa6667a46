//! The origin of a request, under which rate limits count it: a client address (an IPv6 address by its /64) or an app.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// The networks around an IPv6 /64 that are counted as well: prefix length, and the factor by which the limit of the
/// network exceeds that of a /64. A subscriber may have a /56, and a site a /48 with 65,536 /64s; without these limits
/// an attacker could use a fresh /64 for each attempt.
const ENCLOSING_PREFIXES: [(u32, u32); 2] = [(56, 2), (48, 4)];

/// A client's address, or the app that calls on behalf of its users (MeFP).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A client address. Of an IPv6 address only the first 64 bits are retained; an IPv4-mapped address is stored as
    /// IPv4.
    Address(IpAddr),
    /// The name of a registered app.
    App(String),
}

impl Origin {
    /// The origin of a client at `address`.
    pub fn from_address(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V4(v4) => IpAddr::V4(v4),
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        })
    }

    /// The networks around an IPv6 origin that are counted as well, in the form that stores use in keys, each with the
    /// factor on the limit; none for IPv4 addresses and apps.
    pub fn enclosing_networks(&self) -> impl Iterator<Item = (String, u32)> {
        let ipv6_bits = match self {
            Self::Address(IpAddr::V6(v6)) => Some(v6.to_bits()),
            Self::Address(IpAddr::V4(_)) | Self::App(_) => None,
        };
        ipv6_bits.into_iter().flat_map(|bits| {
            ENCLOSING_PREFIXES.map(|(prefix, factor)| {
                let network = Ipv6Addr::from_bits(bits & (u128::MAX << (128 - prefix)));
                (format!("ip:{network}/{prefix}"), factor)
            })
        })
    }

    /// The origin of calls made by `app`.
    pub fn from_app(name: &str) -> Self {
        Self::App(name.to_owned())
    }
}

impl fmt::Display for Origin {
    /// The form that stores use in keys: `ip:192.0.2.1`, `ip:2001:db8::/64`, `app:melink`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(v4 @ IpAddr::V4(_)) => write!(f, "ip:{v4}"),
            Self::Address(v6 @ IpAddr::V6(_)) => write!(f, "ip:{v6}/64"),
            Self::App(name) => write!(f, "app:{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_addresses_are_counted_by_their_64_prefix() {
        let origin_text = |address: &str| Origin::from_address(address.parse().unwrap()).to_string();
        assert_eq!(origin_text("192.0.2.1"), "ip:192.0.2.1");
        assert_eq!(origin_text("::ffff:192.0.2.1"), "ip:192.0.2.1");
        assert_eq!(origin_text("2001:db8:1:2:3:4:5:6"), "ip:2001:db8:1:2::/64");
        assert_eq!(origin_text("2001:db8:1:2:ffff::"), origin_text("2001:db8:1:2::1"));
    }

    #[test]
    fn only_ipv6_origins_also_count_against_their_56_and_48() {
        let networks_around =
            |address: &str| Origin::from_address(address.parse().unwrap()).enclosing_networks().collect::<Vec<_>>();
        let nested = [("ip:2001:db8:1:200::/56".to_owned(), 2), ("ip:2001:db8:1::/48".to_owned(), 4)];
        assert_eq!(networks_around("2001:db8:1:2ff:3:4:5:6"), nested);
        for ipv4 in ["192.0.2.1", "::ffff:192.0.2.1"] {
            assert_eq!(networks_around(ipv4), [], "{ipv4}");
        }
        assert_eq!(Origin::from_app("melink").enclosing_networks().count(), 0);
    }
}
