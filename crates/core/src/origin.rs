//! The origin of a request, as rate limits count it: a client address or an app.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// The networks around an IPv6 /64 that are counted as well: their prefix length, and the factor on the limit of a
/// /64. A subscriber may have a /56 and a site a /48, whose 65,536 /64s must not each have a limit of their
/// own.
const ENCLOSING_PREFIXES: [(u32, u32); 2] = [(56, 2), (48, 4)];

/// A client's address (IPv6 by its /64), or the app that calls on behalf of its users (MeFP).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// An address. Only the first 64 bits of IPv6 addresses are kept; IPv4-mapped ones are IPv4.
    Address(IpAddr),
    /// A registered app, by name.
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

    /// The enclosing networks that are counted as well, each with the factor on its limit; none for IPv4 addresses and
    /// apps.
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
        let key = |text: &str| Origin::from_address(text.parse().unwrap()).to_string();
        assert_eq!(key("192.0.2.1"), "ip:192.0.2.1");
        assert_eq!(key("::ffff:192.0.2.1"), "ip:192.0.2.1");
        assert_eq!(key("2001:db8:1:2:3:4:5:6"), "ip:2001:db8:1:2::/64");
        assert_eq!(key("2001:db8:1:2:ffff::"), key("2001:db8:1:2::1"));
    }

    #[test]
    fn ipv6_origins_also_count_against_their_56_and_48() {
        let enclosing =
            |text: &str| Origin::from_address(text.parse().unwrap()).enclosing_networks().collect::<Vec<_>>();
        let nested = [("ip:2001:db8:1:200::/56".to_owned(), 2), ("ip:2001:db8:1::/48".to_owned(), 4)];
        assert_eq!(enclosing("2001:db8:1:2ff:3:4:5:6"), nested);
        for single in ["192.0.2.1", "::ffff:192.0.2.1"] {
            assert_eq!(enclosing(single), [], "{single}");
        }
        assert_eq!(Origin::from_app("melink").enclosing_networks().count(), 0);
    }
}
