//! Attack: brute force of one-time codes, and use of codes in the wrong context (`docs/THREATS.md` 19, 20, 22, 23).

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

/// The password that a successful reset sets.
pub(crate) const NEW_PASSWORD: &str = "a-new-password";

/// A request that redeems `code`, correct or guessed, for a user.
pub(crate) fn redeem_code_request(target: &Target, dialect: DialectKind, user: &TestUser, code: &str) -> Request {
    let TestUser { name, phone, .. } = user;
    let encode_base64 = |text: &str| STANDARD.encode(text);
    match dialect {
        DialectKind::Mefp => {
            target.client.app.encrypted_request("/auth/check/captcha", &json!({ "login_name": phone, "captcha": code }))
        }
        DialectKind::Jwt => form_post("/api/v1/Auth/validatePhone", &[("account", name), ("identifyCode", code)]),
        _ => form_post(
            "/i/resetpwd",
            &[("username", phone), ("password", &encode_base64(NEW_PASSWORD)), ("code", &encode_base64(code))],
        ),
    }
}

/// Requests a code for a user through `dialect` and returns it.
pub(crate) async fn request_code(target: &Target, dialect: DialectKind, user: &TestUser) -> Result<String> {
    let earlier_count = target.installation.sent_codes(&user.phone).len();
    target.send(0, &send_code_request(target, dialect, user).with_forwarded_for(target.fresh_client_address())).await?;
    target.wait_for_code(&user.phone, earlier_count).await
}

/// Whether the code was checked and found wrong.
fn is_wrong_code(response: &DialectResponse) -> bool {
    match response.dialect {
        DialectKind::Portal => response.code == "3208",
        DialectKind::Mefp => response.code == "40002",
        _ => response.json["message"] == "验证码错误",
    }
}

/// A code other than `code`, the correct one; a different code for each `number` below 999,999.
fn wrong_code(code: &str, number: u64) -> String {
    let correct: u64 = code.parse().unwrap_or_default();
    format!("{:06}", (correct + 1 + number % 999_999) % 1_000_000)
}

/// Sends many concurrent guesses at one code from as many addresses. The correct code is one of the second half; before
/// it is sent, five wrong guesses should have invalidated it.
pub(crate) async fn guess_codes(
    options: &Options,
    name: &str,
    target: &Target,
    dialect: DialectKind,
) -> Result<AttackResult> {
    let mut result = AttackResult::new(name, target);
    // Control: a user who mistypes the code four times can still use it.
    let (careful_user, home) = (target.fresh_user()?, target.fresh_client_address());
    let code = request_code(target, dialect, &careful_user).await?;
    for number in 0..4 {
        let request =
            redeem_code_request(target, dialect, &careful_user, &wrong_code(&code, number)).with_forwarded_for(home);
        let response = target.send_and_parse(number, dialect, &request).await?;
        result.require("a wrong code is reported as wrong", is_wrong_code(&response));
    }
    let request = redeem_code_request(target, dialect, &careful_user, &code).with_forwarded_for(home);
    result.require(
        "the correct code works after four wrong ones",
        target.send_and_parse(0, dialect, &request).await?.is_success(),
    );

    let user = target.fresh_user()?;
    let code = request_code(target, dialect, &user).await?;
    let count = options.requests;
    let correct_number = count / 2 + code.parse::<u64>().unwrap_or_default() % (count / 2);
    let (accepted, wrong) = (Cell::new(0_u64), Cell::new(0_u64));
    let mut result = {
        let result = RefCell::new(result);
        let build_request = |number: u64| {
            let guess = if number == correct_number { code.clone() } else { wrong_code(&code, number) };
            let request = redeem_code_request(target, dialect, &user, &guess)
                .with_forwarded_for(client_address(6_200_000 + number));
            BurstRequest::new(target.gateway_address(number), request.to_bytes())
        };
        let title = format!("{name}, {}", dialect.name());
        send_burst(options, &title, count, build_request, |_, _, sent| {
            let Some(response) = result.borrow_mut().count(sent) else { return };
            let response = target.client.parse_response(dialect, &response);
            accepted.set(accepted.get() + u64::from(response.is_success()));
            wrong.set(wrong.get() + u64::from(is_wrong_code(&response)));
        })
        .await;
        result.into_inner()
    };
    // Send the correct code once more, without concurrent requests: load shedding cannot be the reason if it is
    // rejected.
    let request = redeem_code_request(target, dialect, &user, &code).with_forwarded_for(target.fresh_client_address());
    let late = target.send_and_parse(1, dialect, &request).await?;
    result.sent += 1;
    result.let_through = accepted.get() + u64::from(late.is_success());
    result.rejected = result.sent - result.server_errors - result.let_through;
    result.require("guesses are verified", wrong.get() >= 5);
    Ok(result.with_note(format!("{}: verified: {}; accepted: {}", dialect.name(), wrong.get(), accepted.get())))
}

