//! Metadata and keys of the OAuth service in `stele up`, and the rotation of its keys.

use serde_json::Value;

use crate::support::{Installation, Server, eventually};

async fn fetch(server: &Server, path: &str) -> Value {
    let response = reqwest::get(format!("{}{path}", server.url)).await.unwrap();
    assert_eq!(response.status(), 200, "{path}");
    response.json().await.unwrap()
}

fn key_ids(jwks: &Value) -> Vec<&str> {
    jwks["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap()).collect()
}

/// Without `STELE_PUBLIC_URL` the issuer is the address at which the gateway really listens, here on a free port.
#[tokio::test]
async fn the_issuer_of_stele_up_is_the_gateways_address() {
    let installation = Installation::new();
    let server = installation.start_up();
    for path in ["/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"] {
        let metadata = fetch(&server, path).await;
        assert_eq!(metadata["issuer"], server.url);
        assert_eq!(metadata["jwks_uri"], format!("{}/oauth2/jwks", server.url));
    }
    assert_eq!(key_ids(&fetch(&server, "/oauth2/jwks").await), ["rs256-1", "eddsa-1", "es256-1"]);
}

#[tokio::test]
async fn a_rotated_signing_key_is_published_before_it_signs_and_until_it_is_retired() {
    let installation = Installation::new();
    let server = installation.start_up();
    installation.run(&["keys", "rotate", "--alg", "HS256"]).assert_failed(2, "write RS256, EdDSA or ES256");
    installation.run(&["keys", "rotate", "--alg", "ES256", "--lead", "1h"]).assert_success();
    let published_keys = async || key_ids(&fetch(&server, "/oauth2/jwks").await).join(" ");
    let wait_for = async |expected: &str| {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while published_keys().await != expected {
            assert!(std::time::Instant::now() < deadline, "{} is not {expected}", published_keys().await);
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    wait_for("rs256-1 eddsa-1 es256-2 es256-1").await;
    let list = installation.run(&["keys", "list"]).assert_success().stdout.clone();
    let line = |key: &str| list.lines().find(|line| line.starts_with(&format!("{key}\t"))).unwrap().to_owned();
    assert!(line("jwt-es256-1").contains("\tsigns\t") && line("jwt-es256-2").contains("\tsigns from 20"), "{list}");
    assert!(line("jwt-rs256-1").contains("\tsigns\t") && line("jwt-eddsa-1").contains("\tsigns\t"), "{list}");

    // The key that does not sign yet is withdrawn once its file is removed.
    std::fs::remove_file(installation.data().join("keys/jwt-es256-2.pem")).unwrap();
    installation.run(&["keys", "retire", "jwt-es256-2"]).assert_success();
    wait_for("rs256-1 eddsa-1 es256-1").await;
    // `--jwt` rotates the key of the JWT dialect's login tokens.
    installation.run(&["keys", "rotate", "--jwt", "--lead", "0"]).assert_success();
    wait_for("rs256-1 eddsa-2 eddsa-1 es256-1").await;
}

/// Old clients need no issuer: `stele up` serves them, and leaves only the OAuth service out.
#[tokio::test]
async fn without_an_issuer_only_the_oauth_service_is_left_out() {
    let installation = Installation::new();
    let server = installation.start_up_with(&["--listen", "0.0.0.0:0"]);
    let url = server.url.replace("0.0.0.0", "127.0.0.1");
    let status = async |path: &str| reqwest::get(format!("{url}{path}")).await.unwrap().status().as_u16();
    assert_eq!(status("/.well-known/openid-configuration").await, 404);
    assert_eq!(status("/api/v1/Auth/getCAPTCHA").await, 200);
    let ready = reqwest::get(format!("{}/readyz", server.admin_url())).await.unwrap();
    assert_eq!(ready.status(), 200, "{}", ready.text().await.unwrap());
    let log = eventually("the reason", || Some(server.log()).filter(|log| log.contains("the service is left out")));
    assert!(log.contains("STELE_PUBLIC_URL: is not set"), "{log}");
    server.stop();

    let mut installation = installation;
    installation.set("STELE_LISTEN", "0.0.0.0:8080");
    let output = installation.run(&["check"]).assert_success().stdout.clone();
    assert!(output.contains("warning: oauth: STELE_PUBLIC_URL: is not set"), "{output}");
    installation.set("STELE_PUBLIC_URL", "https://auth.example.com");
    let output = installation.run(&["check"]).assert_success().stdout.clone();
    assert!(output.contains("ok: oauth's settings"), "{output}");
}
