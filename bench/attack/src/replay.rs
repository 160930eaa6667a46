//! Salted proofs used again, and with timestamps that are out of bounds (`docs/THREATS.md` 11, 12).

use std::cell::{Cell, RefCell};

use serde_json::{Value, json};
use stele_bench_kit::dialect::{
    CLOUDBOX_CHANGE_PASSWORD, CLOUDBOX_LOGIN, TMS_LOGIN, json_post, md5_hex, now, salted_proof,
};
use stele_bench_kit::{DialectKind, Request, Result, TestUser};

use crate::Options;
use crate::burst::{BurstRequest, send_burst};
use crate::report::AttackResult;
use crate::target::{PASSWORD, Target};

/// What is tried.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReplayCase {
    /// A proof that was accepted, at every instance, in every call and dialect that takes one.
    Reused,
    /// A fresh proof, very many times at once.
    Concurrent,
    /// Right proofs of wrong times.
    ExtremeTimestamps,
}

pub(crate) async fn replay_proofs(
    options: &Options,
    name: &str,
    fleet: &Target,
    case: ReplayCase,
) -> Result<AttackResult> {
    let row = AttackResult::new(name, fleet);
    match case {
        ReplayCase::Reused => reuse_proofs(row, fleet).await,
        ReplayCase::Concurrent => reuse_concurrently(options, row, name, fleet).await,
        ReplayCase::ExtremeTimestamps => extreme_timestamps(row, fleet).await,
    }
}

/// A login by this proof and timestamp, whatever they are.
fn login_request(fleet: &Target, dialect: DialectKind, person: &TestUser, proof: &str, at: &Value) -> Request {
    let body = json!({ "username": person.name, "password": proof, "timestamp": at });
    let request = match dialect {
        DialectKind::Tms => json_post(TMS_LOGIN, &body).with_header("authorization", &fleet.client.tms_token),
        _ => json_post(CLOUDBOX_LOGIN, &body),
    };
    request.with_forwarded_for(fleet.fresh_client_address())
}

async fn send_attempt(
    fleet: &Target,
    row: &mut AttackResult,
    front: u64,
    dialect: DialectKind,
    request: &Request,
) -> Result<bool> {
    let sent = fleet.request(front, request).await?;
    let done = row.count(Ok(sent)).is_some_and(|answer| fleet.client.parse_response(dialect, &answer).is_success());
    row.let_through += u64::from(done);
    Ok(done)
}

async fn reuse_proofs(mut row: AttackResult, fleet: &Target) -> Result<AttackResult> {
    for (round, first) in [DialectKind::Cloudbox, DialectKind::Tms].into_iter().cycle().take(20).enumerate() {
        let (person, at, round) = (fleet.fresh_user()?, now() + 2, round as u64);
        let proof = salted_proof(PASSWORD, at);
        let request = login_request(fleet, first, &person, &proof, &json!(at));
        let accepted = fleet.dialect_request(round, first, &request).await?;
        row.require("a fresh proof is accepted", accepted.is_success());
        let id = accepted.json["data"]["user_id"].as_str().unwrap_or_default().to_owned();
        for front in 0..fleet.entry_count() {
            // As it was, from where it was; by the other instance, in the other dialect, in other letters, as text.
            send_attempt(fleet, &mut row, front, first, &request).await?;
            for dialect in [DialectKind::Cloudbox, DialectKind::Tms] {
                for proof in [proof.clone(), proof.to_uppercase()] {
                    let request = login_request(fleet, dialect, &person, &proof, &json!(at.to_string()));
                    send_attempt(fleet, &mut row, front, dialect, &request).await?;
                }
            }
            let change =
                json!({ "user_id": id, "orig_password": proof, "new_password": md5_hex("x"), "timestamp": at });
            let change = json_post(CLOUDBOX_CHANGE_PASSWORD, &change).with_forwarded_for(fleet.fresh_client_address());
            send_attempt(fleet, &mut row, front, DialectKind::Cloudbox, &change).await?;
        }
        let fresh = login_request(fleet, first, &person, &proof_at(at + 1), &json!(at + 1));
        row.require("the next proof is accepted", fleet.dialect_request(round + 1, first, &fresh).await?.is_success());
    }
    row.rejected = row.sent - row.server_errors - row.let_through;
    Ok(row)
}

