//! Forged and malformed JWTs (docs/THREATS.md 27, 28), sent to both endpoints that take login tokens.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};
use stele_app::token_settings::JWT_ALG;
use stele_core::oauth::SigningAlgorithm;
use stele_core::ports::{KeyRecord, KeyRetirement};
use stele_core::time::Timestamp;
use stele_jose::{SigningKeys, key_kind};
use stele_keys::{KeyConsumer as _, RegisteredKey};
use svc_jwt::SERVICE;

use stele_testkit::conformance::DialectUnderTest as _;
use stele_testkit::{IMPORTED_PHONE, IMPORTED_UUID};

use crate::{ResponseExt as _, TestService};

fn encode_part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// Signs a token with any header, claims and key.
fn forge(header: &Value, claims: &Value, key: &EncodingKey, algorithm: Algorithm) -> String {
    let message = format!("{}.{}", encode_part(header), encode_part(claims));
    let signature = crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}

fn decode_parts(token: &str) -> (Value, Value) {
    let decode = |part: &str| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    let mut parts = token.split('.');
    (decode(parts.next().unwrap()), decode(parts.next().unwrap()))
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

/// The service, a valid token, and the service's own signing key, which no attacker has.
async fn service_with_token_and_key(algorithm: &str) -> (TestService, String, EncodingKey) {
    let service = TestService::with_settings(&[("STELE_JWT_ALG", algorithm)]).await;
    service.lab.user("a").add().await;
    let token = service.login("a", "123456").await;
    let settings = &service.lab.context().settings;
    let key = load_key(&settings.keys_dir(), settings.get(&JWT_ALG).unwrap());
    (service, token, key.encoding_key)
}

/// A signing key as an attacker would use it if it leaked.
struct LeakedKey {
    encoding_key: EncodingKey,
    public_key: Vec<u8>,
}

/// Loads signing key 1 from a key folder.
fn load_key(folder: &Path, algorithm: SigningAlgorithm) -> LeakedKey {
    let (keys, start) = (SigningKeys::empty(algorithm), Timestamp::from_secs(0));
    let pem = key_kind(algorithm).read(folder, 1).unwrap().0;
    let encoding_key = match algorithm {
        SigningAlgorithm::Rs256 => EncodingKey::from_rsa_pem(pem.as_bytes()),
        SigningAlgorithm::EdDsa => EncodingKey::from_ed_pem(pem.as_bytes()),
        SigningAlgorithm::Es256 => EncodingKey::from_ec_pem(pem.as_bytes()),
    }
    .unwrap();
    keys.set_keys(vec![RegisteredKey { number: 1, active_from: start, key_material: Some(pem) }]);
    LeakedKey { encoding_key, public_key: keys.current(start).unwrap().public_key_bytes().to_vec() }
}

async fn assert_rejected(service: &TestService, token: &str) {
    service.logout(token).await.assert_error(401, "注销失败");
    service.update_password(token, "a", "new123").await.assert_error(401, "更新密码失败");
}

#[tokio::test]
async fn a_token_has_the_specified_header_and_claims() {
    for (setting, kid) in [("EdDSA", "eddsa-1"), ("RS256", "rs256-1"), ("ES256", "es256-1")] {
        let (service, token, _) = service_with_token_and_key(setting).await;
        let (header, claims) = decode_parts(&token);
        assert_eq!(header, json!({"typ": "JWT", "alg": setting, "kid": kid}));
        let now = service.lab.clock().now().as_secs();
        assert_eq!(
            (&claims["iat"], &claims["exp"], &claims["iss"]),
            (&now.into(), &(now + 43_200).into(), &"stele".into())
        );
        assert_eq!(claims["jti"].as_str().unwrap().len(), 32);
        assert_eq!(claims["sub"].as_str().unwrap().len(), 36);
        assert_eq!(claims.as_object().unwrap().len(), 5);
        assert_eq!(service.logout(&token).await.message(), "注销成功");
    }
}

#[tokio::test]
async fn unsigned_and_tampered_tokens_are_rejected() {
    let (service, token, _) = service_with_token_and_key("EdDSA").await;
    let (header, claims) = decode_parts(&token);
    let signature = token.rsplit('.').next().unwrap();
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        let unsigned = format!("{}.{}", encode_part(&with_member(&header, "alg", alg.into())), encode_part(&claims));
        for end in ["", signature] {
            assert_rejected(&service, &format!("{unsigned}.{end}")).await;
        }
    }
    let tampered = format!(
        "{}.{}.{signature}",
        encode_part(&header),
        encode_part(&with_member(&claims, "exp", 9_999_999_999_i64.into()))
    );
    assert_rejected(&service, &tampered).await;
    for damaged in [
        &token[..token.len() - 1],
        &token[1..],
        token.rsplit_once('.').unwrap().0,
        &format!("{token}."),
        &format!("{token}A"),
    ] {
        assert_rejected(&service, damaged).await;
    }
    assert!(service.is_session_valid(&token).await);
}

