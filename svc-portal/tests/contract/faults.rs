//! When a store is gone: a clear 503 in dialect, nothing fails open, and all is well when it is back.

use stele_testkit::STORES;
use stele_testkit::conformance::DialectUnderTest as _;

use crate::portal::{HOME, PHONE, Portal, b64};

#[tokio::test]
async fn without_a_store_nothing_opens_and_with_it_all_is_well() {
    for (store, down) in STORES {
        let portal = Portal::new().await;
        portal.member(PHONE, "hna123").await;
        let (password, code) = (b64("new123"), b64(&portal.code(PHONE).await));
        let form = format!("username={PHONE}&password={password}&code={code}");
        let post = async |path: &str, token: &str| {
            let request = portal.request(HOME, path).header("cookie", format!("stele_session={token}"));
            portal.send(request.body(form.clone())).await
        };
        let dead = portal.login(PHONE, "hna123").await.token();
        post("/i/logout", &dead).await.is("200");
        let token = portal.login(PHONE, "hna123").await.token();

        down(&portal.lab, true);
        for path in ["/i/login", "/i/logout", "/i/register", "/i/resetpwd", "/code/send"] {
            let answer = post(path, &token).await;
            assert_eq!(answer.is("503").text, "服务暂不可用", "{store} {path}");
            assert_eq!(answer.retry_after, Some(1), "{store} {path}");
            // Neither what it is nor where.
            assert!(!answer.body.contains("switched") && !answer.body.contains("secret"), "{answer:?}");
            // A logout that did not happen leaves the cookie, so that it can be tried again.
            assert_eq!(answer.set_cookie, None, "{store} {path}");
        }
        // With the users away, a session that is gone is known to be.
        post("/i/logout", &dead).await.is(if store == "users" { "200" } else { "503" });
        down(&portal.lab, false);

        portal.login(PHONE, "hna123").await.is("200");
        assert!(portal.lives(&token).await && !portal.lives(&dead).await, "{store}");
        assert_eq!(portal.lab.codes().len(), 2, "{store}");
        post("/i/logout", &token).await.is("200");
        assert!(!portal.lives(&token).await, "{store}");
        post("/i/resetpwd", "").await.is("200");
        post("/i/resetpwd", "").await.is("3208");
        post("/i/login", "").await.is("200");
    }
}
