//! A code asked for by whom it is sent to, and by whom it is not; a code tried for somebody, and for nobody
//! (ATTACKS 5).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use stele_bench_kit::dialect::{JWT_SEND_CODE, PORTAL_SEND_CODE, form_post};
use stele_bench_kit::{DialectKind, ReleasePrograms, Request, Result, TestUser};

use crate::Options;
use crate::login::{ServiceFixture, pick_user};
use crate::report::{ComparisonPlan, Expectation, Report};

const VALIDATE: &str = "/api/v1/Auth/validatePhone";

pub(crate) fn compare_codes(options: &Options, programs: &ReleasePrograms, report: &mut Report) -> Result<()> {
    compare_jwt(options, programs, report)?;
    compare_portal(options, programs, report)?;
    compare_mefp(options, programs, report)
}

fn is_selected(options: &Options, dialect: &str) -> bool {
    // Whoever asks for some of a dialect's has all of them measured that match.
    options.only.is_empty() || options.only.contains(dialect) || format!("5 {dialect}: ").contains(&options.only)
}

fn compare_jwt(options: &Options, programs: &ReleasePrograms, report: &mut Report) -> Result<()> {
    if !is_selected(options, "jwt") {
        return Ok(());
    }
    let scene = ServiceFixture::new(programs, DialectKind::Jwt, &[])?;
    let ask = |account: &TestUser, phone: &TestUser| -> Request {
        form_post(JWT_SEND_CODE, &[("account", &account.email), ("phone", &phone.phone)])
    };
    let own =
        |number: u64| ask(pick_user(&scene.known_users, number), pick_user(&scene.known_users, number)).to_bytes();
    let unknown_user =
        |number: u64| ask(pick_user(&scene.unknown_users, number), pick_user(&scene.unknown_users, number)).to_bytes();
    let others =
        |number: u64| ask(pick_user(&scene.known_users, number), pick_user(&scene.unknown_users, number)).to_bytes();
    let validate =
        |person: &TestUser| form_post(VALIDATE, &[("account", &person.email), ("identifyCode", "000000")]).to_bytes();
    let tried = |number: u64| validate(pick_user(&scene.known_users, number));
    let tried_for_nobody = |number: u64| validate(pick_user(&scene.unknown_users, number));
    // What is asked next may have to wait for what the answer left to be done.
    let next = |number: u64| validate(pick_user(&scene.unknown_users, number));
    let unreadable =
        |number: u64| form_post(JWT_SEND_CODE, &[("account", &pick_user(&scene.known_users, number).email)]).to_bytes();
    let plan = |name: &str, kinds, after, must| ComparisonPlan {
        name: format!("5 jwt: {name}"),
        address: scene.process.address(),
        hashes_password: false,
        request_kinds: kinds,
        follow_up: after,
        expectation: must,
    };
    report.compare(
        options,
        plan("reset asked for: own phone, no account", [&own, &unknown_user], None, Expectation::Indistinguishable),
    )?;
    report.compare(
        options,
        plan("reset asked for: own phone, another's", [&own, &others], None, Expectation::Indistinguishable),
    )?;
    report.compare(
        options,
        plan("what is asked next", [&own, &unknown_user], Some(&next), Expectation::Indistinguishable),
    )?;
    report.compare(
        options,
        plan("code tried: account, no account", [&tried, &tried_for_nobody], None, Expectation::Indistinguishable),
    )?;
    report.compare(options, plan("control: nothing counted", [&own, &unreadable], None, Expectation::Distinguishable))
}

fn compare_portal(options: &Options, programs: &ReleasePrograms, report: &mut Report) -> Result<()> {
    if !is_selected(options, "portal") {
        return Ok(());
    }
    let scene = ServiceFixture::new(programs, DialectKind::Portal, &[])?;
    let ask = |person: &TestUser| form_post(PORTAL_SEND_CODE, &[("username", &person.phone)]).to_bytes();
    let guess = |person: &TestUser| {
        let [password, code] = ["guess-1", "000000"].map(|text| STANDARD.encode(text));
        form_post("/i/resetpwd", &[("username", &person.phone), ("password", &password), ("code", &code)]).to_bytes()
    };
    let kinds: [&dyn Fn(u64) -> Vec<u8>; 4] = [
        &|number| ask(pick_user(&scene.known_users, number)),
        &|number| ask(pick_user(&scene.unknown_users, number)),
        &|number| guess(pick_user(&scene.known_users, number)),
        &|number| guess(pick_user(&scene.unknown_users, number)),
    ];
    let plan = |name: &str, kinds| ComparisonPlan {
        name: format!("5 portal: {name}"),
        address: scene.process.address(),
        hashes_password: false,
        request_kinds: kinds,
        follow_up: None,
        expectation: Expectation::Indistinguishable,
    };
    // The guesses first: afterwards there are codes to be guessed at.
    report.compare(options, plan("code tried: account, no account", [kinds[2], kinds[3]]))?;
    report.compare(options, plan("code asked for: account, no account", [kinds[0], kinds[1]]))
}

fn compare_mefp(options: &Options, programs: &ReleasePrograms, report: &mut Report) -> Result<()> {
    if !is_selected(options, "mefp") {
        return Ok(());
    }
    let scene = ServiceFixture::new(programs, DialectKind::Mefp, &[])?;
    // 40001 and 40007 tell, by the document, who has an account when a code is asked for: there is nothing to hide.
    let guess = |person: &TestUser| {
        let message = json!({ "login_name": person.phone, "captcha": "000000" });
        scene.client.app.call("/auth/check/captcha", &message).to_bytes()
    };
    let tried = |number: u64| guess(pick_user(&scene.known_users, number));
    let unknown_user = |number: u64| guess(pick_user(&scene.unknown_users, number));
    let plan = ComparisonPlan {
        name: "5 mefp: code tried: account, no account".to_owned(),
        address: scene.process.address(),
        hashes_password: false,
        request_kinds: [&tried, &unknown_user],
        follow_up: None,
        expectation: Expectation::Indistinguishable,
    };
    report.compare(options, plan)
}
