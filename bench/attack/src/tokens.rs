//! Forged tokens, and one-time tokens redeemed many times at once (`docs/THREATS.md` 27, 28, 29).

use std::cell::{Cell, RefCell};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use stele_bench_kit::dialect::{JWT_LOGIN, form};
use stele_bench_kit::{Dialect, Person, Request, Result};

use crate::Options;
use crate::codes::{guess_at, obtain};
use crate::report::Row;
use crate::target::{Fleet, PASSWORD, client};
use crate::volley::{Shot, volley};

/// What is tried.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    /// JWTs that nobody signed, or somebody else did, or that say something else than was signed.
    Forged,
    /// MeFP's tokens from app to app.
    Handover,
    /// JWT's reset tokens.
    Reset,
    /// The portal's codes, right ones, for a reset.
    Code,
}

/// How many tokens are redeemed at once.
const TOKENS: u64 = 10;

pub(crate) async fn tokens(options: &Options, name: &str, fleet: &Fleet, case: Case) -> Result<Row> {
    let mut row = Row::new(name, fleet);
    if case == Case::Forged {
        return forged(row, fleet).await;
    }
    let mut sets = Vec::new();
    for _ in 0..TOKENS {
        let person = fleet.person()?;
        sets.push(match case {
            Case::Handover => handover(fleet, &mut row, &person).await?,
            Case::Reset => reset(fleet, &person).await?,
            Case::Forged | Case::Code => {
                let code = obtain(fleet, Dialect::Portal, &person).await?;
                guess_at(fleet, Dialect::Portal, &person, &code)
            }
        });
    }
    let dialect = match case {
        Case::Handover => Dialect::Mefp,
        Case::Reset => Dialect::Jwt,
        Case::Forged | Case::Code => Dialect::Portal,
    };
    let row = RefCell::new(row);
    // A new password is hashed for each who is let so far, so that there are fewer of these.
    let each = if case == Case::Handover { options.requests / TOKENS } else { (options.requests / 100).min(200) };
    let whose = |number: u64| usize::try_from((number / each).min(TOKENS - 1)).unwrap_or_default();
    let redeemed: Vec<Cell<u64>> = sets.iter().map(|_| Cell::new(0)).collect();
    let make = |number: u64| {
        let request = sets[whose(number)].clone().from_client(client(4_000_000 + number));
        Shot::new(fleet.front(number), request.bytes())
    };
    volley(options, name, each * TOKENS, make, |number, _, sent| {
        let Some(answer) = row.borrow_mut().count(sent) else { return };
        // Who redeems is the other app.
        let told = fleet.other.read(dialect, &answer);
        let cell = &redeemed[whose(number)];
        cell.set(cell.get() + u64::from(told.is_done()));
    })
    .await;
    let mut row = row.into_inner();
    row.through = redeemed.iter().map(|times| times.get().saturating_sub(1)).sum();
    row.works("each is redeemed once", redeemed.iter().all(|times| times.get() > 0));
    row.refused = row.tried - row.faults - redeemed.iter().map(Cell::get).sum::<u64>();
    Ok(row.noted(format!("{TOKENS} of them, {each} times each; each was good once, as it should be")))
}

/// A token for the other app, as it redeems it; the wrong app's try before must not use it up.
async fn handover(fleet: &Fleet, row: &mut Row, person: &Person) -> Result<Request> {
    let present = fleet.lets_in(0, Dialect::Mefp, &person.phone, fleet.newcomer()).await?;
    row.works("the app's user logs in", present);
    let ask = fleet.caller.app.call("/auth/token", &json!({ "login_name": person.phone, "app_to": "wlfz" }));
    let told = fleet.told(1, Dialect::Mefp, &ask.from_client(fleet.newcomer())).await?;
    let message = json!({ "token": told.json["token"] });
    let wrong = fleet.caller.app.call("/auth/check/token", &message).from_client(fleet.newcomer());
    row.through += u64::from(fleet.told(0, Dialect::Mefp, &wrong).await?.is_done());
    Ok(fleet.other.app.call("/auth/check/token", &message))
}

/// A change of the password by a reset token.
async fn reset(fleet: &Fleet, person: &Person) -> Result<Request> {
    let code = obtain(fleet, Dialect::Jwt, person).await?;
    let granted = guess_at(fleet, Dialect::Jwt, person, &code).from_client(fleet.newcomer());
    let told = fleet.told(0, Dialect::Jwt, &granted).await?;
    let token = told.json["token"].as_str().unwrap_or_default().to_owned();
    let fields = [("account", person.name.as_str()), ("password", "a-new-password")];
    Ok(form("/api/v1/Auth/updatePassword", &fields).with("token", &token))
}

/// The calls that a token opens, with what it opens if it is good.
fn opened_by(person: &Person, token: &str) -> [Request; 3] {
    let fields = [("account", person.name.as_str()), ("password", "the-thiefs-password")];
    [
        Request::get("/api/v1/Auth/Logout").with("authorization", &format!("Bearer {token}")),
        Request::get("/api/v1/Auth/Logout").with("token", token),
        form("/api/v1/Auth/updatePassword", &fields).with("authorization", &format!("Bearer {token}")),
    ]
}

async fn forged(mut row: Row, fleet: &Fleet) -> Result<Row> {
    for _ in 0..5 {
        let person = fleet.person()?;
        let login = form(JWT_LOGIN, &[("account", &person.name), ("password", PASSWORD)]);
        let told = fleet.told(0, Dialect::Jwt, &login.from_client(fleet.newcomer())).await?;
        let good = told.json["token"].as_str().unwrap_or_default().to_owned();
        for token in forgeries(&good) {
            for request in opened_by(&person, &token) {
                let sent = fleet.ask(row.tried, &request.from_client(fleet.newcomer())).await?;
                if row.count(Ok(sent)).is_some_and(|answer| fleet.caller.read(Dialect::Jwt, &answer).is_done()) {
                    row.through += 1;
                    row.note = token.clone();
                }
            }
        }
        let [logout, again, _] = opened_by(&person, &good);
        row.works("the token itself is good", fleet.told(1, Dialect::Jwt, &logout).await?.is_done());
        // And dead at once, at the other instance too.
        row.tried += 1;
        row.through += u64::from(fleet.told(0, Dialect::Jwt, &again).await?.is_done());
    }
    row.refused = row.tried - row.faults - row.through;
    Ok(row)
}

/// Tokens that resemble a good one.
fn forgeries(good: &str) -> Vec<String> {
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
            tokens.push(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(hs256(key, &signed))));
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

fn hs256(key: &[u8], text: &str) -> Vec<u8> {
    let mac = Hmac::<Sha256>::new_from_slice(key)
        .map(|mac| mac.chain_update(text.as_bytes()).finalize().into_bytes().to_vec());
    mac.unwrap_or_default()
}
