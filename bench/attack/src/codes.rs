//! Guessing at codes, and using them where they do not belong (`docs/THREATS.md` 19, 20, 22, 23).

use std::cell::{Cell, RefCell};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use stele_bench_kit::dialect::form_post;
use stele_bench_kit::{DialectKind, DialectResponse, Request, Result, TestUser};

use crate::Options;
use crate::burst::{BurstRequest, send_burst};
use crate::code_flood::send_code_request;
use crate::report::AttackResult;
use crate::target::{Target, client_address};

/// The dialects that send codes.
pub(crate) const CODE_DIALECTS: [DialectKind; 3] = [DialectKind::Portal, DialectKind::Mefp, DialectKind::Jwt];

/// The password that whoever has the code may set.
pub(crate) const NEW_PASSWORD: &str = "a-new-password";

/// A try at someone's code.
pub(crate) fn guess_request(fleet: &Target, dialect: DialectKind, person: &TestUser, code: &str) -> Request {
    let TestUser { name, phone, .. } = person;
    let encoded = |text: &str| STANDARD.encode(text);
    match dialect {
        DialectKind::Mefp => {
            fleet.client.app.call("/auth/check/captcha", &json!({ "login_name": phone, "captcha": code }))
        }
        DialectKind::Jwt => form_post("/api/v1/Auth/validatePhone", &[("account", name), ("identifyCode", code)]),
        _ => form_post(
            "/i/resetpwd",
            &[("username", phone), ("password", &encoded(NEW_PASSWORD)), ("code", &encoded(code))],
        ),
    }
}

/// Has a dialect send someone a code, and gives it.
pub(crate) async fn request_code(fleet: &Target, dialect: DialectKind, person: &TestUser) -> Result<String> {
    let seen = fleet.installation.sent_codes(&person.phone).len();
    fleet
        .request(0, &send_code_request(fleet, dialect, person).with_forwarded_for(fleet.fresh_client_address()))
        .await?;
    fleet.next_code(&person.phone, seen).await
}

/// Whether a guess was looked at and found wrong.
fn is_wrong_code(response: &DialectResponse) -> bool {
    match response.dialect {
        DialectKind::Portal => response.code == "3208",
        DialectKind::Mefp => response.code == "40002",
        _ => response.json["message"] == "验证码错误",
    }
}

/// Another code than `code`, another one for each number below a million.
fn different_code(code: &str, number: u64) -> String {
    let right: u64 = code.parse().unwrap_or_default();
    format!("{:06}", (right + 1 + number % 999_999) % 1_000_000)
}

/// Very many different guesses at one code at once, from as many addresses, with the right one somewhere in the second
/// half of them: there five wrong ones have long burnt it.
pub(crate) async fn guess_codes(
    options: &Options,
    name: &str,
    fleet: &Target,
    dialect: DialectKind,
) -> Result<AttackResult> {
    let mut row = AttackResult::new(name, fleet);
    // First somebody who mistypes it four times and then has it right.
    let (careful, home) = (fleet.fresh_user()?, fleet.fresh_client_address());
    let code = request_code(fleet, dialect, &careful).await?;
    for number in 0..4 {
        let request = guess_request(fleet, dialect, &careful, &different_code(&code, number)).with_forwarded_for(home);
        let response = fleet.dialect_request(number, dialect, &request).await?;
        row.require("a wrong code is told", is_wrong_code(&response));
    }
    let request = guess_request(fleet, dialect, &careful, &code).with_forwarded_for(home);
    row.require(
        "the right code works after four tries",
        fleet.dialect_request(0, dialect, &request).await?.is_success(),
    );

    let person = fleet.fresh_user()?;
    let code = request_code(fleet, dialect, &person).await?;
    let count = options.requests;
    let place = count / 2 + code.parse::<u64>().unwrap_or_default() % (count / 2);
    let (right, wrong) = (Cell::new(0_u64), Cell::new(0_u64));
    let row = {
        let row = RefCell::new(row);
        let make = |number: u64| {
            let typed = if number == place { code.clone() } else { different_code(&code, number) };
            let request =
                guess_request(fleet, dialect, &person, &typed).with_forwarded_for(client_address(6_200_000 + number));
            BurstRequest::new(fleet.entry_address(number), request.to_bytes())
        };
        let title = format!("{name}, {}", dialect.name());
        send_burst(options, &title, count, make, |_, _, sent| {
            let Some(answer) = row.borrow_mut().count(sent) else { return };
            let response = fleet.client.parse_response(dialect, &answer);
            right.set(right.get() + u64::from(response.is_success()));
            wrong.set(wrong.get() + u64::from(is_wrong_code(&response)));
        })
        .await;
        row.into_inner()
    };
    let mut row = row;
    // Once more alone, when nobody is in its way but the limits.
    let request = guess_request(fleet, dialect, &person, &code).with_forwarded_for(fleet.fresh_client_address());
    let late = fleet.dialect_request(1, dialect, &request).await?;
    row.sent += 1;
    row.let_through = right.get() + u64::from(late.is_success());
    row.rejected = row.sent - row.server_errors - row.let_through;
    row.require("guesses were looked at", wrong.get() >= 5);
    Ok(row.with_note(format!("{}: looked at: {}; right: {}", dialect.name(), wrong.get(), right.get())))
}

