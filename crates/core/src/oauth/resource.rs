//! Registered resource servers, and the audiences of access tokens.

use std::collections::BTreeSet;
use std::fmt;

use super::uri::AbsoluteUri;
use super::{LegacyTokenType, ResourceName, Secrets};
use crate::time::Timestamp;

/// The most bytes of a resource server's URI.
const MAX_LENGTH: usize = 512;
/// The prefix of the audiences of resource servers without a URI.
const URN_PREFIX: &str = "urn:stele:resource:";
/// The schemes whose URLs have a host, also if they are written without one (WHATWG URL 3.1, special schemes).
const WEB_SCHEMES: [&str; 6] = ["https", "http", "ws", "wss", "ftp", "file"];
/// The namespace of this server's own URNs, in which no resource server can have its URI.
const OWN_NAMESPACE: &str = "urn:stele:";

/// A resource server: a service that accepts access tokens. It authenticates at the introspection endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// The name.
    pub name: ResourceName,
    /// The URI that identifies the resource server in tokens (RFC 8707 2).
    pub uri: Option<ResourceUri>,
    /// The secrets with which the resource server authenticates.
    pub secrets: Secrets,
    /// The kinds of legacy tokens that the resource server may introspect.
    pub legacy_tokens: BTreeSet<LegacyTokenType>,
    /// When the resource server was added.
    pub created_at: Timestamp,
}

impl Resource {
    /// The `aud` of tokens for this resource server: its URI, else `urn:stele:resource:NAME`. No two have the same.
    pub fn audience(&self) -> Audience {
        match &self.uri {
            Some(uri) => Audience(uri.0.clone()),
            None => Audience::of_name(&self.name),
        }
    }
}

/// The `aud` of access tokens for one resource server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Audience(String);

impl Audience {
    /// Parses an audience, as a request's parameter `resource` (RFC 8707 2) or a token's `aud` has it: a resource
    /// server's URI or `urn:stele:resource:NAME`. `None` if no resource server can have it.
    pub fn parse(text: &str) -> Option<Self> {
        let is_own_urn = || text.strip_prefix(URN_PREFIX).is_some_and(|name| ResourceName::parse(name).is_some());
        (is_own_urn() || ResourceUri::parse(text).is_some()).then(|| Self(text.to_owned()))
    }

    /// The audience of a resource server of this name that has no URI: `urn:stele:resource:NAME`.
    pub fn of_name(name: &ResourceName) -> Self {
        Self(format!("{URN_PREFIX}{name}"))
    }

    /// The audience as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Audience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The URI of a resource server: absolute, at most 512 bytes of the characters of RFC 3986, without fragment (RFC 8707
/// 2) and user info, and not in the namespace `urn:stele:`. URIs are compared byte by byte (RFC 3986 6.2.1).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceUri(String);

impl ResourceUri {
    /// Parses a URI; `None` if it is not acceptable.
    pub fn parse(text: &str) -> Option<Self> {
        let is_own = text.get(..OWN_NAMESPACE.len()).is_some_and(|start| start.eq_ignore_ascii_case(OWN_NAMESPACE));
        if text.len() > MAX_LENGTH || is_own {
            return None;
        }
        let uri = AbsoluteUri::parse(text)?;
        let has_user_info = uri.authority.is_some_and(|authority| authority.contains('@'));
        let is_empty = uri.authority.map_or(uri.path, |authority| authority).is_empty();
        // Browsers read `https:a` as `https://a`.
        let is_ambiguous =
            uri.authority.is_none() && WEB_SCHEMES.iter().any(|web| uri.scheme.eq_ignore_ascii_case(web));
        (!has_user_info && !is_empty && !is_ambiguous && uri.fragment.is_none()).then(|| Self(text.to_owned()))
    }

    /// The URI as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ResourceUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::ClientSecret;

    #[test]
    fn resource_uris_are_absolute_and_without_fragment() {
        for good in ["https://api.example/orders?v=2", "http://10.0.0.1:8080", "urn:example:orders", "app:x"] {
            assert_eq!(ResourceUri::parse(good).unwrap().as_str(), good);
            assert_eq!(Audience::parse(good).unwrap().as_str(), good);
        }
        let too_long = format!("https://a.example/{}", "x".repeat(MAX_LENGTH));
        for bad in [
            "",
            "orders",
            "/orders",
            "//api.example/",
            "https:",
            "https://",
            "https:///orders",
            "https:orders",
            "HTTPS:/orders",
            "https://api.example/#",
            "https://api.example/#a",
            "https://user@api.example/",
            "https://api.example/a b",
            "https://api.example/é",
            "https://api.example/\0",
            "https://api.example/\n",
            "https://api.example/\\",
            "https://api.example/%4",
            "1a:orders",
            "urn:stele:resource:orders",
            "URN:Stele:resource:orders",
            "urn:stele:acr:pwd",
            too_long.as_str(),
        ] {
            assert_eq!(ResourceUri::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_audience_is_the_uri_or_a_urn_of_the_name() {
        let secret = ClientSecret::from_request("x");
        let at = Timestamp::from_secs(0);
        let mut resource = Resource {
            name: ResourceName::parse("orders").unwrap(),
            uri: None,
            secrets: Secrets::new(&secret, at),
            legacy_tokens: BTreeSet::new(),
            created_at: at,
        };
        assert_eq!(resource.audience().as_str(), "urn:stele:resource:orders");
        assert_eq!(Audience::parse("urn:stele:resource:orders"), Some(resource.audience()));
        resource.uri = ResourceUri::parse("https://api.example/");
        assert_eq!(resource.audience(), Audience::parse("https://api.example/").unwrap());
        for bad in ["orders", "urn:stele:resource:", "urn:stele:resource:a b", "urn:stele:resource:100001", "\0"] {
            assert_eq!(Audience::parse(bad), None, "{bad}");
        }
    }
}
