//! Who is calling: `X-Forwarded-For` in many lines, behind a trusted proxy and without one.
#![no_main]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use stele_web::{Settings, trust::Trust};

static TRUST: LazyLock<Trust> = LazyLock::new(|| {
    let settings = Settings::default().with([("STELE_TRUSTED_PROXIES", "10.0.0.0/8, ::1".to_owned())]);
    Trust::from_settings(&settings).expect("a good setting")
});

fuzz_target!(|data: &[u8]| {
    let mut headers = HeaderMap::new();
    for line in data.split(|&byte| byte == b'\n') {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(HeaderName::from_static("x-forwarded-for"), value);
        }
    }
    let stranger = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    assert_eq!(TRUST.client(stranger, &headers), stranger, "a stranger's word about itself counts for nothing");
    let _ = TRUST.client(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), &headers);
});
