//! Attack: replay of salted proofs, and proofs with invalid timestamps (`docs/THREATS.md` 11, 12).

use std::cell::{Cell, RefCell};

use serde_json::{Value, json};
use stele_bench_kit::dialect::{
    CLOUDBOX_CHANGE_PASSWORD, CLOUDBOX_LOGIN, TMS_LOGIN, json_post, md5_hex, salted_proof, unix_seconds,
};
use stele_bench_kit::{DialectKind, Request, Result, TestUser};

use crate::Options;
use crate::burst::{BurstRequest, send_burst};
use crate::codes::NEW_PASSWORD;
use crate::report::AttackResult;
use crate::target::{PASSWORD, Target};

/// The kind of replay.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReplayCase {
    /// An accepted proof, sent again to every instance, in every call and dialect that accepts proofs.
    Reused,
    /// An unused proof, many times concurrently.
    Concurrent,
    /// Correct proofs with invalid timestamps.
    InvalidTimestamps,
}

pub(crate) async fn replay_proofs(
    options: &Options,
    name: &str,
    target: &Target,
    case: ReplayCase,
) -> Result<AttackResult> {
    let result = AttackResult::new(name, target);
    match case {
        ReplayCase::Reused => reuse_proofs(result, target).await,
        ReplayCase::Concurrent => reuse_concurrently(options, result, name, target).await,
        ReplayCase::InvalidTimestamps => send_invalid_timestamps(result, target).await,
    }
}

/// A login request with this proof and timestamp, valid or not.
fn login_request(target: &Target, dialect: DialectKind, user: &TestUser, proof: &str, at: &Value) -> Request {
    let body = json!({ "username": user.name, "password": proof, "timestamp": at });
    let request = match dialect {
        DialectKind::Tms => json_post(TMS_LOGIN, &body).with_header("authorization", &target.client.tms_token),
        _ => json_post(CLOUDBOX_LOGIN, &body),
    };
    request.with_forwarded_for(target.fresh_client_address())
}

/// Sends a request that must be rejected; counts a success as let through, and returns whether there was one.
async fn send_attempt(
    target: &Target,
    result: &mut AttackResult,
    gateway_index: u64,
    dialect: DialectKind,
    request: &Request,
) -> Result<bool> {
    let sent = target.send(gateway_index, request).await?;
    let succeeded =
        result.count(Ok(sent)).is_some_and(|response| target.client.parse_response(dialect, &response).is_success());
    result.let_through += u64::from(succeeded);
    Ok(succeeded)
}

async fn reuse_proofs(mut result: AttackResult, target: &Target) -> Result<AttackResult> {
    for (round, first) in [DialectKind::Cloudbox, DialectKind::Tms].into_iter().cycle().take(20).enumerate() {
        let (user, at, round) = (target.fresh_user()?, unix_seconds() + 2, round as u64);
        let proof = salted_proof(PASSWORD, at);
        let request = login_request(target, first, &user, &proof, &json!(at));
        let accepted = target.send_and_parse(round, first, &request).await?;
        result.require("a fresh proof is accepted", accepted.is_success());
        let id = accepted.json["data"]["user_id"].as_str().unwrap_or_default().to_owned();
        for gateway_index in 0..target.gateway_count() {
            // The identical request; then the proof at each instance, in both dialects, in upper case, with the
            // timestamp as text.
            send_attempt(target, &mut result, gateway_index, first, &request).await?;
            for dialect in [DialectKind::Cloudbox, DialectKind::Tms] {
                for proof in [proof.clone(), proof.to_uppercase()] {
                    let request = login_request(target, dialect, &user, &proof, &json!(at.to_string()));
                    send_attempt(target, &mut result, gateway_index, dialect, &request).await?;
                }
            }
            let new = md5_hex(NEW_PASSWORD);
            let change = json!({ "user_id": id, "orig_password": proof, "new_password": new, "timestamp": at });
            let change = json_post(CLOUDBOX_CHANGE_PASSWORD, &change).with_forwarded_for(target.fresh_client_address());
            send_attempt(target, &mut result, gateway_index, DialectKind::Cloudbox, &change).await?;
        }
        let next_request = login_request(target, first, &user, &proof_with_timestamp(at + 1), &json!(at + 1));
        result.require(
            "the next proof is accepted",
            target.send_and_parse(round + 1, first, &next_request).await?.is_success(),
        );
    }
    result.rejected = result.sent - result.server_errors - result.let_through;
    Ok(result)
}

