//! What this dialect reads in a way of its own. What all dialects refuse alike is in the conformance suite.

use stele_testkit::conformance::DialectUnderTest as _;

use crate::portal::{HOME, PHONE, Portal};

const FORM: &str = "application/x-www-form-urlencoded";
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
    post(&portal, "/code/send", JSON, r#"{"username":1.38e10}"#).await.is("3203");
}

#[tokio::test]
async fn a_login_in_the_query_is_not_read() {
    let portal = Portal::new().await;
    portal.lab.user("mark").password("hna123").phone(PHONE).add().await;
    let path = format!("/i/login?username={PHONE}&password=aG5hMTIz");
    post(&portal, &path, FORM, "").await.refuses("username");
}
