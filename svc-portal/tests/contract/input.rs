//! Input rules specific to this dialect. The conformance suite tests those of all dialects.

use stele_testkit::conformance::DialectUnderTest as _;

use crate::test_service::{DEFAULT_ADDRESS, PHONE, TestService};

const JSON: &str = "application/json";

async fn post_as(
    service: &TestService,
    path: &str,
    kind: &str,
    body: impl Into<reqwest::Body>,
) -> crate::test_service::PortalResponse {
    service.send(service.request(DEFAULT_ADDRESS, path).header("content-type", kind).body(body)).await
}

#[tokio::test]
async fn a_numeric_username_is_accepted() {
    let service = TestService::new().await;
    service.lab.user("mark").password("hna123").phone(PHONE).add().await;
    post_as(&service, "/i/login", JSON, r#"{"username":13800138000,"password":"aG5hMTIz"}"#).await.assert_code("200");
    post_as(&service, "/code/send", JSON, r#"{"username":13800138000}"#).await.assert_code("200");
    post_as(&service, "/code/send", JSON, r#"{"username":1.38e9}"#).await.assert_code("3203");
}

#[tokio::test]
async fn an_empty_username_or_password_is_rejected() {
    let service = TestService::new().await;
    post_as(&service, "/code/send", JSON, r#"{"username":""}"#).await.assert_code("3203");
    for path in ["/i/register", "/i/resetpwd"] {
        let body = r#"{"username":"","password":"aG5hMTIz","code":"MDc0NzUy"}"#;
        post_as(&service, path, JSON, body).await.assert_field_error("username");
        let body = r#"{"username":"13800138000","password":"","code":"MDc0NzUy"}"#;
        post_as(&service, path, JSON, body).await.assert_field_error("参数错误: password");
    }
}
