//! What calls cost, counted: hashes and trips to the stores. Whoever is nobody costs what somebody costs.

use stele_testkit::Work;

use crate::Bench;

const LOGIN: &str = "/api/v1/Auth/Login";
const PHONE: &str = "13800138000";

async fn with_a_user() -> Bench {
    let bench = Bench::new().await;
    bench.lab.user("a").phone(PHONE).email("a@b.cn").add().await;
    bench
}

#[tokio::test]
async fn an_unknown_user_costs_what_a_wrong_password_costs() {
    let bench = with_a_user().await;
    for account in ["a", PHONE, "nobody", "13900139000", "%20", "no%01body"] {
        let (answer, work) = bench.lab.work(bench.post(LOGIN, &format!("account={account}&password=wrong1"))).await;
        answer.fails(200, "用户名或密码错误");
        assert_eq!(work, Work::of(1, &["find"], &["admit", "settle"]), "{account}");
    }
}

#[tokio::test]
async fn a_reset_costs_the_same_whether_or_not_there_is_such_an_account() {
    let bench = with_a_user().await;
    for body in [
        format!("account=a&phone={PHONE}"),
        "account=a&email=a@b.cn".into(),
        "account=a&phone=13900139000".into(),
        "account=a&email=x@b.cn".into(),
        "account=nobody&phone=13700137000".into(),
        "account=%01&phone=13600136000".into(),
    ] {
        let (answer, work) = bench.lab.work(bench.post("/api/vi/Auth/ForgetPassword", &body)).await;
        assert_eq!(answer.message(), "发送短信成功");
        assert_eq!(work, Work::of(0, &["find"], &["send_code"]), "{body}");
    }
    assert_eq!(bench.lab.codes().len(), 2, "and yet only the user's own recipients got one");
    for account in ["a", "nobody", "%01"] {
        let body = format!("account={account}&identifyCode=no");
        let (answer, work) = bench.lab.work(bench.post("/api/vi/Auth/validatePhone", &body)).await;
        answer.fails(200, "验证码错误");
        assert_eq!(work, Work::of(0, &["find"], &["guess_code"]), "{account}");
    }
}

#[tokio::test]
async fn a_token_that_is_none_costs_the_same_whoever_it_is_shown_for() {
    let bench = with_a_user().await;
    let mut costs = Vec::new();
    for account in ["a", "nobody"] {
        let (answer, work) = bench.lab.work(bench.update("0123456789abcdef0123456789abcdef", account, "654321")).await;
        answer.fails(401, "更新密码失败");
        costs.push(work);
    }
    assert_eq!(costs[0], costs[1]);
}

#[tokio::test]
async fn a_login_makes_no_more_trips_than_it_must() {
    let bench = with_a_user().await;
    let (answer, work) = bench.lab.work(bench.post(LOGIN, "account=a&password=123456")).await;
    answer.token();
    // The limits are asked before a hash is computed.
    assert_eq!(work, Work::of(1, &["find"], &["admit", "settle"]));
}

/// What single calls cannot show: the owner's login in the middle changes nothing for others.
#[tokio::test]
async fn a_sequence_of_calls_answers_and_costs_the_same_for_an_unknown_user() {
    let bench = with_a_user().await;
    let mut seen = Vec::new();
    for account in ["a", "nobody"] {
        let mut calls = Vec::new();
        for n in 0..16 {
            if n == 4 {
                bench.lab.owner_logs_in("a", "123456").await;
            }
            let (path, body) = match n % 4 {
                3 if n < 12 => ("/api/vi/Auth/ForgetPassword", format!("account={account}&phone={PHONE}")),
                1 => ("/api/vi/Auth/validatePhone", format!("account={account}&identifyCode=no")),
                _ => (LOGIN, format!("account={account}&password=wrong1")),
            };
            let (answer, work) = bench.lab.work(bench.post(path, &body)).await;
            calls.push((answer.status, answer.header("retry-after").to_owned(), answer.text, work));
            bench.wait(1);
        }
        seen.push(calls);
        // The recipient's quota is what was submitted, whether or not it is the account's.
        bench.wait(3_600);
    }
    assert_eq!(seen[0], seen[1]);
    assert!(seen[0].iter().any(|(_, _, text, _)| text.contains("请输入验证码")), "the captcha was asked for");
}
