//! What this dialect reads in a way of its own. What all dialects refuse alike is in the conformance suite.

use stele_testkit::conformance::DialectUnderTest as _;

use crate::portal::{HOME, PHONE, Portal};

const JSON: &str = "application/json";

async fn post(portal: &Portal, path: &str, kind: &str, body: impl Into<reqwest::Body>) -> crate::portal::Answer {
    portal.send(portal.request(HOME, path).header("content-type", kind).body(body)).await
}

#[tokio::test]
async fn numbers_may_come_as_numbers() {
    let portal = Portal::new().await;
    portal.lab.user("mark").password("hna123").phone(PHONE).add().await;
    post(&portal, "/i/login", JSON, r#"{"username":13800138000,"password":"aG5hMTIz"}"#).await.is("200");
    post(&portal, "/code/send", JSON, r#"{"username":13800138000}"#).await.is("200");
    post(&portal, "/code/send", JSON, r#"{"username":1.38e9}"#).await.is("3203");
}

#[tokio::test]
async fn an_empty_name_gets_no_code_and_no_account() {
    let portal = Portal::new().await;
    post(&portal, "/code/send", JSON, r#"{"username":""}"#).await.is("3203");
    for path in ["/i/register", "/i/resetpwd"] {
        let body = r#"{"username":"","password":"aG5hMTIz","code":"MDc0NzUy"}"#;
        post(&portal, path, JSON, body).await.refuses("username");
        let body = r#"{"username":"13800138000","password":"","code":"MDc0NzUy"}"#;
        post(&portal, path, JSON, body).await.refuses("参数错误: password");
    }
}
