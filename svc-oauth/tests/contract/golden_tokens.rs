//! Golden transcripts of the token, introspection and revocation endpoints. Clock, randomness and the seed of the signing
//! key are fixed, so tokens and secrets are the same in every run.

use std::os::unix::fs::PermissionsExt as _;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use stele_testkit::{TestLab, assert_golden};

use crate::test_service::{ISSUER, TestService};

const WEB_SECRET: &str = "0nqNmo04x6N8kiRQp6GWHxOKv6JfXaPfK5coIHFfpa4";
const ORDERS_SECRET: &str = "jYX4RnJAYoqUgZsmvuJuOpsoBDNMY0gt6s7I1kq04ec";
const SESSION: &str = "1f5edc6f1efb165d45a654798d4baaa5";

async fn service_with_fixed_key() -> TestService {
    let lab = TestLab::with_settings(&[("STELE_PUBLIC_URL", ISSUER)]).await;
    let key: Pkcs8V1Der<'_> = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap().as_der().unwrap();
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(key.as_ref()));
    let path = lab.context().settings.keys_dir().join("jwt-eddsa-1.pem");
    std::fs::write(&path, pem).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let service = TestService::start(lab).await;
    // The transcripts contain the secrets.
    assert_eq!((service.web.secret.as_str(), service.orders.secret.as_str()), (WEB_SECRET, ORDERS_SECRET));
    service
}

/// Opens the session whose token the transcripts contain.
async fn open_session(service: &TestService) {
    assert_eq!(service.log_in("tms").await.expose(), SESSION);
}

#[tokio::test]
async fn token_exchange_matches_the_golden_transcript() {
    let service = service_with_fixed_key().await;
    open_session(&service).await;
    assert_golden(&service.service, "tests/golden/exchange.http").await;
}

#[tokio::test]
async fn introspection_matches_the_golden_transcript() {
    let service = service_with_fixed_key().await;
    open_session(&service).await;
    assert_golden(&service.service, "tests/golden/introspection.http").await;
}

#[tokio::test]
async fn errors_match_the_golden_transcript() {
    assert_golden(&service_with_fixed_key().await.service, "tests/golden/refusals.http").await;
}
