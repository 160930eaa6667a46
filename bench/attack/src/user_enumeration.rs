//! What a sequence of calls shows about an account where no single one does.

use serde_json::{Value, json};
use stele_bench_kit::dialect::{CLOUDBOX_CHANGE_PASSWORD, json_post, salted_proof};
use stele_bench_kit::{BenchError, DialectKind, DialectResponse, Request, Result, TestUser};

use crate::report::AttackResult;
use crate::target::{Target, fresh_timestamp};

/// cloudbox takes the md5 of a new password; anything else is a bad parameter, before any account is looked up.
const NEW_DIGEST: &str = "5f4dcc3b5aa765d61d8327deb882cf99";

/// Which sequence.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum EnumerationCase {
    /// Failures under a phone, then a change of password by number: the owner's number would be asked to wait.
    ByUserNumber,
    /// Failures at JWT from an address that is new to the account, until it asks for a captcha.
    FromUnknownAddress,
    /// The same from the address that the owner logs in from.
    FromKnownAddress,
}

const FAILURES: u64 = 9;

fn unknown_user(fleet: &Target) -> TestUser {
    TestUser::numbered(40_000_000 + usize::try_from(fleet.fresh_number()).unwrap_or_default())
}

/// What a client sees of an answer; how long to wait may differ by the second that it is asked in.
fn visible_response(response: &DialectResponse) -> (u16, String, Value) {
    (response.status, response.code.clone(), response.json["message"].clone())
}

pub(crate) async fn enumerate_users(name: &str, fleet: &Target, case: EnumerationCase) -> Result<AttackResult> {
    let mut row = AttackResult::new(name, fleet);
    match case {
        EnumerationCase::ByUserNumber => enumerate_by_number(fleet, &mut row).await?,
        EnumerationCase::FromUnknownAddress | EnumerationCase::FromKnownAddress => {
            enumerate_by_captcha(fleet, &mut row, case).await?
        }
    }
    row.rejected = row.sent - row.server_errors;
    Ok(row)
}

async fn enumerate_by_number(fleet: &Target, row: &mut AttackResult) -> Result<()> {
    let person = fleet.fresh_user()?;
    let shown = fleet.installation.run_stele(&["user", "show", &person.phone], "")?;
    let shown: Value = serde_json::from_str(&shown).unwrap_or_default();
    let number = shown["number"].as_i64().ok_or_else(|| BenchError::new("`stele user show` shows no number"))?;
    for _ in 0..FAILURES {
        let login = fleet.client.login(DialectKind::Cloudbox, &person.phone, "guess", fresh_timestamp());
        let sent = fleet.request(row.sent, &login.with_forwarded_for(fleet.fresh_client_address())).await?;
        row.count(Ok(sent));
    }
    let reset = |number: i64| -> Request {
        let at = fresh_timestamp();
        let body = json!({
            "user_id": number.to_string(), "orig_password": salted_proof("guess", at), "new_password": NEW_DIGEST,
            "timestamp": at,
        });
        json_post(CLOUDBOX_CHANGE_PASSWORD, &body).with_forwarded_for(fleet.fresh_client_address())
    };
    let mut answers = Vec::new();
    for number in [number, 999_999_999] {
        row.sent += 1;
        answers.push(visible_response(&fleet.dialect_request(0, DialectKind::Cloudbox, &reset(number)).await?));
    }
    row.let_through += u64::from(answers[0] != answers[1]);
    row.note = format!("the owner's number: {:?}; nobody's: {:?}", answers[0], answers[1]);
    let again = fleet.login_request(DialectKind::Cloudbox, &person.phone, "guess", fleet.fresh_client_address());
    row.require(
        "the account itself has to wait",
        fleet.dialect_request(1, DialectKind::Cloudbox, &again).await?.is_rate_limited(),
    );
    Ok(())
}

async fn enumerate_by_captcha(fleet: &Target, row: &mut AttackResult, case: EnumerationCase) -> Result<()> {
    let (owner, home) = (fleet.fresh_user()?, fleet.fresh_client_address());
    if case == EnumerationCase::FromKnownAddress {
        row.require("the owner gets in before", fleet.can_log_in(0, DialectKind::Jwt, &owner.email, home).await?);
    }
    let guess = |identifier: String| fleet.client.login(DialectKind::Jwt, &identifier, "guess", 0);
    let (known, unknown) = (owner.email, unknown_user(fleet).email);
    let mut challenged = 0;
    for turn in 0..FAILURES {
        let mut answers = Vec::new();
        for identifier in [&known, &unknown] {
            row.sent += 1;
            let response = fleet
                .dialect_request(turn, DialectKind::Jwt, &guess(identifier.clone()).with_forwarded_for(home))
                .await?;
            challenged += u64::from(response.is_challenged());
            answers.push(visible_response(&response));
        }
        if answers[0] != answers[1] {
            row.let_through += 1;
            row.note =
                format!("{}. failure: {:?} if there is an account, {:?} if not", turn + 1, answers[0], answers[1]);
        }
    }
    row.require("a captcha is asked for", challenged > 0);
    Ok(())
}
