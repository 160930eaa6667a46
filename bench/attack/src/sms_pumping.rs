//! Attack: SMS pumping (toll fraud). Requests codes from many networks, and for phone numbers that are not served: in
//! other countries, and landlines.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use stele_bench_kit::dialect::{JWT_SEND_CODE, PORTAL_SEND_CODE, form_post};
use stele_bench_kit::{DialectKind, Request, Result, TestUser};

use crate::burst::{BurstRequest, send_burst};
use crate::report::AttackResult;
use crate::target::{LOW_CODE_LIMIT, Target, client_address};
use crate::{Options, allowed_attempts};

/// The source of the requests, or the recipients of the messages.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum PumpingCase {
    /// Many /64 networks of one /48.
    SubnetsOfOnePrefix,
    /// Many addresses without a common network.
    UnrelatedAddresses,
    /// Recipients whose numbers are not served: in countries that the settings do not list, or landlines.
    UnservedNumbers,
}

/// A recipient without an account, a different one for each `number`.
fn numbered_recipient(number: u64, offset: usize) -> TestUser {
    TestUser::numbered(50_000_000 + offset + usize::try_from(number).unwrap_or_default())
}

/// The request that sends a code to `phone`, in the two dialects that send codes to numbers without an account.
fn phone_code_request(dialect: DialectKind, phone: &str) -> Request {
    match dialect {
        DialectKind::Jwt => form_post(JWT_SEND_CODE, &[("account", phone), ("phone", phone)]),
        _ => form_post(PORTAL_SEND_CODE, &[("username", phone)]),
    }
}

pub(crate) async fn pump_messages(
    options: &Options,
    name: &str,
    target: &Target,
    case: PumpingCase,
) -> Result<AttackResult> {
    if case == PumpingCase::UnservedNumbers {
        return pump_to_unserved_numbers(name, target).await;
    }
    // A /48 has four times the quota of a /64.
    let allowed =
        if case == PumpingCase::SubnetsOfOnePrefix { 4 * allowed_attempts::CODES_PER_ADDRESS } else { LOW_CODE_LIMIT };
    let count = (options.requests / 10).max(allowed * 2);
    let network_number = target.unique_number();
    let source_address = |number: u64| -> IpAddr {
        match case {
            PumpingCase::SubnetsOfOnePrefix => {
                let network = (0x2001_0db9_u128 << 96)
                    | (u128::from(network_number & 0xffff) << 80)
                    | (u128::from(number & 0xffff) << 64);
                Ipv6Addr::from_bits(network | 1).into()
            }
            PumpingCase::UnrelatedAddresses | PumpingCase::UnservedNumbers => client_address(8_000_000 + number),
        }
    };
    let dialect_of = |number: u64| [DialectKind::Portal, DialectKind::Jwt][usize::from(number % 2 == 1)];
    let offset = usize::try_from(network_number).unwrap_or_default() * 10_000;
    let result = RefCell::new(AttackResult::new(name, target));
    let accepted = RefCell::new(0_u64);
    let build_request = |number: u64| {
        let request = phone_code_request(dialect_of(number), &numbered_recipient(number, offset).phone)
            .with_forwarded_for(source_address(number));
        BurstRequest::new(target.gateway_address(number / 2), request.to_bytes())
    };
    send_burst(options, name, count, build_request, |number, _, sent| {
        let Some(response) = result.borrow_mut().count(sent) else { return };
        *accepted.borrow_mut() += u64::from(target.client.parse_response(dialect_of(number), &response).is_success());
    })
    .await;
    let (mut result, accepted) = (result.into_inner(), accepted.into_inner());
    result.let_through = accepted.saturating_sub(allowed);
    result.rejected = result.sent - result.server_errors - accepted;
    result.require("the quota of one network is used up", accepted >= allowed_attempts::CODES_PER_ADDRESS);
    Ok(result.with_note(format!("accepted: {accepted}; allowed: {allowed}")))
}

/// Requests codes for satellite phones (+88216) and premium-rate numbers (+1900), the most expensive recipients, and
/// for landlines (+8621), which receive no short messages.
async fn pump_to_unserved_numbers(name: &str, target: &Target) -> Result<AttackResult> {
    let mut result = AttackResult::new(name, target);
    for number in 0..60_u64 {
        let phones = [format!("+88216{number:08}"), format!("+1900{number:07}"), format!("+8621{number:08}")];
        let phone = &phones[usize::try_from(number % 3).unwrap_or_default()];
        for dialect in [DialectKind::Portal, DialectKind::Jwt] {
            let sent = target
                .send(number, &phone_code_request(dialect, phone).with_forwarded_for(target.fresh_client_address()))
                .await?;
            result.count(Ok(sent));
        }
    }
    let user = target.fresh_user()?;
    target
        .send(
            0,
            &phone_code_request(DialectKind::Portal, &user.phone).with_forwarded_for(target.fresh_client_address()),
        )
        .await?;
    result.require("a mainland mobile phone gets a code", target.wait_for_code(&user.phone, 0).await.is_ok());
    // Wait for the delivery of messages that should not have been sent, if there are any.
    tokio::time::sleep(Duration::from_secs(1)).await;
    result.let_through =
        ["88216", "1900", "8621"].iter().map(|prefix| target.installation.sent_message_count(prefix) as u64).sum();
    result.rejected = result.sent - result.server_errors - result.let_through;
    Ok(result)
}
