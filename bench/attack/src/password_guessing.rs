//! Guessing at passwords: at one account through every door and under all its names, from very many addresses (ATTACKS
//! 4, 19, 32, 33, 34, 35), and at very many accounts from one address or through one app (31).

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use stele_bench_kit::{DialectKind, Result, TestUser};

use crate::burst::{BurstRequest, send_burst};
use crate::report::AttackResult;
use crate::target::{PASSWORD, Target, client_address};
use crate::{Options, allowed_guesses};

/// At whose account, and from where.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum GuessingCase {
    /// At someone's, from addresses and through an app that it never saw.
    FromUnknownOrigins,
    /// At someone's, from two addresses and through an app that they have logged in from, and from strangers'.
    FromKnownOrigins,
    /// At nobody's.
    UnknownAccount,
}

/// From where very many accounts are tried.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum SprayOrigin {
    /// One address.
    OneAddress,
    /// One address, which writes another one into `X-Forwarded-For` each time.
    ForgedForwardedFor,
    /// One MeFP app.
    OneApp,
}

/// Where the owner is.
const OWNER_ADDRESSES: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7)), IpAddr::V4(Ipv4Addr::new(198, 51, 100, 8))];

/// How many addresses strangers have.
const ATTACKER_ADDRESSES: u64 = 1_000;

/// A name of an account that the dialect takes, another one each time.
fn identifier_of(case: GuessingCase, person: &TestUser, dialect: DialectKind, number: u64) -> String {
    let TestUser { name, phone, email } = person;
    let phones = [phone.clone(), format!("+86{phone}")];
    let mails = [email.to_uppercase(), email.clone()];
    let names = [name.clone(), name.to_uppercase()];
    let all: Vec<String> = match dialect {
        // Where there is no account, nothing says that a name and a phone are of one.
        _ if case == GuessingCase::UnknownAccount => phones.to_vec(),
        DialectKind::Mefp => phones.to_vec(),
        DialectKind::Portal => [phones, mails].concat(),
        DialectKind::Cloudbox | DialectKind::Tms | DialectKind::Jwt => [phones, mails, names].concat(),
    };
    all[usize::try_from(number / 5).unwrap_or_default() % all.len()].clone()
}

/// Whose budget a guess is counted against.
fn rate_limit_key(case: GuessingCase, dialect: DialectKind, number: u64) -> (IpAddr, String) {
    let stranger = client_address(number % ATTACKER_ADDRESSES);
    match (case, dialect) {
        // An app server's address is not what is counted.
        (GuessingCase::FromKnownOrigins, DialectKind::Mefp) => (stranger, "app".to_owned()),
        (GuessingCase::FromKnownOrigins, _) if number % 3 < 2 => {
            let home = OWNER_ADDRESSES[usize::from(number % 3 == 1)];
            (home, home.to_string())
        }
        _ => (stranger, "strangers".to_owned()),
    }
}

/// Guesses at one account.
pub(crate) async fn guess_one_account(
    options: &Options,
    name: &str,
    fleet: &Target,
    case: GuessingCase,
) -> Result<AttackResult> {
    let mut row = AttackResult::new(name, fleet);
    let person = match case {
        GuessingCase::UnknownAccount => TestUser::numbered(90_000_000 + std::process::id() as usize),
        GuessingCase::FromUnknownOrigins | GuessingCase::FromKnownOrigins => fleet.fresh_user()?,
    };
    if case == GuessingCase::FromKnownOrigins {
        for (turn, home) in OWNER_ADDRESSES.iter().enumerate() {
            row.require(
                "the owner gets in before",
                fleet.can_log_in(turn as u64, DialectKind::Jwt, &person.email, *home).await?,
            );
        }
        row.require(
            "the app gets in before",
            fleet.can_log_in(1, DialectKind::Mefp, &person.phone, client_address(0)).await?,
        );
    }
    let begun = Instant::now();
    let looked_at = RefCell::new(BTreeMap::<String, u64>::new());
    let inside = Cell::new(0);
    let counting = RefCell::new(row);
    let make = |number: u64| {
        let dialect = DialectKind::ALL[usize::try_from(number % 5).unwrap_or_default()];
        let (address, _) = rate_limit_key(case, dialect, number / 5);
        let request = fleet.login_request(
            dialect,
            &identifier_of(case, &person, dialect, number),
            &format!("guess-{number}"),
            address,
        );
        // Both ways in, and every dialect by both.
        BurstRequest::new(fleet.entry_address(number / 5), request.to_bytes())
    };
    send_burst(options, name, options.requests, make, |number, _, sent| {
        let dialect = DialectKind::ALL[usize::try_from(number % 5).unwrap_or_default()];
        let Some(answer) = counting.borrow_mut().count(sent) else { return };
        let response = fleet.client.parse_response(dialect, &answer);
        if response.is_success() {
            inside.set(inside.get() + 1);
        } else {
            counting.borrow_mut().rejected += 1;
        }
        if response.is_wrong_password() {
            *looked_at.borrow_mut().entry(rate_limit_key(case, dialect, number / 5).1).or_default() += 1;
        }
    })
    .await;
    let (mut row, allowed) = (counting.into_inner(), allowed_guesses::allowed_guesses_at_account(begun.elapsed()));
    let looked_at = looked_at.into_inner();
    let beyond: u64 = looked_at.values().map(|guesses| guesses.saturating_sub(allowed)).sum();
    row.let_through = inside.get() + beyond;
    row.rejected -= beyond;
    let budgets = if case == GuessingCase::FromKnownOrigins { 4 } else { 1 };
    // Or there was nothing to hold.
    row.require("each budget is spent", looked_at.len() == budgets && looked_at.values().all(|guesses| *guesses >= 6));
    let each: Vec<_> = looked_at.iter().map(|(whose, guesses)| format!("{whose} {guesses}")).collect();
    row = row.with_note(format!("looked at: {}; allowed each: {allowed}", each.join(", ")));
    if !options.unprotected && case != GuessingCase::UnknownAccount {
        check_after_guessing(fleet, case, &person, &mut row).await?;
    }
    Ok(row)
}

