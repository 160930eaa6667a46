//! Rate limits of password guessing: per account, and per app in place of the address (docs/THREATS.md 4, 33, 34).

use std::time::Duration;

use serde_json::json;
use stele_testkit::conformance::DialectUnderTest as _;

use crate::test_service::{ResponseExt as _, TestService};

const MARK: &str = "13800138000";

#[actix_web::test]
async fn wrong_codes_and_wrong_passwords_share_a_rate_limit() {
    let service = TestService::new().await;
    service.lab.user("mark").phone(MARK).add().await;
    for _ in 0..3 {
        assert_eq!(service.login("melink", MARK, "wrong!").await.error_code(), 40003);
        let check = json!({ "login_name": MARK, "captcha": "000000" });
        assert_eq!(service.call_as_wlfz("/auth/check/captcha", &check).await.error_code(), 40002);
    }
    let forgot = json!({ "login_name": MARK, "new_password": "654321", "captcha": "000000" });
    assert_eq!(service.call_as_melink("/auth/forgot", &forgot).await.status_and_code(), (429, 42900));
}

#[actix_web::test]
async fn guessing_is_rate_limited_per_app_instead_of_per_address() {
    let service = TestService::with_settings(&[("STELE_LIMIT_APP", "3"), ("STELE_LIMIT_ADDRESS", "1")]).await;
    service.lab.user("mark").phone(MARK).add().await;
    for name in ["13900139001", "13900139002", "13900139003"] {
        assert_eq!(service.login("melink", name, "wrong!").await.status_and_code(), (200, 40003));
    }
    let response = service.login("melink", MARK, "123456").await;
    assert_eq!((response.status_and_code(), response.retry_after()), ((429, 42900), Some(900)));
    assert_eq!(service.login("wlfz", MARK, "123456").await.status_and_code(), (200, 0));
    service.lab.clock().advance(Duration::from_secs(900));
    assert_eq!(service.login("melink", MARK, "123456").await.status_and_code(), (200, 0));
}

#[actix_web::test]
async fn an_app_may_fail_a_thousand_times_by_default() {
    let service = TestService::new().await;
    assert_eq!(service.lab.dependencies().policy.login_limits.app.free_failures, 1_000);
}
