//! Session tokens, JWTs, and the headers that carry them. A JWT verifies only if it was signed here and has all claims.
#![no_main]

use std::sync::LazyLock;

use actix_web::http::header::{AUTHORIZATION, COOKIE, HeaderMap, HeaderName, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use stele_core::oauth::SigningAlgorithm;
use stele_core::random::OsRandom;
use stele_core::session::{Session, Token};
use stele_core::time::Timestamp;
use stele_core::user::UserId;
use stele_jose::login_token::is_jwt;
use stele_jose::{Expected, ExpectedAudience, KeySet, LoginTokens, SigningKey, Verifier};
use stele_keys::{KeyConsumer as _, RegisteredKey};
use svc_jwt::presented_tokens;

const NOW: Timestamp = Timestamp::from_secs(0);
const HEADER: &str = r#"{"typ":"JWT","alg":"EdDSA","kid":"eddsa-1"}"#;

/// The type and the audience of the access tokens.
const ACCESS_TOKEN: Expected<'_> =
    Expected { typ: "at+jwt", issuer: "https://a.example", audience: ExpectedAudience::Contains("a") };

struct SignedTokens {
    keys: KeySet,
    tokens: LoginTokens,
    issued: String,
}

static SIGNED_TOKENS: LazyLock<SignedTokens> = LazyLock::new(|| {
    let keys = KeySet::empty(&SigningAlgorithm::all().collect::<Vec<_>>());
    for algorithm in SigningAlgorithm::all() {
        let keys = keys.keys_of(algorithm).expect("the algorithm's keys");
        let key_material = (keys.kind().generate)(&OsRandom);
        keys.set_keys(vec![RegisteredKey { number: 1, active_from: NOW, key_material }]);
    }
    let tokens = LoginTokens::new(&keys, SigningAlgorithm::EdDsa, "stele");
    let session = Session {
        user: UserId::from_bytes([7; 16]),
        dialect: "jwt".to_owned(),
        app: String::new(),
        created: NOW,
        expires: Timestamp::from_secs(10),
        last_seen: NOW,
        epoch: 0,
    };
    let issued = tokens.issue(&session, &Token::generate(&OsRandom)).expect("a token");
    assert!(tokens.verify(&issued, NOW).is_some());
    SignedTokens { keys, tokens, issued }
});

fn verifies(token: &str) -> bool {
    SIGNED_TOKENS.tokens.verify(token, NOW).is_some()
}

/// Fails if a token verifies as an access token without the right header and claims, whichever key signed it.
fn assert_access_token_needs_valid_claims(data: &[u8]) {
    let verifier = Verifier::new(SIGNED_TOKENS.keys.clone());
    for algorithm in SigningAlgorithm::all() {
        let key = SIGNED_TOKENS.keys.current(algorithm, NOW).expect("a key");
        let header = format!(r#"{{"typ":"at+jwt","alg":"{}","kid":"{}"}}"#, algorithm.as_str(), key.key_id());
        let token = sign(&key, header.as_bytes(), data);
        assert!(!verifies(&token), "an access token passes for a login token");
        if let Some(claims) = verifier.verify::<Value>(&token, &ACCESS_TOKEN, NOW) {
            let aud = &claims["aud"];
            assert!(aud == "a" || aud.as_array().is_some_and(|all| all.iter().any(|one| one == "a")));
            assert!(claims["exp"].as_i64().is_some_and(|exp| exp > 0) && claims["iss"] == "https://a.example");
        }
    }
    let text = String::from_utf8_lossy(data);
    assert!(verifier.verify::<Value>(&text, &ACCESS_TOKEN, NOW).is_none());
    let name = SIGNED_TOKENS.keys.unknown_key_name(&text);
    assert!(name.is_none_or(|name| name.starts_with("jwt-")));
}

/// Signs any header and claims.
fn sign(key: &SigningKey, header: &[u8], claims: &[u8]) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = key.sign(message.as_bytes()).expect("a signature");
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Fails if the issued token still verifies with one of its three parts replaced by `data`, encoded.
fn assert_altered_token_rejected(data: &[u8]) {
    let parts: Vec<_> = SIGNED_TOKENS.issued.split('.').collect();
    let encoded = URL_SAFE_NO_PAD.encode(data);
    for index in 0..3 {
        let mut altered = parts.clone();
        altered[index] = &encoded;
        let altered = altered.join(".");
        assert!(altered == SIGNED_TOKENS.issued || !verifies(&altered));
    }
}

/// Signs `data` as claims, then as a header; fails if a token verifies without valid claims or the right header.
fn assert_signed_token_needs_valid_claims(data: &[u8]) {
    let key = SIGNED_TOKENS.keys.current(SigningAlgorithm::EdDsa, NOW).expect("a key");
    let sign = |header: &[u8], claims: &[u8]| sign(&key, header, claims);
    if let Some(verified) = SIGNED_TOKENS.tokens.verify(&sign(HEADER.as_bytes(), data), NOW) {
        let claims: Value = serde_json::from_slice(data).expect("JSON");
        assert!(
            claims["exp"].as_i64().is_some_and(|exp| exp > 0) && claims["iat"].is_i64() && claims["iss"] == "stele"
        );
        assert_eq!(claims["sub"], verified.user_id);
        assert!(claims["jti"].as_str().is_some_and(|jti| jti.eq_ignore_ascii_case(verified.session_token.expose())));
    }
    let claims =
        SIGNED_TOKENS.issued.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok()).expect("claims");
    if verifies(&sign(data, &claims)) {
        let header: Value = serde_json::from_slice(data).expect("JSON");
        assert!(header["alg"] == "EdDSA" && header["kid"] == "eddsa-1" && header["typ"] == "JWT");
        assert_eq!(header.as_object().map(serde_json::Map::len), Some(3), "a header member more");
    }
}

fn header_map(name: HeaderName, value: HeaderValue) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(name, value);
    headers
}

