//! Signed tokens from outside: vectors of another implementation, hostile tokens, key rotation.

#![expect(clippy::unwrap_used, reason = "a test's set-up may panic")]

mod hostile_tokens;
mod properties;
mod rotation;
mod vectors;

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use stele_core::oauth::SigningAlgorithm;
use stele_core::random::OsRandom;
use stele_core::time::Timestamp;
use stele_jose::{Expected, ExpectedAudience, KeySet, Signer, SigningKey, Verifier};
use stele_keys::{KeyConsumer as _, RegisteredKey};

const NOW: Timestamp = Timestamp::from_secs(1_767_254_400);
const EXP: i64 = 1_767_254_700;
const AUDIENCE: &str = "urn:stele:resource:orders";
const EXPECTED: Expected<'_> =
    Expected { typ: "at+jwt", issuer: "https://auth.example.com", audience: ExpectedAudience::Contains(AUDIENCE) };

/// One generated key for each algorithm.
static KEYS: LazyLock<KeySet> = LazyLock::new(generate_keys);

fn algorithms() -> Vec<SigningAlgorithm> {
    SigningAlgorithm::all().collect()
}

fn generate_keys() -> KeySet {
    let keys = KeySet::empty(&algorithms());
    for algorithm in algorithms() {
        let kind = keys.keys_of(algorithm).unwrap();
        kind.set_keys(vec![registered_key(1, 0, &(kind.kind().generate)(&OsRandom).unwrap())]);
    }
    keys
}

fn registered_key(number: u32, active_from: i64, pem: &str) -> RegisteredKey {
    let key_material = Some(pem.to_owned().into());
    RegisteredKey { number, active_from: Timestamp::from_secs(active_from), key_material }
}

fn claims() -> Value {
    json!({"iss": EXPECTED.issuer, "aud": AUDIENCE, "sub": "0b922f14-d00b-41e7-aafd-525400bbac8e", "exp": EXP})
}

fn issue(algorithm: SigningAlgorithm) -> String {
    Signer::new(KEYS.clone()).sign(algorithm, "at+jwt", &claims(), NOW).unwrap()
}

fn verify(token: &str) -> Option<Value> {
    Verifier::new(KEYS.clone()).verify(token, &EXPECTED, NOW)
}

/// Signs any header and claims with a genuine key.
fn forge(key: &SigningKey, header: &Value, claims: &Value) -> String {
    forge_bytes(key, header.to_string().as_bytes(), claims.to_string().as_bytes())
}

fn forge_bytes(key: &SigningKey, header: &[u8], claims: &[u8]) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = key.sign(message.as_bytes()).unwrap();
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn header_of(key: &SigningKey) -> Value {
    json!({"typ": "at+jwt", "alg": key.algorithm().as_str(), "kid": key.key_id()})
}

fn with_member(value: &Value, name: &str, new: Value) -> Value {
    let mut value = value.clone();
    value[name] = new;
    value
}

fn without_member(value: &Value, name: &str) -> Value {
    let mut value = value.clone();
    value.as_object_mut().unwrap().remove(name);
    value
}

fn decode_part(token: &str, index: usize) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(index).unwrap()).unwrap()).unwrap()
}
