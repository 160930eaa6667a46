//! Forged tokens (docs/THREATS.md 27; RFC 8725 3.1, 3.10, 3.11).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};
use stele_core::oauth::SigningAlgorithm;
use stele_jose::{Expected, ExpectedAudience, MAX_TOKEN_BYTES, Signer, Verifier};

use crate::{
    AUDIENCE, EXP, EXPECTED, KEYS, NOW, algorithms, claims, decode_part, forge, forge_bytes, generate_keys, header_of,
    issue, verify, with_member, without_member,
};

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

#[test]
fn an_issued_token_has_the_specified_header_and_verifies() {
    for (algorithm, kid) in algorithms().into_iter().zip(["rs256-1", "eddsa-1", "es256-1"]) {
        let token = issue(algorithm);
        assert_eq!(decode_part(&token, 0), json!({"typ": "at+jwt", "alg": algorithm.as_str(), "kid": kid}));
        assert_eq!(verify(&token), Some(claims()));
    }
}

#[test]
fn unsigned_tokens_are_rejected() {
    for algorithm in algorithms() {
        let token = issue(algorithm);
        let (_, signature) = token.rsplit_once('.').unwrap();
        let header = decode_part(&token, 0);
        for alg in ["none", "None", "NONE", "nOnE", ""] {
            let unsigned = format!("{}.{}", encode(&with_member(&header, "alg", alg.into())), encode(&claims()));
            for end in ["", signature] {
                assert_eq!(verify(&format!("{unsigned}.{end}")), None, "{alg}");
            }
        }
        for damaged in
            [&token[1..], &token[..token.len() - 1], &format!("{token}A"), &format!("{token}."), &format!(".{token}")]
        {
            assert_eq!(verify(damaged), None);
        }
        assert_eq!(verify(token.rsplit_once('.').unwrap().0), None);
    }
}

#[test]
fn the_public_key_is_not_accepted_as_an_hmac_secret() {
    for algorithm in algorithms() {
        let key = KEYS.current(algorithm, NOW).unwrap();
        let jwks = serde_json::to_string(&KEYS.to_jwk_set()).unwrap();
        for secret in [key.public_key_bytes(), jwks.as_bytes()] {
            for alg in ["HS256", algorithm.as_str()] {
                let header = with_member(&header_of(&key), "alg", alg.into());
                let message = format!("{}.{}", encode(&header), encode(&claims()));
                let secret = EncodingKey::from_secret(secret);
                let signature = crypto::sign(message.as_bytes(), &secret, Algorithm::HS256).unwrap();
                assert_eq!(verify(&format!("{message}.{signature}")), None);
            }
        }
    }
}

/// The algorithm is the key's: a header that names another one is refused even if the signature is genuine.
#[test]
fn a_key_is_used_with_its_own_algorithm_only() {
    for algorithm in algorithms() {
        let key = KEYS.current(algorithm, NOW).unwrap();
        for alg in ["RS256", "EdDSA", "ES256", "RS384", "PS256", "ES384", "Ed25519", "rs256", "eddsa", " EdDSA"] {
            let token = forge(&key, &with_member(&header_of(&key), "alg", alg.into()), &claims());
            assert_eq!(verify(&token).is_some(), alg == algorithm.as_str(), "{alg} by {}", key.key_id());
        }
        for kid in ["rs256-1", "eddsa-1", "es256-1"] {
            let token = forge(&key, &with_member(&header_of(&key), "kid", kid.into()), &claims());
            assert_eq!(verify(&token).is_some(), kid == key.key_id(), "{kid} by {}", key.key_id());
        }
    }
}

#[test]
fn header_members_that_name_a_key_or_an_extension_are_rejected() {
    let key = KEYS.current(SigningAlgorithm::EdDsa, NOW).unwrap();
    let attacker = generate_keys().current(SigningAlgorithm::EdDsa, NOW).unwrap();
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(attacker.public_key_bytes())});
    let members = [
        ("jwk", jwk),
        ("jku", "https://evil.example/jwks.json".into()),
        ("x5u", "https://evil.example/key.pem".into()),
        ("x5c", json!(["MIIB"])),
        ("x5t", "AAAA".into()),
        ("x5t#S256", "AAAA".into()),
        ("crit", json!(["b64"])),
        ("crit", json!([])),
        ("b64", true.into()),
        ("zip", "DEF".into()),
        ("enc", "A128GCM".into()),
        ("cty", "JWT".into()),
        ("iss", EXPECTED.issuer.into()),
    ];
    for (name, value) in members {
        let header = with_member(&header_of(&key), name, value);
        for key in [&attacker, &key] {
            assert_eq!(verify(&forge(key, &header, &claims())), None, "{name}");
        }
    }
    for header in ["typ", "alg", "kid"].map(|name| without_member(&header_of(&key), name)) {
        assert_eq!(verify(&forge(&key, &header, &claims())), None, "{header}");
    }
    let repeated = header_of(&key).to_string().replacen('{', r#"{"kid":"eddsa-9","#, 1);
    assert_eq!(verify(&forge_bytes(&key, repeated.as_bytes(), claims().to_string().as_bytes())), None);
    assert!(verify(&forge(&key, &header_of(&key), &claims())).is_some());
}

