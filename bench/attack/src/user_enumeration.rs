//! Attack: user enumeration. Makes the same sequence of calls for an existing and a missing account, and compares the
//! responses.

use serde_json::{Value, json};
use stele_bench_kit::dialect::{CLOUDBOX_CHANGE_PASSWORD, json_post, salted_proof};
use stele_bench_kit::{BenchError, DialectKind, DialectResponse, Request, Result, TestUser};

use crate::report::AttackResult;
use crate::target::{Target, fresh_timestamp};

/// The md5 digest of `a-new-password`. Another format, or a common password, would be rejected before the account is
/// looked up.
const NEW_DIGEST: &str = "4b1c44e68ab6e0bd4e473024c5cb41d9";

/// The sequence of calls.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum EnumerationCase {
    /// Failures under a phone, then a password change by user number: only the owner's number could be rate limited.
    ByUserNumber,
    /// Failures in the JWT dialect from an address that the account does not trust, until a captcha is required.
    FromUntrustedAddress,
    /// Failures in the JWT dialect from an address that the account trusts, until a captcha is required.
    FromTrustedAddress,
}

/// Failed logins of each sequence.
const FAILURES: u64 = 9;

fn unknown_user(target: &Target) -> TestUser {
    TestUser::numbered(40_000_000 + usize::try_from(target.unique_number()).unwrap_or_default())
}

/// The visible parts of a response, without the wait, which depends on the current second.
fn visible_response(response: &DialectResponse) -> (u16, String, Value) {
    (response.status, response.code.clone(), response.json["message"].clone())
}

pub(crate) async fn enumerate_users(name: &str, target: &Target, case: EnumerationCase) -> Result<AttackResult> {
    let mut result = AttackResult::new(name, target);
    match case {
        EnumerationCase::ByUserNumber => enumerate_by_number(target, &mut result).await?,
        EnumerationCase::FromUntrustedAddress | EnumerationCase::FromTrustedAddress => {
            enumerate_by_captcha(target, &mut result, case).await?;
        }
    }
    result.rejected = result.sent - result.server_errors;
    Ok(result)
}

async fn enumerate_by_number(target: &Target, result: &mut AttackResult) -> Result<()> {
    let user = target.fresh_user()?;
    let shown = target.installation.run_stele(&["user", "show", &user.phone], "")?;
    let shown: Value = serde_json::from_str(&shown).unwrap_or_default();
    let number = shown["number"].as_i64().ok_or_else(|| BenchError::new("`stele user show` prints no number"))?;
    for _ in 0..FAILURES {
        let login = target.client.login_request(DialectKind::Cloudbox, &user.phone, "guess", fresh_timestamp());
        let sent = target.send(result.sent, &login.with_forwarded_for(target.fresh_client_address())).await?;
        result.count(Ok(sent));
    }
    let reset_request = |number: i64| -> Request {
        let at = fresh_timestamp();
        let body = json!({
            "user_id": number.to_string(), "orig_password": salted_proof("guess", at), "new_password": NEW_DIGEST,
            "timestamp": at,
        });
        json_post(CLOUDBOX_CHANGE_PASSWORD, &body).with_forwarded_for(target.fresh_client_address())
    };
    let mut responses = Vec::new();
    for number in [number, 999_999_999] {
        result.sent += 1;
        responses
            .push(visible_response(&target.send_and_parse(0, DialectKind::Cloudbox, &reset_request(number)).await?));
    }
    result.let_through += u64::from(responses[0] != responses[1]);
    result.note = format!("the owner's number: {:?}; an unused number: {:?}", responses[0], responses[1]);
    let again = target.login_request(DialectKind::Cloudbox, &user.phone, "guess", target.fresh_client_address());
    result.require(
        "the account is locked out",
        target.send_and_parse(1, DialectKind::Cloudbox, &again).await?.is_rate_limited(),
    );
    Ok(())
}

async fn enumerate_by_captcha(target: &Target, result: &mut AttackResult, case: EnumerationCase) -> Result<()> {
    let (owner, home) = (target.fresh_user()?, target.fresh_client_address());
    if case == EnumerationCase::FromTrustedAddress {
        result.require(
            "the owner can log in before the attack",
            target.can_log_in(0, DialectKind::Jwt, &owner.email, home).await?,
        );
    }
    let guess_request = |identifier: String| target.client.login_request(DialectKind::Jwt, &identifier, "guess", 0);
    let (known, unknown) = (owner.email, unknown_user(target).email);
    let mut challenged = 0;
    for index in 0..FAILURES {
        let mut responses = Vec::new();
        for identifier in [&known, &unknown] {
            result.sent += 1;
            let response = target
                .send_and_parse(index, DialectKind::Jwt, &guess_request(identifier.clone()).with_forwarded_for(home))
                .await?;
            challenged += u64::from(response.is_challenged());
            responses.push(visible_response(&response));
        }
        if responses[0] != responses[1] {
            result.let_through += 1;
            result.note =
                format!("failure {}: {:?} for an account, {:?} without one", index + 1, responses[0], responses[1]);
        }
    }
    result.require("a captcha is required", challenged > 0);
    Ok(())
}