/// What the right password does right after the guesses: nothing from where they came, until the wait is over; and the
/// owner gets in at home, where nobody guessed.
async fn check_after_guessing(
    fleet: &Target,
    case: GuessingCase,
    person: &TestUser,
    row: &mut AttackResult,
) -> Result<()> {
    let stranger = client_address(ATTACKER_ADDRESSES + 1);
    let request = |at| fleet.login_request(DialectKind::Cloudbox, &person.name, PASSWORD, at);
    let response = fleet.dialect_request(0, DialectKind::Cloudbox, &request(stranger)).await?;
    row.sent += 1;
    // A wait may have ended in just this moment.
    if !response.is_rate_limited() && !response.is_success() {
        row.require("the right password is told to wait", false);
    }
    row.rejected += u64::from(response.is_rate_limited());
    if case == GuessingCase::FromUnknownOrigins {
        // Their guesses are of others' budget, so once they have waited, all is well.
        let wait = response.retry_after.unwrap_or_default().min(64);
        tokio::time::sleep(Duration::from_secs(wait)).await;
        let response = fleet.dialect_request(1, DialectKind::Cloudbox, &request(stranger)).await?;
        row.require("the right password gets in after the wait", response.is_success());
        row.require("and by the other dialects", fleet.can_log_in(0, DialectKind::Jwt, &person.email, stranger).await?);
    }
    Ok(())
}

/// Guesses once at each of very many accounts.
pub(crate) async fn spray_many_accounts(
    options: &Options,
    name: &str,
    fleet: &Target,
    origin: SprayOrigin,
) -> Result<AttackResult> {
    let allowed = if origin == SprayOrigin::OneApp {
        allowed_guesses::FAILURES_PER_APP
    } else {
        allowed_guesses::FAILURES_PER_ADDRESS
    };
    let count = (allowed * 2).max(options.requests / 5);
    // Of nobody else's doing: what other attacks did from there counts too.
    let address: IpAddr = match origin {
        SprayOrigin::OneAddress | SprayOrigin::OneApp => IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        SprayOrigin::ForgedForwardedFor => IpAddr::V4(Ipv4Addr::new(127, 0, 77, 1)),
    };
    let dialect = |number: u64| match origin {
        SprayOrigin::OneApp => DialectKind::Mefp,
        SprayOrigin::OneAddress | SprayOrigin::ForgedForwardedFor => {
            [DialectKind::Cloudbox, DialectKind::Jwt, DialectKind::Tms, DialectKind::Portal]
                [usize::try_from(number % 4).unwrap_or(0)]
        }
    };
    let row = RefCell::new(AttackResult::new(name, fleet));
    let (looked_at, inside) = (Cell::new(0_u64), Cell::new(0_u64));
    let make = |number: u64| {
        let unknown = TestUser::numbered(80_000_000 + usize::try_from(number).unwrap_or_default());
        let caller = if origin == SprayOrigin::OneApp { &fleet.other_app_client } else { &fleet.client };
        let request = caller.login(dialect(number), &unknown.phone, "guess", crate::target::fresh_timestamp());
        let request = match origin {
            SprayOrigin::OneAddress => request.with_forwarded_for(address),
            SprayOrigin::ForgedForwardedFor => request
                .with_forwarded_for(client_address(number))
                .with_header("forwarded", "for=192.0.2.9")
                .with_header("x-real-ip", "192.0.2.9"),
            SprayOrigin::OneApp => request.with_forwarded_for(client_address(number)),
        };
        let from = (origin == SprayOrigin::ForgedForwardedFor).then_some(address);
        BurstRequest { from, ..BurstRequest::new(fleet.entry_address(number / 4 + number), request.to_bytes()) }
    };
    send_burst(options, name, count, make, |number, _, sent| {
        let Some(answer) = row.borrow_mut().count(sent) else { return };
        let caller = if origin == SprayOrigin::OneApp { &fleet.other_app_client } else { &fleet.client };
        let response = caller.parse_response(dialect(number), &answer);
        looked_at.set(looked_at.get() + u64::from(response.is_wrong_password()));
        inside.set(inside.get() + u64::from(response.is_success()));
        row.borrow_mut().rejected += u64::from(!response.is_success());
    })
    .await;
    let mut row = row.into_inner();
    let beyond = looked_at.get().saturating_sub(allowed);
    row.let_through = inside.get() + beyond;
    row.rejected -= beyond;
    row.require("the budget is spent", looked_at.get() >= allowed);
    let person = fleet.fresh_user()?;
    row.require("others get in", fleet.can_log_in(0, DialectKind::Jwt, &person.email, OWNER_ADDRESSES[0]).await?);
    Ok(row.with_note(format!("looked at: {}; allowed: {allowed}", looked_at.get())))
}
