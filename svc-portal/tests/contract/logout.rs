//! Logout (/i/logout).

use stele_testkit::conformance::DialectUnderTest as _;

use crate::test_service::{DEFAULT_ADDRESS, PHONE, PortalResponse, TestService};

const OK: &str = r#"{"status":{"status_code":"200","status_message":"OK","message":"OK"},"content":{}}"#;
const EXPIRED_COOKIE: &str = "stele_session=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0";

async fn logout(service: &TestService, cookie: Option<&str>, body: impl Into<reqwest::Body>) -> PortalResponse {
    let mut request = service.request(DEFAULT_ADDRESS, "/i/logout").body(body);
    if let Some(cookie) = cookie {
        request = request.header("cookie", cookie);
    }
    service.send(request).await
}

#[tokio::test]
async fn logout_ends_only_the_callers_session() {
    let service = TestService::new().await;
    service.register_user(PHONE, "hna123").await;
    let (own_token, other_token) =
        (service.login(PHONE, "hna123").await.session_token(), service.login(PHONE, "hna123").await.session_token());
    let cookie = format!("lang=zh; stele_session={own_token}");
    let response = logout(&service, Some(&cookie), format!("username={PHONE}")).await;
    assert_eq!(response.assert_code("200").body, OK);
    assert_eq!(response.set_cookie.as_deref(), Some(EXPIRED_COOKIE));
    assert!(!service.is_session_valid(&own_token).await);
    assert!(service.is_session_valid(&other_token).await);
    // Repeating the logout is not an error.
    assert_eq!(logout(&service, Some(&cookie), format!("username={PHONE}")).await.body, OK);
    assert!(service.is_session_valid(&other_token).await);
}

#[tokio::test]
async fn logout_returns_200_for_any_body_and_cookie() {
    let service = TestService::new().await;
    service.register_user(PHONE, "hna123").await;
    service.register_user("a@b.cn", "hna123").await;
    let other_session = service.login(PHONE, "hna123").await.session_token();
    let bodies: [&[u8]; 8] = [
        b"",
        b"username=13800138000",
        b"username=unknown",
        b"username=%FF",
        b"\xff\xfe",
        b"username=a&username=b",
        br#"{"username":["x"]}"#,
        br#"{"username":"#,
    ];
    for body in bodies {
        for cookie in [None, Some("stele_session=nonsense"), Some("stele_session=00000000000000000000000000000000")] {
            assert_eq!(logout(&service, cookie, body.to_vec()).await.assert_code("200").body, OK, "{body:?}");
        }
        let own_session = service.login("a@b.cn", "hna123").await.session_token();
        logout(&service, Some(&format!("stele_session={own_session}")), body.to_vec()).await.assert_code("200");
        assert!(!service.is_session_valid(&own_session).await, "{body:?}");
    }
    assert!(service.is_session_valid(&other_session).await);
}

#[tokio::test]
async fn a_session_of_another_dialect_survives_logout() {
    use stele_core::password::RawPassword;
    use stele_core::proof::Proof;
    use stele_core::usecase::RequestInfo;
    use stele_core::usecase::login::{AllowedUsers, Challenge, LoginRequest, SessionTransport};

    let service = TestService::new().await;
    service.register_user(PHONE, "hna123").await;
    let request = LoginRequest {
        identifier: PHONE,
        proof: Proof::Raw(RawPassword::new("hna123".into())),
        caller: &RequestInfo::from_client("jwt", DEFAULT_ADDRESS.parse().unwrap()),
        allowed_users: AllowedUsers::Everyone,
        challenge: Challenge::Never,
        transport: SessionTransport::Token,
    };
    let token = service.lab.use_cases().login(request).await.unwrap().token;
    logout(&service, Some(&format!("stele_session={}", token.expose())), "").await.assert_code("200");
    assert!(service.lab.use_cases().authenticate("jwt", &token).await.is_ok());
}
