//! Golden transcripts: requests and responses, byte for byte.

use stele_testkit::{TestLab, assert_golden};
use svc_portal::SERVICE;

#[tokio::test]
async fn login_matches_the_golden_transcript() {
    let lab = TestLab::new().await;
    lab.user("Mark").password("hna123").phone("13800138000").email("123456@qq.cpom").add().await;
    assert_golden(&lab.start_service(SERVICE).await, "tests/golden/login.http").await;
}

#[tokio::test]
async fn account_calls_match_the_golden_transcript() {
    let lab = TestLab::new().await;
    let service = lab.start_service(SERVICE).await;
    assert_golden(&service, "tests/golden/account.http").await;
}

#[tokio::test]
async fn a_common_password_matches_the_golden_transcript() {
    let lab = TestLab::with_settings(&[("STELE_PASSWORD_LIST", "refuse")]).await;
    assert_golden(&lab.start_service(SERVICE).await, "tests/golden/common_password.http").await;
}

#[tokio::test]
async fn legacy_ids_match_the_golden_transcript() {
    let lab = TestLab::new().await;
    lab.import_user().await;
    // The numbers of later users follow the imported one.
    lab.user("later").phone("13800138001").add().await;
    assert_golden(&lab.start_service(SERVICE).await, "tests/golden/legacy_ids.http").await;
}

#[tokio::test]
async fn rejections_match_the_golden_transcript() {
    assert_golden(&TestLab::new().await.start_service(SERVICE).await, "tests/golden/refusals.http").await;
}
