//! Having codes sent from very many networks, and to countries that are not served.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use stele_bench_kit::dialect::{JWT_SEND_CODE, PORTAL_SEND_CODE, form_post};
use stele_bench_kit::{DialectKind, Request, Result, TestUser};

use crate::burst::{BurstRequest, send_burst};
use crate::report::AttackResult;
use crate::target::{LOW_CODE_LIMIT, Target, client_address};
use crate::{Options, allowed_guesses};

/// Where codes are asked for from, or sent to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum PumpingSource {
    /// From very many /64 of one /48.
    SubnetsOfOnePrefix,
    /// From very many addresses that have nothing in common.
    UnrelatedAddresses,
    /// To numbers in countries that are not listed.
    UnservedCountries,
}

/// What a code is sent to: no user's, so that each is another recipient.
fn random_recipient(number: u64, offset: usize) -> TestUser {
    TestUser::numbered(50_000_000 + offset + usize::try_from(number).unwrap_or_default())
}

fn send_code_request(dialect: DialectKind, phone: &str) -> Request {
    match dialect {
        DialectKind::Jwt => form_post(JWT_SEND_CODE, &[("account", phone), ("phone", phone)]),
        _ => form_post(PORTAL_SEND_CODE, &[("username", phone)]),
    }
}

pub(crate) async fn pump_messages(
    options: &Options,
    name: &str,
    fleet: &Target,
    case: PumpingSource,
) -> Result<AttackResult> {
    if case == PumpingSource::UnservedCountries {
        return pump_to_unserved_countries(name, fleet).await;
    }
    // A /48 has four times a /64's budget.
    let allowed =
        if case == PumpingSource::SubnetsOfOnePrefix { 4 * allowed_guesses::CODES_PER_ADDRESS } else { LOW_CODE_LIMIT };
    let count = (options.requests / 10).max(allowed * 2);
    let site = fleet.fresh_number();
    let from = |number: u64| -> IpAddr {
        match case {
            PumpingSource::SubnetsOfOnePrefix => {
                let network =
                    (0x2001_0db9_u128 << 96) | (u128::from(site & 0xffff) << 80) | (u128::from(number & 0xffff) << 64);
                Ipv6Addr::from_bits(network | 1).into()
            }
            PumpingSource::UnrelatedAddresses | PumpingSource::UnservedCountries => client_address(8_000_000 + number),
        }
    };
    let dialect = |number: u64| [DialectKind::Portal, DialectKind::Jwt][usize::from(number % 2 == 1)];
    let offset = usize::try_from(site).unwrap_or_default() * 10_000;
    let row = RefCell::new(AttackResult::new(name, fleet));
    let taken = RefCell::new(0_u64);
    let make = |number: u64| {
        let request = send_code_request(dialect(number), &random_recipient(number, offset).phone)
            .with_forwarded_for(from(number));
        BurstRequest::new(fleet.entry_address(number / 2), request.to_bytes())
    };
    send_burst(options, name, count, make, |number, _, sent| {
        let Some(answer) = row.borrow_mut().count(sent) else { return };
        *taken.borrow_mut() += u64::from(fleet.client.parse_response(dialect(number), &answer).is_success());
    })
    .await;
    let (mut row, taken) = (row.into_inner(), taken.into_inner());
    row.let_through = taken.saturating_sub(allowed);
    row.rejected = row.sent - row.server_errors - taken;
    row.require("a network's own budget is spent", taken >= allowed_guesses::CODES_PER_ADDRESS);
    Ok(row.with_note(format!("taken: {taken}; allowed: {allowed}")))
}

/// Satellite phones and premium numbers, which cost the payer of messages most.
async fn pump_to_unserved_countries(name: &str, fleet: &Target) -> Result<AttackResult> {
    let mut row = AttackResult::new(name, fleet);
    for number in 0..60_u64 {
        let phone = [format!("+88216{number:08}"), format!("+1900{number:07}"), format!("+8621{number:08}")];
        let phone = &phone[usize::try_from(number % 3).unwrap_or_default()];
        for dialect in [DialectKind::Portal, DialectKind::Jwt] {
            let sent = fleet
                .request(number, &send_code_request(dialect, phone).with_forwarded_for(fleet.fresh_client_address()))
                .await?;
            row.count(Ok(sent));
        }
    }
    let person = fleet.fresh_user()?;
    fleet
        .request(
            0,
            &send_code_request(DialectKind::Portal, &person.phone).with_forwarded_for(fleet.fresh_client_address()),
        )
        .await?;
    row.require("a mainland mobile gets one", fleet.next_code(&person.phone, 0).await.is_ok());
    // What was sent before it is there, too, by then.
    tokio::time::sleep(Duration::from_secs(1)).await;
    row.let_through =
        ["88216", "1900", "8621"].iter().map(|area| fleet.installation.sent_message_count(area) as u64).sum();
    row.rejected = row.sent - row.server_errors - row.let_through;
    Ok(row)
}
