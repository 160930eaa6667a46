//! Captchas (生成验证码): issuing and images.

use stele_testkit::{TestLab, send_raw};

use stele_testkit::conformance::DialectUnderTest as _;

use crate::{ResponseExt as _, TestService};

#[tokio::test]
async fn the_returned_url_serves_the_image() {
    let service = TestService::new().await;
    let captcha = service.get("/api/vi/Auth/getCAPTCHA").await.json();
    let id = captcha["data"]["id"].as_u64().unwrap();
    assert!(id < 1 << 53);
    let path = captcha["data"]["URL"].as_str().unwrap();
    for path in [path.to_owned(), path.to_lowercase(), path.replace("v1", "vi")] {
        let response = service.request("GET", &path).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(response.headers()["content-type"], "image/png");
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert!(response.bytes().await.unwrap().starts_with(b"\x89PNG\r\n\x1a\n"));
    }
}

#[tokio::test]
async fn an_image_is_identical_on_every_instance_and_served_five_times() {
    let service = TestService::new().await;
    let other_instance = service.lab.start_service(svc_jwt::SERVICE).await;
    let mut images = Vec::new();
    for _ in 0..2 {
        let id = service.get("/api/vi/Auth/getCAPTCHA").await.json()["data"]["id"].as_u64().unwrap();
        let path = format!("/api/v1/Auth/CAPTCHA/{id}");
        let urls = [service.service.url(&path), other_instance.url(&path)];
        let request_image =
            async |index: usize| stele_testkit::http_client().get(&urls[index % 2]).send().await.unwrap();
        let first = request_image(0).await.bytes().await.unwrap();
        for index in 1..5 {
            let response = request_image(index).await;
            assert_eq!((response.status().as_u16(), response.bytes().await.unwrap() == first), (200, true), "{index}");
        }
        for url in &urls {
            let exhausted = service.send(stele_testkit::http_client().get(url)).await;
            exhausted.assert_error(404, "获取验证码失败");
        }
        images.push(first);
    }
    assert_ne!(images[0], images[1]);
}

#[tokio::test]
async fn unknown_and_expired_captcha_ids_have_no_image() {
    let service = TestService::new().await;
    let (id, _) = service.captcha().await;
    let unknown_ids = [(id ^ 1).to_string(), "x".into(), "-1".into(), "9007199254740992".into(), "9".repeat(400)];
    for id in unknown_ids {
        service.get(&format!("/api/v1/Auth/CAPTCHA/{id}")).await.assert_error(404, "获取验证码失败");
    }
    service.advance_clock(301);
    service.get(&format!("/api/v1/Auth/CAPTCHA/{id}")).await.assert_error(404, "获取验证码失败");
}

#[tokio::test]
async fn the_url_uses_the_public_url_setting_and_never_the_host_header() {
    for (setting, start) in [("", ""), ("https://auth.example.com/", "https://auth.example.com")] {
        let service =
            TestService::with_settings(&[("STELE_PUBLIC_URL", setting), ("STELE_TRUSTED_PROXIES", "127.0.0.1")]).await;
        let request = "GET /api/vi/Auth/getCAPTCHA HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: evil.example\r\n\
                       Forwarded: host=evil.example\r\nConnection: close\r\n\r\n";
        let response = send_raw(service.service.address(), request.as_bytes()).await;
        assert!(!response.contains("evil"), "{response}");
        assert!(response.contains(&format!(r#""URL":"{start}/api/v1/Auth/CAPTCHA/"#)), "{response}");
    }
}

#[tokio::test]
async fn captcha_issuance_is_rate_limited_per_address() {
    let lab = TestLab::with_settings(&[("STELE_SEND_CAPTCHA", "2")]).await;
    let service = lab.start_service(svc_jwt::SERVICE).await;
    let issue = async || {
        let response = stele_testkit::http_client().get(service.url("/api/v1/Auth/getCAPTCHA")).send().await.unwrap();
        (response.status().as_u16(), response.headers().contains_key("retry-after"), response.text().await.unwrap())
    };
    for _ in 0..2 {
        assert_eq!(issue().await.0, 200);
    }
    let rate_limited = r#"{"code":-1,"message":"操作过于频繁，请稍后再试"}"#.to_owned();
    assert_eq!(issue().await, (429, true, rate_limited));
    lab.clock().advance(std::time::Duration::from_secs(3_600));
    assert_eq!(issue().await.0, 200);
}
