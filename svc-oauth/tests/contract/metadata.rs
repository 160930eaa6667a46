//! Metadata and keys: each test names the section of the standard that it checks. Members of the authorization endpoint are
//! checked as soon as there is one.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use stele_app::Issuer;
use stele_testkit::{TestApp, TestLab};
use svc_oauth::SERVICE;

use crate::test_service::start;

const OPENID_CONFIGURATION: &str = "/.well-known/openid-configuration";
const AUTHORIZATION_SERVER: &str = "/.well-known/oauth-authorization-server";
const PUBLIC_URL: &str = "https://auth.example.com";

async fn fetch(app: &TestApp, path: &str) -> Value {
    let response = app.send(app.request("GET", path)).await;
    assert_eq!(response.status, 200, "{response:?}");
    response.json()
}

/// Both documents, which must agree.
async fn fetch_metadata(app: &TestApp) -> Value {
    let metadata = fetch(app, OPENID_CONFIGURATION).await;
    assert_eq!(metadata, fetch(app, AUTHORIZATION_SERVER).await);
    metadata
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

/// Checklist 1: the issuer is byte-equal to the URL asked (Discovery 4.3, 7.2; RFC 8414 2, 3.3).
#[tokio::test]
async fn the_issuer_is_the_url_that_was_asked() {
    let app = start(&[]).await;
    assert_eq!(fetch_metadata(&app).await["issuer"], app.service.url(""));
    let app = start(&[("STELE_PUBLIC_URL", PUBLIC_URL)]).await;
    assert_eq!(fetch_metadata(&app).await["issuer"], PUBLIC_URL);
}

/// Checklist 2: OpenID's path is appended to the issuer, RFC 8414's inserted before its path (Discovery 4.1; RFC 8414 3.1).
/// A proxy that serves the issuer at a path passes OpenID's document on without that path.
#[tokio::test]
async fn the_well_known_path_is_inserted_before_the_issuers_path() {
    let app = start(&[("STELE_PUBLIC_URL", "https://example.com/auth/v2")]).await;
    let metadata = fetch(&app, &format!("{AUTHORIZATION_SERVER}/auth/v2")).await;
    assert_eq!(metadata["issuer"], "https://example.com/auth/v2");
    assert_eq!(metadata["jwks_uri"], "https://example.com/auth/v2/oauth2/jwks");
    assert_eq!(fetch(&app, OPENID_CONFIGURATION).await, metadata);
    for other in ["", "/", "/auth", "/auth/v2/x", "/auth/v22", "/AUTH/v2"] {
        let response = app.send(app.request("GET", &format!("{AUTHORIZATION_SERVER}{other}"))).await;
        assert_eq!(response.status, 404, "{other}: metadata of another issuer (RFC 8414 3.3)");
    }
    let app = start(&[]).await;
    assert_eq!(app.send(app.request("GET", &format!("{AUTHORIZATION_SERVER}/auth"))).await.status, 404);
}

/// Checklist 3: 200 and `application/json`; members without elements are left out (Discovery 4.2; RFC 8414 3.2), except for
/// `response_types_supported`, which RFC 8414 2 requires, and which clients look for.
#[tokio::test]
async fn empty_members_are_left_out() {
    let app = start(&[]).await;
    // `send` checks the content type.
    let metadata = fetch_metadata(&app).await;
    let is_empty = |value: &Value| value.is_null() || value.as_array().is_some_and(Vec::is_empty) || value == "";
    let empty: Vec<_> = metadata.as_object().unwrap().iter().filter(|(_, value)| is_empty(value)).collect();
    assert_eq!(empty, [(&"response_types_supported".to_owned(), &json!([]))]);
}

/// Checklist 4: required members (Discovery 3; RFC 8414 2). There is no authorization endpoint yet, so there is no
/// `authorization_endpoint`, which RFC 8414 2 permits if no grant uses it, and no response type.
#[tokio::test]
async fn required_members_are_there() {
    let metadata = fetch_metadata(&start(&[]).await).await;
    for member in ["issuer", "token_endpoint", "jwks_uri", "introspection_endpoint", "revocation_endpoint"] {
        assert!(metadata[member].is_string(), "{member}");
    }
    assert_eq!(metadata["subject_types_supported"], json!(["public"]));
    assert_eq!(
        metadata["authorization_endpoint"].is_string(),
        texts(&metadata["response_types_supported"]) == ["code"]
    );
    let grants = texts(&metadata["grant_types_supported"]);
    assert!(grants.contains(&"client_credentials"), "the default would be authorization_code and implicit");
    let uses_authorization_endpoint = grants.contains(&"authorization_code") || grants.contains(&"implicit");
    assert_eq!(uses_authorization_endpoint, metadata["authorization_endpoint"].is_string());
    assert_eq!(
        metadata["token_endpoint_auth_methods_supported"],
        json!(["client_secret_basic", "client_secret_post"]),
        "RFC 6749 2.3.1"
    );
}

/// Checklist 5: RS256 is among the algorithms, `none` never (Discovery 3; Core 15.1).
#[tokio::test]
async fn rs256_is_supported_and_none_is_not() {
    let metadata = fetch_metadata(&start(&[]).await).await;
    assert_eq!(texts(&metadata["id_token_signing_alg_values_supported"]), ["RS256", "EdDSA", "ES256"]);
    assert!(!metadata.to_string().contains("\"none\""));
}

/// Checklist 6: every endpoint is an https URL below the issuer; http is accepted on loopback only (RFC 8414 2).
#[tokio::test]
async fn endpoints_are_https_below_the_issuer() {
    let metadata = fetch_metadata(&start(&[("STELE_PUBLIC_URL", PUBLIC_URL)]).await).await;
    let members = metadata.as_object().unwrap().iter();
    let urls = members.filter(|(name, _)| name.ends_with("_endpoint") || name.ends_with("_uri"));
    let urls: Vec<_> = urls.map(|(_, url)| url.as_str().unwrap()).collect();
    assert!(urls.len() >= 4 && urls.iter().all(|url| url.starts_with("https://auth.example.com/oauth2/")), "{urls:?}");
}

/// The service refuses to start without an issuer, or with one that is neither https nor on loopback (RFC 8414 2).
#[tokio::test]
async fn an_invalid_issuer_prevents_the_start() {
    for (url, reason) in [
        ("", "STELE_PUBLIC_URL: is not set"),
        ("http://auth.example.com", "is neither https nor on loopback"),
        ("https://auth.example.com//x", "plain segments"),
    ] {
        let lab = TestLab::with_settings(&[("STELE_PUBLIC_URL", url)]).await;
        let error = (SERVICE.routes)(lab.context()).err().unwrap().to_string();
        assert!(error.contains("STELE_PUBLIC_URL") && error.contains(reason), "{error}");
    }
    let mut context = TestLab::new().await.context().clone();
    let address = "0.0.0.0:8106".parse().unwrap();
    context.public_endpoint = Some(stele_app::PublicEndpoint { scheme: "http", address });
    assert!(Issuer::of_context(&context).is_err(), "listens on every address");
}

/// Checklist 7: `scopes_supported` and `claims_supported` may be left out (Discovery 3: RECOMMENDED); the scope `openid` and
/// the claims of ID tokens come with the authorization endpoint. What is said of claims is true.
#[tokio::test]
async fn scopes_and_claims_are_true_to_the_facts() {
    let metadata = fetch_metadata(&start(&[]).await).await;
    let has_openid = metadata["scopes_supported"].as_array().is_some_and(|scopes| scopes.contains(&"openid".into()));
    assert_eq!(has_openid, metadata["authorization_endpoint"].is_string());
    assert_eq!(metadata["claims_supported"].is_array(), metadata["authorization_endpoint"].is_string());
    assert_eq!(metadata["claims_parameter_supported"], false);
    assert_eq!(texts(&metadata["acr_values_supported"]), ["urn:stele:acr:legacy", "urn:stele:acr:pwd"]);
}

/// Checklist 8: request objects are not supported; the default of `request_uri_parameter_supported` is true (Discovery 3).
#[tokio::test]
async fn request_objects_are_declared_unsupported() {
    let metadata = fetch_metadata(&start(&[]).await).await;
    assert_eq!(metadata["request_parameter_supported"], false);
    assert_eq!(metadata["request_uri_parameter_supported"], false);
}

/// Checklist 9 and 10: S256 only (RFC 8414 2; RFC 9700 2.1.1), and `iss` in every answer (RFC 9207 3): both describe the
/// authorization endpoint, so they are there exactly if it is.
#[tokio::test]
async fn members_of_the_authorization_endpoint_come_with_it() {
    let metadata = fetch_metadata(&start(&[]).await).await;
    let expected = match metadata["authorization_endpoint"].is_string() {
        true => (json!(["S256"]), json!(true)),
        false => (Value::Null, Value::Null),
    };
    let actual =
        (&metadata["code_challenge_methods_supported"], &metadata["authorization_response_iss_parameter_supported"]);
    assert_eq!(actual, (&expected.0, &expected.1));
}

/// Checklist 11: distinct `kid`, `use`, `alg`, public members only, RSA of at least 2048 bits (RFC 7517 4; Core 10.1; RFC
/// 7518 3.3).
#[tokio::test]
async fn the_jwk_set_has_public_keys_with_distinct_ids() {
    let app = start(&[]).await;
    let set = fetch(&app, "/oauth2/jwks").await;
    assert_eq!(set.as_object().unwrap().len(), 1);
    let keys = set["keys"].as_array().unwrap();
    let ids: BTreeSet<_> = keys.iter().map(|key| key["kid"].as_str().unwrap()).collect();
    assert_eq!(ids, BTreeSet::from(["eddsa-1", "es256-1", "rs256-1"]));
    assert_eq!(keys.len(), 3);
    for key in keys {
        let members: BTreeSet<_> = key.as_object().unwrap().keys().map(String::as_str).collect();
        let public: &[&str] = match key["kty"].as_str().unwrap() {
            "RSA" => &["n", "e"],
            "EC" => &["crv", "x", "y"],
            "OKP" => &["crv", "x"],
            other => panic!("{other}"),
        };
        assert_eq!(members, ["kty", "kid", "use", "alg"].iter().chain(public).copied().collect(), "{key}");
        assert_eq!(key["use"], "sig");
        // 2048 bits are 342 characters of base64url.
        assert!(key["kty"] != "RSA" || key["n"].as_str().unwrap().len() >= 342, "{key}");
    }
}
