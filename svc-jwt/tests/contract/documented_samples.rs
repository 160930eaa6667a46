//! The API document's sample calls (`docs/PROTOCOLS.md`, JWT) as jQuery 1.x sends them: multipart's content type
//! without a boundary, and an urlencoded body.

use stele_testkit::send_raw;

use stele_testkit::conformance::DialectUnderTest as _;

use crate::TestService;

fn jquery_request(method: &str, path: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = if method == "POST" { format!("Content-Length: {}\r\n", body.len()) } else { String::new() };
    format!(
        "{method} {path} HTTP/1.1\r\nHost: host:8105\r\nConnection: close\r\n{length}\
         Accept: application/json, text/javascript, */*; q=0.01\r\nOrigin: http://localhost\r\n{headers}\
         User-Agent: Mozilla/5.0\r\nContent-Type: multipart/form-data\r\n\
         Referer: http://localhost/\r\nAccept-Encoding: gzip, deflate\r\nAccept-Language: zh-CN,zh;q=0.9\r\n\r\n{body}"
    )
    .into_bytes()
}

async fn send_sample(service: &TestService, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
    let response = send_raw(service.service.address(), &jquery_request(method, path, headers, body)).await;
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

#[tokio::test]
async fn the_documented_login_and_logout_work() {
    let service = TestService::new().await;
    service.lab.user("a").password("123").add().await;
    let (status, body) = send_sample(&service, "POST", "/api/v1/Auth/Login", "", "account=a&password=123").await;
    assert_eq!(status, 200);
    assert!(body.starts_with(r#"{"code":0,"message":"登录成功","user":{"userId":""#), "{body}");
    let token = body.rsplit('"').nth(1).unwrap();

    let header = format!("token: {token}\r\n");
    let logout = send_sample(&service, "GET", "/api/v1/Auth/Logout", &header, "").await;
    assert_eq!(logout, (200, r#"{"code":0,"message":"注销成功"}"#.to_owned()));
    let again = send_sample(&service, "GET", "/api/v1/Auth/Logout", &header, "").await;
    assert_eq!(again, (401, r#"{"code":-1,"message":"注销失败"}"#.to_owned()));
    let placeholder = send_sample(&service, "GET", "/api/v1/Auth/Logout", "token: [string]\r\n", "").await;
    assert_eq!(placeholder, again);
}

#[tokio::test]
async fn the_documented_password_reset_works() {
    let service = TestService::new().await;
    service.lab.user("a").email("123@qq.com").add().await;
    let sample = "account=a&email=123%40qq.com";
    let sent = send_sample(&service, "POST", "/api/v1/Auth/ForgetPassword", "", sample).await;
    assert_eq!(sent, (200, r#"{"code":0,"message":"发送短信成功"}"#.to_owned()));

    // The sample's code has four digits, Stele's codes have six.
    let wrong = send_sample(&service, "POST", "/api/vi/Auth/validatePhone", "", "account=a&identifyCode=1230").await;
    assert_eq!(wrong, (200, r#"{"code":-1,"message":"验证码错误"}"#.to_owned()));
    let code = service.lab.last_code_for("123@qq.com");
    let body = format!("account=a&identifyCode={code}");
    let (status, body) = send_sample(&service, "POST", "/api/vi/Auth/validatePhone", "", &body).await;
    assert_eq!(status, 200);
    assert!(body.starts_with(r#"{"code":0,"message":"验证码正确","token":""#), "{body}");
    let token = body.rsplit('"').nth(1).unwrap();

    let sample = "account=a&password=123456";
    let without_token = send_sample(&service, "POST", "/api/vi/Auth/updatePassword", "", sample).await;
    assert_eq!(without_token, (401, r#"{"code":-1,"message":"更新密码失败"}"#.to_owned()));
    let header = format!("Authorization: {token}\r\n");
    let updated = send_sample(&service, "POST", "/api/vi/Auth/updatePassword", &header, sample).await;
    assert_eq!(updated, (200, r#"{"code":0,"message":"更新密码成功"}"#.to_owned()));
}

#[tokio::test]
async fn the_documented_captcha_calls_work() {
    let service = TestService::new().await;
    for (method, path) in [("POST", "/api/vi/Auth/CAPTCHA"), ("GET", "/api/vi/Auth/getCAPTCHA")] {
        let (status, body) = send_sample(&service, method, path, "", "").await;
        assert_eq!(status, 200);
        let response: serde_json::Value = serde_json::from_str(&body).unwrap();
        let id = response["data"]["id"].as_u64().unwrap();
        let expected = format!(
            r#"{{"code":0,"message":"获取验证码成功","data":{{"id":{id},"URL":"/api/v1/Auth/CAPTCHA/{id}"}}}}"#
        );
        assert_eq!(body, expected);
    }
}
