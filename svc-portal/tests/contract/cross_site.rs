//! Login CSRF: a page of another site posts a form, and the browser would keep the cookie of the account that the page chose.

use stele_testkit::conformance::DialectUnderTest as _;

use crate::test_service::{DEFAULT_ADDRESS, PHONE, PortalResponse, TestService, to_base64};

type Headers<'a> = &'a [(&'a str, &'a str)];

const CROSS_SITE: [Headers<'_>; 5] = [
    &[("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")],
    &[("sec-fetch-site", "cross-site")],
    // Browsers before 2023, and those that came without TLS.
    &[("origin", "https://evil.example")],
    &[("origin", "http://127.0.0.1.evil.example")],
    &[("origin", "null")],
];

async fn post_with_headers(portal: &TestService, path: &str, headers: Headers<'_>, body: String) -> PortalResponse {
    // A form can have this content type, and JSON as its text, without a preflight.
    let mut request = portal.request(DEFAULT_ADDRESS, path).header("content-type", "text/plain");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    portal.send(request.body(body)).await
}

async fn login_with_headers(portal: &TestService, headers: Headers<'_>) -> PortalResponse {
    let body = format!(r#"{{"username":"{PHONE}","password":"{}"}}"#, to_base64("hna123"));
    post_with_headers(portal, "/i/login", headers, body).await
}

#[tokio::test]
async fn a_cross_site_login_sets_no_cookie() {
    let portal = TestService::new().await;
    portal.register_user(PHONE, "hna123").await;
    let ours = login_with_headers(&portal, &[]).await;
    assert!(ours.set_cookie.is_some(), "a client that is no browser");
    for headers in CROSS_SITE {
        let answer = login_with_headers(&portal, headers).await;
        assert_eq!((&answer.body, answer.set_cookie), (&ours.body, None), "{headers:?}");
    }
}

#[tokio::test]
async fn same_site_and_listed_origins_can_log_in() {
    let portal =
        TestService::with_settings(&[("STELE_CORS_ORIGINS", "https://app.example, http://b.example:81")]).await;
    portal.register_user(PHONE, "hna123").await;
    let own = portal.service.url("/");
    let own = own.trim_end_matches('/');
    let same_site: [Headers<'_>; 8] = [
        &[("sec-fetch-site", "same-origin"), ("origin", "https://public.example")],
        &[("sec-fetch-site", "same-site"), ("origin", "https://www.public.example")],
        &[("sec-fetch-site", "none")],
        &[("origin", own)],
        &[("origin", "https://public.example:8443"), ("x-forwarded-host", "public.example")],
        &[("sec-fetch-site", "cross-site"), ("origin", "https://app.example")],
        &[("origin", "https://app.example")],
        &[("origin", "http://b.example:81")],
    ];
    for headers in same_site {
        assert!(login_with_headers(&portal, headers).await.set_cookie.is_some(), "{headers:?}");
    }
    assert_eq!(
        login_with_headers(&portal, &[("origin", "http://app.example")]).await.set_cookie,
        None,
        "another scheme is another"
    );
}

#[tokio::test]
async fn a_wildcard_origin_permits_calls_without_cookies() {
    let portal = TestService::with_settings(&[("STELE_CORS_ORIGINS", "*")]).await;
    portal.register_user(PHONE, "hna123").await;
    for headers in CROSS_SITE {
        assert_eq!(login_with_headers(&portal, headers).await.set_cookie, None, "{headers:?}");
    }
}

#[tokio::test]
async fn a_cross_site_logout_ends_no_session() {
    let portal = TestService::new().await;
    portal.register_user(PHONE, "hna123").await;
    let token = login_with_headers(&portal, &[]).await.session_token();
    let cookie = format!("stele_session={token}");
    for headers in CROSS_SITE {
        let with_cookie = [headers, &[("cookie", cookie.as_str())]].concat();
        let answer = post_with_headers(&portal, "/i/logout", &with_cookie, String::new()).await;
        assert_eq!(answer.assert_code("200").set_cookie, None, "the cookie stays: {headers:?}");
        assert!(portal.is_session_valid(&token).await, "{headers:?}");
        // Nor by a link: SameSite=Lax lets a browser send the cookie with that.
        let link = stele_testkit::TestApp::request(&portal, "GET", "/i/logout");
        let link = with_cookie.iter().fold(link, |link, (name, value)| link.header(*name, *value));
        assert_eq!(portal.send(link).await.assert_code("200").set_cookie, None, "{headers:?}");
        assert!(portal.is_session_valid(&token).await, "{headers:?}");
    }
    let answer = post_with_headers(
        &portal,
        "/i/logout",
        &[("cookie", &cookie), ("sec-fetch-site", "same-origin")],
        String::new(),
    )
    .await;
    assert!(answer.assert_code("200").set_cookie.is_some());
    assert!(!portal.is_session_valid(&token).await);
}
