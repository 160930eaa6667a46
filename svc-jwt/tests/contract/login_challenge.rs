//! Limits on guessing, and the captcha that strangers are asked for.

use crate::{ResponseExt as _, TestService};

const CORRECT_LOGIN: &str = "account=a&password=123456";
const WRONG_LOGIN: &str = "account=a&password=wrong1";
const CAPTCHA_REQUIRED: &str = "请输入验证码";
const UNTRUSTED_ADDRESS: &str = "203.0.113.9";

/// A service behind a proxy, with a user who has had five failures.
async fn after_five_failures() -> TestService {
    let bench = TestService::behind_trusted_proxy().await;
    bench.lab.user("a").add().await;
    for _ in 0..5 {
        bench.login_from(UNTRUSTED_ADDRESS, WRONG_LOGIN).await.assert_error(200, "用户名或密码错误");
    }
    bench
}

fn with_captcha(body: &str, id: u64, text: &str) -> String {
    format!("{body}&captchaId={id}&captcha={text}")
}

#[tokio::test]
async fn untrusted_addresses_must_solve_a_captcha_after_failures() {
    let bench = after_five_failures().await;
    for body in
        [CORRECT_LOGIN, WRONG_LOGIN, "account=a&password=123456&captcha=abc34", "account=a&password=123456&captchaId=1"]
    {
        bench.login_from(UNTRUSTED_ADDRESS, body).await.assert_error(200, CAPTCHA_REQUIRED);
    }
    bench.login_from("198.51.100.7", CORRECT_LOGIN).await.assert_error(200, CAPTCHA_REQUIRED);
    let (id, text) = bench.captcha().await;
    let answer = bench.login_from(UNTRUSTED_ADDRESS, &with_captcha(CORRECT_LOGIN, id, &text.to_uppercase())).await;
    assert_eq!(answer.message(), "登录成功");
    assert_eq!(
        bench.login_from("198.51.100.7", CORRECT_LOGIN).await.message(),
        "登录成功",
        "a success clears the count"
    );
}

#[tokio::test]
async fn a_captcha_is_accepted_in_common_spellings() {
    let spaced = |text: &str| text.chars().map(|c| format!("{c} ")).collect::<String>();
    let wide = |text: &str| text.chars().map(|c| char::from_u32(u32::from(c) + 0xfee0).unwrap()).collect::<String>();
    let hyphened = |text: &str| format!("%E2%80%8B{}-{}", &text[..2], &text[2..]);
    let writings: [&dyn Fn(&str) -> String; 4] =
        [&spaced, &wide, &hyphened, &|text| format!(" {}%0A", text.to_uppercase())];
    for write in writings {
        let bench = after_five_failures().await;
        let (id, text) = bench.captcha().await;
        let answer = bench.login_from(UNTRUSTED_ADDRESS, &with_captcha(CORRECT_LOGIN, id, &write(&text))).await;
        assert_eq!(answer.message(), "登录成功", "{}", write(&text));
    }
}

#[tokio::test]
async fn an_unknown_account_requires_a_captcha_too() {
    let bench = TestService::behind_trusted_proxy().await;
    for _ in 0..5 {
        bench
            .login_from(UNTRUSTED_ADDRESS, "account=nobody&password=wrong1")
            .await
            .assert_error(200, "用户名或密码错误");
    }
    bench.login_from(UNTRUSTED_ADDRESS, "account=NOBODY&password=wrong1").await.assert_error(200, CAPTCHA_REQUIRED);
}

#[tokio::test]
async fn a_captcha_can_be_tried_once() {
    let bench = after_five_failures().await;
    let (id, text) = bench.captcha().await;
    bench
        .login_from(UNTRUSTED_ADDRESS, &with_captcha(CORRECT_LOGIN, id, "wrong"))
        .await
        .assert_error(200, CAPTCHA_REQUIRED);
    bench
        .login_from(UNTRUSTED_ADDRESS, &with_captcha(CORRECT_LOGIN, id, &text))
        .await
        .assert_error(200, CAPTCHA_REQUIRED);

    let (id, text) = bench.captcha().await;
    bench
        .login_from(UNTRUSTED_ADDRESS, &with_captcha(WRONG_LOGIN, id, &text))
        .await
        .assert_error(200, "用户名或密码错误");
    bench.advance_clock(60);
    bench
        .login_from(UNTRUSTED_ADDRESS, &with_captcha(CORRECT_LOGIN, id, &text))
        .await
        .assert_error(200, CAPTCHA_REQUIRED);

    let (first, _) = bench.captcha().await;
    let (_, second) = bench.captcha().await;
    bench
        .login_from(UNTRUSTED_ADDRESS, &with_captcha(CORRECT_LOGIN, first, &second))
        .await
        .assert_error(200, CAPTCHA_REQUIRED);
    let (id, text) = bench.captcha().await;
    bench.advance_clock(301);
    bench
        .login_from(UNTRUSTED_ADDRESS, &with_captcha(CORRECT_LOGIN, id, &text))
        .await
        .assert_error(200, CAPTCHA_REQUIRED);
}

#[tokio::test]
async fn a_captcha_is_accepted_once_under_concurrency() {
    let bench = after_five_failures().await;
    let (id, text) = bench.captcha().await;
    let body = with_captcha(WRONG_LOGIN, id, &text);
    let (one, two) =
        tokio::join!(bench.login_from(UNTRUSTED_ADDRESS, &body), bench.login_from(UNTRUSTED_ADDRESS, &body));
    let tried = [one, two].iter().filter(|answer| answer.message() == "用户名或密码错误").count();
    assert_eq!(tried, 1);
}

#[tokio::test]
async fn a_trusted_address_requires_a_captcha_after_failures_too() {
    let bench = TestService::behind_trusted_proxy().await;
    bench.lab.user("a").add().await;
    assert_eq!(bench.login_from(UNTRUSTED_ADDRESS, CORRECT_LOGIN).await.message(), "登录成功");
    for account in ["a", "nobody"] {
        let body = format!("account={account}&password=wrong1");
        for _ in 0..5 {
            bench.login_from(UNTRUSTED_ADDRESS, &body).await.assert_error(200, "用户名或密码错误");
        }
        bench.login_from(UNTRUSTED_ADDRESS, &body).await.assert_error(200, CAPTCHA_REQUIRED);
    }
}

#[tokio::test]
async fn a_rate_limited_login_checks_neither_captcha_nor_password() {
    let bench = after_five_failures().await;
    let (id, text) = bench.captcha().await;
    bench
        .login_from(UNTRUSTED_ADDRESS, &with_captcha(WRONG_LOGIN, id, &text))
        .await
        .assert_error(200, "用户名或密码错误");
    let (id, text) = bench.captcha().await;
    let answer = bench.login_from(UNTRUSTED_ADDRESS, &with_captcha(CORRECT_LOGIN, id, &text)).await;
    answer.assert_error(429, "操作过于频繁，请稍后再试");
    assert_eq!(answer.header("retry-after"), "1");
    bench.advance_clock(1);
    assert_eq!(
        bench.login_from(UNTRUSTED_ADDRESS, &with_captcha(CORRECT_LOGIN, id, &text)).await.message(),
        "登录成功",
        "it was not used up"
    );
}
