//! The routing path: whatever reaches a service reaches it under that service's own prefix, however it is read, and in its
//! canonical form.
#![no_main]

use std::sync::LazyLock;

use gateway::Config;
use libfuzzer_sys::fuzz_target;
use stele_service::Settings;

static CONFIG: LazyLock<Config> = LazyLock::new(|| Config::from_settings(&Settings::default()).expect("built in"));

/// DESIGN's table of routes, written out anew.
fn expected_service(path: &str) -> Option<&'static str> {
    // A prefix needs no slash at its end.
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
    } else {
        None
    }
}

/// The path as a server reads it that unescapes, cuts parameters off, and resolves dots and empty segments.
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
            plain => segments.push(plain),
        }
    }
    format!("/{}", segments.join("/"))
}

fuzz_target!(|path: &str| {
    // Whatever is taken has slashes in excess at most.
    let resolved = resolve_path(path);
    if let Some((service, forwarded)) = CONFIG.service_for(path) {
        assert_eq!(expected_service(&forwarded), Some(service));
        assert_eq!(expected_service(&resolved), Some(service), "read in another way it reaches another service");
        assert_eq!(resolved, forwarded, "what is passed on can be read in one way only");
        assert_eq!(CONFIG.service_for(&forwarded), Some((service, forwarded.clone())), "it is canonical");
        let bare = |path: &str| path.replace('/', "");
        assert_eq!(bare(&forwarded), bare(path), "nothing but slashes is left out");
    } else {
        // No documented URL has anything but these, and all of them go through.
        let plain = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'/') && path.starts_with('/');
        assert!(!plain || expected_service(&resolved).is_none(), "refused without a reason");
    }
});
