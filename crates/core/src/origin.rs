//! Whom a request comes from, as the limits count it.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// The networks around an IPv6 /64 that count as well, by their prefix, and how many times a /64's budget each has: a
/// subscriber may have a /56, a site a /48, and 65,536 origins are no more than a site's.
const ENCLOSING_PREFIXES: [(u32, u32); 2] = [(56, 2), (48, 4)];

/// A client's address (IPv6 by its /64), or the app that calls on a client's behalf (MeFP).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// An address; IPv6 ones with all but the first 64 bits cleared, IPv4-mapped ones as IPv4.
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

    /// The networks around this one that count as well, and how many times its budget each has; none for IPv4 and apps.
    pub fn enclosing_networks(&self) -> impl Iterator<Item = (String, u32)> {
        let v6 = match self {
            Self::Address(IpAddr::V6(v6)) => Some(v6.to_bits()),
            Self::Address(IpAddr::V4(_)) | Self::App(_) => None,
        };
        v6.into_iter().flat_map(|bits| {
            ENCLOSING_PREFIXES.map(|(prefix, times)| {
                let network = Ipv6Addr::from_bits(bits & (u128::MAX << (128 - prefix)));
                (format!("ip:{network}/{prefix}"), times)
            })
        })
    }

    /// The origin of calls made by `app`.
    pub fn from_app(name: &str) -> Self {
        Self::App(name.to_owned())
    }
}

impl fmt::Display for Origin {
    /// The form that stores key by: `ip:192.0.2.1`, `ip:2001:db8::/64`, `app:melink`.
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
        let around = |text: &str| Origin::from_address(text.parse().unwrap()).enclosing_networks().collect::<Vec<_>>();
        let nested = [("ip:2001:db8:1:200::/56".to_owned(), 2), ("ip:2001:db8:1::/48".to_owned(), 4)];
        assert_eq!(around("2001:db8:1:2ff:3:4:5:6"), nested);
        for single in ["192.0.2.1", "::ffff:192.0.2.1"] {
            assert_eq!(around(single), [], "{single}");
        }
        assert_eq!(Origin::from_app("melink").enclosing_networks().count(), 0);
    }
}
