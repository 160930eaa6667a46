//! Logging in over and over, so that sessions pile up.

use std::cell::RefCell;

use stele_bench_kit::dialect::CLOUDBOX_LOGOUT;
use stele_bench_kit::{DialectKind, Request, Result, TestUser};

use crate::Options;
use crate::burst::{BurstRequest, send_burst};
use crate::report::AttackResult;
use crate::target::{LOW_SESSION_LIMIT, PASSWORD, Target};

/// How many logins; a proof is good once, and there is one for each second of the time that they may be off.
const LOGINS: u64 = 100;

pub(crate) async fn flood_sessions(options: &Options, name: &str, fleet: &Target) -> Result<AttackResult> {
    let mut row = AttackResult::new(name, fleet);
    let (person, other) = (fleet.fresh_user()?, fleet.fresh_user()?);
    let kept = login_token(fleet, 0, &other).await?;
    row.require("another user logs in", kept.is_some());
    let home = fleet.fresh_client_address();
    let row = RefCell::new(row);
    let tokens = RefCell::new(Vec::new());
    let make = |number: u64| {
        let login = fleet.login_request(DialectKind::Cloudbox, &person.name, PASSWORD, home);
        BurstRequest::new(fleet.entry_address(number), login.to_bytes())
    };
    send_burst(options, name, LOGINS, make, |_, _, sent| {
        let Some(answer) = row.borrow_mut().count(sent) else { return };
        let response = fleet.client.parse_response(DialectKind::Cloudbox, &answer);
        tokens.borrow_mut().extend(response.json["data"]["user_token"].as_str().map(str::to_owned));
    })
    .await;
    let (mut row, tokens) = (row.into_inner(), tokens.into_inner());
    let last = login_token(fleet, 1, &person).await?;
    row.require("logins are let in", tokens.len() as u64 > LOW_SESSION_LIMIT);
    let mut live = 0;
    for token in tokens.iter().chain(&last) {
        live += u64::from(logout(fleet, live, token).await?);
    }
    row.require("some live", live > 0);
    row.let_through = live.saturating_sub(LOW_SESSION_LIMIT);
    row.rejected = row.sent - row.server_errors;
    if let Some(kept) = kept {
        row.require("another user's session lives", logout(fleet, 0, &kept).await?);
    }
    Ok(row.with_note(format!("logins: {}; sessions that live: {live}; allowed: {LOW_SESSION_LIMIT}", tokens.len() + 1)))
}

async fn login_token(fleet: &Target, turn: u64, person: &TestUser) -> Result<Option<String>> {
    let login = fleet.login_request(DialectKind::Cloudbox, &person.name, PASSWORD, fleet.fresh_client_address());
    let response = fleet.dialect_request(turn, DialectKind::Cloudbox, &login).await?;
    Ok(response.json["data"]["user_token"].as_str().map(str::to_owned))
}

/// Ends a session; whether there was one.
async fn logout(fleet: &Target, turn: u64, token: &str) -> Result<bool> {
    let logout = Request { method: "POST".to_owned(), ..Request::get(CLOUDBOX_LOGOUT) };
    let logout = logout.with_header("authorization", token).with_forwarded_for(fleet.fresh_client_address());
    Ok(fleet.request(turn, &logout).await?.status == 200)
}