fn proof_with_timestamp(at: u64) -> String {
    salted_proof(PASSWORD, at)
}

async fn reuse_concurrently(
    options: &Options,
    result: AttackResult,
    name: &str,
    target: &Target,
) -> Result<AttackResult> {
    // Each proof is sent in an equal share of the requests, alternating between dialects and instances.
    const PROOFS: u64 = 10;
    let users = (0..PROOFS).map(|_| target.fresh_user()).collect::<Result<Vec<_>>>()?;
    let at = unix_seconds() + 5;
    let accepted: Vec<Cell<u64>> = users.iter().map(|_| Cell::new(0)).collect();
    let result = RefCell::new(result);
    // Consecutive requests carry the same proof.
    let per_proof = options.requests / PROOFS;
    let proof_index = |number: u64| usize::try_from((number / per_proof).min(PROOFS - 1)).unwrap_or_default();
    let dialect_of = |number: u64| if number % 4 < 2 { DialectKind::Cloudbox } else { DialectKind::Tms };
    let build_request = |number: u64| {
        let request = login_request(
            target,
            dialect_of(number),
            &users[proof_index(number)],
            &proof_with_timestamp(at),
            &json!(at),
        );
        BurstRequest::new(target.gateway_address(number), request.to_bytes())
    };
    send_burst(options, name, per_proof * PROOFS, build_request, |number, _, sent| {
        let Some(response) = result.borrow_mut().count(sent) else { return };
        let cell = &accepted[proof_index(number)];
        cell.set(cell.get() + u64::from(target.client.parse_response(dialect_of(number), &response).is_success()));
    })
    .await;
    let mut result = result.into_inner();
    result.let_through = accepted.iter().map(|accepted| accepted.get().saturating_sub(1)).sum();
    result.require("each proof is accepted once", accepted.iter().all(|accepted| accepted.get() > 0));
    result.rejected = result.sent - result.server_errors - accepted.iter().map(Cell::get).sum::<u64>();
    Ok(result.with_note(format!("{PROOFS} proofs, {per_proof} times each; each may be accepted once")))
}

async fn send_invalid_timestamps(mut result: AttackResult, target: &Target) -> Result<AttackResult> {
    let (user, n) = (target.fresh_user()?, unix_seconds());
    let timestamps = [
        // Stale, and in the future.
        format!("{}", n - 302),
        format!("{}", n - 86_400),
        format!("{}", n + 310),
        format!("{}", n + 86_400 * 365),
        "0".into(),
        "1".into(),
        // Other formats than decimal seconds.
        format!("-{n}"),
        format!("+{n}"),
        format!("0{n}"),
        format!("{n}.0"),
        format!("{n}.5"),
        format!(" {n}"),
        format!("{n} "),
        format!("{n}000"),
        format!("{n}e0"),
        format!("0x{n:x}"),
        "NaN".into(),
        "-0".into(),
        "now".into(),
        String::new(),
        // Values that wrap to the current time in 32 or 64 bits.
        format!("{}", n + (1 << 32)),
        format!("{}", u128::from(n) + (1 << 64)),
        i64::MAX.to_string(),
        i64::MIN.to_string(),
        u64::MAX.to_string(),
        "9".repeat(400),
        n.to_string().chars().filter_map(|digit| char::from_u32('０' as u32 + digit.to_digit(10)?)).collect(),
    ];
    for (index, text) in timestamps.iter().enumerate() {
        let proof = md5_hex(&format!("{}{text}", md5_hex(PASSWORD)));
        // As text, and as a JSON number if it is one.
        let number = serde_json::from_str(text).ok().filter(Value::is_number);
        for at in [Some(json!(text)), number].into_iter().flatten() {
            for dialect in [DialectKind::Cloudbox, DialectKind::Tms] {
                let request = login_request(target, dialect, &user, &proof, &at);
                if send_attempt(target, &mut result, index as u64, dialect, &request).await? {
                    result.note = format!("{dialect:?} accepts {at}");
                }
            }
        }
    }
    result.rejected = result.sent - result.server_errors - result.let_through;
    // Only later timestamps: a proof from before the state store's creation is stale.
    for at in [unix_seconds() + 250, unix_seconds() + 3] {
        let fresh = login_request(target, DialectKind::Cloudbox, &user, &proof_with_timestamp(at), &json!(at));
        result.require(
            "a fresh proof is accepted",
            target.send_and_parse(0, DialectKind::Cloudbox, &fresh).await?.is_success(),
        );
    }
    Ok(result)
}
