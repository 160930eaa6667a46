//! Golden transcripts: requests and responses, byte for byte, with the keys of `crates/jose/tests/vectors`.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;
use stele_testkit::{TestLab, assert_golden};
use svc_oauth::SERVICE;

#[tokio::test]
async fn metadata_matches_the_golden_transcript() {
    let lab = TestLab::with_settings(&[("STELE_PUBLIC_URL", "https://auth.example.com")]).await;
    let vectors: Value = serde_json::from_str(include_str!("../../../crates/jose/tests/vectors/tokens.json")).unwrap();
    for key in vectors["keys"].as_array().unwrap() {
        let prefix = key["algorithm"].as_str().unwrap().to_lowercase();
        let path = lab.context().settings.keys_dir().join(format!("jwt-{prefix}-{}.pem", key["number"]));
        std::fs::write(&path, key["private_key"].as_str().unwrap()).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    assert_golden(&lab.start_service(SERVICE).await, "tests/golden/metadata.http").await;
}
