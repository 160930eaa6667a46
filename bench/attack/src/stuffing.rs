//! Guessing at passwords: at one account through every door and under all its names, from very many addresses
//! (`docs/THREATS.md` 4, 19, 32, 33, 34, 35), and at very many accounts from one address or through one app (31).

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use stele_bench_kit::{Dialect, Person, Result};

use crate::report::Row;
use crate::target::{Fleet, PASSWORD, client};
use crate::volley::{Shot, volley};
use crate::{Options, budget};

/// At whose account, and from where.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    /// At someone's, from addresses and through an app that it never saw.
    Strangers,
    /// At someone's, from two addresses and through an app that they have logged in from, and from strangers'.
    Known,
    /// At nobody's.
    Nobody,
}

/// From where very many accounts are tried.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// One address.
    Address,
    /// One address, which writes another one into `X-Forwarded-For` each time.
    Forged,
    /// One MeFP app.
    App,
}

/// Where the owner is.
const HOME: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7)), IpAddr::V4(Ipv4Addr::new(198, 51, 100, 8))];

/// How many addresses strangers have.
const ADDRESSES: u64 = 1_000;

/// A name of an account that the dialect takes, another one each time.
fn written(case: Case, person: &Person, dialect: Dialect, number: u64) -> String {
    let Person { name, phone, email } = person;
    let phones = [phone.clone(), format!("+86{phone}")];
    let mails = [email.to_uppercase(), email.clone()];
    let names = [name.clone(), name.to_uppercase()];
    let all: Vec<String> = match dialect {
        // Where there is no account, nothing says that a name and a phone are of one.
        _ if case == Case::Nobody => phones.to_vec(),
        Dialect::Mefp => phones.to_vec(),
        Dialect::Portal => [phones, mails].concat(),
        Dialect::Cloudbox | Dialect::Tms | Dialect::Jwt => [phones, mails, names].concat(),
    };
    all[usize::try_from(number / 5).unwrap_or_default() % all.len()].clone()
}

/// Whose budget a guess is counted against.
fn counted(case: Case, dialect: Dialect, number: u64) -> (IpAddr, String) {
    let stranger = client(number % ADDRESSES);
    match (case, dialect) {
        // An app server's address is not what is counted.
        (Case::Known, Dialect::Mefp) => (stranger, "app".to_owned()),
        (Case::Known, _) if number % 3 < 2 => {
            let home = HOME[usize::from(number % 3 == 1)];
            (home, home.to_string())
        }
        _ => (stranger, "strangers".to_owned()),
    }
}

/// Guesses at one account.
pub(crate) async fn one_account(options: &Options, name: &str, fleet: &Fleet, case: Case) -> Result<Row> {
    let mut row = Row::new(name, fleet);
    let person = match case {
        Case::Nobody => Person::numbered(90_000_000 + std::process::id() as usize),
        Case::Strangers | Case::Known => fleet.person()?,
    };
    if case == Case::Known {
        for (turn, home) in HOME.iter().enumerate() {
            row.works(
                "the owner gets in before",
                fleet.lets_in(turn as u64, Dialect::Jwt, &person.email, *home).await?,
            );
        }
        row.works("the app gets in before", fleet.lets_in(1, Dialect::Mefp, &person.phone, client(0)).await?);
    }
    let begun = Instant::now();
    let looked_at = RefCell::new(BTreeMap::<String, u64>::new());
    let inside = Cell::new(0);
    let counting = RefCell::new(row);
    let make = |number: u64| {
        let dialect = Dialect::ALL[usize::try_from(number % 5).unwrap_or_default()];
        let (address, _) = counted(case, dialect, number / 5);
        let request =
            fleet.login(dialect, &written(case, &person, dialect, number), &format!("guess-{number}"), address);
        // Both ways in, and every dialect by both.
        Shot::new(fleet.front(number / 5), request.bytes())
    };
    volley(options, name, options.requests, make, |number, _, sent| {
        let dialect = Dialect::ALL[usize::try_from(number % 5).unwrap_or_default()];
        let Some(answer) = counting.borrow_mut().count(sent) else { return };
        let told = fleet.caller.read(dialect, &answer);
        if told.is_done() {
            inside.set(inside.get() + 1);
        } else {
            counting.borrow_mut().refused += 1;
        }
        if told.is_wrong() {
            *looked_at.borrow_mut().entry(counted(case, dialect, number / 5).1).or_default() += 1;
        }
    })
    .await;
    let (mut row, allowed) = (counting.into_inner(), budget::account(begun.elapsed()));
    let looked_at = looked_at.into_inner();
    let beyond: u64 = looked_at.values().map(|guesses| guesses.saturating_sub(allowed)).sum();
    row.through = inside.get() + beyond;
    row.refused -= beyond;
    let budgets = if case == Case::Known { 4 } else { 1 };
    // Or there was nothing to hold.
    row.works("each budget is spent", looked_at.len() == budgets && looked_at.values().all(|guesses| *guesses >= 6));
    let each: Vec<_> = looked_at.iter().map(|(whose, guesses)| format!("{whose} {guesses}")).collect();
    row = row.noted(format!("looked at: {}; allowed each: {allowed}", each.join(", ")));
    if !options.unprotected && case != Case::Nobody {
        afterwards(fleet, case, &person, &mut row).await?;
    }
    Ok(row)
}

