//! Golden transcripts: requests and responses, byte for byte. Clock, randomness and the seed of the signing key are
//! fixed, so tokens are the same in every run.

use std::os::unix::fs::PermissionsExt as _;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use stele_core::user::{Gender, Profile};
use stele_testkit::{RunningService, TestLab, assert_golden};
use svc_jwt::SERVICE;

async fn start_with_fixed_key(lab: &TestLab) -> RunningService {
    let key: Pkcs8V1Der<'_> = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap().as_der().unwrap();
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(key.as_ref()));
    let path = lab.context().settings.keys_dir().join("jwt-eddsa-1.pem");
    std::fs::write(&path, pem).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    lab.start_service(SERVICE).await
}

#[tokio::test]
async fn login_matches_the_golden_transcript() {
    let lab = TestLab::new().await;
    let profile = Profile {
        real_name: "张三".into(),
        gender: Some(Gender::Male),
        avatar_url: "http://a.cn/1.png".into(),
        organization: "海航".into(),
        department: "研发".into(),
        description: "说明".into(),
        ..Profile::default()
    };
    lab.user("a").password("123").profile(profile).add().await;
    assert_golden(&start_with_fixed_key(&lab).await, "tests/golden/login.http").await;
}

#[tokio::test]
async fn password_reset_matches_the_golden_transcript() {
    let lab = TestLab::new().await;
    lab.user("a").email("123@qq.com").phone("13800138000").add().await;
    assert_golden(&start_with_fixed_key(&lab).await, "tests/golden/password.http").await;
}

#[tokio::test]
async fn a_common_password_matches_the_golden_transcript() {
    let lab = TestLab::with_settings(&[("STELE_PASSWORD_LIST", "refuse")]).await;
    assert_golden(&start_with_fixed_key(&lab).await, "tests/golden/common_password.http").await;
}

#[tokio::test]
async fn legacy_ids_match_the_golden_transcript() {
    let lab = TestLab::new().await;
    lab.import_user().await;
    assert_golden(&start_with_fixed_key(&lab).await, "tests/golden/legacy_ids.http").await;
}

#[tokio::test]
async fn rejections_match_the_golden_transcript() {
    assert_golden(&start_with_fixed_key(&TestLab::new().await).await, "tests/golden/refusals.http").await;
}
