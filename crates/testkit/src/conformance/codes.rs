//! Verification codes: single use, expiry, wrong guesses, and the quotas for sending them.

use std::time::Duration;

use futures_util::future::join_all;
use stele_core::Error;
use stele_core::code::CodePurpose;
use stele_core::identifier::Recipient;
use stele_core::usecase::RequestInfo;
use stele_core::usecase::send_code::RecipientFilter;

use super::{BEHIND_PROXY, CodeDialect, PASSWORD, PHONE, PHONE_VARIANTS, UNKNOWN_PHONE};

/// Rate limits on guessing so high that no test reaches them.
const NO_RATE_LIMITS: [(&str, &str); 3] =
    [("STELE_LIMIT_ACCOUNT", "500"), ("STELE_LIMIT_ADDRESS", "500"), ("STELE_LIMIT_APP", "500")];

async fn request_valid_code<D: CodeDialect>(app: &D) -> String {
    assert!(D::is_success(&app.request_code(0, PHONE).await));
    app.lab.last_code_for(PHONE)
}

fn different_code(code: &str) -> &'static str {
    if code == "000000" { "000001" } else { "000000" }
}

async fn assert_wrong_code<D: CodeDialect>(app: &D, code: &str) {
    app.assert_fails_with(&app.redeem_code(PHONE, code).await, &Error::WrongCode);
}

pub async fn a_code_is_used_once<D: CodeDialect>() {
    let app = D::new().await;
    app.add_test_user().await;
    let code = request_valid_code(&app).await;
    assert!(D::is_success(&app.redeem_code(PHONE, &code).await));
    assert_wrong_code(&app, &code).await;
}

pub async fn a_code_is_accepted_in_every_typed_form<D: CodeDialect>() {
    let app = D::with_settings(&[NO_RATE_LIMITS.as_slice(), &[("STELE_SEND_RECIPIENT", "100")]].concat()).await;
    app.add_test_user().await;
    let to_full_width =
        |code: &str| code.chars().map(|c| char::from_u32(u32::from(c) + 0xfee0).unwrap()).collect::<String>();
    let insert_invisible_characters = |code: &str| format!("\u{feff}{}\u{200b}{}\u{a0}", &code[..2], &code[2..]);
    let formats: [&dyn Fn(&str) -> String; 5] = [
        &|code| format!(" {} {}\r\n", &code[..3], &code[3..]),
        &|code| format!("{}-{}", &code[..3], &code[3..]),
        &|code| code.parse::<u32>().unwrap().to_string(),
        &to_full_width,
        &insert_invisible_characters,
    ];
    for format_code in formats {
        let code = request_valid_code(&app).await;
        assert_wrong_code(&app, &format_code(different_code(&code))).await;
        assert!(D::is_success(&app.redeem_code(PHONE, &format_code(&code)).await), "{:?}", format_code(&code));
    }
}

pub async fn only_one_of_many_concurrent_redemptions_succeeds<D: CodeDialect>() {
    let app = D::with_settings(&NO_RATE_LIMITS).await;
    app.add_test_user().await;
    let code = request_valid_code(&app).await;
    let responses = join_all((0..8).map(|_| app.redeem_code(PHONE, &code))).await;
    assert_eq!(responses.iter().filter(|response| D::is_success(response)).count(), 1, "{responses:?}");
}

pub async fn a_code_expires_after_an_hour_or_when_replaced<D: CodeDialect>() {
    let app = D::new().await;
    app.add_test_user().await;
    let (older, newer) = (request_valid_code(&app).await, request_valid_code(&app).await);
    assert_ne!(older, newer);
    assert_wrong_code(&app, &older).await;
    app.advance_clock(3_599);
    assert!(D::is_success(&app.redeem_code(PHONE, &newer).await));
    let code = request_valid_code(&app).await;
    app.advance_clock(3_600);
    assert_wrong_code(&app, &code).await;
}

pub async fn five_wrong_guesses_invalidate_a_code<D: CodeDialect>() {
    for tries in [4, 5] {
        let app = D::with_settings(&NO_RATE_LIMITS).await;
        app.add_test_user().await;
        let code = request_valid_code(&app).await;
        for _ in 0..tries {
            assert_wrong_code(&app, different_code(&code)).await;
        }
        if tries < 5 {
            assert!(D::is_success(&app.redeem_code(PHONE, &code).await));
        } else {
            assert_wrong_code(&app, &code).await;
        }
    }
}