/// What the right password does right after the guesses: nothing from where they came, until the wait is over; and the
/// owner gets in at home, where nobody guessed.
async fn afterwards(fleet: &Fleet, case: Case, person: &Person, row: &mut Row) -> Result<()> {
    let stranger = client(ADDRESSES + 1);
    let request = |at| fleet.login(Dialect::Cloudbox, &person.name, PASSWORD, at);
    let told = fleet.told(0, Dialect::Cloudbox, &request(stranger)).await?;
    row.tried += 1;
    // A wait may have ended in just this moment.
    if !told.is_limited() && !told.is_done() {
        row.works("the right password is told to wait", false);
    }
    row.refused += u64::from(told.is_limited());
    if case == Case::Strangers {
        // Their guesses are of others' budget, so once they have waited, all is well.
        let wait = told.retry_after.unwrap_or_default().min(64);
        tokio::time::sleep(Duration::from_secs(wait)).await;
        let told = fleet.told(1, Dialect::Cloudbox, &request(stranger)).await?;
        row.works("the right password gets in after the wait", told.is_done());
        row.works("and by the other dialects", fleet.lets_in(0, Dialect::Jwt, &person.email, stranger).await?);
    }
    Ok(())
}

/// Guesses once at each of very many accounts.
pub(crate) async fn many_accounts(options: &Options, name: &str, fleet: &Fleet, origin: Origin) -> Result<Row> {
    let allowed = if origin == Origin::App { budget::APP } else { budget::ADDRESS };
    let count = (allowed * 2).max(options.requests / 5);
    // Of nobody else's doing: what other attacks did from there counts too.
    let address: IpAddr = match origin {
        Origin::Address | Origin::App => IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        Origin::Forged => IpAddr::V4(Ipv4Addr::new(127, 0, 77, 1)),
    };
    let dialect = |number: u64| match origin {
        Origin::App => Dialect::Mefp,
        Origin::Address | Origin::Forged => {
            [Dialect::Cloudbox, Dialect::Jwt, Dialect::Tms, Dialect::Portal][usize::try_from(number % 4).unwrap_or(0)]
        }
    };
    let row = RefCell::new(Row::new(name, fleet));
    let (looked_at, inside) = (Cell::new(0_u64), Cell::new(0_u64));
    let make = |number: u64| {
        let nobody = Person::numbered(80_000_000 + usize::try_from(number).unwrap_or_default());
        let caller = if origin == Origin::App { &fleet.other } else { &fleet.caller };
        let request = caller.login(dialect(number), &nobody.phone, "guess", crate::target::stamp());
        let request = match origin {
            Origin::Address => request.from_client(address),
            Origin::Forged => {
                request.from_client(client(number)).with("forwarded", "for=192.0.2.9").with("x-real-ip", "192.0.2.9")
            }
            Origin::App => request.from_client(client(number)),
        };
        let from = (origin == Origin::Forged).then_some(address);
        Shot { from, ..Shot::new(fleet.front(number / 4 + number), request.bytes()) }
    };
    volley(options, name, count, make, |number, _, sent| {
        let Some(answer) = row.borrow_mut().count(sent) else { return };
        let caller = if origin == Origin::App { &fleet.other } else { &fleet.caller };
        let told = caller.read(dialect(number), &answer);
        looked_at.set(looked_at.get() + u64::from(told.is_wrong()));
        inside.set(inside.get() + u64::from(told.is_done()));
        row.borrow_mut().refused += u64::from(!told.is_done());
    })
    .await;
    let mut row = row.into_inner();
    let beyond = looked_at.get().saturating_sub(allowed);
    row.through = inside.get() + beyond;
    row.refused -= beyond;
    row.works("the budget is spent", looked_at.get() >= allowed);
    let person = fleet.person()?;
    row.works("others get in", fleet.lets_in(0, Dialect::Jwt, &person.email, HOME[0]).await?);
    Ok(row.noted(format!("looked at: {}; allowed: {allowed}", looked_at.get())))
}