#[tokio::test]
async fn the_public_key_is_not_accepted_as_an_hmac_secret() {
    for setting in ["RS256", "EdDSA", "ES256"] {
        let (service, token, _) = service_with_token_and_key(setting).await;
        let (header, claims) = decode_parts(&token);
        let settings = &service.lab.context().settings;
        let key = load_key(&settings.keys_dir(), settings.get(&JWT_ALG).unwrap());
        let secret = EncodingKey::from_secret(&key.public_key);
        assert_rejected(
            &service,
            &forge(&with_member(&header, "alg", "HS256".into()), &claims, &secret, Algorithm::HS256),
        )
        .await;
        assert_rejected(&service, &forge(&header, &claims, &secret, Algorithm::HS256)).await;
    }
}

#[tokio::test]
async fn other_rsa_algorithms_are_rejected() {
    let (service, token, key) = service_with_token_and_key("RS256").await;
    let (header, claims) = decode_parts(&token);
    for (name, algorithm) in [("RS384", Algorithm::RS384), ("PS256", Algorithm::PS256)] {
        assert_rejected(&service, &forge(&with_member(&header, "alg", name.into()), &claims, &key, algorithm)).await;
    }
    assert!(service.is_session_valid(&token).await);
}

#[tokio::test]
async fn malicious_kid_and_header_values_are_rejected() {
    let (service, token, key) = service_with_token_and_key("EdDSA").await;
    let (header, claims) = decode_parts(&token);
    let kids = [
        "".into(),
        "eddsa-2".into(),
        "rs256-1".into(),
        "../keys/jwt-eddsa-1.pem".into(),
        "/dev/null".into(),
        "eddsa-1' OR 1=1--".into(),
        "eddsa-1\0".into(),
        "x".repeat(3_000),
        "x".repeat(7_000),
    ];
    for kid in kids.map(|kid: String| Value::from(kid)).into_iter().chain([Value::Null, 1.into(), json!(["eddsa-1"])]) {
        assert_rejected(&service, &forge(&with_member(&header, "kid", kid), &claims, &key, Algorithm::EdDSA)).await;
    }
    for invalid in [
        without_member(&header, "kid"),
        without_member(&header, "typ"),
        with_member(&header, "typ", "at+jwt".into()),
        with_member(&header, "crit", json!(["b64"])),
        with_member(&header, "jku", "https://evil.example/jwks.json".into()),
        with_member(&header, "x5u", "https://evil.example/key.pem".into()),
        with_member(&header, "x5c", json!(["MIIB"])),
        with_member(&header, "b64", true.into()),
    ] {
        assert_rejected(&service, &forge(&invalid, &claims, &key, Algorithm::EdDSA)).await;
    }
    // The attacker's own key, embedded in the header.
    let attacker_key = load_key(&TestService::new().await.lab.data_folder().join("keys"), SigningAlgorithm::EdDsa);
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(&attacker_key.public_key)});
    assert_rejected(
        &service,
        &forge(&with_member(&header, "jwk", jwk), &claims, &attacker_key.encoding_key, Algorithm::EdDSA),
    )
    .await;
    assert!(service.is_session_valid(&token).await);
}

