//! Login and logout CSRF: a cross-site page must neither set the session cookie of an account it chose nor end a
//! session.

use stele_testkit::conformance::DialectUnderTest as _;

use crate::test_service::{DEFAULT_ADDRESS, PHONE, PortalResponse, TestService, to_base64};

type Headers<'a> = &'a [(&'a str, &'a str)];

const CROSS_SITE: [Headers<'_>; 5] = [
    &[("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")],
    &[("sec-fetch-site", "cross-site")],
    // Browsers without Fetch Metadata: versions before 2023, and pages without TLS.
    &[("origin", "https://evil.example")],
    &[("origin", "http://127.0.0.1.evil.example")],
    &[("origin", "null")],
];

async fn post_with_headers(service: &TestService, path: &str, headers: Headers<'_>, body: String) -> PortalResponse {
    // A form can send text/plain with JSON content without a CORS preflight.
    let mut request = service.request(DEFAULT_ADDRESS, path).header("content-type", "text/plain");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    service.send(request.body(body)).await
}

async fn login_with_headers(service: &TestService, headers: Headers<'_>) -> PortalResponse {
    let body = format!(r#"{{"username":"{PHONE}","password":"{}"}}"#, to_base64("hna123"));
    post_with_headers(service, "/i/login", headers, body).await
}

#[tokio::test]
async fn a_cross_site_login_sets_no_cookie() {
    let service = TestService::new().await;
    service.register_user(PHONE, "hna123").await;
    let non_browser = login_with_headers(&service, &[]).await;
    assert!(non_browser.set_cookie.is_some(), "a client that is not a browser");
    for headers in CROSS_SITE {
        let response = login_with_headers(&service, headers).await;
        assert_eq!((&response.body, response.set_cookie), (&non_browser.body, None), "{headers:?}");
    }
}

#[tokio::test]
async fn same_site_and_listed_origins_can_log_in() {
    let service =
        TestService::with_settings(&[("STELE_CORS_ORIGINS", "https://app.example, http://b.example:81")]).await;
    service.register_user(PHONE, "hna123").await;
    let own_url = service.service.url("/");
    let own_origin = own_url.trim_end_matches('/');
    let same_site: [Headers<'_>; 8] = [
        &[("sec-fetch-site", "same-origin"), ("origin", "https://public.example")],
        &[("sec-fetch-site", "same-site"), ("origin", "https://www.public.example")],
        &[("sec-fetch-site", "none")],
        &[("origin", own_origin)],
        &[("origin", "https://public.example:8443"), ("x-forwarded-host", "public.example")],
        &[("sec-fetch-site", "cross-site"), ("origin", "https://app.example")],
        &[("origin", "https://app.example")],
        &[("origin", "http://b.example:81")],
    ];
    for headers in same_site {
        assert!(login_with_headers(&service, headers).await.set_cookie.is_some(), "{headers:?}");
    }
    assert_eq!(
        login_with_headers(&service, &[("origin", "http://app.example")]).await.set_cookie,
        None,
        "an origin with another scheme is another origin"
    );
}

#[tokio::test]
async fn a_wildcard_origin_permits_calls_without_cookies() {
    let service = TestService::with_settings(&[("STELE_CORS_ORIGINS", "*")]).await;
    service.register_user(PHONE, "hna123").await;
    for headers in CROSS_SITE {
        assert_eq!(login_with_headers(&service, headers).await.set_cookie, None, "{headers:?}");
    }
}

#[tokio::test]
async fn a_cross_site_logout_ends_no_session() {
    let service = TestService::new().await;
    service.register_user(PHONE, "hna123").await;
    let token = login_with_headers(&service, &[]).await.session_token();
    let cookie = format!("stele_session={token}");
    for headers in CROSS_SITE {
        let with_cookie = [headers, &[("cookie", cookie.as_str())]].concat();
        let response = post_with_headers(&service, "/i/logout", &with_cookie, String::new()).await;
        assert_eq!(response.assert_code("200").set_cookie, None, "the cookie is not cleared: {headers:?}");
        assert!(service.is_session_valid(&token).await, "{headers:?}");
        // A link must not end the session either: browsers send SameSite=Lax cookies with links.
        let link = stele_testkit::TestApp::request(&service, "GET", "/i/logout");
        let link = with_cookie.iter().fold(link, |link, (name, value)| link.header(*name, *value));
        assert_eq!(service.send(link).await.assert_code("200").set_cookie, None, "{headers:?}");
        assert!(service.is_session_valid(&token).await, "{headers:?}");
    }
    let response = post_with_headers(
        &service,
        "/i/logout",
        &[("cookie", &cookie), ("sec-fetch-site", "same-origin")],
        String::new(),
    )
    .await;
    assert!(response.assert_code("200").set_cookie.is_some());
    assert!(!service.is_session_valid(&token).await);
}
