//! Attack: forged JWTs (`alg` none, algorithm confusion, key injection), and single-use tokens redeemed many times
//! concurrently (`docs/THREATS.md` 27, 28, 29).

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
use crate::codes::{redeem_code_request, request_code};
use crate::report::AttackResult;
use crate::target::{PASSWORD, Target, client_address};

/// The kind of token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenCase {
    /// JWTs without a signature, with a foreign signature, or with modified claims.
    Forged,
    /// MeFP's handover tokens from app to app.
    AppHandover,
    /// The JWT dialect's reset tokens.
    ResetToken,
    /// Correct reset codes of the portal.
    PortalCode,
}

/// Tokens that are redeemed concurrently.
const CONCURRENT_TOKENS: u64 = 10;

pub(crate) async fn attack_tokens(
    options: &Options,
    name: &str,
    target: &Target,
    case: TokenCase,
) -> Result<AttackResult> {
    let mut result = AttackResult::new(name, target);
    if case == TokenCase::Forged {
        return forge_tokens(result, target).await;
    }
    let mut token_requests = Vec::new();
    for _ in 0..CONCURRENT_TOKENS {
        let user = target.fresh_user()?;
        token_requests.push(match case {
            TokenCase::AppHandover => handover_request(target, &mut result, &user).await?,
            TokenCase::ResetToken => reset_request(target, &user).await?,
            TokenCase::Forged | TokenCase::PortalCode => {
                let code = request_code(target, DialectKind::Portal, &user).await?;
                redeem_code_request(target, DialectKind::Portal, &user, &code)
            }
        });
    }
    let dialect = match case {
        TokenCase::AppHandover => DialectKind::Mefp,
        TokenCase::ResetToken => DialectKind::Jwt,
        TokenCase::Forged | TokenCase::PortalCode => DialectKind::Portal,
    };
    let result = RefCell::new(result);
    // An accepted reset hashes a new password, so reset tokens and codes get fewer requests than handover tokens.
    let requests_per_token = if case == TokenCase::AppHandover {
        options.requests / CONCURRENT_TOKENS
    } else {
        (options.requests / 100).min(200)
    };
    let token_index =
        |number: u64| usize::try_from((number / requests_per_token).min(CONCURRENT_TOKENS - 1)).unwrap_or_default();
    let redeemed: Vec<Cell<u64>> = token_requests.iter().map(|_| Cell::new(0)).collect();
    let build_request = |number: u64| {
        let request =
            token_requests[token_index(number)].clone().with_forwarded_for(client_address(4_000_000 + number));
        BurstRequest::new(target.gateway_address(number), request.to_bytes())
    };
    send_burst(options, name, requests_per_token * CONCURRENT_TOKENS, build_request, |number, _, sent| {
        let Some(response) = result.borrow_mut().count(sent) else { return };
        // The other app redeems the token.
        let response = target.other_app_client.parse_response(dialect, &response);
        let cell = &redeemed[token_index(number)];
        cell.set(cell.get() + u64::from(response.is_success()));
    })
    .await;
    let mut result = result.into_inner();
    result.let_through = redeemed.iter().map(|times| times.get().saturating_sub(1)).sum();
    result.require("each token is redeemed once", redeemed.iter().all(|times| times.get() > 0));
    result.rejected = result.sent - result.server_errors - redeemed.iter().map(Cell::get).sum::<u64>();
    Ok(result
        .with_note(format!("{CONCURRENT_TOKENS} tokens, {requests_per_token} times each; each may be accepted once")))
}

/// The other app's request to redeem a handover token. An attempt by the wrong app comes first, which must not consume
/// the token.
async fn handover_request(target: &Target, result: &mut AttackResult, user: &TestUser) -> Result<Request> {
    let logged_in = target.can_log_in(0, DialectKind::Mefp, &user.phone, target.fresh_client_address()).await?;
    result.require("the app's user logs in", logged_in);
    let request =
        target.client.app.encrypted_request("/auth/token", &json!({ "login_name": user.phone, "app_to": "wlfz" }));
    let response =
        target.send_and_parse(1, DialectKind::Mefp, &request.with_forwarded_for(target.fresh_client_address())).await?;
    let message = json!({ "token": response.json["token"] });
    let wrong_app = target
        .client
        .app
        .encrypted_request("/auth/check/token", &message)
        .with_forwarded_for(target.fresh_client_address());
    result.let_through += u64::from(target.send_and_parse(0, DialectKind::Mefp, &wrong_app).await?.is_success());
    Ok(target.other_app_client.app.encrypted_request("/auth/check/token", &message))
}

