//! The routing path: a forwarded path is canonical and has its service's prefix, even for a service that decodes or
//! normalizes it.
#![no_main]

use std::sync::LazyLock;

use gateway::Config;
use libfuzzer_sys::fuzz_target;
use stele_service::Settings;

static CONFIG: LazyLock<Config> =
    LazyLock::new(|| Config::from_settings(&Settings::default()).expect("default settings"));

/// The routes of `gateway/routes.toml`, implemented a second time, independently of the gateway.
fn expected_service(path: &str) -> Option<&'static str> {
    // A prefix also matches without its final slash.
    let path = &format!("{path}/");
    let lower = path.to_ascii_lowercase();
    if path.starts_with("/container/api/v1/cloudbox/tms/") {
        Some("tms")
    } else if path.starts_with("/api/v1/cloudbox/") {
        Some("cloudbox")
    } else if path.starts_with("/i/") || path.starts_with("/code/") {
        Some("portal")
    } else if path.starts_with("/auth/") {
        Some("mefp")
    } else if lower.starts_with("/api/v1/auth/") || lower.starts_with("/api/vi/auth/") {
        Some("jwt")
    } else if ["/.well-known/", "/oauth2/", "/authz/"].iter().any(|prefix| path.starts_with(prefix)) {
        Some("oauth")
    } else {
        None
    }
}

/// The path as read by a server that percent-decodes it, removes parameters, and resolves dot and empty segments.
fn resolve_path(path: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        let digits = rest.clone().take(2).map(|b| char::from(b).to_digit(16)).collect::<Option<Vec<_>>>();
        match (byte, digits.as_deref()) {
            (b'%', Some(&[high, low])) => {
                bytes.push(u8::try_from(high * 16 + low).expect("two hex digits"));
                rest.nth(1);
            }
            _ => bytes.push(byte),
        }
    }
    let text = String::from_utf8_lossy(&bytes).replace('\\', "/");
    let mut segments: Vec<&str> = Vec::new();
    for segment in text.split('/') {
        match segment.split(';').next().unwrap_or_default() {
            "" | "." => {}
            ".." => drop(segments.pop()),
            name => segments.push(name),
        }
    }
    format!("/{}", segments.join("/"))
}

fuzz_target!(|path: &str| {
    let resolved = resolve_path(path);
    if let Some((service, forwarded)) = CONFIG.service_for(path) {
        assert_eq!(expected_service(&forwarded), Some(service));
        assert_eq!(expected_service(&resolved), Some(service), "every reading leads to the same service");
        assert_eq!(resolved, forwarded, "the forwarded path is unambiguous");
        assert_eq!(
            CONFIG.service_for(&forwarded),
            Some((service, forwarded.clone())),
            "the forwarded path is canonical"
        );
        let without_slashes = |path: &str| path.replace('/', "");
        assert_eq!(without_slashes(&forwarded), without_slashes(path), "only redundant slashes are removed");
    } else {
        // Documented URLs have only these characters, and are all forwarded.
        let is_plain = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'/') && path.starts_with('/');
        assert!(!is_plain || expected_service(&resolved).is_none(), "documented paths are forwarded");
    }
});
