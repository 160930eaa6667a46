//! Forged tokens, and one-time tokens redeemed many times at once (`docs/THREATS.md` 27, 28, 29).

use std::cell::{Cell, RefCell};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use stele_bench_kit::dialect::{JWT_LOGIN, form_post};
use stele_bench_kit::{DialectKind, Request, Result, TestUser};

use crate::Options;
use crate::burst::{BurstRequest, send_burst};
use crate::codes::{guess_request, request_code};
use crate::report::AttackResult;
use crate::target::{PASSWORD, Target, client_address};

/// What is tried.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenCase {
    /// JWTs that nobody signed, or somebody else did, or that say something else than was signed.
    Forged,
    /// MeFP's tokens from app to app.
    AppHandover,
    /// JWT's reset tokens.
    ResetToken,
    /// The portal's codes, right ones, for a reset.
    PortalCode,
}

/// How many tokens are redeemed at once.
const CONCURRENT_TOKENS: u64 = 10;

pub(crate) async fn attack_tokens(
    options: &Options,
    name: &str,
    fleet: &Target,
    case: TokenCase,
) -> Result<AttackResult> {
    let mut row = AttackResult::new(name, fleet);
    if case == TokenCase::Forged {
        return forge_tokens(row, fleet).await;
    }
    let mut sets = Vec::new();
    for _ in 0..CONCURRENT_TOKENS {
        let person = fleet.fresh_user()?;
        sets.push(match case {
            TokenCase::AppHandover => handover_request(fleet, &mut row, &person).await?,
            TokenCase::ResetToken => reset_request(fleet, &person).await?,
            TokenCase::Forged | TokenCase::PortalCode => {
                let code = request_code(fleet, DialectKind::Portal, &person).await?;
                guess_request(fleet, DialectKind::Portal, &person, &code)
            }
        });
    }
    let dialect = match case {
        TokenCase::AppHandover => DialectKind::Mefp,
        TokenCase::ResetToken => DialectKind::Jwt,
        TokenCase::Forged | TokenCase::PortalCode => DialectKind::Portal,
    };
    let row = RefCell::new(row);
    // A new password is hashed for each who is let so far, so that there are fewer of these.
    let each = if case == TokenCase::AppHandover {
        options.requests / CONCURRENT_TOKENS
    } else {
        (options.requests / 100).min(200)
    };
    let whose = |number: u64| usize::try_from((number / each).min(CONCURRENT_TOKENS - 1)).unwrap_or_default();
    let redeemed: Vec<Cell<u64>> = sets.iter().map(|_| Cell::new(0)).collect();
    let make = |number: u64| {
        let request = sets[whose(number)].clone().with_forwarded_for(client_address(4_000_000 + number));
        BurstRequest::new(fleet.entry_address(number), request.to_bytes())
    };
    send_burst(options, name, each * CONCURRENT_TOKENS, make, |number, _, sent| {
        let Some(answer) = row.borrow_mut().count(sent) else { return };
        // Who redeems is the other app.
        let response = fleet.other_app_client.parse_response(dialect, &answer);
        let cell = &redeemed[whose(number)];
        cell.set(cell.get() + u64::from(response.is_success()));
    })
    .await;
    let mut row = row.into_inner();
    row.let_through = redeemed.iter().map(|times| times.get().saturating_sub(1)).sum();
    row.require("each is redeemed once", redeemed.iter().all(|times| times.get() > 0));
    row.rejected = row.sent - row.server_errors - redeemed.iter().map(Cell::get).sum::<u64>();
    Ok(row.with_note(format!("{CONCURRENT_TOKENS} of them, {each} times each; each was good once, as it should be")))
}

/// A token for the other app, as it redeems it; the wrong app's try before must not use it up.
async fn handover_request(fleet: &Target, row: &mut AttackResult, person: &TestUser) -> Result<Request> {
    let present = fleet.can_log_in(0, DialectKind::Mefp, &person.phone, fleet.fresh_client_address()).await?;
    row.require("the app's user logs in", present);
    let ask = fleet.client.app.call("/auth/token", &json!({ "login_name": person.phone, "app_to": "wlfz" }));
    let response =
        fleet.dialect_request(1, DialectKind::Mefp, &ask.with_forwarded_for(fleet.fresh_client_address())).await?;
    let message = json!({ "token": response.json["token"] });
    let wrong = fleet.client.app.call("/auth/check/token", &message).with_forwarded_for(fleet.fresh_client_address());
    row.let_through += u64::from(fleet.dialect_request(0, DialectKind::Mefp, &wrong).await?.is_success());
    Ok(fleet.other_app_client.app.call("/auth/check/token", &message))
}

/// A change of the password by a reset token.
async fn reset_request(fleet: &Target, person: &TestUser) -> Result<Request> {
    let code = request_code(fleet, DialectKind::Jwt, person).await?;
    let granted =
        guess_request(fleet, DialectKind::Jwt, person, &code).with_forwarded_for(fleet.fresh_client_address());
    let response = fleet.dialect_request(0, DialectKind::Jwt, &granted).await?;
    let token = response.json["token"].as_str().unwrap_or_default().to_owned();
    let fields = [("account", person.name.as_str()), ("password", "a-new-password")];
    Ok(form_post("/api/v1/Auth/updatePassword", &fields).with_header("token", &token))
}