/// A password change with a reset token.
async fn reset_request(target: &Target, user: &TestUser) -> Result<Request> {
    let code = request_code(target, DialectKind::Jwt, user).await?;
    let granted =
        redeem_code_request(target, DialectKind::Jwt, user, &code).with_forwarded_for(target.fresh_client_address());
    let response = target.send_and_parse(0, DialectKind::Jwt, &granted).await?;
    let token = response.json["token"].as_str().unwrap_or_default().to_owned();
    let fields = [("account", user.name.as_str()), ("password", "a-new-password")];
    Ok(form_post("/api/v1/Auth/updatePassword", &fields).with_header("token", &token))
}

/// Requests that succeed with a valid token.
fn protected_requests(user: &TestUser, token: &str) -> [Request; 3] {
    let fields = [("account", user.name.as_str()), ("password", "the-thiefs-password")];
    [
        Request::get("/api/v1/Auth/Logout").with_header("authorization", &format!("Bearer {token}")),
        Request::get("/api/v1/Auth/Logout").with_header("token", token),
        form_post("/api/v1/Auth/updatePassword", &fields).with_header("authorization", &format!("Bearer {token}")),
    ]
}

async fn forge_tokens(mut result: AttackResult, target: &Target) -> Result<AttackResult> {
    for _ in 0..5 {
        let user = target.fresh_user()?;
        let login = form_post(JWT_LOGIN, &[("account", &user.name), ("password", PASSWORD)]);
        let response = target
            .send_and_parse(0, DialectKind::Jwt, &login.with_forwarded_for(target.fresh_client_address()))
            .await?;
        let good = response.json["token"].as_str().unwrap_or_default().to_owned();
        for token in forged_variants(&good) {
            for request in protected_requests(&user, &token) {
                let sent = target.send(result.sent, &request.with_forwarded_for(target.fresh_client_address())).await?;
                if result
                    .count(Ok(sent))
                    .is_some_and(|response| target.client.parse_response(DialectKind::Jwt, &response).is_success())
                {
                    result.let_through += 1;
                    result.note = token.clone();
                }
            }
        }
        let [logout, again, _] = protected_requests(&user, &good);
        result.require(
            "the original token is valid",
            target.send_and_parse(1, DialectKind::Jwt, &logout).await?.is_success(),
        );
        // After the logout the token is invalid at once, at the other instance as well.
        result.sent += 1;
        result.let_through += u64::from(target.send_and_parse(0, DialectKind::Jwt, &again).await?.is_success());
    }
    result.rejected = result.sent - result.server_errors - result.let_through;
    Ok(result)
}

/// Invalid variants of a valid token.
fn forged_variants(good: &str) -> Vec<String> {
    let mut parts = good.split('.').map(str::to_owned);
    let mut next_part = || parts.next().unwrap_or_default();
    let (head, claims, signature) = (next_part(), next_part(), next_part());
    let decode_part = |part: &str| -> Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap_or_default()).unwrap_or_default()
    };
    let encode_part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let mut tokens = Vec::new();
    // Unsigned, with several spellings of the algorithm "none".
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        let mut header = decode_part(&head);
        header["alg"] = json!(alg);
        for end in ["", &signature] {
            tokens.push(format!("{}.{claims}.{end}", encode_part(&header)));
        }
    }
    // Algorithm confusion and key injection: signed with public data as the HMAC key, or with `kid` and `jku` that name
    // a key of the attacker's choice.
    for key in [&b""[..], b"secret", b"stele", b"eddsa-1", head.as_bytes(), &[0; 32]] {
        for (name, value) in [
            ("alg", "HS256"),
            ("kid", "../../../dev/null"),
            ("kid", "eddsa-1' OR '1'='1"),
            ("jku", "http://127.0.0.1:9/"),
        ] {
            let mut header = decode_part(&head);
            header["alg"] = json!("HS256");
            header[name] = json!(value);
            let signed = format!("{}.{claims}", encode_part(&header));
            tokens.push(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(sign_hs256(key, &signed))));
        }
    }
    // Modified claims.
    for (name, value) in [
        ("sub", json!("00000000-0000-4000-8000-000000000000")),
        ("jti", json!("0".repeat(32))),
        ("exp", json!(9_999_999_999_u64)),
        ("exp", json!("9999999999")),
        ("exp", Value::Null),
        ("iss", json!("somebody")),
        ("iat", json!(-1)),
    ] {
        let mut other = decode_part(&claims);
        other[name] = value;
        tokens.push(format!("{head}.{}.{signature}", encode_part(&other)));
    }
    // Flipped bits in the signature's first bytes; half, zero and empty signatures.
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
