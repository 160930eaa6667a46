//! Having codes sent, to one recipient or from one address (`docs/THREATS.md` 25).

use std::cell::RefCell;
use std::net::IpAddr;

use serde_json::json;
use stele_bench_kit::dialect::{JWT_SEND, PORTAL_SEND, form};
use stele_bench_kit::{Dialect, Person, Request, Result};

use crate::report::Row;
use crate::target::{Fleet, client};
use crate::volley::{Shot, volley};
use crate::{Options, budget};

/// What is flooded.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    /// One recipient, from very many addresses and through three dialects.
    Recipient,
    /// Very many recipients, from one address through the two dialects that count it.
    Address,
}

/// The call by which a dialect sends a code to someone who has forgotten their password.
pub(crate) fn send(fleet: &Fleet, dialect: Dialect, person: &Person) -> Request {
    match dialect {
        Dialect::Mefp => fleet.caller.app.call("/auth/captcha", &json!({ "login_name": person.phone, "usage": 2 })),
        Dialect::Jwt => form(JWT_SEND, &[("account", &person.name), ("phone", &person.phone)]),
        _ => form(PORTAL_SEND, &[("username", &person.phone)]),
    }
}

/// Asks for very many codes.
pub(crate) async fn flood(options: &Options, name: &str, fleet: &Fleet, case: Case) -> Result<Row> {
    let count = options.requests / 10;
    let one = fleet.person()?;
    let here: IpAddr = client(7_000_000);
    let dialect = |number: u64| match case {
        Case::Recipient => [Dialect::Portal, Dialect::Mefp, Dialect::Jwt][usize::try_from(number % 3).unwrap_or(0)],
        Case::Address => [Dialect::Portal, Dialect::Jwt][usize::try_from(number % 2).unwrap_or(0)],
    };
    // Strangers: the portal sends to whoever is going to register, and JWT counts what was submitted.
    let of = |number: u64| match case {
        Case::Recipient => one.clone(),
        Case::Address => Person::numbered(70_000_000 + usize::try_from(number).unwrap_or_default()),
    };
    let row = RefCell::new(Row::new(name, fleet));
    let make = |number: u64| {
        let from = if case == Case::Recipient { client(7_100_000 + number) } else { here };
        Shot::new(fleet.front(number / 3), send(fleet, dialect(number), &of(number)).from_client(from).bytes())
    };
    let taken = RefCell::new(0_u64);
    volley(options, name, count, make, |number, _, sent| {
        let Some(answer) = row.borrow_mut().count(sent) else { return };
        let told = fleet.caller.read(dialect(number), &answer);
        *taken.borrow_mut() += u64::from(told.is_done());
    })
    .await;
    let (mut row, taken) = (row.into_inner(), taken.into_inner());
    let allowed = if case == Case::Recipient { budget::RECIPIENT } else { budget::SENDER };
    row.through = taken.saturating_sub(allowed);
    row.refused = row.tried - row.faults - taken;
    row.works("the quota is used up", taken >= allowed);
    if case == Case::Recipient {
        // The last of them may still be on its way: wait for as many as were promised.
        let promised = usize::try_from(taken).unwrap_or_default();
        fleet.code(&one.phone, promised.saturating_sub(1)).await?;
        let sent = fleet.site.codes(&one.phone).len() as u64;
        row.through = row.through.max(sent.saturating_sub(allowed));
        return Ok(row.noted(format!("sent: {sent}; allowed: {allowed}")));
    }
    Ok(row.noted(format!("taken: {taken}; allowed: {allowed}")))
}