#[test]
fn hostile_key_ids_are_rejected() {
    let key = KEYS.current(SigningAlgorithm::EdDsa, NOW).unwrap();
    let ids = [
        "",
        "eddsa-2",
        "eddsa-01",
        "EDDSA-1",
        "eddsa-1\0",
        "../keys/jwt-eddsa-1.pem",
        "/dev/null",
        "eddsa-1' OR 1=1--",
    ];
    let ids =
        ids.map(Value::from).into_iter().chain([Value::Null, 1.into(), json!(["eddsa-1"]), "x".repeat(9_000).into()]);
    for kid in ids {
        assert_eq!(verify(&forge(&key, &with_member(&header_of(&key), "kid", kid), &claims())), None);
    }
}

/// RFC 8725 3.11: a token of one type never passes for one of another, although one key signs both.
#[test]
fn a_token_of_another_type_is_rejected() {
    let signer = Signer::new(KEYS.clone());
    for typ in ["JWT", "stele-assertion+jwt", "at+JWT", "AT+JWT", "application/at+jwt", ""] {
        let token = signer.sign(SigningAlgorithm::Rs256, typ, &claims(), NOW).unwrap();
        assert_eq!(verify(&token), None, "{typ}");
        let expected = Expected { typ, ..EXPECTED };
        assert_eq!(Verifier::new(KEYS.clone()).verify(&token, &expected, NOW), Some(claims()), "{typ}");
    }
}

#[test]
fn tokens_beyond_the_length_limit_are_neither_issued_nor_read() {
    let key = KEYS.current(SigningAlgorithm::EdDsa, NOW).unwrap();
    // Header and signature in base64url, and two dots.
    let fixed = encode(&header_of(&key)).len() + 88 - 2 + 2;
    let longest = (MAX_TOKEN_BYTES - fixed) / 4 * 3;
    let of_length = |bytes: usize| {
        let frame = with_member(&claims(), "pad", "".into()).to_string().len();
        with_member(&claims(), "pad", "x".repeat(bytes - frame).into())
    };
    let token = forge(&key, &header_of(&key), &of_length(longest));
    assert!(token.len() <= MAX_TOKEN_BYTES && verify(&token).is_some(), "{}", token.len());
    let token = forge(&key, &header_of(&key), &of_length(longest + 3));
    assert!(token.len() > MAX_TOKEN_BYTES && verify(&token).is_none());
    let signer = Signer::new(KEYS.clone());
    assert!(signer.sign(SigningAlgorithm::EdDsa, "at+jwt", &of_length(longest), NOW).is_ok());
    assert!(signer.sign(SigningAlgorithm::EdDsa, "at+jwt", &of_length(longest + 3), NOW).is_err());
}

#[test]
fn missing_and_mistyped_claims_are_rejected() {
    let key = KEYS.current(SigningAlgorithm::EdDsa, NOW).unwrap();
    let verify_claims = |claims: &Value| verify(&forge(&key, &header_of(&key), claims));
    for name in ["iss", "aud", "exp"] {
        assert_eq!(verify_claims(&without_member(&claims(), name)), None, "{name}");
    }
    let now = NOW.as_secs();
    let expiries = [
        json!(EXP.to_string()),
        json!(9_999_999_999.5),
        json!(1e10),
        json!(null),
        json!(true),
        json!([EXP]),
        json!(u64::MAX),
        json!(-1),
        json!(0),
        json!(now),
    ];
    let issuers = ["", "https://auth.example.com/", "HTTPS://auth.example.com", "stele"].map(Value::from);
    let audiences = [json!(""), json!([]), json!(["a"]), json!(1), json!(null), json!({}), json!([[AUDIENCE]])];
    let cases = expiries.map(|value| ("exp", value)).into_iter();
    let cases = cases.chain(issuers.map(|value| ("iss", value))).chain(audiences.map(|value| ("aud", value)));
    for (name, value) in cases.chain([("iss", json!([EXPECTED.issuer])), ("nbf", json!(now + 1)), ("nbf", json!("0"))])
    {
        assert_eq!(verify_claims(&with_member(&claims(), name, value.clone())), None, "{name} {value}");
    }
    for (name, value) in [("aud", json!(["a", AUDIENCE])), ("nbf", json!(now)), ("exp", json!(now + 1))] {
        assert!(verify_claims(&with_member(&claims(), name, value.clone())).is_some(), "{name} {value}");
    }
    for name in ["iss", "aud", "exp"] {
        let repeated = claims().to_string().replacen('{', &format!("{{{}:{},", json!(name), claims()[name]), 1);
        let token = forge_bytes(&key, header_of(&key).to_string().as_bytes(), repeated.as_bytes());
        assert_eq!(verify(&token), None, "{repeated}");
    }
}

#[test]
fn the_expected_audience_decides() {
    let verifier = Verifier::new(KEYS.clone());
    let sign = |claims: &Value| Signer::new(KEYS.clone()).sign(SigningAlgorithm::Es256, "at+jwt", claims, NOW).unwrap();
    let (with, without) = (sign(&claims()), sign(&without_member(&claims(), "aud")));
    let verify =
        |token: &str, audience| verifier.verify::<Value>(token, &Expected { audience, ..EXPECTED }, NOW).is_some();
    assert!(verify(&with, ExpectedAudience::Any) && verify(&without, ExpectedAudience::Any));
    assert!(verify(&without, ExpectedAudience::Absent) && !verify(&with, ExpectedAudience::Absent));
    assert!(!verify(&with, ExpectedAudience::Contains("urn:stele:resource")));
}
