//! Refused requests that are to fill the disk: how much each leaves.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use serde_json::json;
use stele_bench_kit::dialect::{CLOUDBOX_CHANGE_PASSWORD, form_post, json_post, salted_proof};
use stele_bench_kit::{DialectKind, Request, Result, TestUser};

use crate::Options;
use crate::burst::{BurstRequest, send_burst};
use crate::report::AttackResult;
use crate::target::{Target, client_address, fresh_timestamp};

/// cloudbox takes the md5 of a new password; anything else is a bad parameter, before any account is looked up.
const NEW_DIGEST: &str = "5f4dcc3b5aa765d61d8327deb882cf99";

/// The most entries of the audit trail that one origin may cause in an hour, in all classes of failures
/// (`STELE_AUDIT_ORIGIN`), and what the attack's own good calls add.
const MAX_AUDIT_ENTRIES: u64 = 2 * 240 + 20;

/// What is refused.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum RejectedRequest {
    /// Logins from one IPv6 /64, each from another address and at another account.
    LoginsFromNetwork,
    /// Logouts at the portal with a cookie that was never issued.
    LogoutsWithFakeCookie,
    /// Changes of a password at cloudbox, each for another user, from one address.
    PasswordChanges,
}

fn request(fleet: &Target, case: RejectedRequest, origin: u64, number: u64) -> Request {
    match case {
        RejectedRequest::LoginsFromNetwork => {
            let unknown = TestUser::numbered(60_000_000 + usize::try_from(number).unwrap_or_default());
            let address =
                Ipv6Addr::from_bits((0x2001_0db8_u128 << 96) | (u128::from(origin) << 64) | u128::from(number));
            fleet
                .client
                .login(DialectKind::Cloudbox, &unknown.phone, "guess", fresh_timestamp())
                .with_forwarded_for(address.into())
        }
        RejectedRequest::LogoutsWithFakeCookie => form_post("/i/logout", &[("username", "13800000000")])
            .with_header("cookie", &format!("stele_session={number:032x}"))
            .with_forwarded_for(attacker_address(origin)),
        RejectedRequest::PasswordChanges => {
            let at = fresh_timestamp();
            let body = json!({
                "user_id": (100_001 + number).to_string(), "orig_password": salted_proof("guess", at),
                "new_password": NEW_DIGEST, "timestamp": at,
            });
            json_post(CLOUDBOX_CHANGE_PASSWORD, &body).with_forwarded_for(attacker_address(origin))
        }
    }
}

fn attacker_address(origin: u64) -> IpAddr {
    client_address(9_000_000 + origin)
}

pub(crate) async fn grow_disk(
    options: &Options,
    name: &str,
    fleet: &Target,
    case: RejectedRequest,
) -> Result<AttackResult> {
    let origin = fleet.fresh_number();
    let (before, entries) = (measure_sizes(fleet).await?, audit_entry_count(fleet)?);
    let row = RefCell::new(AttackResult::new(name, fleet));
    let through = RefCell::new(0_u64);
    let make =
        |number: u64| BurstRequest::new(fleet.entry_address(number), request(fleet, case, origin, number).to_bytes());
    send_burst(options, name, options.requests, make, |_, _, sent| {
        let Some(answer) = row.borrow_mut().count(sent) else { return };
        if case != RejectedRequest::LogoutsWithFakeCookie {
            *through.borrow_mut() +=
                u64::from(fleet.client.parse_response(DialectKind::Cloudbox, &answer).is_success());
        }
    })
    .await;
    // What waits is written.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (after, entries) = (measure_sizes(fleet).await?, self::audit_entry_count(fleet)?.saturating_sub(entries));
    let mut row = row.into_inner();
    // Each instance has budgets of its own.
    let allowed = MAX_AUDIT_ENTRIES * fleet.entry_count();
    row.let_through = through.into_inner() + entries.saturating_sub(allowed);
    row.rejected = row.sent - row.server_errors;
    let home = fleet.fresh_client_address();
    row.require("others get in", fleet.can_log_in(0, DialectKind::Cloudbox, &fleet.fresh_user()?.name, home).await?);
    let each = |of: fn(&[u64; 3]) -> u64| of(&after).saturating_sub(of(&before)) as f64 / row.sent.max(1) as f64;
    let (users, state, logs) = (each(|sizes| sizes[0]), each(|sizes| sizes[1]), each(|sizes| sizes[2]));
    let note = format!(
        "entries of the trail: {entries}, at most {allowed}; bytes a request: users {users:.0}, state {state:.0}, logs {logs:.0}"
    );
    Ok(row.with_note(note))
}

/// The sizes of users, state and logs.
async fn measure_sizes(fleet: &Target) -> Result<[u64; 3]> {
    let sizes = fleet.stores.sizes().await?;
    let logs = fleet.processes().iter().map(|process| std::fs::metadata(process.log_file()).map_or(0, |log| log.len()));
    Ok([sizes.user_store_bytes, sizes.state_store_bytes, logs.sum()])
}

/// How many entries the audit trail has.
fn audit_entry_count(fleet: &Target) -> Result<u64> {
    Ok(fleet.installation.run_stele(&["audit", "--json"], "")?.lines().count() as u64)
}
