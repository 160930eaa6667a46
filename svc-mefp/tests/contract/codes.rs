//! Codes: what they are bound to, how they end, and how many may be sent (`docs/THREATS.md` 20, 23, 25).

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use stele_testkit::Answer;
use stele_testkit::conformance::DialectUnderTest as _;

use crate::bench::{Bench, PHONE, Reply as _};

const HOUR: Duration = Duration::from_secs(3_600);

async fn check(bench: &Bench, app: &str, phone: &str, code: &str) -> u64 {
    let inner = json!({ "login_name": phone, "captcha": code }).to_string();
    bench.call(app, "/auth/check/captcha", &inner).await.code()
}

async fn register(bench: &Bench, app: &str, phone: &str, code: &str) -> u64 {
    let inner = json!({ "login_name": phone, "password": "123456", "captcha": code }).to_string();
    bench.call(app, "/auth/register", &inner).await.code()
}

async fn forgot(bench: &Bench, app: &str, phone: &str, code: &str) -> u64 {
    let inner = json!({ "login_name": phone, "new_password": "654321", "captcha": code }).to_string();
    bench.call(app, "/auth/forgot", &inner).await.code()
}

async fn send(bench: &Bench, app: &str, phone: &str, usage: u8) -> Answer {
    bench.call(app, "/auth/captcha", &json!({ "login_name": phone, "usage": usage }).to_string()).await
}

#[actix_web::test]
async fn a_code_is_good_through_its_app_only() {
    let bench = Bench::new().await;
    let code = bench.code("melink", PHONE, 1).await;
    assert_eq!(check(&bench, "wlfz", PHONE, &code).await, 40002);
    assert_eq!(register(&bench, "wlfz", PHONE, &code).await, 40002);
    assert_eq!(register(&bench, "melink", PHONE, &code).await, 0);
}

#[actix_web::test]
async fn a_code_is_good_for_its_purpose_and_phone_only() {
    let bench = Bench::new().await;
    bench.lab.user("mark").phone("13800138000").add().await;
    let reset = bench.code("melink", "13800138000", 2).await;
    let fresh = bench.code("melink", PHONE, 1).await;
    assert_eq!(register(&bench, "melink", PHONE, &reset).await, 40002);
    assert_eq!(forgot(&bench, "melink", "13800138000", &fresh).await, 40002);
    // The phone is registered elsewhere, and the code was sent for registering it.
    bench.lab.user("anna").phone(PHONE).add().await;
    assert_eq!(forgot(&bench, "melink", PHONE, &fresh).await, 40002);
    assert_eq!(register(&bench, "melink", "13800138000", &reset).await, 40002);
    assert_eq!(forgot(&bench, "melink", "13800138000", &reset).await, 0);
}

#[actix_web::test]
async fn of_many_that_register_at_once_one_does() {
    let bench = Bench::new().await;
    let code = bench.code("melink", PHONE, 1).await;
    let codes = join_all((0..8).map(|_| register(&bench, "melink", PHONE, &code))).await;
    assert_eq!(codes.iter().filter(|&&code| code == 0).count(), 1, "{codes:?}");
    assert!(codes.iter().all(|code| [0, 40001, 40002, 42900].contains(code)), "{codes:?}");
}

#[actix_web::test]
async fn five_wrong_tries_burn_a_code_however_they_come() {
    for wrong_tries in [4, 5] {
        let bench = Bench::new().await;
        let code = bench.code("melink", PHONE, 1).await;
        let wrong = if code == "000000" { "111111" } else { "000000" };
        let codes = join_all((0..wrong_tries - 2).map(|_| check(&bench, "melink", PHONE, wrong))).await;
        assert!(codes.iter().all(|&code| code == 40002), "{codes:?}");
        assert_eq!(check(&bench, "wlfz", PHONE, &code).await, 40002, "through another app it is a wrong try as well");
        assert_eq!(register(&bench, "melink", PHONE, wrong).await, 40002);
        let fifth = if wrong_tries < 5 { 0 } else { 40002 };
        assert_eq!(register(&bench, "melink", PHONE, &code).await, fifth, "after {wrong_tries} wrong tries");
    }
}

#[actix_web::test]
async fn a_code_may_come_as_a_number_without_its_zeros() {
    let bench = Bench::with(&[("STELE_SEND_RECIPIENT", "1000")]).await;
    let mut code = bench.code("melink", PHONE, 1).await;
    while !code.starts_with('0') {
        code = bench.code("melink", PHONE, 1).await;
    }
    let number: u32 = code.parse().unwrap();
    let inner = json!({ "login_name": PHONE, "password": "123456", "captcha": number });
    assert_eq!(bench.melink("/auth/register", &inner).await.code(), 0);
}

#[actix_web::test]
async fn an_app_has_its_own_limit_in_place_of_its_address() {
    let bench = Bench::with(&[("STELE_SEND_APP", "3"), ("STELE_SEND_ADDRESS", "1")]).await;
    bench.lab.user("mark").phone("13800138000").add().await;
    for phone in ["13900139001", "13900139002", "13900139003"] {
        assert_eq!(send(&bench, "melink", phone, 1).await.both(), (200, 0));
        assert_eq!(send(&bench, "melink", "13800138000", 1).await.code(), 40001, "refused sends are not counted");
    }
    let reply = send(&bench, "melink", "13900139004", 1).await;
    assert_eq!((reply.both(), reply.retry_after()), ((429, 42900), Some(3_600)));
    assert_eq!(send(&bench, "wlfz", "13900139004", 1).await.both(), (200, 0));
    assert_eq!(bench.lab.codes().len(), 4);
}

#[actix_web::test]
async fn the_default_is_a_thousand_codes_an_hour_for_an_app() {
    let bench = Bench::new().await;
    // A phone each, so that no recipient's limit has a part in it.
    let phone = |n: u32| format!("139{n:08}");
    for tens in 0..100 {
        let phones: Vec<_> = (tens * 10..tens * 10 + 10).map(phone).collect();
        let sent = join_all(phones.iter().map(|phone| send(&bench, "melink", phone, 1))).await;
        assert!(sent.iter().all(|reply| reply.both() == (200, 0)), "{tens}: {sent:?}");
    }
    let reply = send(&bench, "melink", &phone(1_000), 1).await;
    assert_eq!((reply.both(), reply.retry_after()), ((429, 42900), Some(3_600)));
    assert_eq!(bench.lab.codes().len(), 1_000);
    assert_eq!(send(&bench, "wlfz", &phone(1_000), 1).await.both(), (200, 0), "each app has its own thousand");
    bench.lab.clock().advance(HOUR);
    assert_eq!(send(&bench, "melink", &phone(1_000), 1).await.both(), (200, 0));
}

#[actix_web::test]
async fn phones_abroad_are_refused_before_anything_is_counted() {
    let bench = Bench::with(&[("STELE_SEND_APP", "1")]).await;
    for phone in ["+88216123456", "+85251234567", "+862112345678"] {
        for usage in [1, 2] {
            assert_eq!(send(&bench, "melink", phone, usage).await.both(), (200, 40004), "{phone}");
        }
    }
    assert_eq!(bench.lab.codes(), []);
    assert_eq!(send(&bench, "melink", PHONE, 1).await.both(), (200, 0));
}