fn proof_at(at: u64) -> String {
    salted_proof(PASSWORD, at)
}

async fn reuse_concurrently(options: &Options, row: AttackResult, name: &str, fleet: &Target) -> Result<AttackResult> {
    // Ten proofs, each by a tenth of the requests, turn by turn at both dialects of each instance.
    const PROOFS: u64 = 10;
    let people = (0..PROOFS).map(|_| fleet.fresh_user()).collect::<Result<Vec<_>>>()?;
    let at = now() + 5;
    let accepted: Vec<Cell<u64>> = people.iter().map(|_| Cell::new(0)).collect();
    let row = RefCell::new(row);
    // Neighbours in the volley are of one proof.
    let each = options.requests / PROOFS;
    let whose = |number: u64| usize::try_from((number / each).min(PROOFS - 1)).unwrap_or_default();
    let dialect = |number: u64| if number % 4 < 2 { DialectKind::Cloudbox } else { DialectKind::Tms };
    let make = |number: u64| {
        let request = login_request(fleet, dialect(number), &people[whose(number)], &proof_at(at), &json!(at));
        BurstRequest::new(fleet.entry_address(number), request.to_bytes())
    };
    send_burst(options, name, each * PROOFS, make, |number, _, sent| {
        let Some(answer) = row.borrow_mut().count(sent) else { return };
        let cell = &accepted[whose(number)];
        cell.set(cell.get() + u64::from(fleet.client.parse_response(dialect(number), &answer).is_success()));
    })
    .await;
    let mut row = row.into_inner();
    row.let_through = accepted.iter().map(|accepted| accepted.get().saturating_sub(1)).sum();
    row.require("each proof is accepted once", accepted.iter().all(|accepted| accepted.get() > 0));
    row.rejected = row.sent - row.server_errors - accepted.iter().map(Cell::get).sum::<u64>();
    Ok(row.with_note(format!("{PROOFS} proofs, {each} times each; each was accepted once, as it should be")))
}

async fn extreme_timestamps(mut row: AttackResult, fleet: &Target) -> Result<AttackResult> {
    let (person, n) = (fleet.fresh_user()?, now());
    let texts = [
        // Stale, and to come.
        format!("{}", n - 302),
        format!("{}", n - 86_400),
        format!("{}", n + 310),
        format!("{}", n + 86_400 * 365),
        "0".into(),
        "1".into(),
        // Not written as seconds are.
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
        // What wraps around to now in 32 or 64 bits.
        format!("{}", n + (1 << 32)),
        format!("{}", u128::from(n) + (1 << 64)),
        i64::MAX.to_string(),
        i64::MIN.to_string(),
        u64::MAX.to_string(),
        "9".repeat(400),
        n.to_string().chars().filter_map(|digit| char::from_u32('０' as u32 + digit.to_digit(10)?)).collect(),
    ];
    for (turn, text) in texts.iter().enumerate() {
        let right = md5_hex(&format!("{}{text}", md5_hex(PASSWORD)));
        // As text, and as a number where it is one.
        let number = serde_json::from_str(text).ok().filter(Value::is_number);
        for at in [Some(json!(text)), number].into_iter().flatten() {
            for dialect in [DialectKind::Cloudbox, DialectKind::Tms] {
                let request = login_request(fleet, dialect, &person, &right, &at);
                if send_attempt(fleet, &mut row, turn as u64, dialect, &request).await? {
                    row.note = format!("{dialect:?} takes {at}");
                }
            }
        }
    }
    row.rejected = row.sent - row.server_errors - row.let_through;
    for (turn, at) in [now() - 250, now() + 250, now() + 3].into_iter().enumerate() {
        // The store is younger than the first of them: where it has just been made, that one is stale, and told so.
        let fresh = login_request(fleet, DialectKind::Cloudbox, &person, &proof_at(at), &json!(at));
        row.require(
            "a fresh proof is accepted",
            turn == 0 || fleet.dialect_request(0, DialectKind::Cloudbox, &fresh).await?.is_success(),
        );
    }
    Ok(row)
}
