//! Store outages: 503 in the dialect's format, nothing fails open, and the service recovers.

use stele_testkit::conformance::DialectUnderTest as _;
use stele_testkit::{STORES, StoreState};

use crate::test_service::{DEFAULT_ADDRESS, PHONE, TestService, to_base64};

#[tokio::test]
async fn a_store_outage_fails_closed_and_recovers() {
    for (store, set_store) in STORES {
        let service = TestService::new().await;
        service.register_user(PHONE, "hna123").await;
        let (password, code) = (to_base64("new123"), to_base64(&service.request_code_for(PHONE).await));
        let form = format!("username={PHONE}&password={password}&code={code}");
        let post_with_session = async |path: &str, token: &str| {
            let request = service.request(DEFAULT_ADDRESS, path).header("cookie", format!("stele_session={token}"));
            service.send(request.body(form.clone())).await
        };
        let ended_token = service.login(PHONE, "hna123").await.session_token();
        post_with_session("/i/logout", &ended_token).await.assert_code("200");
        let token = service.login(PHONE, "hna123").await.session_token();

        set_store(&service.lab, StoreState::Down);
        for path in ["/i/login", "/i/logout", "/i/register", "/i/resetpwd", "/code/send"] {
            let response = post_with_session(path, &token).await;
            assert_eq!(response.assert_code("503").status_message, "服务暂不可用", "{store} {path}");
            assert_eq!(response.retry_after, Some(1), "{store} {path}");
            // The response reveals neither the cause nor the address of the store.
            assert!(!response.body.contains("simulated outage") && !response.body.contains("secret"), "{response:?}");
            // A failed logout does not clear the cookie, so that it can be retried.
            assert_eq!(response.set_cookie, None, "{store} {path}");
        }
        // The state store alone knows that a session has ended.
        post_with_session("/i/logout", &ended_token).await.assert_code(if store == "users" { "200" } else { "503" });
        set_store(&service.lab, StoreState::Up);

        service.login(PHONE, "hna123").await.assert_code("200");
        assert!(service.is_session_valid(&token).await && !service.is_session_valid(&ended_token).await, "{store}");
        assert_eq!(service.lab.sent_codes().len(), 2, "{store}");
        post_with_session("/i/logout", &token).await.assert_code("200");
        assert!(!service.is_session_valid(&token).await, "{store}");
        post_with_session("/i/resetpwd", "").await.assert_code("200");
        post_with_session("/i/resetpwd", "").await.assert_code("3208");
        post_with_session("/i/login", "").await.assert_code("200");
    }
}