/// Right codes, where they are none.
pub(crate) async fn misuse_codes(name: &str, fleet: &Target) -> Result<AttackResult> {
    let mut row = AttackResult::new(name, fleet);
    for sent_by in CODE_DIALECTS {
        for used_at in CODE_DIALECTS.into_iter().filter(|other| *other != sent_by) {
            let person = fleet.fresh_user()?;
            let code = request_code(fleet, sent_by, &person).await?;
            send_attempt(fleet, &mut row, used_at, &guess_request(fleet, used_at, &person, &code)).await?;
            let request =
                guess_request(fleet, sent_by, &person, &code).with_forwarded_for(fleet.fresh_client_address());
            row.require(
                "the code works where it belongs",
                fleet.dialect_request(0, sent_by, &request).await?.is_success(),
            );
        }
        let (person, victim) = (fleet.fresh_user()?, fleet.fresh_user()?);
        let code = request_code(fleet, sent_by, &person).await?;
        send_attempt(fleet, &mut row, sent_by, &guess_request(fleet, sent_by, &victim, &code)).await?;
    }
    // MeFP: a code is of one app and of one purpose.
    let person = fleet.fresh_user()?;
    let code = request_code(fleet, DialectKind::Mefp, &person).await?;
    let check = json!({ "login_name": person.phone, "captcha": code });
    let theirs =
        fleet.other_app_client.app.call("/auth/check/captcha", &check).with_forwarded_for(fleet.fresh_client_address());
    let response = fleet.other_app_client.parse_response(DialectKind::Mefp, &fleet.request(0, &theirs).await?);
    (row.sent, row.let_through) = (row.sent + 1, row.let_through + u64::from(response.is_success()));
    let register = json!({ "login_name": person.phone, "password": NEW_PASSWORD, "captcha": code });
    send_attempt(fleet, &mut row, DialectKind::Mefp, &fleet.client.app.call("/auth/register", &register)).await?;
    let reset = json!({ "login_name": person.phone, "new_password": NEW_PASSWORD, "captcha": code });
    let reset = fleet.client.app.call("/auth/forgot", &reset).with_forwarded_for(fleet.fresh_client_address());
    row.require("a code for resetting resets", fleet.dialect_request(0, DialectKind::Mefp, &reset).await?.is_success());
    send_attempt(fleet, &mut row, DialectKind::Mefp, &reset).await?;
    row.rejected = row.sent - row.server_errors - row.let_through;
    Ok(row)
}

async fn send_attempt(fleet: &Target, row: &mut AttackResult, dialect: DialectKind, request: &Request) -> Result<()> {
    let sent = fleet.request(row.sent, &request.clone().with_forwarded_for(fleet.fresh_client_address())).await?;
    if let Some(answer) = row.count(Ok(sent)) {
        row.let_through += u64::from(fleet.client.parse_response(dialect, &answer).is_success());
    }
    Ok(())
}
