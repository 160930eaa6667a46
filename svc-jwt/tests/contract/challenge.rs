//! Limits on guessing, and the captcha that strangers are asked for.

use crate::{Bench, Reply as _};

const RIGHT: &str = "account=a&password=123456";
const WRONG: &str = "account=a&password=wrong1";
const ASKED: &str = "请输入验证码";
const STRANGER: &str = "203.0.113.9";

/// A service behind a proxy, with a user who has had five failures.
async fn after_five_failures() -> Bench {
    let bench = Bench::behind_proxy().await;
    bench.lab.user("a").add().await;
    for _ in 0..5 {
        bench.login_from(STRANGER, WRONG).await.fails(200, "用户名或密码错误");
    }
    bench
}

fn solved(body: &str, id: u64, text: &str) -> String {
    format!("{body}&captchaId={id}&captcha={text}")
}

#[tokio::test]
async fn strangers_are_asked_for_a_captcha_whatever_they_send() {
    let bench = after_five_failures().await;
    for body in [RIGHT, WRONG, "account=a&password=123456&captcha=abc34", "account=a&password=123456&captchaId=1"] {
        bench.login_from(STRANGER, body).await.fails(200, ASKED);
    }
    bench.login_from("198.51.100.7", RIGHT).await.fails(200, ASKED);
    let (id, text) = bench.captcha().await;
    let answer = bench.login_from(STRANGER, &solved(RIGHT, id, &text.to_uppercase())).await;
    assert_eq!(answer.message(), "登录成功");
    assert_eq!(bench.login_from("198.51.100.7", RIGHT).await.message(), "登录成功", "a success clears the count");
}

#[tokio::test]
async fn a_captcha_is_taken_as_people_type_it() {
    let spaced = |text: &str| text.chars().map(|c| format!("{c} ")).collect::<String>();
    let wide = |text: &str| text.chars().map(|c| char::from_u32(u32::from(c) + 0xfee0).unwrap()).collect::<String>();
    let hyphened = |text: &str| format!("%E2%80%8B{}-{}", &text[..2], &text[2..]);
    let writings: [&dyn Fn(&str) -> String; 4] =
        [&spaced, &wide, &hyphened, &|text| format!(" {}%0A", text.to_uppercase())];
    for write in writings {
        let bench = after_five_failures().await;
        let (id, text) = bench.captcha().await;
        let answer = bench.login_from(STRANGER, &solved(RIGHT, id, &write(&text))).await;
        assert_eq!(answer.message(), "登录成功", "{}", write(&text));
    }
}

#[tokio::test]
async fn an_unknown_account_is_asked_just_so() {
    let bench = Bench::behind_proxy().await;
    for _ in 0..5 {
        bench.login_from(STRANGER, "account=nobody&password=wrong1").await.fails(200, "用户名或密码错误");
    }
    bench.login_from(STRANGER, "account=NOBODY&password=wrong1").await.fails(200, ASKED);
}

#[tokio::test]
async fn a_captcha_is_tried_once_right_or_wrong() {
    let bench = after_five_failures().await;
    let (id, text) = bench.captcha().await;
    bench.login_from(STRANGER, &solved(RIGHT, id, "wrong")).await.fails(200, ASKED);
    bench.login_from(STRANGER, &solved(RIGHT, id, &text)).await.fails(200, ASKED);

    let (id, text) = bench.captcha().await;
    bench.login_from(STRANGER, &solved(WRONG, id, &text)).await.fails(200, "用户名或密码错误");
    bench.wait(60);
    bench.login_from(STRANGER, &solved(RIGHT, id, &text)).await.fails(200, ASKED);

    let (first, _) = bench.captcha().await;
    let (_, second) = bench.captcha().await;
    bench.login_from(STRANGER, &solved(RIGHT, first, &second)).await.fails(200, ASKED);
    let (id, text) = bench.captcha().await;
    bench.wait(301);
    bench.login_from(STRANGER, &solved(RIGHT, id, &text)).await.fails(200, ASKED);
}

#[tokio::test]
async fn one_captcha_does_for_one_of_two_tries_at_once() {
    let bench = after_five_failures().await;
    let (id, text) = bench.captcha().await;
    let body = solved(WRONG, id, &text);
    let (one, two) = tokio::join!(bench.login_from(STRANGER, &body), bench.login_from(STRANGER, &body));
    let tried = [one, two].iter().filter(|answer| answer.message() == "用户名或密码错误").count();
    assert_eq!(tried, 1);
}

#[tokio::test]
async fn a_known_address_is_asked_like_one_at_an_unknown_account() {
    let bench = Bench::behind_proxy().await;
    bench.lab.user("a").add().await;
    assert_eq!(bench.login_from(STRANGER, RIGHT).await.message(), "登录成功");
    for account in ["a", "nobody"] {
        let body = format!("account={account}&password=wrong1");
        for _ in 0..5 {
            bench.login_from(STRANGER, &body).await.fails(200, "用户名或密码错误");
        }
        bench.login_from(STRANGER, &body).await.fails(200, ASKED);
    }
}

#[tokio::test]
async fn a_wait_comes_before_the_challenge_and_verifies_nothing() {
    let bench = after_five_failures().await;
    let (id, text) = bench.captcha().await;
    bench.login_from(STRANGER, &solved(WRONG, id, &text)).await.fails(200, "用户名或密码错误");
    let (id, text) = bench.captcha().await;
    let answer = bench.login_from(STRANGER, &solved(RIGHT, id, &text)).await;
    answer.fails(429, "操作过于频繁，请稍后再试");
    assert_eq!(answer.header("retry-after"), "1");
    bench.wait(1);
    assert_eq!(bench.login_from(STRANGER, &solved(RIGHT, id, &text)).await.message(), "登录成功", "it was not used up");
}
