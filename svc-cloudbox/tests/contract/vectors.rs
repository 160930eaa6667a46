//! Digests computed by an independent implementation (`tests/vectors/README.md`).

use serde_json::{Value, json};
use stele_core::hex;
use stele_core::password::{PasswordDigest, RawPassword};
use stele_testkit::MessageCode as _;
use stele_testkit::conformance::DialectUnderTest as _;

use crate::test_service::{LOGIN, TestService};

fn vectors() -> Vec<Value> {
    serde_json::from_str(include_str!("../vectors/salted.json")).unwrap()
}

fn str_member<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap()
}

#[test]
fn digests_match_the_test_vectors() {
    let mut checked = 0;
    for vector in vectors() {
        let digest_of_password = RawPassword::new(str_member(&vector, "password").to_owned()).digest();
        let digest_from_hex = PasswordDigest::from_hex(str_member(&vector, "digest")).unwrap();
        for salted in vector["salted"].as_array().unwrap() {
            let at = salted["timestamp"].as_u64().unwrap();
            for digest in [&digest_of_password, &digest_from_hex] {
                assert_eq!(hex::encode(&digest.salted_hash(at)), str_member(salted, "digest"), "{vector} at {at}");
                checked += 1;
            }
        }
    }
    assert_eq!(checked, 15 * 8 * 2);
}

#[tokio::test]
async fn digests_from_another_implementation_log_in() {
    let service = TestService::with_settings(&[("STELE_TIMESTAMP_SKEW", "0")]).await;
    for (n, vector) in vectors().into_iter().enumerate() {
        let name = format!("user{n}");
        service.lab.user(&name).password(str_member(&vector, "password")).add().await;
        for salted in vector["salted"].as_array().unwrap() {
            let body = json!({ "username": name, "password": salted["digest"], "timestamp": salted["timestamp"] });
            assert_eq!(service.post(LOGIN, &body).await.code(), "0000", "{vector}");
        }
    }
}
