//! What calls cost, counted: hashes and trips to the stores. Whoever is nobody costs what somebody costs.

use serde_json::json;
use stele_core::usecase::set_status::UserStatus;
use stele_core::user::UserRef;
use stele_testkit::Work;

use crate::bench::{Bench, PHONE};

const USER: &str = "13800138000";

async fn with_a_user() -> Bench {
    let bench = Bench::new().await;
    bench.lab.user("mark").phone(USER).add().await;
    bench
}

#[actix_web::test]
async fn unknown_wrong_and_disabled_cost_the_same() {
    let bench = with_a_user().await;
    // The app first: its secret is what opens the envelope.
    let cost = Work::of(1, &["app", "find"], &["admit", "settle"]);
    for phone in [USER, PHONE] {
        let (told, work) = bench.lab.work(bench.login("melink", phone, "wrong!")).await;
        assert_eq!(told.both(), (200, 40003));
        assert_eq!(work, cost, "{phone}");
    }
    let (told, work) = bench.lab.work(bench.login("melink", USER, "123456")).await;
    assert_eq!((told.both(), &work), ((200, 0), &cost), "nor does it cost more to be let in");
    let user = bench.lab.deps().users.find(USER).await.unwrap().unwrap().user;
    bench.lab.use_cases().set_status(UserRef::Id(user.id), UserStatus::Disabled).await.unwrap();
    let (told, work) = bench.lab.work(bench.login("melink", USER, "123456")).await;
    assert_eq!((told.both(), work), ((200, 40003), cost));
}

/// That a code goes to strangers or to users alone the document has it tell; but not more than it says.
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

/// What single calls cannot show: the owner's login in the middle changes nothing for others.
#[actix_web::test]
async fn a_sequence_of_calls_answers_and_costs_the_same_for_an_unknown_user() {
    let bench = with_a_user().await;
    let mut seen = Vec::new();
    for phone in [USER, PHONE] {
        let mut calls = Vec::new();
        for n in 0..12 {
            if n == 4 {
                bench.lab.owner_logs_in(USER, "123456").await;
            }
            let (told, work) = if n % 3 == 2 {
                let check = json!({ "login_name": phone, "captcha": "no code" });
                bench.lab.work(bench.melink("/auth/check/captcha", &check)).await
            } else {
                bench.lab.work(bench.login("melink", phone, "wrong!")).await
            };
            calls.push((told.both(), told.retry_after, work));
            bench.lab.clock().advance(std::time::Duration::from_secs(1));
        }
        seen.push(calls);
    }
    assert_eq!(seen[0], seen[1]);
    assert!(seen[0].iter().any(|(both, ..)| both.0 == 429), "the limits were met");
}
