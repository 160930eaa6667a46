//! Codes to set a new password by: how they end, and how many are sent.

use std::time::Duration;

use futures_util::future::join_all;
use stele_core::Error;
use stele_core::code::Purpose;
use stele_core::identifier::Recipient;
use stele_core::usecase::Caller;
use stele_core::usecase::send_code::Sendable;

use super::{BEHIND_PROXY, CodeDialect, PASSWORD, PHONE, PHONE_WRITINGS, STRANGER};

/// So many failures that limits on guessing are out of the way.
const UNLIMITED: [(&str, &str); 3] =
    [("STELE_LIMIT_ACCOUNT", "500"), ("STELE_LIMIT_ADDRESS", "500"), ("STELE_LIMIT_APP", "500")];

async fn code<D: CodeDialect>(app: &D) -> String {
    assert!(D::done(&app.request_code(0, PHONE).await));
    app.lab.code_for(PHONE)
}

fn other_than(code: &str) -> &'static str {
    if code == "000000" { "000001" } else { "000000" }
}

async fn is_wrong<D: CodeDialect>(app: &D, code: &str) {
    app.fails(&app.redeem_code(PHONE, code).await, &Error::WrongCode);
}

pub async fn a_code_is_used_once<D: CodeDialect>() {
    let app = D::new().await;
    app.mark().await;
    let code = code(&app).await;
    assert!(D::done(&app.redeem_code(PHONE, &code).await));
    is_wrong(&app, &code).await;
}

pub async fn a_code_is_taken_as_people_type_it<D: CodeDialect>() {
    let app = D::with(&[UNLIMITED.as_slice(), &[("STELE_SEND_RECIPIENT", "100")]].concat()).await;
    app.mark().await;
    let wide = |code: &str| code.chars().map(|c| char::from_u32(u32::from(c) + 0xfee0).unwrap()).collect::<String>();
    let hidden = |code: &str| format!("\u{feff}{}\u{200b}{}\u{a0}", &code[..2], &code[2..]);
    let writings: [&dyn Fn(&str) -> String; 5] = [
        &|code| format!(" {} {}\r\n", &code[..3], &code[3..]),
        &|code| format!("{}-{}", &code[..3], &code[3..]),
        &|code| code.parse::<u32>().unwrap().to_string(),
        &wide,
        &hidden,
    ];
    for write in writings {
        let code = code(&app).await;
        is_wrong(&app, &write(other_than(&code))).await;
        assert!(D::done(&app.redeem_code(PHONE, &write(&code)).await), "{:?}", write(&code));
    }
}

pub async fn of_many_at_once_one_is_accepted<D: CodeDialect>() {
    let app = D::with(&UNLIMITED).await;
    app.mark().await;
    let code = code(&app).await;
    let answers = join_all((0..8).map(|_| app.redeem_code(PHONE, &code))).await;
    assert_eq!(answers.iter().filter(|answer| D::done(answer)).count(), 1, "{answers:?}");
}

pub async fn a_newer_code_replaces_it_and_an_hour_ends_it<D: CodeDialect>() {
    let app = D::new().await;
    app.mark().await;
    let (older, newer) = (code(&app).await, code(&app).await);
    assert_ne!(older, newer);
    is_wrong(&app, &older).await;
    app.wait(3_599);
    assert!(D::done(&app.redeem_code(PHONE, &newer).await));
    let code = code(&app).await;
    app.wait(3_600);
    is_wrong(&app, &code).await;
}

pub async fn five_wrong_tries_burn_a_code<D: CodeDialect>() {
    for tries in [4, 5] {
        let app = D::with(&UNLIMITED).await;
        app.mark().await;
        let code = code(&app).await;
        for _ in 0..tries {
            is_wrong(&app, other_than(&code)).await;
        }
        if tries < 5 {
            assert!(D::done(&app.redeem_code(PHONE, &code).await));
        } else {
            is_wrong(&app, &code).await;
        }
    }
}

