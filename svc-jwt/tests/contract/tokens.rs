//! Hostile tokens (`docs/THREATS.md` 27 and 28). Each is held against both routes that take login tokens.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};
use stele_core::ports::{Dropped, KeyRecord};
use stele_core::time::Timestamp;
use stele_keys::Holder as _;
use svc_jwt::{SERVICE, keys};

use stele_testkit::conformance::DialectUnderTest as _;

use crate::{Bench, Reply as _};

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// A token of any header and claims, signed by any key.
fn sign(header: &Value, claims: &Value, key: &EncodingKey, algorithm: Algorithm) -> String {
    let message = format!("{}.{}", part(header), part(claims));
    let signature = crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}

fn parts(token: &str) -> (Value, Value) {
    let read = |part: &str| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    let mut parts = token.split('.');
    (read(parts.next().unwrap()), read(parts.next().unwrap()))
}

fn with(value: &Value, name: &str, new: Value) -> Value {
    let mut value = value.clone();
    value[name] = new;
    value
}

fn without(value: &Value, name: &str) -> Value {
    let mut value = value.clone();
    value.as_object_mut().unwrap().remove(name);
    value
}

/// The service, a live token, and the service's own key: what an attacker could not have.
async fn bench(algorithm: &str) -> (Bench, String, EncodingKey) {
    let bench = Bench::with(&[("STELE_JWT_ALG", algorithm)]).await;
    bench.lab.user("a").add().await;
    let token = bench.login("a", "123456").await;
    let settings = &bench.lab.context().settings;
    let key = key(&settings.keys(), keys::algorithm(settings).unwrap());
    (bench, token, key.signing.clone())
}

/// The key number 1 in a folder.
fn key(folder: &Path, algorithm: keys::Algorithm) -> Arc<keys::Key> {
    let keys = keys::Keys::none(algorithm);
    let pem = keys::family(algorithm).read(folder, 1).unwrap().0;
    keys.hold(vec![(1, Timestamp::from_secs(0), Some(pem))]);
    keys.newest(Timestamp::from_secs(0)).unwrap()
}

async fn is_refused(bench: &Bench, token: &str) {
    bench.logout(token).await.fails(401, "注销失败");
    bench.update(token, "a", "new123").await.fails(401, "更新密码失败");
}

#[tokio::test]
async fn a_token_says_what_the_design_says() {
    for (setting, alg, kid) in [("EdDSA", "EdDSA", "eddsa-1"), ("RS256", "RS256", "rs256-1")] {
        let (bench, token, _) = bench(setting).await;
        let (header, claims) = parts(&token);
        assert_eq!(header, json!({"typ": "JWT", "alg": alg, "kid": kid}));
        let now = bench.lab.clock().now().as_secs();
        assert_eq!(
            (&claims["iat"], &claims["exp"], &claims["iss"]),
            (&now.into(), &(now + 43_200).into(), &"stele".into())
        );
        assert_eq!(claims["jti"].as_str().unwrap().len(), 32);
        assert_eq!(claims["sub"].as_str().unwrap().len(), 36);
        assert_eq!(claims.as_object().unwrap().len(), 5);
        assert_eq!(bench.logout(&token).await.message(), "注销成功");
    }
}

#[tokio::test]
async fn an_unsigned_or_tampered_token() {
    let (bench, token, _) = bench("EdDSA").await;
    let (header, claims) = parts(&token);
    let signature = token.rsplit('.').next().unwrap();
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        let unsigned = format!("{}.{}", part(&with(&header, "alg", alg.into())), part(&claims));
        for end in ["", signature] {
            is_refused(&bench, &format!("{unsigned}.{end}")).await;
        }
    }
    let tampered = format!("{}.{}.{signature}", part(&header), part(&with(&claims, "exp", 9_999_999_999_i64.into())));
    is_refused(&bench, &tampered).await;
    for cut in [
        &token[..token.len() - 1],
        &token[1..],
        token.rsplit_once('.').unwrap().0,
        &format!("{token}."),
        &format!("{token}A"),
    ] {
        is_refused(&bench, cut).await;
    }
    assert!(bench.lives(&token).await);
}

