//! The query string, which this dialect reads as well as the body.

use stele_testkit::conformance::DialectUnderTest as _;

use crate::{Bench, Reply as _};

#[tokio::test]
async fn the_query_string_is_held_to_what_the_body_is() {
    let bench = Bench::new().await;
    for call in bench.calls() {
        bench.post(&format!("{}?account=%FF", call.path), "").await.fails(400, "请求无法解析");
        for field in &call.fields {
            let query = format!("{}?{}=1", call.path, field.name);
            let message = format!("参数重复: {}", field.name);
            for body in [format!("{}=1", field.name), format!(r#"{{"{}":"1"}}"#, field.name)] {
                bench.post(&query, &body).await.fails(400, &message);
            }
        }
    }
}

#[tokio::test]
async fn a_get_does_not_read_its_body() {
    let bench = Bench::new().await;
    let request = bench.request("GET", "/api/vi/Auth/getCAPTCHA").body("{");
    assert_eq!(bench.send(request).await.message(), "获取验证码成功");
}