#[tokio::test]
async fn missing_and_mistyped_claims_are_rejected() {
    let (service, token, key) = service_with_token_and_key("EdDSA").await;
    let (header, claims) = decode_parts(&token);
    let exp = claims["exp"].as_i64().unwrap();
    let invalid_expiries = [
        json!(exp.to_string()),
        json!("9999999999"),
        json!(9_999_999_999.5),
        json!(1e10),
        json!(null),
        json!(true),
        json!([exp]),
        json!(u64::MAX),
        json!(-1),
        json!(0),
        json!(service.lab.clock().now().as_secs()),
    ];
    for exp in invalid_expiries {
        assert_rejected(&service, &forge(&header, &with_member(&claims, "exp", exp), &key, Algorithm::EdDSA)).await;
    }
    for name in ["exp", "iat", "sub", "jti", "iss"] {
        assert_rejected(&service, &forge(&header, &without_member(&claims, name), &key, Algorithm::EdDSA)).await;
    }
    let other_user = "00000000-0000-4000-8000-000000000000";
    for (name, value) in [
        ("iat", json!("0")),
        ("iat", json!(0.5)),
        ("sub", json!(1)),
        ("sub", json!(other_user)),
        ("sub", json!("")),
        ("jti", json!(1)),
        ("jti", json!("")),
        ("jti", json!("0".repeat(32))),
        ("jti", json!("../x")),
        ("iss", json!("other")),
        ("iss", json!("Stele")),
        ("iss", json!("")),
        ("iss", json!(["stele"])),
        ("iss", json!(1)),
    ] {
        assert_rejected(&service, &forge(&header, &with_member(&claims, name, value), &key, Algorithm::EdDSA)).await;
    }
    let duplicate_exp = claims.to_string().replacen('{', &format!(r#"{{"exp":{exp},"#), 1);
    let message = format!("{}.{}", encode_part(&header), URL_SAFE_NO_PAD.encode(duplicate_exp));
    let signature = crypto::sign(message.as_bytes(), &key, Algorithm::EdDSA).unwrap();
    assert_rejected(&service, &format!("{message}.{signature}")).await;
    let genuine = forge(&header, &claims, &key, Algorithm::EdDSA);
    assert_eq!(service.logout(&genuine).await.message(), "注销成功", "an unchanged token is accepted");
}

#[tokio::test]
async fn the_subject_of_a_token_is_the_uuid_even_if_the_dialect_answers_a_legacy_id() {
    let service = TestService::new().await;
    service.lab.import_user().await;
    let body = format!("account={IMPORTED_PHONE}&password=123456");
    let response = service.post("/api/v1/Auth/Login", &body).await;
    assert_eq!(response.json()["user"]["userId"], "0B922F14-D00B-11E7-AAFD-525400BBAC8E");
    let token = response.token();
    let (_, claims) = decode_parts(&token);
    assert_eq!(claims["sub"], IMPORTED_UUID);
    assert_eq!(service.logout(&token).await.message(), "注销成功");
}

#[tokio::test]
async fn a_session_of_another_dialect_is_rejected() {
    let (service, token, key) = service_with_token_and_key("EdDSA").await;
    let (header, claims) = decode_parts(&token);
    let user = service.lab.dependencies().users.find_by_identifier("a").await.unwrap().unwrap().user;
    let cloudbox_token = stele_core::session::Token::generate(service.lab.dependencies().random.as_ref());
    let now = service.lab.clock().now();
    let session = stele_core::session::Session {
        user: user.id,
        dialect: "cloudbox".into(),
        app: String::new(),
        created: now,
        expires: now.saturating_add(std::time::Duration::from_secs(3_600)),
        last_seen: now,
        epoch: 0,
    };
    let new_session = stele_core::session::NewSession { key: cloudbox_token.key(), session, max_per_user: 10_000 };
    service.lab.dependencies().state.open_session(&new_session).await.unwrap();
    let stolen = with_member(&claims, "jti", cloudbox_token.expose().into());
    assert_rejected(&service, &forge(&header, &stolen, &key, Algorithm::EdDSA)).await;
}

#[tokio::test]
async fn a_new_key_signs_from_its_start_time_and_the_old_one_still_verifies() {
    let (service, old_token, _) = service_with_token_and_key("EdDSA").await;
    let context = service.lab.context();
    let (folder, kind) = (context.settings.keys_dir(), key_kind(SigningAlgorithm::EdDsa));
    stele_keys::keyring::create_key_file(&folder, &kind, 2, service.lab.dependencies().random.as_ref()).unwrap();
    let store = stele_app::stores::open_database(&context.settings).unwrap().keys();
    let now = service.lab.clock().now();
    let (fingerprint, hour) = (kind.read(&folder, 2).unwrap().1.to_vec(), Duration::from_secs(3_600));
    let record = KeyRecord {
        name: kind.key_name(2),
        fingerprint: Some(fingerprint),
        added_at: now,
        active_from: now.saturating_add(hour),
    };
    assert!(store.add_key(&record).await.unwrap());
    context.keys.refresh().await.unwrap();
    assert_eq!(decode_parts(&service.login("a", "123456").await).0["kid"], "eddsa-1");
    service.lab.clock().advance(hour);
    let new_token = service.login("a", "123456").await;
    assert_eq!(decode_parts(&new_token).0["kid"], "eddsa-2");
    for token in [old_token, new_token] {
        assert_eq!(service.logout(&token).await.message(), "注销成功");
    }
    // A retired key no longer verifies.
    let retired = service.login("a", "123456").await;
    assert_eq!(store.retire_key("jwt-eddsa-2").await.unwrap(), KeyRetirement::Retired);
    context.keys.refresh().await.unwrap();
    assert_rejected(&service, &retired).await;
    assert_eq!(decode_parts(&service.login("a", "123456").await).0["kid"], "eddsa-1");
}

#[tokio::test]
async fn a_missing_active_key_is_a_server_error() {
    let (service, token, signing) = service_with_token_and_key("EdDSA").await;
    let context = service.lab.context();
    let store = stele_app::stores::open_database(&context.settings).unwrap().keys();
    let now = service.lab.clock().now();
    let record =
        KeyRecord { name: "jwt-eddsa-2".into(), fingerprint: Some(vec![7; 32]), added_at: now, active_from: now };
    assert!(store.add_key(&record).await.unwrap());
    let (header, claims) = decode_parts(&token);
    let unavailable_key = forge(&with_member(&header, "kid", "eddsa-2".into()), &claims, &signing, Algorithm::EdDSA);
    assert_eq!(service.logout(&unavailable_key).await.status, 500);
    assert_rejected(
        &service,
        &forge(&with_member(&header, "kid", "eddsa-3".into()), &claims, &signing, Algorithm::EdDSA),
    )
    .await;
    assert!(service.is_session_valid(&token).await);
}

#[tokio::test]
async fn a_missing_signing_key_prevents_startup() {
    let lab = stele_testkit::TestLab::new().await;
    let error = (SERVICE.routes)(lab.context()).err().unwrap().to_string();
    assert!(error.contains("jwt-eddsa-1.pem") && error.contains("stele migrate"), "{error}");
}
