//! The client address from `X-Forwarded-For` in several lines, with and without a trusted proxy; and request ids.
#![no_main]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use stele_service::Settings;
use stele_service::request_context::RequestId;
use stele_service::trusted_proxies::{TRUSTED_PROXIES, TrustedProxies};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const UNTRUSTED_PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const TRUSTED_PROXY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

static TRUSTED_PROXIES_UNDER_TEST: LazyLock<TrustedProxies> = LazyLock::new(|| {
    let settings = Settings::default().with_values([("STELE_TRUSTED_PROXIES", "10.0.0.0/8, ::1".to_owned())]);
    settings.get(&TRUSTED_PROXIES).expect("a valid setting")
});

fuzz_target!(|data: &[u8]| {
    let mut headers = HeaderMap::new();
    for line in data.split(|&byte| byte == b'\n') {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(FORWARDED_FOR, value);
        }
    }
    assert_eq!(
        TRUSTED_PROXIES_UNDER_TEST.client_address(UNTRUSTED_PEER, &headers),
        UNTRUSTED_PEER,
        "the header of an untrusted peer has no effect"
    );
    let client = TRUSTED_PROXIES_UNDER_TEST.client_address(TRUSTED_PROXY, &headers);
    assert_eq!(client, client.to_canonical(), "an address has one spelling");
    // Only the entry that the trusted proxy appends counts, in a new line or in the same line.
    for forwarded_for in ["192.0.2.1", "192.0.2.1, 10.9.9.9", "[::ffff:192.0.2.1]:443"] {
        let mut with_entry = headers.clone();
        with_entry.append(FORWARDED_FOR, HeaderValue::from_static(forwarded_for));
        assert_eq!(TRUSTED_PROXIES_UNDER_TEST.client_address(TRUSTED_PROXY, &with_entry), UNTRUSTED_PEER);
        if let Ok(line) = HeaderValue::from_bytes(&[data, b",", forwarded_for.as_bytes()].concat())
            && line.to_str().is_ok()
        {
            let mut with_entry = HeaderMap::new();
            with_entry.append(FORWARDED_FOR, line);
            assert_eq!(TRUSTED_PROXIES_UNDER_TEST.client_address(TRUSTED_PROXY, &with_entry), UNTRUSTED_PEER);
        }
    }
    if let Some(id) = std::str::from_utf8(data).ok().and_then(RequestId::parse) {
        // Request ids are written into logs, the audit log and headers without escaping.
        assert_eq!(id.as_str().as_bytes(), data);
        assert!((1..=64).contains(&data.len()) && data.iter().all(|b| b.is_ascii_graphic() && !b"\"\\=".contains(b)));
    }
});
