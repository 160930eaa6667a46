//! Keys, JWKs and tokens of another implementation: `tests/vectors`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, Validation};
use serde_json::Value;
use stele_core::oauth::SigningAlgorithm;
use stele_jose::{KeySet, Verifier};
use stele_keys::KeyConsumer as _;

use crate::{EXPECTED, KEYS, NOW, algorithms, claims, issue, registered_key};

fn vectors() -> Vec<Value> {
    let file: Value = serde_json::from_str(include_str!("../vectors/tokens.json")).unwrap();
    assert_eq!(file["issuer"], EXPECTED.issuer);
    file["keys"].as_array().unwrap().clone()
}

/// The keys of the file.
fn vector_keys() -> KeySet {
    let keys = KeySet::empty(&algorithms());
    for vector in vectors() {
        let algorithm = SigningAlgorithm::parse(vector["algorithm"].as_str().unwrap()).unwrap();
        let number = vector["number"].as_u64().unwrap().try_into().unwrap();
        let key = registered_key(number, 0, vector["private_key"].as_str().unwrap());
        keys.keys_of(algorithm).unwrap().set_keys(vec![key]);
    }
    keys
}

#[test]
fn tokens_of_another_implementation_verify() {
    let verifier = Verifier::new(vector_keys());
    let mut count = 0;
    for token in vectors().iter().flat_map(|vector| vector["tokens"].as_array().unwrap()) {
        let verified: Value = verifier.verify(token["token"].as_str().unwrap(), &EXPECTED, NOW).unwrap();
        assert_eq!(verified, token["claims"]);
        count += 1;
    }
    assert_eq!(count, 9);
}

#[test]
fn the_jwk_set_equals_that_of_another_implementation() {
    let ours = serde_json::to_value(vector_keys().to_jwk_set()).unwrap();
    for (ours, vector) in ours["keys"].as_array().unwrap().iter().zip(vectors()) {
        // Every member, so that there is none of the private key.
        assert_eq!(*ours, vector["jwk"]);
    }
    assert_eq!(ours["keys"].as_array().unwrap().len(), 3);
}

/// Ed25519 and RSA PKCS#1 v1.5 sign deterministically, so the signatures must be equal.
#[test]
fn signatures_equal_those_of_another_implementation() {
    let keys = vector_keys();
    for vector in vectors() {
        let algorithm = SigningAlgorithm::parse(vector["algorithm"].as_str().unwrap()).unwrap();
        if algorithm == SigningAlgorithm::Es256 {
            continue;
        }
        let key = keys.current(algorithm, NOW).unwrap();
        for token in vector["tokens"].as_array().unwrap() {
            let (message, signature) = token["token"].as_str().unwrap().rsplit_once('.').unwrap();
            assert_eq!(URL_SAFE_NO_PAD.encode(key.sign(message.as_bytes()).unwrap()), signature);
        }
    }
}

/// A resource server that reads our JWK Set verifies our tokens.
#[test]
fn jsonwebtoken_verifies_our_tokens_by_our_jwk_set() {
    let jwks = serde_json::to_string(&KEYS.to_jwk_set()).unwrap();
    let jwks: jsonwebtoken::jwk::JwkSet = serde_json::from_str(&jwks).unwrap();
    for algorithm in algorithms() {
        let token = issue(algorithm);
        let header = jsonwebtoken::decode_header(&token).unwrap();
        let jwk = jwks.find(header.kid.as_deref().unwrap()).unwrap();
        let mut validation = Validation::new(header.alg);
        validation.set_audience(&[crate::AUDIENCE]);
        validation.set_issuer(&[EXPECTED.issuer]);
        validation.validate_exp = false;
        let decoded = jsonwebtoken::decode::<Value>(&token, &DecodingKey::from_jwk(jwk).unwrap(), &validation);
        assert_eq!(decoded.unwrap().claims, claims());
    }
}