#[tokio::test]
async fn the_public_key_as_a_shared_secret() {
    for setting in ["RS256", "EdDSA"] {
        let (bench, token, _) = bench(setting).await;
        let (header, claims) = parts(&token);
        let settings = &bench.lab.context().settings;
        let key = key(&settings.keys(), keys::algorithm(settings).unwrap());
        let public = key.verifying.try_get_as_bytes().unwrap();
        let secret = EncodingKey::from_secret(public);
        is_refused(&bench, &sign(&with(&header, "alg", "HS256".into()), &claims, &secret, Algorithm::HS256)).await;
        is_refused(&bench, &sign(&header, &claims, &secret, Algorithm::HS256)).await;
    }
}

#[tokio::test]
async fn another_algorithm_of_the_same_family() {
    let (bench, token, key) = bench("RS256").await;
    let (header, claims) = parts(&token);
    for (name, algorithm) in [("RS384", Algorithm::RS384), ("PS256", Algorithm::PS256)] {
        is_refused(&bench, &sign(&with(&header, "alg", name.into()), &claims, &key, algorithm)).await;
    }
    assert!(bench.lives(&token).await);
}

#[tokio::test]
async fn a_hostile_kid_or_header() {
    let (bench, token, key) = bench("EdDSA").await;
    let (header, claims) = parts(&token);
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
        is_refused(&bench, &sign(&with(&header, "kid", kid), &claims, &key, Algorithm::EdDSA)).await;
    }
    for bad in [
        without(&header, "kid"),
        without(&header, "typ"),
        with(&header, "typ", "at+jwt".into()),
        with(&header, "crit", json!(["b64"])),
    ] {
        is_refused(&bench, &sign(&bad, &claims, &key, Algorithm::EdDSA)).await;
    }
    // A key of the attacker's own, which the header brings along.
    let own = self::key(&Bench::new().await.lab.folder().join("keys"), keys::Algorithm::EdDsa);
    let jwk =
        json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(own.verifying.try_get_as_bytes().unwrap())});
    is_refused(&bench, &sign(&with(&header, "jwk", jwk), &claims, &own.signing, Algorithm::EdDSA)).await;
    assert!(bench.lives(&token).await);
}

