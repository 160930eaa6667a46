//! Guessing at codes, and using them where they do not belong (`docs/THREATS.md` 19, 20, 22, 23).

use std::cell::{Cell, RefCell};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use stele_bench_kit::dialect::form;
use stele_bench_kit::{Dialect, Person, Request, Result, Told};

use crate::Options;
use crate::flood::send;
use crate::report::Row;
use crate::target::{Fleet, client};
use crate::volley::{Shot, volley};

/// The dialects that send codes.
pub(crate) const DIALECTS: [Dialect; 3] = [Dialect::Portal, Dialect::Mefp, Dialect::Jwt];

/// The password that whoever has the code may set.
pub(crate) const NEW_PASSWORD: &str = "a-new-password";

/// A try at someone's code.
pub(crate) fn guess_at(fleet: &Fleet, dialect: Dialect, person: &Person, code: &str) -> Request {
    let Person { name, phone, .. } = person;
    let encoded = |text: &str| STANDARD.encode(text);
    match dialect {
        Dialect::Mefp => fleet.caller.app.call("/auth/check/captcha", &json!({ "login_name": phone, "captcha": code })),
        Dialect::Jwt => form("/api/v1/Auth/validatePhone", &[("account", name), ("identifyCode", code)]),
        _ => {
            form("/i/resetpwd", &[("username", phone), ("password", &encoded(NEW_PASSWORD)), ("code", &encoded(code))])
        }
    }
}

/// Has a dialect send someone a code, and gives it.
pub(crate) async fn obtain(fleet: &Fleet, dialect: Dialect, person: &Person) -> Result<String> {
    let seen = fleet.site.codes(&person.phone).len();
    fleet.ask(0, &send(fleet, dialect, person).from_client(fleet.newcomer())).await?;
    fleet.code(&person.phone, seen).await
}

/// Whether a guess was looked at and found wrong.
fn is_wrong_code(told: &Told) -> bool {
    match told.dialect {
        Dialect::Portal => told.code == "3208",
        Dialect::Mefp => told.code == "40002",
        _ => told.json["message"] == "验证码错误",
    }
}

/// Another code than `code`, another one for each number below a million.
fn other(code: &str, number: u64) -> String {
    let right: u64 = code.parse().unwrap_or_default();
    format!("{:06}", (right + 1 + number % 999_999) % 1_000_000)
}

/// Very many different guesses at one code at once, from as many addresses, with the right one somewhere in the second
/// half of them: there five wrong ones have long burnt it.
pub(crate) async fn guess(options: &Options, name: &str, fleet: &Fleet, dialect: Dialect) -> Result<Row> {
    let mut row = Row::new(name, fleet);
    // First somebody who mistypes it four times and then has it right.
    let (careful, home) = (fleet.person()?, fleet.newcomer());
    let code = obtain(fleet, dialect, &careful).await?;
    for number in 0..4 {
        let request = guess_at(fleet, dialect, &careful, &other(&code, number)).from_client(home);
        let told = fleet.told(number, dialect, &request).await?;
        row.works("a wrong code is told", is_wrong_code(&told));
    }
    let request = guess_at(fleet, dialect, &careful, &code).from_client(home);
    row.works("the right code works after four tries", fleet.told(0, dialect, &request).await?.is_done());

    let person = fleet.person()?;
    let code = obtain(fleet, dialect, &person).await?;
    let count = options.requests;
    let place = count / 2 + code.parse::<u64>().unwrap_or_default() % (count / 2);
    let (right, wrong) = (Cell::new(0_u64), Cell::new(0_u64));
    let row = {
        let row = RefCell::new(row);
        let make = |number: u64| {
            let typed = if number == place { code.clone() } else { other(&code, number) };
            let request = guess_at(fleet, dialect, &person, &typed).from_client(client(6_200_000 + number));
            Shot::new(fleet.front(number), request.bytes())
        };
        let title = format!("{name}, {}", dialect.name());
        volley(options, &title, count, make, |_, _, sent| {
            let Some(answer) = row.borrow_mut().count(sent) else { return };
            let told = fleet.caller.read(dialect, &answer);
            right.set(right.get() + u64::from(told.is_done()));
            wrong.set(wrong.get() + u64::from(is_wrong_code(&told)));
        })
        .await;
        row.into_inner()
    };
    let mut row = row;
    // Once more alone, when nobody is in its way but the limits.
    let request = guess_at(fleet, dialect, &person, &code).from_client(fleet.newcomer());
    let late = fleet.told(1, dialect, &request).await?;
    row.tried += 1;
    row.through = right.get() + u64::from(late.is_done());
    row.refused = row.tried - row.faults - row.through;
    row.works("guesses were looked at", wrong.get() >= 5);
    Ok(row.noted(format!("{}: looked at: {}; right: {}", dialect.name(), wrong.get(), right.get())))
}

/// Right codes, where they are none.
pub(crate) async fn strayed(name: &str, fleet: &Fleet) -> Result<Row> {
    let mut row = Row::new(name, fleet);
    for sent_by in DIALECTS {
        for used_at in DIALECTS.into_iter().filter(|other| *other != sent_by) {
            let person = fleet.person()?;
            let code = obtain(fleet, sent_by, &person).await?;
            attempt(fleet, &mut row, used_at, &guess_at(fleet, used_at, &person, &code)).await?;
            let request = guess_at(fleet, sent_by, &person, &code).from_client(fleet.newcomer());
            row.works("the code works where it belongs", fleet.told(0, sent_by, &request).await?.is_done());
        }
        let (person, victim) = (fleet.person()?, fleet.person()?);
        let code = obtain(fleet, sent_by, &person).await?;
        attempt(fleet, &mut row, sent_by, &guess_at(fleet, sent_by, &victim, &code)).await?;
    }
    // MeFP: a code is of one app and of one purpose.
    let person = fleet.person()?;
    let code = obtain(fleet, Dialect::Mefp, &person).await?;
    let check = json!({ "login_name": person.phone, "captcha": code });
    let theirs = fleet.other.app.call("/auth/check/captcha", &check).from_client(fleet.newcomer());
    let told = fleet.other.read(Dialect::Mefp, &fleet.ask(0, &theirs).await?);
    (row.tried, row.through) = (row.tried + 1, row.through + u64::from(told.is_done()));
    let register = json!({ "login_name": person.phone, "password": NEW_PASSWORD, "captcha": code });
    attempt(fleet, &mut row, Dialect::Mefp, &fleet.caller.app.call("/auth/register", &register)).await?;
    let reset = json!({ "login_name": person.phone, "new_password": NEW_PASSWORD, "captcha": code });
    let reset = fleet.caller.app.call("/auth/forgot", &reset).from_client(fleet.newcomer());
    row.works("a code for resetting resets", fleet.told(0, Dialect::Mefp, &reset).await?.is_done());
    attempt(fleet, &mut row, Dialect::Mefp, &reset).await?;
    row.refused = row.tried - row.faults - row.through;
    Ok(row)
}

async fn attempt(fleet: &Fleet, row: &mut Row, dialect: Dialect, request: &Request) -> Result<()> {
    let sent = fleet.ask(row.tried, &request.clone().from_client(fleet.newcomer())).await?;
    if let Some(answer) = row.count(Ok(sent)) {
        row.through += u64::from(fleet.caller.read(dialect, &answer).is_done());
    }
    Ok(())
}
