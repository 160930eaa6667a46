//! Attack: fill the disk by requests that are rejected. Measures the bytes that each request leaves in stores and logs.

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

/// The md5 digest of `a-new-password`. Another format, or a common password, would be rejected before the account is
/// looked up.
const NEW_DIGEST: &str = "4b1c44e68ab6e0bd4e473024c5cb41d9";

/// The most audit log entries that one origin may cause in an hour, in both classes of failures (`STELE_AUDIT_ORIGIN`),
/// plus entries of the attack's own successful calls.
const MAX_AUDIT_ENTRIES: u64 = 2 * 240 + 20;

/// The repeated request. It must be rejected; a logout without a session reports success, but must change nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum RejectedRequest {
    /// Logins from one IPv6 /64, each from another address and for another account.
    LoginsFromNetwork,
    /// Portal logouts with a session cookie that was never issued.
    LogoutsWithFakeCookie,
    /// cloudbox password changes from one address, each for another user.
    PasswordChanges,
}

fn build_request(target: &Target, case: RejectedRequest, origin: u64, number: u64) -> Request {
    match case {
        RejectedRequest::LoginsFromNetwork => {
            let unknown = TestUser::numbered(60_000_000 + usize::try_from(number).unwrap_or_default());
            let address =
                Ipv6Addr::from_bits((0x2001_0db8_u128 << 96) | (u128::from(origin) << 64) | u128::from(number));
            target
                .client
                .login_request(DialectKind::Cloudbox, &unknown.phone, "guess", fresh_timestamp())
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
    target: &Target,
    case: RejectedRequest,
) -> Result<AttackResult> {
    let origin = target.unique_number();
    let (before, entries_before) = (measure_sizes(target).await?, audit_entry_count(target)?);
    let result = RefCell::new(AttackResult::new(name, target));
    let succeeded = RefCell::new(0_u64);
    let build_burst_request = |number: u64| {
        BurstRequest::new(target.gateway_address(number), build_request(target, case, origin, number).to_bytes())
    };
    send_burst(options, name, options.requests, build_burst_request, |_, _, sent| {
        let Some(response) = result.borrow_mut().count(sent) else { return };
        if case != RejectedRequest::LogoutsWithFakeCookie {
            *succeeded.borrow_mut() +=
                u64::from(target.client.parse_response(DialectKind::Cloudbox, &response).is_success());
        }
    })
    .await;
    // Wait until queued audit log entries are written.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let after = measure_sizes(target).await?;
    let new_entries = audit_entry_count(target)?.saturating_sub(entries_before);
    let mut result = result.into_inner();
    // Each instance limits its audit log entries separately.
    let allowed = MAX_AUDIT_ENTRIES * target.gateway_count();
    result.let_through = succeeded.into_inner() + new_entries.saturating_sub(allowed);
    result.rejected = result.sent - result.server_errors;
    let home = target.fresh_client_address();
    result.require(
        "other users can log in",
        target.can_log_in(0, DialectKind::Cloudbox, &target.fresh_user()?.name, home).await?,
    );
    let bytes_per_request =
        |size: fn(&[u64; 3]) -> u64| size(&after).saturating_sub(size(&before)) as f64 / result.sent.max(1) as f64;
    let (users, state, logs) =
        (bytes_per_request(|sizes| sizes[0]), bytes_per_request(|sizes| sizes[1]), bytes_per_request(|sizes| sizes[2]));
    let note = format!(
        "audit log entries: {new_entries}, at most {allowed}; bytes per request: users {users:.0}, state {state:.0}, \
         logs {logs:.0}"
    );
    Ok(result.with_note(note))
}

/// The sizes of user store, state store and log files, in bytes.
async fn measure_sizes(target: &Target) -> Result<[u64; 3]> {
    let sizes = target.stores.measure().await?;
    let logs =
        target.processes().iter().map(|process| std::fs::metadata(process.log_file()).map_or(0, |log| log.len()));
    Ok([sizes.user_store_bytes, sizes.state_store_bytes, logs.sum()])
}

/// The number of audit log entries.
fn audit_entry_count(target: &Target) -> Result<u64> {
    Ok(target.installation.run_stele(&["audit", "--json"], "")?.lines().count() as u64)
}