/// Sends valid codes in another dialect, for another user, app or purpose, and a second time.
pub(crate) async fn misuse_codes(name: &str, target: &Target) -> Result<AttackResult> {
    let mut result = AttackResult::new(name, target);
    for sent_by in CODE_DIALECTS {
        for used_at in CODE_DIALECTS.into_iter().filter(|other| *other != sent_by) {
            let user = target.fresh_user()?;
            let code = request_code(target, sent_by, &user).await?;
            send_attempt(target, &mut result, used_at, &redeem_code_request(target, used_at, &user, &code)).await?;
            let request =
                redeem_code_request(target, sent_by, &user, &code).with_forwarded_for(target.fresh_client_address());
            result.require(
                "the code works in its own context",
                target.send_and_parse(0, sent_by, &request).await?.is_success(),
            );
        }
        let (user, victim) = (target.fresh_user()?, target.fresh_user()?);
        let code = request_code(target, sent_by, &user).await?;
        send_attempt(target, &mut result, sent_by, &redeem_code_request(target, sent_by, &victim, &code)).await?;
    }
    // MeFP: a code is bound to one app and one purpose.
    let user = target.fresh_user()?;
    let code = request_code(target, DialectKind::Mefp, &user).await?;
    let check_message = json!({ "login_name": user.phone, "captcha": code });
    let other_app_request = target
        .other_app_client
        .app
        .encrypted_request("/auth/check/captcha", &check_message)
        .with_forwarded_for(target.fresh_client_address());
    let response =
        target.other_app_client.parse_response(DialectKind::Mefp, &target.send(0, &other_app_request).await?);
    (result.sent, result.let_through) = (result.sent + 1, result.let_through + u64::from(response.is_success()));
    let register_message = json!({ "login_name": user.phone, "password": NEW_PASSWORD, "captcha": code });
    send_attempt(
        target,
        &mut result,
        DialectKind::Mefp,
        &target.client.app.encrypted_request("/auth/register", &register_message),
    )
    .await?;
    let reset_message = json!({ "login_name": user.phone, "new_password": NEW_PASSWORD, "captcha": code });
    let reset_request = target
        .client
        .app
        .encrypted_request("/auth/forgot", &reset_message)
        .with_forwarded_for(target.fresh_client_address());
    result.require(
        "a reset code resets the password",
        target.send_and_parse(0, DialectKind::Mefp, &reset_request).await?.is_success(),
    );
    send_attempt(target, &mut result, DialectKind::Mefp, &reset_request).await?;
    result.rejected = result.sent - result.server_errors - result.let_through;
    Ok(result)
}

/// Sends a request that must be rejected, from a new client address. Counts a success as let through.
async fn send_attempt(
    target: &Target,
    result: &mut AttackResult,
    dialect: DialectKind,
    request: &Request,
) -> Result<()> {
    let sent = target.send(result.sent, &request.clone().with_forwarded_for(target.fresh_client_address())).await?;
    if let Some(response) = result.count(Ok(sent)) {
        result.let_through += u64::from(target.client.parse_response(dialect, &response).is_success());
    }
    Ok(())
}