fuzz_target!(|data: &[u8]| {
    if let Ok(value) = HeaderValue::from_bytes(data) {
        let headers = header_map(AUTHORIZATION, value);
        let tokens = presented_tokens::tokens_from_headers(&headers);
        assert!(!tokens.iter().any(|token| verifies(token)));
        // The rule of `authorization_token`, which all dialects share.
        assert_eq!(stele_dialect::authorization_token(&headers), tokens.first().copied());
        // The token alone is read as the same token.
        if let Some(token) = tokens.first() {
            let headers = header_map(AUTHORIZATION, HeaderValue::from_str(token).expect("a part of a header value"));
            assert_eq!(presented_tokens::tokens_from_headers(&headers), tokens);
        }
    }
    if let Ok(value) = HeaderValue::from_bytes(data) {
        let found = svc_portal::session_cookie::session_token(&header_map(COOKIE, value));
        let text = String::from_utf8_lossy(data).to_lowercase().replace('-', "");
        assert!(found.is_none_or(|token| text.contains(token.expose()) && text.contains("stele_session")));
    }
    if let Ok(text) = std::str::from_utf8(data) {
        assert!(!verifies(text));
        let _ = is_jwt(text);
        if let Some(token) = Token::parse(text) {
            assert_eq!(Token::parse(token.expose()).map(|parsed| parsed.key()), Some(token.key()));
            assert_eq!(token.expose().len(), 32);
            for cookie in [format!("a=b; stele_session={text}; c"), format!("a=b,stele_session=\"{text}\",c=d")] {
                let Ok(cookie) = HeaderValue::try_from(cookie) else { continue };
                let found = svc_portal::session_cookie::session_token(&header_map(COOKIE, cookie));
                assert_eq!(found.map(|found| found.key()), Some(token.key()));
            }
        }
    }
    assert_altered_token_rejected(data);
    assert_signed_token_needs_valid_claims(data);
    assert_access_token_needs_valid_claims(data);
});
