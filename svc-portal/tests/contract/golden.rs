//! Golden transcripts: exact bytes.

use stele_testkit::{Lab, golden};
use svc_portal::SERVICE;

#[tokio::test]
async fn login() {
    let lab = Lab::new().await;
    lab.user("Mark").password("hna123").phone("13800138000").email("123456@qq.cpom").add().await;
    golden(&lab.start(SERVICE).await, "tests/golden/login.http").await;
}

#[tokio::test]
async fn account() {
    let lab = Lab::new().await;
    let service = lab.start(SERVICE).await;
    golden(&service, "tests/golden/account.http").await;
}

#[tokio::test]
async fn refusals() {
    golden(&Lab::new().await.start(SERVICE).await, "tests/golden/refusals.http").await;
}