pub async fn concurrent_guesses_do_not_exceed_the_cap<D: CodeDialect>() {
    let app = D::with_settings(&NO_RATE_LIMITS).await;
    app.add_test_user().await;
    let code = request_valid_code(&app).await;
    for response in join_all((0..20).map(|_| app.redeem_code(PHONE, different_code(&code)))).await {
        app.assert_fails_with(&response, &Error::WrongCode);
    }
    assert_wrong_code(&app, &code).await;
}

pub async fn wrong_codes_count_as_account_failures<D: CodeDialect>() {
    let app = D::new().await;
    app.add_test_user().await;
    for _ in 0..6 {
        assert_wrong_code(&app, "000000").await;
    }
    let rate_limited = Error::RateLimited { retry_after: Duration::from_secs(1) };
    app.assert_fails_with(&app.login(0, PHONE, PASSWORD).await, &rate_limited);
    app.assert_fails_with(&app.redeem_code(PHONE, "000000").await, &rate_limited);
}

pub async fn an_empty_code_counts_as_wrong<D: CodeDialect>() {
    let app = D::new().await;
    app.add_test_user().await;
    let code = request_valid_code(&app).await;
    let (response, cost) = app.lab.measure_cost(app.redeem_code(PHONE, different_code(&code))).await;
    assert_eq!(app.lab.measure_cost(app.redeem_code(PHONE, "")).await, (response, cost));
    for _ in 0..4 {
        assert_wrong_code(&app, "").await;
    }
    let rate_limited = Error::RateLimited { retry_after: Duration::from_secs(1) };
    app.assert_fails_with(&app.redeem_code(PHONE, &code).await, &rate_limited);
}

pub async fn a_password_change_invalidates_codes_sent_before<D: CodeDialect>() {
    let app = D::new().await;
    let user = app.add_test_user().await;
    let code = request_valid_code(&app).await;
    app.set_password(&user, "another").await;
    assert_wrong_code(&app, &code).await;
    app.assert_accepted(app.login(0, PHONE, "another").await);
}

pub async fn a_code_of_another_dialect_is_rejected<D: CodeDialect>() {
    let app = D::new().await;
    app.add_test_user().await;
    let (own, to) = (D::SERVICE.name, Recipient::parse(PHONE).unwrap());
    let other_dialect = ["portal", "mefp"].into_iter().find(|name| *name != own).unwrap();
    let caller = RequestInfo::from_client(other_dialect, [192, 0, 2, 1].into());
    for purpose in [CodePurpose::Any, CodePurpose::Register, CodePurpose::Reset] {
        app.lab.use_cases().send_code(&caller, &to, purpose, RecipientFilter::Anyone).await.unwrap();
        assert_wrong_code(&app, &app.lab.last_code_for(PHONE)).await;
    }
}

pub async fn a_wrong_code_costs_the_same_for_every_user<D: CodeDialect>() {
    let app = D::new().await;
    app.add_test_user().await;
    request_valid_code(&app).await;
    let (response, cost) = app.lab.measure_cost(app.redeem_code(PHONE, "no code")).await;
    app.assert_fails_with(&response, &Error::WrongCode);
    assert_eq!((cost.hashes, cost.state_store_calls.as_slice()), (0, ["guess_code"].as_slice()));
    assert_eq!(app.lab.measure_cost(app.redeem_code(UNKNOWN_PHONE, "no code")).await, (response, cost));
}

pub async fn a_recipient_is_limited_to_five_codes_an_hour<D: CodeDialect>() {
    let app = D::with_settings(&[BEHIND_PROXY]).await;
    app.add_test_user().await;
    app.lab.user("anna").phone(UNKNOWN_PHONE).add().await;
    for origin in 0..5 {
        // The requests write the phone in different formats, come from different addresses, and follow without a pause.
        let phone = [PHONE, PHONE_VARIANTS[0], PHONE_VARIANTS[3], PHONE_VARIANTS[5]][usize::from(origin % 4)];
        assert!(D::is_success(&app.request_code(origin, phone).await));
    }
    let rate_limited = |seconds| Error::RateLimited { retry_after: Duration::from_secs(seconds) };
    app.assert_fails_with(&app.request_code(9, PHONE).await, &rate_limited(3_600));
    assert_eq!(app.lab.sent_codes().len(), 5);
    assert!(D::is_success(&app.request_code(9, UNKNOWN_PHONE).await), "other recipients are not affected");
    app.advance_clock(3_599);
    app.assert_fails_with(&app.request_code(9, PHONE).await, &rate_limited(1));
    app.advance_clock(1);
    assert!(D::is_success(&app.request_code(9, PHONE).await));
}
