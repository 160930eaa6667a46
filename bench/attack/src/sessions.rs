//! Logging in over and over, so that sessions pile up.

use std::cell::RefCell;

use stele_bench_kit::dialect::CLOUDBOX_LOGOUT;
use stele_bench_kit::{Dialect, Person, Request, Result};

use crate::Options;
use crate::report::Row;
use crate::target::{Fleet, LOW_SESSIONS, PASSWORD};
use crate::volley::{Shot, volley};

/// How many logins; a proof is good once, and there is one for each second of the time that they may be off.
const LOGINS: u64 = 100;

pub(crate) async fn sessions(options: &Options, name: &str, fleet: &Fleet) -> Result<Row> {
    let mut row = Row::new(name, fleet);
    let (person, other) = (fleet.person()?, fleet.person()?);
    let kept = token(fleet, 0, &other).await?;
    row.works("another user logs in", kept.is_some());
    let home = fleet.newcomer();
    let row = RefCell::new(row);
    let tokens = RefCell::new(Vec::new());
    let make = |number: u64| {
        let login = fleet.login(Dialect::Cloudbox, &person.name, PASSWORD, home);
        Shot::new(fleet.front(number), login.bytes())
    };
    volley(options, name, LOGINS, make, |_, _, sent| {
        let Some(answer) = row.borrow_mut().count(sent) else { return };
        let told = fleet.caller.read(Dialect::Cloudbox, &answer);
        tokens.borrow_mut().extend(told.json["data"]["user_token"].as_str().map(str::to_owned));
    })
    .await;
    let (mut row, tokens) = (row.into_inner(), tokens.into_inner());
    let last = token(fleet, 1, &person).await?;
    row.works("logins are let in", tokens.len() as u64 > LOW_SESSIONS);
    let mut live = 0;
    for token in tokens.iter().chain(&last) {
        live += u64::from(logout(fleet, live, token).await?);
    }
    row.works("some live", live > 0);
    row.through = live.saturating_sub(LOW_SESSIONS);
    row.refused = row.tried - row.faults;
    if let Some(kept) = kept {
        row.works("another user's session lives", logout(fleet, 0, &kept).await?);
    }
    Ok(row.noted(format!("logins: {}; sessions that live: {live}; allowed: {LOW_SESSIONS}", tokens.len() + 1)))
}

async fn token(fleet: &Fleet, turn: u64, person: &Person) -> Result<Option<String>> {
    let login = fleet.login(Dialect::Cloudbox, &person.name, PASSWORD, fleet.newcomer());
    let told = fleet.told(turn, Dialect::Cloudbox, &login).await?;
    Ok(told.json["data"]["user_token"].as_str().map(str::to_owned))
}

/// Ends a session; whether there was one.
async fn logout(fleet: &Fleet, turn: u64, token: &str) -> Result<bool> {
    let logout = Request { method: "POST".to_owned(), ..Request::get(CLOUDBOX_LOGOUT) };
    let logout = logout.with("authorization", token).from_client(fleet.newcomer());
    Ok(fleet.ask(turn, &logout).await?.status == 200)
}
