//! Attack: request many codes, for one recipient or from one address (`docs/THREATS.md` 25).

use std::cell::RefCell;
use std::net::IpAddr;

use serde_json::json;
use stele_bench_kit::dialect::{JWT_SEND_CODE, PORTAL_SEND_CODE, form_post};
use stele_bench_kit::{DialectKind, Request, Result, TestUser};

use crate::burst::{BurstRequest, send_burst};
use crate::report::AttackResult;
use crate::target::{Target, client_address};
use crate::{Options, allowed_attempts};

/// The property that all requests of the flood share.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum FloodTarget {
    /// One recipient; requests come from many addresses, through three dialects.
    Recipient,
    /// One client address; codes go to many recipients, through the two dialects that count addresses.
    Address,
}

/// The request that sends a password reset code in `dialect`.
pub(crate) fn send_code_request(target: &Target, dialect: DialectKind, user: &TestUser) -> Request {
    match dialect {
        DialectKind::Mefp => {
            target.client.app.encrypted_request("/auth/captcha", &json!({ "login_name": user.phone, "usage": 2 }))
        }
        DialectKind::Jwt => form_post(JWT_SEND_CODE, &[("account", &user.name), ("phone", &user.phone)]),
        _ => form_post(PORTAL_SEND_CODE, &[("username", &user.phone)]),
    }
}

/// Requests many codes, and checks that no more are sent than the quota allows.
pub(crate) async fn flood_codes(
    options: &Options,
    name: &str,
    target: &Target,
    case: FloodTarget,
) -> Result<AttackResult> {
    let count = options.requests / 10;
    let single_recipient = target.fresh_user()?;
    let single_address: IpAddr = client_address(7_000_000);
    let dialect_of = |number: u64| match case {
        FloodTarget::Recipient => {
            [DialectKind::Portal, DialectKind::Mefp, DialectKind::Jwt][usize::try_from(number % 3).unwrap_or(0)]
        }
        FloodTarget::Address => [DialectKind::Portal, DialectKind::Jwt][usize::try_from(number % 2).unwrap_or(0)],
    };
    // Recipients of the flood from one address are not registered: the portal sends them codes for registration, and
    // JWT counts the submitted phone.
    let recipient_of = |number: u64| match case {
        FloodTarget::Recipient => single_recipient.clone(),
        FloodTarget::Address => TestUser::numbered(70_000_000 + usize::try_from(number).unwrap_or_default()),
    };
    let result = RefCell::new(AttackResult::new(name, target));
    let build_request = |number: u64| {
        let source = if case == FloodTarget::Recipient { client_address(7_100_000 + number) } else { single_address };
        BurstRequest::new(
            target.gateway_address(number / 3),
            send_code_request(target, dialect_of(number), &recipient_of(number)).with_forwarded_for(source).to_bytes(),
        )
    };
    let accepted = RefCell::new(0_u64);
    send_burst(options, name, count, build_request, |number, _, sent| {
        let Some(response) = result.borrow_mut().count(sent) else { return };
        let response = target.client.parse_response(dialect_of(number), &response);
        *accepted.borrow_mut() += u64::from(response.is_success());
    })
    .await;
    let (mut result, accepted) = (result.into_inner(), accepted.into_inner());
    let allowed = if case == FloodTarget::Recipient {
        allowed_attempts::CODES_PER_RECIPIENT
    } else {
        allowed_attempts::CODES_PER_ADDRESS
    };
    result.let_through = accepted.saturating_sub(allowed);
    result.rejected = result.sent - result.server_errors - accepted;
    result.require("the quota is used up", accepted >= allowed);
    if case == FloodTarget::Recipient {
        // Delivery is asynchronous: wait for as many codes as requests were accepted.
        let expected = usize::try_from(accepted).unwrap_or_default();
        target.wait_for_code(&single_recipient.phone, expected.saturating_sub(1)).await?;
        let sent = target.installation.sent_codes(&single_recipient.phone).len() as u64;
        result.let_through = result.let_through.max(sent.saturating_sub(allowed));
        return Ok(result.with_note(format!("sent: {sent}; allowed: {allowed}")));
    }
    Ok(result.with_note(format!("accepted: {accepted}; allowed: {allowed}")))
}
