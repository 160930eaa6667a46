//! Salted proofs used again, and with timestamps that are out of bounds (`docs/THREATS.md` 11, 12).

use std::cell::{Cell, RefCell};

use serde_json::{Value, json};
use stele_bench_kit::dialect::{CLOUDBOX_LOGIN, CLOUDBOX_RESET, TMS_LOGIN, json_post, md5_hex, now, proof};
use stele_bench_kit::{Dialect, Person, Request, Result};

use crate::Options;
use crate::report::Row;
use crate::target::{Fleet, PASSWORD};
use crate::volley::{Shot, volley};

/// What is tried.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    /// A proof that was accepted, at every instance, in every call and dialect that takes one.
    Again,
    /// A fresh proof, very many times at once.
    AtOnce,
    /// Right proofs of wrong times.
    Times,
}

pub(crate) async fn replay(options: &Options, name: &str, fleet: &Fleet, case: Case) -> Result<Row> {
    let row = Row::new(name, fleet);
    match case {
        Case::Again => again(row, fleet).await,
        Case::AtOnce => at_once(options, row, name, fleet).await,
        Case::Times => times(row, fleet).await,
    }
}

/// A login by this proof and timestamp, whatever they are.
fn login(fleet: &Fleet, dialect: Dialect, person: &Person, proof: &str, at: &Value) -> Request {
    let body = json!({ "username": person.name, "password": proof, "timestamp": at });
    let request = match dialect {
        Dialect::Tms => json_post(TMS_LOGIN, &body).with("authorization", &fleet.caller.tms_token),
        _ => json_post(CLOUDBOX_LOGIN, &body),
    };
    request.from_client(fleet.newcomer())
}

async fn attempt(fleet: &Fleet, row: &mut Row, front: u64, dialect: Dialect, request: &Request) -> Result<bool> {
    let sent = fleet.ask(front, request).await?;
    let done = row.count(Ok(sent)).is_some_and(|answer| fleet.caller.read(dialect, &answer).is_done());
    row.through += u64::from(done);
    Ok(done)
}

async fn again(mut row: Row, fleet: &Fleet) -> Result<Row> {
    for (round, first) in [Dialect::Cloudbox, Dialect::Tms].into_iter().cycle().take(20).enumerate() {
        let (person, at, round) = (fleet.person()?, now() + 2, round as u64);
        let proof = proof(PASSWORD, at);
        let request = login(fleet, first, &person, &proof, &json!(at));
        let accepted = fleet.told(round, first, &request).await?;
        row.works("a fresh proof is accepted", accepted.is_done());
        let id = accepted.json["data"]["user_id"].as_str().unwrap_or_default().to_owned();
        for front in 0..fleet.fronts() {
            // As it was, from where it was; by the other instance, in the other dialect, in other letters, as text.
            attempt(fleet, &mut row, front, first, &request).await?;
            for dialect in [Dialect::Cloudbox, Dialect::Tms] {
                for proof in [proof.clone(), proof.to_uppercase()] {
                    let request = login(fleet, dialect, &person, &proof, &json!(at.to_string()));
                    attempt(fleet, &mut row, front, dialect, &request).await?;
                }
            }
            let change =
                json!({ "user_id": id, "orig_password": proof, "new_password": md5_hex("x"), "timestamp": at });
            let change = json_post(CLOUDBOX_RESET, &change).from_client(fleet.newcomer());
            attempt(fleet, &mut row, front, Dialect::Cloudbox, &change).await?;
        }
        let fresh = login(fleet, first, &person, &proof_at(at + 1), &json!(at + 1));
        row.works("the next proof is accepted", fleet.told(round + 1, first, &fresh).await?.is_done());
    }
    row.refused = row.tried - row.faults - row.through;
    Ok(row)
}

fn proof_at(at: u64) -> String {
    proof(PASSWORD, at)
}

async fn at_once(options: &Options, row: Row, name: &str, fleet: &Fleet) -> Result<Row> {
    // Ten proofs, each by a tenth of the requests, turn by turn at both dialects of each instance.
    const PROOFS: u64 = 10;
    let people = (0..PROOFS).map(|_| fleet.person()).collect::<Result<Vec<_>>>()?;
    let at = now() + 5;
    let accepted: Vec<Cell<u64>> = people.iter().map(|_| Cell::new(0)).collect();
    let row = RefCell::new(row);
    // Neighbours in the volley are of one proof.
    let each = options.requests / PROOFS;
    let whose = |number: u64| usize::try_from((number / each).min(PROOFS - 1)).unwrap_or_default();
    let dialect = |number: u64| if number % 4 < 2 { Dialect::Cloudbox } else { Dialect::Tms };
    let make = |number: u64| {
        let request = login(fleet, dialect(number), &people[whose(number)], &proof_at(at), &json!(at));
        Shot::new(fleet.front(number), request.bytes())
    };
    volley(options, name, each * PROOFS, make, |number, _, sent| {
        let Some(answer) = row.borrow_mut().count(sent) else { return };
        let cell = &accepted[whose(number)];
        cell.set(cell.get() + u64::from(fleet.caller.read(dialect(number), &answer).is_done()));
    })
    .await;
    let mut row = row.into_inner();
    row.through = accepted.iter().map(|accepted| accepted.get().saturating_sub(1)).sum();
    row.works("each proof is accepted once", accepted.iter().all(|accepted| accepted.get() > 0));
    row.refused = row.tried - row.faults - accepted.iter().map(Cell::get).sum::<u64>();
    Ok(row.noted(format!("{PROOFS} proofs, {each} times each; each was accepted once, as it should be")))
}

async fn times(mut row: Row, fleet: &Fleet) -> Result<Row> {
    let (person, n) = (fleet.person()?, now());
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
            for dialect in [Dialect::Cloudbox, Dialect::Tms] {
                let request = login(fleet, dialect, &person, &right, &at);
                if attempt(fleet, &mut row, turn as u64, dialect, &request).await? {
                    row.note = format!("{dialect:?} takes {at}");
                }
            }
        }
    }
    row.refused = row.tried - row.faults - row.through;
    for (turn, at) in [now() - 250, now() + 250, now() + 3].into_iter().enumerate() {
        // The store is younger than the first of them: where it has just been made, that one is stale, and told so.
        let fresh = login(fleet, Dialect::Cloudbox, &person, &proof_at(at), &json!(at));
        row.works("a fresh proof is accepted", turn == 0 || fleet.told(0, Dialect::Cloudbox, &fresh).await?.is_done());
    }
    Ok(row)
}