pub async fn parallel_guesses_do_not_pass_the_cap<D: CodeDialect>() {
    let app = D::with(&UNLIMITED).await;
    app.mark().await;
    let code = code(&app).await;
    for answer in join_all((0..20).map(|_| app.redeem_code(PHONE, other_than(&code)))).await {
        app.fails(&answer, &Error::WrongCode);
    }
    is_wrong(&app, &code).await;
}

pub async fn wrong_codes_count_as_the_accounts_failures<D: CodeDialect>() {
    let app = D::new().await;
    app.mark().await;
    for _ in 0..6 {
        is_wrong(&app, "000000").await;
    }
    let wait = Error::TooMany { retry_after: Duration::from_secs(1) };
    app.fails(&app.login(0, PHONE, PASSWORD).await, &wait);
    app.fails(&app.redeem_code(PHONE, "000000").await, &wait);
}

pub async fn an_empty_code_is_a_wrong_one<D: CodeDialect>() {
    let app = D::new().await;
    app.mark().await;
    let code = code(&app).await;
    let (answer, cost) = app.lab.work(app.redeem_code(PHONE, other_than(&code))).await;
    assert_eq!(app.lab.work(app.redeem_code(PHONE, "")).await, (answer, cost));
    for _ in 0..4 {
        is_wrong(&app, "").await;
    }
    let wait = Error::TooMany { retry_after: Duration::from_secs(1) };
    app.fails(&app.redeem_code(PHONE, &code).await, &wait);
}

pub async fn a_code_dies_with_the_password_it_was_sent_under<D: CodeDialect>() {
    let app = D::new().await;
    let user = app.mark().await;
    let code = code(&app).await;
    app.set_password(&user, "another").await;
    is_wrong(&app, &code).await;
    app.assert_accepted(app.login(0, PHONE, "another").await);
}

pub async fn another_dialects_code_is_not_accepted<D: CodeDialect>() {
    let app = D::new().await;
    app.mark().await;
    let (own, to) = (D::SERVICE.name, Recipient::parse(PHONE).unwrap());
    let other = ["portal", "mefp"].into_iter().find(|name| *name != own).unwrap();
    let caller = Caller::direct(other, [192, 0, 2, 1].into());
    for purpose in [Purpose::Any, Purpose::Register, Purpose::Reset] {
        app.lab.use_cases().send_code(&caller, &to, purpose, Sendable::Anyone).await.unwrap();
        is_wrong(&app, &app.lab.code_for(PHONE)).await;
    }
}

pub async fn a_wrong_code_costs_the_same_for_every_user<D: CodeDialect>() {
    let app = D::new().await;
    app.mark().await;
    code(&app).await;
    let (known, cost) = app.lab.work(app.redeem_code(PHONE, "no code")).await;
    app.fails(&known, &Error::WrongCode);
    assert_eq!((cost.hashes, cost.state.as_slice()), (0, ["guess_code"].as_slice()));
    assert_eq!(app.lab.work(app.redeem_code(STRANGER, "no code")).await, (known, cost));
}

pub async fn one_recipient_gets_five_codes_an_hour<D: CodeDialect>() {
    let app = D::with(&[BEHIND_PROXY]).await;
    app.mark().await;
    app.lab.user("anna").phone(STRANGER).add().await;
    for origin in 0..5 {
        // In any writing, from any address, with no pause between them.
        let phone = [PHONE, PHONE_WRITINGS[0], PHONE_WRITINGS[3], PHONE_WRITINGS[5]][usize::from(origin % 4)];
        assert!(D::done(&app.request_code(origin, phone).await));
    }
    let wait = |seconds| Error::TooMany { retry_after: Duration::from_secs(seconds) };
    app.fails(&app.request_code(9, PHONE).await, &wait(3_600));
    assert_eq!(app.lab.codes().len(), 5);
    assert!(D::done(&app.request_code(9, STRANGER).await), "others get theirs");
    app.wait(3_599);
    app.fails(&app.request_code(9, PHONE).await, &wait(1));
    app.wait(1);
    assert!(D::done(&app.request_code(9, PHONE).await));
}
