//! Tokens: of sessions, JWTs, and the headers that carry them. Nothing that was not signed here verifies.
#![no_main]

use std::sync::{Arc, LazyLock};

use actix_web::http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use stele_core::random::OsRandom;
use stele_core::session::Token;
use stele_core::time::Timestamp;
use stele_web::keyring::Holder as _;
use svc_jwt::tokens::{Tokens, is_jwt};
use svc_jwt::{bearer, keys};

static TOKENS: LazyLock<Tokens> = LazyLock::new(|| {
    let keys = keys::Keys::none(keys::Algorithm::EdDsa);
    keys.hold(vec![(1, Timestamp::from_secs(0), (keys.family().make)(&OsRandom))]);
    Tokens::new(Arc::new(keys), "stele")
});

fuzz_target!(|data: &[u8]| {
    if let Ok(value) = HeaderValue::from_bytes(data) {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, value);
        if let Some(token) = bearer::presented(&headers) {
            assert!(TOKENS.verify(token, Timestamp::from_secs(0)).is_none());
        }
        let _ = stele_web::extract::authorization(&headers);
    }
    if let Ok(text) = std::str::from_utf8(data) {
        assert!(TOKENS.verify(text, Timestamp::from_secs(0)).is_none());
        let _ = is_jwt(text);
        if let Some(token) = Token::parse(text) {
            assert_eq!(Token::parse(token.expose()).map(|again| again.key()), Some(token.key()));
            assert_eq!(token.expose().len(), 32);
        }
    }
});
