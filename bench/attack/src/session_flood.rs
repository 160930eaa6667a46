//! Attack: log in repeatedly to accumulate sessions.

use std::cell::RefCell;

use stele_bench_kit::dialect::CLOUDBOX_LOGOUT;
use stele_bench_kit::{DialectKind, Request, Result, TestUser};

use crate::Options;
use crate::burst::{BurstRequest, send_burst};
use crate::report::AttackResult;
use crate::target::{LOW_SESSION_LIMIT, PASSWORD, Target};

/// The number of logins: fewer than the allowed clock skew in seconds, since each timestamp gives one proof.
const LOGINS: u64 = 100;

pub(crate) async fn flood_sessions(options: &Options, name: &str, target: &Target) -> Result<AttackResult> {
    let mut result = AttackResult::new(name, target);
    let (user, other) = (target.fresh_user()?, target.fresh_user()?);
    let other_token = log_in(target, 0, &other).await?;
    result.require("another user logs in", other_token.is_some());
    let home = target.fresh_client_address();
    let result = RefCell::new(result);
    let tokens = RefCell::new(Vec::new());
    let build_request = |number: u64| {
        let login = target.login_request(DialectKind::Cloudbox, &user.name, PASSWORD, home);
        BurstRequest::new(target.gateway_address(number), login.to_bytes())
    };
    send_burst(options, name, LOGINS, build_request, |_, _, sent| {
        let Some(response) = result.borrow_mut().count(sent) else { return };
        let response = target.client.parse_response(DialectKind::Cloudbox, &response);
        tokens.borrow_mut().extend(response.json["data"]["user_token"].as_str().map(str::to_owned));
    })
    .await;
    let (mut result, tokens) = (result.into_inner(), tokens.into_inner());
    let last = log_in(target, 1, &user).await?;
    result.require("logins succeed", tokens.len() as u64 > LOW_SESSION_LIMIT);
    let mut live = 0;
    for token in tokens.iter().chain(&last) {
        live += u64::from(log_out(target, live, token).await?);
    }
    result.require("some sessions are live", live > 0);
    result.let_through = live.saturating_sub(LOW_SESSION_LIMIT);
    result.rejected = result.sent - result.server_errors;
    if let Some(other_token) = other_token {
        result.require("another user's session is live", log_out(target, 0, &other_token).await?);
    }
    Ok(result.with_note(format!("logins: {}; live sessions: {live}; allowed: {LOW_SESSION_LIMIT}", tokens.len() + 1)))
}

/// Logs in, and returns the session token if the login succeeded.
async fn log_in(target: &Target, index: u64, user: &TestUser) -> Result<Option<String>> {
    let login = target.login_request(DialectKind::Cloudbox, &user.name, PASSWORD, target.fresh_client_address());
    let response = target.send_and_parse(index, DialectKind::Cloudbox, &login).await?;
    Ok(response.json["data"]["user_token"].as_str().map(str::to_owned))
}

/// Ends a session. Returns whether it existed.
async fn log_out(target: &Target, index: u64, token: &str) -> Result<bool> {
    let request = Request { method: "POST".to_owned(), ..Request::get(CLOUDBOX_LOGOUT) };
    let request = request.with_header("authorization", token).with_forwarded_for(target.fresh_client_address());
    Ok(target.send(index, &request).await?.status == 200)
}
