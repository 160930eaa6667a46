//! When a store is gone: a clear 503 in dialect, nothing fails open, and all is well when it is back.

use stele_testkit::STORES;
use stele_testkit::conformance::DialectUnderTest as _;

use crate::test_service::{DEFAULT_ADDRESS, PHONE, TestService, to_base64};

#[tokio::test]
async fn a_store_outage_fails_closed_and_recovers() {
    for (store, down) in STORES {
        let portal = TestService::new().await;
        portal.register_user(PHONE, "hna123").await;
        let (password, code) = (to_base64("new123"), to_base64(&portal.request_code_for(PHONE).await));
        let form = format!("username={PHONE}&password={password}&code={code}");
        let post = async |path: &str, token: &str| {
            let request = portal.request(DEFAULT_ADDRESS, path).header("cookie", format!("stele_session={token}"));
            portal.send(request.body(form.clone())).await
        };
        let dead = portal.login(PHONE, "hna123").await.session_token();
        post("/i/logout", &dead).await.assert_code("200");
        let token = portal.login(PHONE, "hna123").await.session_token();

        down(&portal.lab, true);
        for path in ["/i/login", "/i/logout", "/i/register", "/i/resetpwd", "/code/send"] {
            let answer = post(path, &token).await;
            assert_eq!(answer.assert_code("503").status_message, "服务暂不可用", "{store} {path}");
            assert_eq!(answer.retry_after, Some(1), "{store} {path}");
            // Neither what it is nor where.
            assert!(!answer.body.contains("switched") && !answer.body.contains("secret"), "{answer:?}");
            // A logout that did not happen leaves the cookie, so that it can be tried again.
            assert_eq!(answer.set_cookie, None, "{store} {path}");
        }
        // With the users away, a session that is gone is known to be.
        post("/i/logout", &dead).await.assert_code(if store == "users" { "200" } else { "503" });
        down(&portal.lab, false);

        portal.login(PHONE, "hna123").await.assert_code("200");
        assert!(portal.is_session_valid(&token).await && !portal.is_session_valid(&dead).await, "{store}");
        assert_eq!(portal.lab.sent_codes().len(), 2, "{store}");
        post("/i/logout", &token).await.assert_code("200");
        assert!(!portal.is_session_valid(&token).await, "{store}");
        post("/i/resetpwd", "").await.assert_code("200");
        post("/i/resetpwd", "").await.assert_code("3208");
        post("/i/login", "").await.assert_code("200");
    }
}
