//! What a sequence of calls shows about an account where no single one does.

use serde_json::{Value, json};
use stele_bench_kit::dialect::{CLOUDBOX_RESET, json_post, proof};
use stele_bench_kit::{Dialect, Failure, Person, Request, Result, Told};

use crate::report::Row;
use crate::target::{Fleet, stamp};

/// cloudbox takes the md5 of a new password; anything else is a bad parameter, before any account is looked up.
const NEW_DIGEST: &str = "5f4dcc3b5aa765d61d8327deb882cf99";

/// Which sequence.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    /// Failures under a phone, then a change of password by number: the owner's number would be asked to wait.
    Numbers,
    /// Failures at JWT from an address that is new to the account, until it asks for a captcha.
    Strangers,
    /// The same from the address that the owner logs in from.
    Known,
}

const FAILURES: u64 = 9;

fn nobody(fleet: &Fleet) -> Person {
    Person::numbered(40_000_000 + usize::try_from(fleet.fresh()).unwrap_or_default())
}

/// What a client sees of an answer; how long to wait may differ by the second that it is asked in.
fn seen(told: &Told) -> (u16, String, Value) {
    (told.status, told.code.clone(), told.json["message"].clone())
}

pub(crate) async fn sequences(name: &str, fleet: &Fleet, case: Case) -> Result<Row> {
    let mut row = Row::new(name, fleet);
    match case {
        Case::Numbers => numbers(fleet, &mut row).await?,
        Case::Strangers | Case::Known => captchas(fleet, &mut row, case).await?,
    }
    row.refused = row.tried - row.faults;
    Ok(row)
}

async fn numbers(fleet: &Fleet, row: &mut Row) -> Result<()> {
    let person = fleet.person()?;
    let shown = fleet.site.stele(&["user", "show", &person.phone], "")?;
    let shown: Value = serde_json::from_str(&shown).unwrap_or_default();
    let number = shown["number"].as_i64().ok_or_else(|| Failure::new("`stele user show` shows no number"))?;
    for _ in 0..FAILURES {
        let login = fleet.caller.login(Dialect::Cloudbox, &person.phone, "guess", stamp());
        let sent = fleet.ask(row.tried, &login.from_client(fleet.newcomer())).await?;
        row.count(Ok(sent));
    }
    let reset = |number: i64| -> Request {
        let at = stamp();
        let body = json!({
            "user_id": number.to_string(), "orig_password": proof("guess", at), "new_password": NEW_DIGEST,
            "timestamp": at,
        });
        json_post(CLOUDBOX_RESET, &body).from_client(fleet.newcomer())
    };
    let mut answers = Vec::new();
    for number in [number, 999_999_999] {
        row.tried += 1;
        answers.push(seen(&fleet.told(0, Dialect::Cloudbox, &reset(number)).await?));
    }
    row.through += u64::from(answers[0] != answers[1]);
    row.note = format!("the owner's number: {:?}; nobody's: {:?}", answers[0], answers[1]);
    let again = fleet.login(Dialect::Cloudbox, &person.phone, "guess", fleet.newcomer());
    row.works("the account itself has to wait", fleet.told(1, Dialect::Cloudbox, &again).await?.is_limited());
    Ok(())
}

async fn captchas(fleet: &Fleet, row: &mut Row, case: Case) -> Result<()> {
    let (owner, home) = (fleet.person()?, fleet.newcomer());
    if case == Case::Known {
        row.works("the owner gets in before", fleet.lets_in(0, Dialect::Jwt, &owner.email, home).await?);
    }
    let guess = |identifier: String| fleet.caller.login(Dialect::Jwt, &identifier, "guess", 0);
    let (known, unknown) = (owner.email, nobody(fleet).email);
    let mut challenged = 0;
    for turn in 0..FAILURES {
        let mut answers = Vec::new();
        for identifier in [&known, &unknown] {
            row.tried += 1;
            let told = fleet.told(turn, Dialect::Jwt, &guess(identifier.clone()).from_client(home)).await?;
            challenged += u64::from(told.is_challenged());
            answers.push(seen(&told));
        }
        if answers[0] != answers[1] {
            row.through += 1;
            row.note =
                format!("{}. failure: {:?} if there is an account, {:?} if not", turn + 1, answers[0], answers[1]);
        }
    }
    row.works("a captcha is asked for", challenged > 0);
    Ok(())
}
