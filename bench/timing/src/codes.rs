//! Timing side channels of one-time codes (`docs/THREATS.md` 5): codes requested for a known user, for an unknown user
//! and for another user's phone, the request that follows, and codes tried for a known and an unknown user.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use stele_bench_kit::dialect::{JWT_SEND_CODE, PORTAL_SEND_CODE, form_post};
use stele_bench_kit::{DialectKind, ReleasePrograms, Request, Result, TestUser};

use crate::Options;
use crate::login::{ServiceFixture, pick_user};
use crate::report::{ComparisonPlan, Expectation, Report};

const JWT_CHECK_CODE: &str = "/api/v1/Auth/validatePhone";

pub(crate) fn compare_codes(options: &Options, programs: &ReleasePrograms, report: &mut Report) -> Result<()> {
    compare_jwt(options, programs, report)?;
    compare_portal(options, programs, report)?;
    compare_mefp(options, programs, report)
}

/// Whether the options may select a comparison of codes in `dialect`, so that its service must be started.
fn is_selected(options: &Options, dialect: &str) -> bool {
    // Also true for a prefix of the comparison's name; `Report::compare` filters by the full name.
    options.only.is_empty() || options.only.contains(dialect) || format!("5 {dialect}: ").contains(&options.only)
}

fn compare_jwt(options: &Options, programs: &ReleasePrograms, report: &mut Report) -> Result<()> {
    if !is_selected(options, "jwt") {
        return Ok(());
    }
    let fixture = ServiceFixture::new(programs, DialectKind::Jwt, &[])?;
    let reset_request = |account: &TestUser, phone: &TestUser| -> Request {
        form_post(JWT_SEND_CODE, &[("account", &account.email), ("phone", &phone.phone)])
    };
    let own_phone_request = |number: u64| {
        reset_request(pick_user(&fixture.known_users, number), pick_user(&fixture.known_users, number)).to_bytes()
    };
    let unknown_user_request = |number: u64| {
        reset_request(pick_user(&fixture.unknown_users, number), pick_user(&fixture.unknown_users, number)).to_bytes()
    };
    let other_phone_request = |number: u64| {
        reset_request(pick_user(&fixture.known_users, number), pick_user(&fixture.unknown_users, number)).to_bytes()
    };
    let guess_request =
        |user: &TestUser| form_post(JWT_CHECK_CODE, &[("account", &user.email), ("identifyCode", "000000")]).to_bytes();
    let known_user_guess = |number: u64| guess_request(pick_user(&fixture.known_users, number));
    let unknown_user_guess = |number: u64| guess_request(pick_user(&fixture.unknown_users, number));
    // The next request may have to wait for work that continues after the response.
    let follow_up_request = |number: u64| guess_request(pick_user(&fixture.unknown_users, number));
    let incomplete_request = |number: u64| {
        form_post(JWT_SEND_CODE, &[("account", &pick_user(&fixture.known_users, number).email)]).to_bytes()
    };
    let new_plan = |name: &str, request_kinds, follow_up, expectation| ComparisonPlan {
        name: format!("5 jwt: {name}"),
        address: fixture.process.address(),
        hashes_password: false,
        request_kinds,
        follow_up,
        expectation,
    };
    report.compare(
        options,
        new_plan(
            "reset requested: own phone, no account",
            [&own_phone_request, &unknown_user_request],
            None,
            Expectation::Indistinguishable,
        ),
    )?;
    report.compare(
        options,
        new_plan(
            "reset requested: own phone, another's",
            [&own_phone_request, &other_phone_request],
            None,
            Expectation::Indistinguishable,
        ),
    )?;
    report.compare(
        options,
        new_plan(
            "the next request",
            [&own_phone_request, &unknown_user_request],
            Some(&follow_up_request),
            Expectation::Indistinguishable,
        ),
    )?;
    report.compare(
        options,
        new_plan(
            "code tried: account, no account",
            [&known_user_guess, &unknown_user_guess],
            None,
            Expectation::Indistinguishable,
        ),
    )?;
    report.compare(
        options,
        new_plan(
            "control: nothing counted",
            [&own_phone_request, &incomplete_request],
            None,
            Expectation::Distinguishable,
        ),
    )
}

fn compare_portal(options: &Options, programs: &ReleasePrograms, report: &mut Report) -> Result<()> {
    if !is_selected(options, "portal") {
        return Ok(());
    }
    let fixture = ServiceFixture::new(programs, DialectKind::Portal, &[])?;
    let code_request = |user: &TestUser| form_post(PORTAL_SEND_CODE, &[("username", &user.phone)]).to_bytes();
    let guess_request = |user: &TestUser| {
        let [password, code] = ["guess-1", "000000"].map(|text| STANDARD.encode(text));
        form_post("/i/resetpwd", &[("username", &user.phone), ("password", &password), ("code", &code)]).to_bytes()
    };
    let kinds: [&dyn Fn(u64) -> Vec<u8>; 4] = [
        &|number| code_request(pick_user(&fixture.known_users, number)),
        &|number| code_request(pick_user(&fixture.unknown_users, number)),
        &|number| guess_request(pick_user(&fixture.known_users, number)),
        &|number| guess_request(pick_user(&fixture.unknown_users, number)),
    ];
    let new_plan = |name: &str, kinds| ComparisonPlan {
        name: format!("5 portal: {name}"),
        address: fixture.process.address(),
        hashes_password: false,
        request_kinds: kinds,
        follow_up: None,
        expectation: Expectation::Indistinguishable,
    };
    // The guesses come first, while no code has been sent.
    report.compare(options, new_plan("code tried: account, no account", [kinds[2], kinds[3]]))?;
    report.compare(options, new_plan("code requested: account, no account", [kinds[0], kinds[1]]))
}

fn compare_mefp(options: &Options, programs: &ReleasePrograms, report: &mut Report) -> Result<()> {
    if !is_selected(options, "mefp") {
        return Ok(());
    }
    let fixture = ServiceFixture::new(programs, DialectKind::Mefp, &[])?;
    // Requesting a code is not compared: its documented results 40001 and 40007 reveal whether the account exists.
    let guess_request = |user: &TestUser| {
        let message = json!({ "login_name": user.phone, "captcha": "000000" });
        fixture.client.app.encrypted_request("/auth/check/captcha", &message).to_bytes()
    };
    let known_user_guess = |number: u64| guess_request(pick_user(&fixture.known_users, number));
    let unknown_user_guess = |number: u64| guess_request(pick_user(&fixture.unknown_users, number));
    let plan = ComparisonPlan {
        name: "5 mefp: code tried: account, no account".to_owned(),
        address: fixture.process.address(),
        hashes_password: false,
        request_kinds: [&known_user_guess, &unknown_user_guess],
        follow_up: None,
        expectation: Expectation::Indistinguishable,
    };
    report.compare(options, plan)
}
