//! Login challenge: after five failures a login requires a captcha; rate limits come first.

use crate::{ResponseExt as _, TestService};

const CORRECT_LOGIN: &str = "account=a&password=123456";
const WRONG_LOGIN: &str = "account=a&password=wrong1";
const CAPTCHA_REQUIRED: &str = "请输入验证码";
const UNTRUSTED_ADDRESS: &str = "203.0.113.9";

/// A service behind a trusted proxy, with a user after five failed logins.
async fn after_five_failures() -> TestService {
    let service = TestService::behind_trusted_proxy().await;
    service.lab.user("a").add().await;
    for _ in 0..5 {
        service.login_from(UNTRUSTED_ADDRESS, WRONG_LOGIN).await.assert_error(200, "用户名或密码错误");
    }
    service
}

fn with_captcha(body: &str, id: u64, text: &str) -> String {
    format!("{body}&captchaId={id}&captcha={text}")
}

#[tokio::test]
async fn untrusted_addresses_must_solve_a_captcha_after_failures() {
    let service = after_five_failures().await;
    for body in
        [CORRECT_LOGIN, WRONG_LOGIN, "account=a&password=123456&captcha=abc34", "account=a&password=123456&captchaId=1"]
    {
        service.login_from(UNTRUSTED_ADDRESS, body).await.assert_error(200, CAPTCHA_REQUIRED);
    }
    service.login_from("198.51.100.7", CORRECT_LOGIN).await.assert_error(200, CAPTCHA_REQUIRED);
    let (id, text) = service.captcha().await;
    let response = service.login_from(UNTRUSTED_ADDRESS, &with_captcha(CORRECT_LOGIN, id, &text.to_uppercase())).await;
    assert_eq!(response.message(), "登录成功");
    assert_eq!(
        service.login_from("198.51.100.7", CORRECT_LOGIN).await.message(),
        "登录成功",
        "a success clears the count"
    );
}

#[tokio::test]
async fn a_captcha_is_accepted_in_common_spellings() {
    let with_spaces = |text: &str| text.chars().map(|c| format!("{c} ")).collect::<String>();
    let full_width =
        |text: &str| text.chars().map(|c| char::from_u32(u32::from(c) + 0xfee0).unwrap()).collect::<String>();
    let with_hyphen = |text: &str| format!("%E2%80%8B{}-{}", &text[..2], &text[2..]);
    let spellings: [&dyn Fn(&str) -> String; 4] =
        [&with_spaces, &full_width, &with_hyphen, &|text| format!(" {}%0A", text.to_uppercase())];
    for spell in spellings {
        let service = after_five_failures().await;
        let (id, text) = service.captcha().await;
        let response = service.login_from(UNTRUSTED_ADDRESS, &with_captcha(CORRECT_LOGIN, id, &spell(&text))).await;
        assert_eq!(response.message(), "登录成功", "{}", spell(&text));
    }
}

#[tokio::test]
async fn an_unknown_account_requires_a_captcha_too() {
    let service = TestService::behind_trusted_proxy().await;
    for _ in 0..5 {
        service
            .login_from(UNTRUSTED_ADDRESS, "account=unknown&password=wrong1")
            .await
            .assert_error(200, "用户名或密码错误");
    }
    service.login_from(UNTRUSTED_ADDRESS, "account=UNKNOWN&password=wrong1").await.assert_error(200, CAPTCHA_REQUIRED);
}

#[tokio::test]
async fn a_captcha_can_be_tried_once() {
    let service = after_five_failures().await;
    let (id, text) = service.captcha().await;
    service
        .login_from(UNTRUSTED_ADDRESS, &with_captcha(CORRECT_LOGIN, id, "wrong"))
        .await
        .assert_error(200, CAPTCHA_REQUIRED);
    service
        .login_from(UNTRUSTED_ADDRESS, &with_captcha(CORRECT_LOGIN, id, &text))
        .await
        .assert_error(200, CAPTCHA_REQUIRED);

    let (id, text) = service.captcha().await;
    service
        .login_from(UNTRUSTED_ADDRESS, &with_captcha(WRONG_LOGIN, id, &text))
        .await
        .assert_error(200, "用户名或密码错误");
    service.advance_clock(60);
    service
        .login_from(UNTRUSTED_ADDRESS, &with_captcha(CORRECT_LOGIN, id, &text))
        .await
        .assert_error(200, CAPTCHA_REQUIRED);

    let (first, _) = service.captcha().await;
    let (_, second) = service.captcha().await;
    service
        .login_from(UNTRUSTED_ADDRESS, &with_captcha(CORRECT_LOGIN, first, &second))
        .await
        .assert_error(200, CAPTCHA_REQUIRED);
    let (id, text) = service.captcha().await;
    service.advance_clock(301);
    service
        .login_from(UNTRUSTED_ADDRESS, &with_captcha(CORRECT_LOGIN, id, &text))
        .await
        .assert_error(200, CAPTCHA_REQUIRED);
}

#[tokio::test]
async fn a_captcha_is_accepted_once_under_concurrency() {
    let service = after_five_failures().await;
    let (id, text) = service.captcha().await;
    let body = with_captcha(WRONG_LOGIN, id, &text);
    let (first, second) =
        tokio::join!(service.login_from(UNTRUSTED_ADDRESS, &body), service.login_from(UNTRUSTED_ADDRESS, &body));
    let checked = [first, second].iter().filter(|response| response.message() == "用户名或密码错误").count();
    assert_eq!(checked, 1);
}

#[tokio::test]
async fn a_trusted_address_requires_a_captcha_after_failures_too() {
    let service = TestService::behind_trusted_proxy().await;
    service.lab.user("a").add().await;
    assert_eq!(service.login_from(UNTRUSTED_ADDRESS, CORRECT_LOGIN).await.message(), "登录成功");
    for account in ["a", "unknown"] {
        let body = format!("account={account}&password=wrong1");
        for _ in 0..5 {
            service.login_from(UNTRUSTED_ADDRESS, &body).await.assert_error(200, "用户名或密码错误");
        }
        service.login_from(UNTRUSTED_ADDRESS, &body).await.assert_error(200, CAPTCHA_REQUIRED);
    }
}

#[tokio::test]
async fn a_rate_limited_login_checks_neither_captcha_nor_password() {
    let service = after_five_failures().await;
    let (id, text) = service.captcha().await;
    service
        .login_from(UNTRUSTED_ADDRESS, &with_captcha(WRONG_LOGIN, id, &text))
        .await
        .assert_error(200, "用户名或密码错误");
    let (id, text) = service.captcha().await;
    let response = service.login_from(UNTRUSTED_ADDRESS, &with_captcha(CORRECT_LOGIN, id, &text)).await;
    response.assert_error(429, "操作过于频繁，请稍后再试");
    assert_eq!(response.header("retry-after"), "1");
    service.advance_clock(1);
    assert_eq!(
        service.login_from(UNTRUSTED_ADDRESS, &with_captcha(CORRECT_LOGIN, id, &text)).await.message(),
        "登录成功",
        "the rate-limited login did not consume the captcha"
    );
}
