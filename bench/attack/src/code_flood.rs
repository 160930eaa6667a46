//! Having codes sent, to one recipient or from one address (ATTACKS 25).

use std::cell::RefCell;
use std::net::IpAddr;

use serde_json::json;
use stele_bench_kit::dialect::{JWT_SEND_CODE, PORTAL_SEND_CODE, form_post};
use stele_bench_kit::{DialectKind, Request, Result, TestUser};

use crate::burst::{BurstRequest, send_burst};
use crate::report::AttackResult;
use crate::target::{Target, client_address};
use crate::{Options, allowed_guesses};

/// What is flooded.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum FloodTarget {
    /// One recipient, from very many addresses and through three dialects.
    Recipient,
    /// Very many recipients, from one address through the two dialects that count it.
    Address,
}

/// The call by which a dialect sends a code to someone who has forgotten their password.
pub(crate) fn send_code_request(fleet: &Target, dialect: DialectKind, person: &TestUser) -> Request {
    match dialect {
        DialectKind::Mefp => fleet.client.app.call("/auth/captcha", &json!({ "login_name": person.phone, "usage": 2 })),
        DialectKind::Jwt => form_post(JWT_SEND_CODE, &[("account", &person.name), ("phone", &person.phone)]),
        _ => form_post(PORTAL_SEND_CODE, &[("username", &person.phone)]),
    }
}

/// Asks for very many codes.
pub(crate) async fn flood_codes(
    options: &Options,
    name: &str,
    fleet: &Target,
    case: FloodTarget,
) -> Result<AttackResult> {
    let count = options.requests / 10;
    let one = fleet.fresh_user()?;
    let here: IpAddr = client_address(7_000_000);
    let dialect = |number: u64| match case {
        FloodTarget::Recipient => {
            [DialectKind::Portal, DialectKind::Mefp, DialectKind::Jwt][usize::try_from(number % 3).unwrap_or(0)]
        }
        FloodTarget::Address => [DialectKind::Portal, DialectKind::Jwt][usize::try_from(number % 2).unwrap_or(0)],
    };
    // Strangers: the portal sends to whoever is going to register, and JWT counts what was submitted.
    let of = |number: u64| match case {
        FloodTarget::Recipient => one.clone(),
        FloodTarget::Address => TestUser::numbered(70_000_000 + usize::try_from(number).unwrap_or_default()),
    };
    let row = RefCell::new(AttackResult::new(name, fleet));
    let make = |number: u64| {
        let from = if case == FloodTarget::Recipient { client_address(7_100_000 + number) } else { here };
        BurstRequest::new(
            fleet.entry_address(number / 3),
            send_code_request(fleet, dialect(number), &of(number)).with_forwarded_for(from).to_bytes(),
        )
    };
    let taken = RefCell::new(0_u64);
    send_burst(options, name, count, make, |number, _, sent| {
        let Some(answer) = row.borrow_mut().count(sent) else { return };
        let response = fleet.client.parse_response(dialect(number), &answer);
        *taken.borrow_mut() += u64::from(response.is_success());
    })
    .await;
    let (mut row, taken) = (row.into_inner(), taken.into_inner());
    let allowed = if case == FloodTarget::Recipient {
        allowed_guesses::CODES_PER_RECIPIENT
    } else {
        allowed_guesses::CODES_PER_ADDRESS
    };
    row.let_through = taken.saturating_sub(allowed);
    row.rejected = row.sent - row.server_errors - taken;
    row.require("the quota is used up", taken >= allowed);
    if case == FloodTarget::Recipient {
        // The last of them may still be on its way: wait for as many as were promised.
        let promised = usize::try_from(taken).unwrap_or_default();
        fleet.next_code(&one.phone, promised.saturating_sub(1)).await?;
        let sent = fleet.installation.sent_codes(&one.phone).len() as u64;
        row.let_through = row.let_through.max(sent.saturating_sub(allowed));
        return Ok(row.with_note(format!("sent: {sent}; allowed: {allowed}")));
    }
    Ok(row.with_note(format!("taken: {taken}; allowed: {allowed}")))
}