#[tokio::test]
async fn claims_that_are_missing_or_of_another_type() {
    let (bench, token, key) = bench("EdDSA").await;
    let (header, claims) = parts(&token);
    let exp = claims["exp"].as_i64().unwrap();
    let far = [
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
        json!(bench.lab.clock().now().as_secs()),
    ];
    for exp in far {
        is_refused(&bench, &sign(&header, &with(&claims, "exp", exp), &key, Algorithm::EdDSA)).await;
    }
    for name in ["exp", "iat", "sub", "jti", "iss"] {
        is_refused(&bench, &sign(&header, &without(&claims, name), &key, Algorithm::EdDSA)).await;
    }
    let another = "00000000-0000-4000-8000-000000000000";
    for (name, value) in [
        ("iat", json!("0")),
        ("iat", json!(0.5)),
        ("sub", json!(1)),
        ("sub", json!(another)),
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
        is_refused(&bench, &sign(&header, &with(&claims, name, value), &key, Algorithm::EdDSA)).await;
    }
    let twice = claims.to_string().replacen('{', &format!(r#"{{"exp":{exp},"#), 1);
    let message = format!("{}.{}", part(&header), URL_SAFE_NO_PAD.encode(twice));
    let signature = crypto::sign(message.as_bytes(), &key, Algorithm::EdDSA).unwrap();
    is_refused(&bench, &format!("{message}.{signature}")).await;
    let same = sign(&header, &claims, &key, Algorithm::EdDSA);
    assert_eq!(bench.logout(&same).await.message(), "注销成功", "the forge itself works");
}

#[tokio::test]
async fn another_services_session() {
    let (bench, token, key) = bench("EdDSA").await;
    let (header, claims) = parts(&token);
    let user = bench.lab.deps().users.find("a").await.unwrap().unwrap().user;
    let foreign = stele_core::session::Token::generate(bench.lab.deps().random.as_ref());
    let now = bench.lab.clock().now();
    let session = stele_core::session::Session {
        user: user.id,
        dialect: "cloudbox".into(),
        app: String::new(),
        created: now,
        expires: now.after(std::time::Duration::from_secs(3_600)),
        last_seen: now,
        epoch: 0,
    };
    let new = stele_core::session::NewSession { key: foreign.key(), session, per_user: 10_000 };
    bench.lab.deps().state.open_session(&new).await.unwrap();
    let stolen = with(&claims, "jti", foreign.expose().into());
    is_refused(&bench, &sign(&header, &stolen, &key, Algorithm::EdDSA)).await;
}

#[tokio::test]
async fn a_key_signs_when_its_time_has_come_and_the_older_one_verifies_on() {
    let (bench, old, _) = bench("EdDSA").await;
    let context = bench.lab.context();
    let (folder, family) = (context.settings.keys(), keys::family(keys::Algorithm::EdDsa));
    stele_keys::keyring::make(&folder, &family, 2, bench.lab.deps().random.as_ref()).unwrap();
    let store = stele_app::stores::database(&context.settings).unwrap().keys();
    let now = bench.lab.clock().now();
    let (probe, hour) = (family.read(&folder, 2).unwrap().1.to_vec(), Duration::from_secs(3_600));
    let record = KeyRecord { name: family.key(2), probe: Some(probe), added_at: now, works_from: now.after(hour) };
    assert!(store.add_key(&record).await.unwrap());
    context.keys.refresh().await.unwrap();
    assert_eq!(parts(&bench.login("a", "123456").await).0["kid"], "eddsa-1");
    bench.lab.clock().advance(hour);
    let new = bench.login("a", "123456").await;
    assert_eq!(parts(&new).0["kid"], "eddsa-2");
    for token in [old, new] {
        assert_eq!(bench.logout(&token).await.message(), "注销成功");
    }
    // Out of service, it verifies no more.
    let third = bench.login("a", "123456").await;
    assert_eq!(store.drop_key("jwt-eddsa-2").await.unwrap(), Dropped::Done);
    context.keys.refresh().await.unwrap();
    is_refused(&bench, &third).await;
    assert_eq!(parts(&bench.login("a", "123456").await).0["kid"], "eddsa-1");
}

#[tokio::test]
async fn a_key_in_service_that_is_missing_here_is_our_fault_not_the_users() {
    let (bench, token, signing) = bench("EdDSA").await;
    let context = bench.lab.context();
    let store = stele_app::stores::database(&context.settings).unwrap().keys();
    let now = bench.lab.clock().now();
    let record = KeyRecord { name: "jwt-eddsa-2".into(), probe: Some(vec![7; 32]), added_at: now, works_from: now };
    assert!(store.add_key(&record).await.unwrap());
    let (header, claims) = parts(&token);
    let strange = sign(&with(&header, "kid", "eddsa-2".into()), &claims, &signing, Algorithm::EdDSA);
    assert_eq!(bench.logout(&strange).await.status, 500);
    is_refused(&bench, &sign(&with(&header, "kid", "eddsa-3".into()), &claims, &signing, Algorithm::EdDSA)).await;
    assert!(bench.lives(&token).await);
}

#[tokio::test]
async fn without_a_key_the_service_does_not_start() {
    let lab = stele_testkit::Lab::new().await;
    let error = (SERVICE.routes)(lab.context()).err().unwrap().to_string();
    assert!(error.contains("jwt-eddsa-1.pem") && error.contains("stele migrate"), "{error}");
}
