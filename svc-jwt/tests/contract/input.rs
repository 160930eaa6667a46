//! What this dialect reads in a way of its own. What all dialects read alike is in the conformance suite.

use stele_testkit::conformance::DialectUnderTest as _;

use crate::{ResponseExt as _, TestService};

#[tokio::test]
async fn a_get_request_body_is_ignored() {
    let bench = TestService::new().await;
    let request = bench.request("GET", "/api/vi/Auth/getCAPTCHA").body("{");
    assert_eq!(bench.send(request).await.message(), "获取验证码成功");
}
