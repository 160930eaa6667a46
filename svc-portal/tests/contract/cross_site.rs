//! Login CSRF: a page of another site posts a form, and the browser would keep the cookie of the account that the page chose.

use stele_testkit::conformance::DialectUnderTest as _;

use crate::portal::{Answer, HOME, PHONE, Portal, b64};

type Headers<'a> = &'a [(&'a str, &'a str)];

const CROSS_SITE: [Headers<'_>; 5] = [
    &[("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")],
    &[("sec-fetch-site", "cross-site")],
    // Browsers before 2023, and those that came without TLS.
    &[("origin", "https://evil.example")],
    &[("origin", "http://127.0.0.1.evil.example")],
    &[("origin", "null")],
];

async fn post(portal: &Portal, path: &str, headers: Headers<'_>, body: String) -> Answer {
    // A form can have this content type, and JSON as its text, without a preflight.
    let mut request = portal.request(HOME, path).header("content-type", "text/plain");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    portal.send(request.body(body)).await
}

async fn login(portal: &Portal, headers: Headers<'_>) -> Answer {
    let body = format!(r#"{{"username":"{PHONE}","password":"{}"}}"#, b64("hna123"));
    post(portal, "/i/login", headers, body).await
}

#[tokio::test]
async fn a_page_of_another_site_gets_its_answer_and_no_cookie() {
    let portal = Portal::new().await;
    portal.member(PHONE, "hna123").await;
    let ours = login(&portal, &[]).await;
    assert!(ours.set_cookie.is_some(), "a client that is no browser");
    for headers in CROSS_SITE {
        let answer = login(&portal, headers).await;
        assert_eq!((&answer.body, answer.set_cookie), (&ours.body, None), "{headers:?}");
    }
}

#[tokio::test]
async fn pages_of_the_same_site_log_in() {
    let portal = Portal::with(&[("STELE_CORS_ORIGINS", "https://app.example, http://b.example:81")]).await;
    portal.member(PHONE, "hna123").await;
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
        assert!(login(&portal, headers).await.set_cookie.is_some(), "{headers:?}");
    }
    assert_eq!(login(&portal, &[("origin", "http://app.example")]).await.set_cookie, None, "another scheme is another");
}

#[tokio::test]
async fn all_origins_are_allowed_to_call_and_none_to_use_cookies() {
    let portal = Portal::with(&[("STELE_CORS_ORIGINS", "*")]).await;
    portal.member(PHONE, "hna123").await;
    for headers in CROSS_SITE {
        assert_eq!(login(&portal, headers).await.set_cookie, None, "{headers:?}");
    }
}

#[tokio::test]
async fn a_page_of_another_site_logs_nobody_out() {
    let portal = Portal::new().await;
    portal.member(PHONE, "hna123").await;
    let token = login(&portal, &[]).await.token();
    let cookie = format!("stele_session={token}");
    for headers in CROSS_SITE {
        let with_cookie = [headers, &[("cookie", cookie.as_str())]].concat();
        let answer = post(&portal, "/i/logout", &with_cookie, String::new()).await;
        assert_eq!(answer.is("200").set_cookie, None, "the cookie stays: {headers:?}");
        assert!(portal.lives(&token).await, "{headers:?}");
        // Nor by a link: SameSite=Lax lets a browser send the cookie with that.
        let link = stele_testkit::TestApp::request(&portal, "GET", "/i/logout");
        let link = with_cookie.iter().fold(link, |link, (name, value)| link.header(*name, *value));
        assert_eq!(portal.send(link).await.is("200").set_cookie, None, "{headers:?}");
        assert!(portal.lives(&token).await, "{headers:?}");
    }
    let answer =
        post(&portal, "/i/logout", &[("cookie", &cookie), ("sec-fetch-site", "same-origin")], String::new()).await;
    assert!(answer.is("200").set_cookie.is_some());
    assert!(!portal.lives(&token).await);
}
