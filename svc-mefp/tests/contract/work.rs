//! What calls cost, counted: hashes and trips to the stores. Whoever is nobody costs what somebody costs.

use serde_json::json;
use stele_testkit::Work;
use stele_testkit::conformance::DialectUnderTest as _;

use crate::bench::{Bench, PHONE, Reply as _};

const USER: &str = "13800138000";

async fn with_a_user() -> Bench {
    let bench = Bench::new().await;
    bench.lab.user("mark").phone(USER).add().await;
    bench
}

/// As documented, a response discloses whether a code goes to a stranger or to a user; the work discloses no more.
#[actix_web::test]
async fn a_code_costs_the_same_whoever_it_goes_to() {
    let bench = with_a_user().await;
    let cases: [(_, _, _, &[_]); 4] =
        [(PHONE, 1, 0, &["send_code"]), (USER, 2, 0, &["send_code"]), (USER, 1, 40001, &[]), (PHONE, 2, 40007, &[])];
    for (phone, usage, code, state) in cases {
        let asked = json!({ "login_name": phone, "usage": usage });
        let (told, work) = bench.lab.work(bench.melink("/auth/captcha", &asked)).await;
        assert_eq!(told.both(), (200, code));
        assert_eq!(work, Work::of(0, &["app", "find"], state), "{phone} {usage}");
    }
}

#[actix_web::test]
async fn a_wrong_code_costs_the_same_whoever_it_is_for() {
    let bench = with_a_user().await;
    bench.code("melink", PHONE, 1).await;
    bench.code("melink", USER, 2).await;
    for phone in [USER, PHONE, "13700137000"] {
        for (path, password) in [("/auth/register", "password"), ("/auth/forgot", "new_password")] {
            let asked = json!({ "login_name": phone, password: "123456", "captcha": "no code" });
            let (told, work) = bench.lab.work(bench.melink(path, &asked)).await;
            assert_eq!(told.both(), (200, 40002));
            assert_eq!(work, Work::of(0, &["app", "find"], &["guess_code"]), "{path} {phone}");
        }
    }
}
