//! Limits on guessing: by account, and by the app in place of its address (`docs/THREATS.md` 4, 33, 34).

use std::time::Duration;

use serde_json::json;
use stele_testkit::conformance::DialectUnderTest as _;

use crate::bench::{Bench, Reply as _};

const MARK: &str = "13800138000";

#[actix_web::test]
async fn wrong_codes_and_wrong_passwords_are_counted_together() {
    let bench = Bench::new().await;
    bench.lab.user("mark").phone(MARK).add().await;
    for _ in 0..3 {
        assert_eq!(bench.login("melink", MARK, "wrong!").await.code(), 40003);
        let check = json!({ "login_name": MARK, "captcha": "000000" });
        assert_eq!(bench.wlfz("/auth/check/captcha", &check).await.code(), 40002);
    }
    let forgot = json!({ "login_name": MARK, "new_password": "654321", "captcha": "000000" });
    assert_eq!(bench.melink("/auth/forgot", &forgot).await.both(), (429, 42900));
}

#[actix_web::test]
async fn an_app_has_its_own_budget_in_place_of_its_address() {
    let bench = Bench::with(&[("STELE_LIMIT_APP", "3"), ("STELE_LIMIT_ADDRESS", "1")]).await;
    bench.lab.user("mark").phone(MARK).add().await;
    for name in ["13900139001", "13900139002", "13900139003"] {
        assert_eq!(bench.login("melink", name, "wrong!").await.both(), (200, 40003));
    }
    let reply = bench.login("melink", MARK, "123456").await;
    assert_eq!((reply.both(), reply.retry_after()), ((429, 42900), Some(900)));
    assert_eq!(bench.login("wlfz", MARK, "123456").await.both(), (200, 0));
    bench.lab.clock().advance(Duration::from_secs(900));
    assert_eq!(bench.login("melink", MARK, "123456").await.both(), (200, 0));
}

#[actix_web::test]
async fn the_default_is_a_thousand_failures_for_an_app() {
    let bench = Bench::new().await;
    assert_eq!(bench.lab.deps().policy.guessing.app.free, 1_000);
}
