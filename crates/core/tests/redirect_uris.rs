//! Redirect URIs, compared with another reader of URLs: what can be registered has one spelling, and every browser reads
//! it as it is written. Browsers follow the WHATWG URL standard, which the crate `url` implements.

use proptest::prelude::*;
use proptest::sample::select;
use stele_core::oauth::{RedirectUri, ResourceUri};
use url::Url;

/// Parts of URIs, most of them ambiguous in some place.
const PARTS: &[&str] = &[
    "https",
    "http",
    "HTTPS",
    "com.example.app",
    "javascript",
    "data",
    ":",
    ":/",
    "://",
    ":///",
    "/",
    "//",
    "\\",
    "/\\",
    "app.example",
    "App.example",
    "xn--fiq228c",
    "a_b",
    "-a",
    "localhost",
    "127.0.0.1",
    "127.1",
    "0x7f.1",
    "0177.0.0.1",
    "2130706433",
    "1.2.3.4.5",
    "[::1]",
    "[0::1]",
    "[::ffff:1.2.3.4]",
    "[",
    "]",
    "@",
    "user@",
    "user:pass@",
    ":443",
    ":80",
    ":8080",
    ":0",
    ":",
    "cb",
    ".",
    "..",
    "..;",
    ";",
    "%2e",
    "%2E%2e",
    "%2f",
    "%5c",
    "%25",
    "%00",
    "%0a",
    "%63",
    "%E4%B8%AD",
    "%",
    "?",
    "x=1",
    "&",
    "code=1",
    "#",
    "*",
    " ",
    "\t",
    "中",
    "'",
    "|",
    "~",
];

fn uri() -> impl Strategy<Value = String> {
    let free = prop::collection::vec(select(PARTS), 0..12).prop_map(|parts| parts.concat());
    // Most of the former have no scheme.
    let origin = select(&["https://app.example", "http://127.0.0.1", "com.example.app:", "https://"][..]);
    let rest = prop::collection::vec(select(PARTS), 0..8);
    let with_origin = (origin, rest).prop_map(|(origin, parts)| format!("{origin}{}", parts.concat()));
    prop_oneof![free, with_origin, "\\PC{0,40}"]
}

/// The text that a browser makes of a URL that it read, as far as the differences are allowed: a path that is empty is
/// `/`, and a default port is left out.
fn expected_serialization(text: &str) -> String {
    let end = text.find('?').unwrap_or(text.len());
    let (base, query) = text.split_at(end);
    let Some((scheme, rest)) = base.split_once("://") else { return text.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let default_port = match scheme {
        "https" => ":443",
        "http" => ":80",
        _ => "\0",
    };
    let authority = authority.strip_suffix(default_port).unwrap_or(authority);
    let path = if path.is_empty() && matches!(scheme, "https" | "http") { "/" } else { path };
    // A quote in the query of a URL with https or http is written as %27.
    let query = if matches!(scheme, "https" | "http") { query.replace('\'', "%27") } else { query.to_owned() };
    format!("{scheme}://{authority}{path}{query}")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn browsers_read_a_registered_redirect_uri_as_it_is_written(text in uri()) {
        if RedirectUri::parse(&text).is_ok() {
            let url = match Url::parse(&text) {
                // Punycode that is not valid: no browser follows such a redirect.
                Err(url::ParseError::IdnaError) if text.contains("xn--") => return Ok(()),
                parsed => parsed.map_err(|error| TestCaseError::fail(format!("{text}: {error}")))?,
            };
            prop_assert_eq!(url.as_str(), expected_serialization(&text));
            prop_assert!(url.username().is_empty() && url.password().is_none() && url.fragment().is_none(), "{}", text);
            if url.scheme() == "http" {
                let host = url.host_str().unwrap_or_default();
                prop_assert!(host == "localhost" || host == "[::1]" || host.starts_with("127."), "{}", text);
            }
            let names = ["code", "state", "iss", "error"];
            prop_assert!(url.query_pairs().all(|(name, _)| !names.contains(&name.as_ref())), "{}", text);
        }
    }

    /// The test above would say nothing if nothing were accepted.
    #[test]
    fn ordinary_redirect_uris_are_accepted(host in "[a-z]{1,9}(\\.[a-z]{2,5}){1,2}", path in "(/[a-zA-Z0-9_~-]{1,8}){0,3}") {
        let (https, loopback) = (format!("https://{host}{path}"), format!("http://127.0.0.1:8080{path}?x=1"));
        prop_assert!(RedirectUri::parse(&https).is_ok(), "{}", https);
        prop_assert!(RedirectUri::parse(&loopback).is_ok(), "{}", loopback);
    }

    #[test]
    fn a_resource_uri_is_a_url_without_fragment_and_user(text in uri()) {
        if let (Some(_), Ok(url)) = (ResourceUri::parse(&text), Url::parse(&text)) {
            prop_assert!(url.username().is_empty() && url.password().is_none() && url.fragment().is_none(), "{}", text);
        }
    }
}
