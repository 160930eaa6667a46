//! 忘记密码, 验证手机 and 更新密码.

use stele_testkit::raw;

use stele_testkit::conformance::DialectUnderTest as _;

use crate::{Bench, Reply as _};

const FORGET: &str = "/api/vi/Auth/ForgetPassword";
const VALIDATE: &str = "/api/vi/Auth/validatePhone";
const PHONE: &str = "13800138000";

async fn with_two_users() -> Bench {
    let bench = Bench::new().await;
    bench.lab.user("a").phone(PHONE).email("a@b.cn").add().await;
    bench.lab.user("b").phone("13900139000").add().await;
    bench
}

#[tokio::test]
async fn the_answer_is_the_same_whether_or_not_account_and_recipient_match() {
    let bench = with_two_users().await;
    let number = stele_core::user::FIRST_NUMBER;
    let mut answers = Vec::new();
    for body in [
        format!("account=a&phone={PHONE}"),
        "account=a&phone=13900139000".into(),
        "account=nobody&phone=13700137000".into(),
        "account=a&email=x@y.cn".into(),
        format!("account={number}&phone=13600136000"),
    ] {
        let request = format!(
            "POST {FORGET} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = raw(bench.service.address(), request.as_bytes()).await;
        answers.push(answer.lines().filter(|line| !line.starts_with("date:")).collect::<Vec<_>>().join("\n"));
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
    assert!(answers[0].ends_with(r#"{"code":0,"message":"发送短信成功"}"#), "{}", answers[0]);
    let sent = bench.lab.codes();
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].to.as_str(), sent[0].purpose, sent[0].dialect), (PHONE, "reset", "jwt"));
}

#[tokio::test]
async fn phone_or_email_and_phone_first() {
    let bench = with_two_users().await;
    let forget = async |body: &str| bench.post(FORGET, body).await;
    assert_eq!(forget("account=a&email=A@B.cn").await.message(), "发送短信成功");
    assert_eq!(bench.lab.codes().len(), 1);
    assert_eq!(forget("account=a&phone=%2B8613800138000&email=other@b.cn").await.message(), "发送短信成功");
    assert_eq!(bench.lab.codes().len(), 2);
    assert_eq!(forget("account=A@b.cn&phone=&email=a@b.cn").await.message(), "发送短信成功");
    assert_eq!(bench.lab.codes().len(), 3);
    forget("account=a").await.fails(400, "缺少参数: phone");
    forget("account=a&phone=123&email=a@b.cn").await.fails(400, "参数错误: phone");
    forget("account=a&email=13800138000").await.fails(400, "参数错误: email");
    assert_eq!(bench.lab.codes().len(), 3);
}

#[tokio::test]
async fn resets_count_in_a_quota_of_this_dialect_alone() {
    use stele_core::Error;
    use stele_core::code::Purpose;
    use stele_core::identifier::Recipient;
    use stele_core::usecase::Caller;
    use stele_core::usecase::send_code::Sendable;

    let bench = with_two_users().await;
    let portal = Caller::direct("portal", "192.0.2.7".parse().unwrap());
    // The first sends nothing, the second does; elsewhere neither shows.
    for (account, phone, sent) in [("no-such", "13900139000", 0), ("a", PHONE, 5)] {
        for _ in 0..5 {
            assert_eq!(bench.post(FORGET, &format!("account={account}&phone={phone}")).await.status, 200);
        }
        assert_eq!(bench.lab.codes().len(), sent);
        bench.post(FORGET, &format!("account={account}&phone={phone}")).await.fails(429, "操作过于频繁，请稍后再试");
    }
    for phone in ["13900139000", PHONE] {
        let to = Recipient::parse(phone).unwrap();
        let send = async || bench.lab.use_cases().send_code(&portal, &to, Purpose::Any, Sendable::Anyone).await;
        for n in 0..5 {
            send().await.unwrap_or_else(|error| panic!("{phone}, {n}: {error}"));
        }
        assert!(matches!(send().await, Err(Error::TooMany { .. })), "{phone}");
    }
}

#[tokio::test]
async fn resets_that_send_nothing_do_not_use_up_what_other_dialects_may_send() {
    use stele_core::code::Purpose;
    use stele_core::identifier::Recipient;
    use stele_core::usecase::Caller;
    use stele_core::usecase::send_code::Sendable;

    let bench = Bench::with(&[("STELE_SEND_TOTAL", "3")]).await;
    for n in 0..3 {
        assert_eq!(bench.post(FORGET, &format!("account=no-such&phone=1390013900{n}")).await.status, 200);
    }
    bench.post(FORGET, "account=no-such&phone=13900139009").await.fails(429, "操作过于频繁，请稍后再试");
    assert_eq!(bench.lab.codes().len(), 0);
    let portal = Caller::direct("portal", "192.0.2.7".parse().unwrap());
    let to = Recipient::parse(PHONE).unwrap();
    bench.lab.use_cases().send_code(&portal, &to, Purpose::Any, Sendable::Anyone).await.unwrap();
}

#[tokio::test]
async fn an_address_sends_thirty_an_hour() {
    let bench = Bench::new().await;
    for at in 0..30 {
        assert_eq!(bench.post(FORGET, &format!("account=a&phone=138001380{at:02}")).await.status, 200);
    }
    bench.post(FORGET, "account=a&phone=13900139000").await.fails(429, "操作过于频繁，请稍后再试");
}

#[tokio::test]
async fn a_code_is_of_one_account_and_used_once() {
    let bench = with_two_users().await;
    bench.post(FORGET, &format!("account=a&phone={PHONE}")).await;
    let code = bench.lab.code_for(PHONE);
    for account in ["b", "nobody"] {
        bench.post(VALIDATE, &format!("account={account}&identifyCode={code}")).await.fails(200, "验证码错误");
    }
    // Whatever the account was called when the code was asked for, and in the query string as in the body.
    let answer = bench.post(&format!("{VALIDATE}?account={PHONE}&identifyCode={code}"), "").await;
    assert_eq!(answer.message(), "验证码正确");
    assert_eq!(answer.token().len(), 32);
    assert_eq!(answer.header("authorization"), format!("Bearer {}", answer.token()));
    assert_eq!(answer.text, format!(r#"{{"code":0,"message":"验证码正确","token":"{}"}}"#, answer.token()));
    bench.post(VALIDATE, &format!("account=a&identifyCode={code}")).await.fails(200, "验证码错误");
}

#[tokio::test]
async fn a_reset_token_sets_the_password_once_and_ends_all_sessions() {
    let bench = with_two_users().await;
    let session = bench.login("a", "123456").await;
    let (token, other) = (bench.reset_token("a", PHONE).await, bench.reset_token("a", PHONE).await);
    bench.update(&token, "b", "new123").await.fails(401, "更新密码失败");
    bench.update(&token, "nobody", "new123").await.fails(401, "更新密码失败");
    bench.update(&token, "a", "12345").await.fails(400, "参数错误: password");
    bench.update(&token, "a", &"x".repeat(129)).await.fails(400, "参数错误: password");
    let updated = bench.update(&format!("Bearer {token}"), "a", "new123").await;
    assert_eq!(updated.text, r#"{"code":0,"message":"更新密码成功"}"#);
    bench.update(&token, "a", "other1").await.fails(401, "更新密码失败");
    bench.update(&other, "a", "other1").await.fails(401, "更新密码失败");
    assert!(!bench.lives(&session).await);
    bench.post("/api/v1/Auth/Login", "account=a&password=123456").await.fails(200, "用户名或密码错误");
    bench.login("a", "new123").await;
    bench.login("b", "123456").await;
}

#[tokio::test]
async fn a_reset_token_lives_ten_minutes_and_opens_nothing_else() {
    let bench = with_two_users().await;
    let token = bench.reset_token("a", PHONE).await;
    bench.logout(&token).await.fails(401, "注销失败");
    bench.wait(600);
    bench.update(&token, "a", "new123").await.fails(401, "更新密码失败");
    let token = bench.reset_token("a", PHONE).await;
    bench.wait(599);
    assert_eq!(bench.update(&token, "a", "new123").await.message(), "更新密码成功");
}

#[tokio::test]
async fn a_reset_token_redeemed_twice_at_once_works_once() {
    let bench = with_two_users().await;
    let token = bench.reset_token("a", PHONE).await;
    let (one, two) = tokio::join!(bench.update(&token, "a", "first1"), bench.update(&token, "a", "second"));
    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 401]);
}

#[tokio::test]
async fn a_login_token_keeps_its_session_and_ends_the_others() {
    let bench = with_two_users().await;
    let (mine, other, b) =
        (bench.login("a", "123456").await, bench.login("a", "123456").await, bench.login("b", "123456").await);
    let reset = bench.reset_token("a", PHONE).await;
    bench.update(&b, "a", "new123").await.fails(401, "更新密码失败");
    assert_eq!(bench.update(&mine, "a", "new123").await.message(), "更新密码成功");
    assert!(bench.lives(&mine).await && !bench.lives(&other).await && bench.lives(&b).await);
    bench.update(&other, "a", "other1").await.fails(401, "更新密码失败");
    bench.update(&reset, "a", "other1").await.fails(401, "更新密码失败");
    assert_eq!(bench.update(&mine, "A@b.cn", "newer1").await.message(), "更新密码成功");
    bench.login("a", "newer1").await;
}

#[tokio::test]
async fn a_login_token_older_than_fifteen_minutes_sets_no_password() {
    let bench = with_two_users().await;
    let token = bench.login("a", "123456").await;
    bench.wait(900);
    assert_eq!(bench.update(&token, "a", "new123").await.message(), "更新密码成功");
    bench.wait(1);
    bench.update(&token, "a", "newer1").await.fails(401, "更新密码失败");
    assert_eq!(bench.logout(&token).await.message(), "注销成功", "the session itself lives on");
}

#[tokio::test]
async fn nothing_less_than_a_token_sets_a_password() {
    let bench = with_two_users().await;
    for token in ["", "Bearer", "x", "a.b.c", "..", &"0".repeat(32), &"0".repeat(31)] {
        bench.update(token, "a", "new123").await.fails(401, "更新密码失败");
    }
    bench.login("a", "123456").await;
}

#[tokio::test]
async fn a_phone_abroad_is_answered_the_same_and_sent_nothing() {
    let bench = Bench::new().await;
    bench.lab.user("a").phone("+85251234567").email("a@b.cn").add().await;
    for account in ["a", "nobody"] {
        let answer = bench.post(FORGET, &format!("account={account}&phone=%2B85251234567")).await;
        assert_eq!((answer.status, answer.message().as_str()), (200, "发送短信成功"));
    }
    assert_eq!(bench.lab.codes(), []);
    bench.post(FORGET, "account=a&phone=%2B862112345678").await.fails(400, "参数错误: phone");
}