/// The calls that a token opens, with what it opens if it is good.
fn protected_requests(person: &TestUser, token: &str) -> [Request; 3] {
    let fields = [("account", person.name.as_str()), ("password", "the-thiefs-password")];
    [
        Request::get("/api/v1/Auth/Logout").with_header("authorization", &format!("Bearer {token}")),
        Request::get("/api/v1/Auth/Logout").with_header("token", token),
        form_post("/api/v1/Auth/updatePassword", &fields).with_header("authorization", &format!("Bearer {token}")),
    ]
}

async fn forge_tokens(mut row: AttackResult, fleet: &Target) -> Result<AttackResult> {
    for _ in 0..5 {
        let person = fleet.fresh_user()?;
        let login = form_post(JWT_LOGIN, &[("account", &person.name), ("password", PASSWORD)]);
        let response =
            fleet.dialect_request(0, DialectKind::Jwt, &login.with_forwarded_for(fleet.fresh_client_address())).await?;
        let good = response.json["token"].as_str().unwrap_or_default().to_owned();
        for token in forged_variants(&good) {
            for request in protected_requests(&person, &token) {
                let sent = fleet.request(row.sent, &request.with_forwarded_for(fleet.fresh_client_address())).await?;
                if row
                    .count(Ok(sent))
                    .is_some_and(|answer| fleet.client.parse_response(DialectKind::Jwt, &answer).is_success())
                {
                    row.let_through += 1;
                    row.note = token.clone();
                }
            }
        }
        let [logout, again, _] = protected_requests(&person, &good);
        row.require(
            "the token itself is good",
            fleet.dialect_request(1, DialectKind::Jwt, &logout).await?.is_success(),
        );
        // And dead at once, at the other instance too.
        row.sent += 1;
        row.let_through += u64::from(fleet.dialect_request(0, DialectKind::Jwt, &again).await?.is_success());
    }
    row.rejected = row.sent - row.server_errors - row.let_through;
    Ok(row)
}

/// Tokens that resemble a good one.
fn forged_variants(good: &str) -> Vec<String> {
    let mut parts = good.split('.').map(str::to_owned);
    let mut part = || parts.next().unwrap_or_default();
    let (head, claims, signature) = (part(), part(), part());
    let read = |part: &str| -> Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap_or_default()).unwrap_or_default()
    };
    let write = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let mut tokens = Vec::new();
    // No signature, and the names of "none".
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        let mut header = read(&head);
        header["alg"] = json!(alg);
        for end in ["", &signature] {
            tokens.push(format!("{}.{claims}.{end}", write(&header)));
        }
    }
    // Signed by what anybody knows, in other algorithms, and by keys of the token's own choice.
    for key in [&b""[..], b"secret", b"stele", b"eddsa-1", head.as_bytes(), &[0; 32]] {
        for (name, value) in [
            ("alg", "HS256"),
            ("kid", "../../../dev/null"),
            ("kid", "eddsa-1' OR '1'='1"),
            ("jku", "http://127.0.0.1:9/"),
        ] {
            let mut header = read(&head);
            header["alg"] = json!("HS256");
            header[name] = json!(value);
            let signed = format!("{}.{claims}", write(&header));
            tokens.push(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(sign_hs256(key, &signed))));
        }
    }
    // Something else than was signed.
    for (name, value) in [
        ("sub", json!("00000000-0000-4000-8000-000000000000")),
        ("jti", json!("0".repeat(32))),
        ("exp", json!(9_999_999_999_u64)),
        ("exp", json!("9999999999")),
        ("exp", Value::Null),
        ("iss", json!("somebody")),
        ("iat", json!(-1)),
    ] {
        let mut other = read(&claims);
        other[name] = value;
        tokens.push(format!("{head}.{}.{signature}", write(&other)));
    }
    // Each bit of the signature's first bytes, its halves, and none of it.
    let bytes = URL_SAFE_NO_PAD.decode(&signature).unwrap_or_default();
    for bit in 0..64.min(bytes.len() * 8) {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        tokens.push(format!("{head}.{claims}.{}", URL_SAFE_NO_PAD.encode(flipped)));
    }
    let zeros = vec![0; bytes.len()];
    for end in [&bytes[..bytes.len() / 2], &bytes[bytes.len() / 2..], &zeros, &[]] {
        tokens.push(format!("{head}.{claims}.{}", URL_SAFE_NO_PAD.encode(end)));
    }
    tokens.extend([format!("{head}.{claims}"), claims, STANDARD.encode(good), "0".repeat(32), "null".to_owned()]);
    tokens
}

fn sign_hs256(key: &[u8], text: &str) -> Vec<u8> {
    let mac = Hmac::<Sha256>::new_from_slice(key)
        .map(|mac| mac.chain_update(text.as_bytes()).finalize().into_bytes().to_vec());
    mac.unwrap_or_default()
}
