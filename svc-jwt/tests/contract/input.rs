//! Input rules specific to this dialect. The conformance suite tests those of all dialects.

use stele_testkit::conformance::DialectUnderTest as _;

use crate::{ResponseExt as _, TestService};

#[tokio::test]
async fn a_get_request_body_is_ignored() {
    let service = TestService::new().await;
    let request = service.request("GET", "/api/vi/Auth/getCAPTCHA").body("{");
    assert_eq!(service.send(request).await.message(), "获取验证码成功");
}
