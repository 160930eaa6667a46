//! Attack: password guessing. Brute force against one account through all dialects and identifiers, from many addresses
//! (`docs/THREATS.md` 4, 19, 32, 33, 34, 35); password spraying over many accounts from one address or app (31).

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use stele_bench_kit::{DialectKind, Result, TestUser};

use crate::burst::{BurstRequest, send_burst};
use crate::report::AttackResult;
use crate::target::{PASSWORD, Target, client_address};
use crate::{Options, allowed_attempts};

/// The account whose password is guessed, and the origins of the guesses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum GuessingCase {
    /// An existing account, from origins that it does not trust.
    FromUntrustedOrigins,
    /// An existing account, from two addresses and an app that it trusts, since its owner has logged in from them, and
    /// from addresses that it does not trust.
    FromTrustedOrigins,
    /// An account that does not exist.
    UnknownAccount,
}

/// Origin of the guesses at many accounts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum SprayOrigin {
    /// One address.
    OneAddress,
    /// One address that forges a different `X-Forwarded-For` each time.
    ForgedForwardedFor,
    /// One MeFP app.
    OneApp,
}

/// Addresses that the account's owner logs in from.
const OWNER_ADDRESSES: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7)), IpAddr::V4(Ipv4Addr::new(198, 51, 100, 8))];

/// The number of addresses that the account does not trust.
const ATTACKER_ADDRESSES: u64 = 1_000;

/// An identifier of the account that the dialect accepts, varied by `number`.
fn identifier_of(case: GuessingCase, user: &TestUser, dialect: DialectKind, number: u64) -> String {
    let TestUser { name, phone, email } = user;
    let phones = [phone.clone(), format!("+86{phone}")];
    let mails = [email.to_uppercase(), email.clone()];
    let names = [name.clone(), name.to_uppercase()];
    let all: Vec<String> = match dialect {
        // Without an account, a name and a phone are not linked and would have separate buckets.
        _ if case == GuessingCase::UnknownAccount => phones.to_vec(),
        DialectKind::Mefp => phones.to_vec(),
        DialectKind::Portal => [phones, mails].concat(),
        DialectKind::Cloudbox | DialectKind::Tms | DialectKind::Jwt => [phones, mails, names].concat(),
    };
    all[usize::try_from(number / 5).unwrap_or_default() % all.len()].clone()
}

/// The client address of a guess, and the name of the rate-limit bucket that counts the guess.
fn address_and_bucket(case: GuessingCase, dialect: DialectKind, number: u64) -> (IpAddr, String) {
    let untrusted_address = client_address(number % ATTACKER_ADDRESSES);
    match (case, dialect) {
        // MeFP counts the app, not the address of its server.
        (GuessingCase::FromTrustedOrigins, DialectKind::Mefp) => (untrusted_address, "app".to_owned()),
        (GuessingCase::FromTrustedOrigins, _) if number % 3 < 2 => {
            let address = OWNER_ADDRESSES[usize::from(number % 3 == 1)];
            (address, address.to_string())
        }
        _ => (untrusted_address, "unknown".to_owned()),
    }
}

/// Brute force against one account.
pub(crate) async fn guess_one_account(
    options: &Options,
    name: &str,
    target: &Target,
    case: GuessingCase,
) -> Result<AttackResult> {
    let mut result = AttackResult::new(name, target);
    let user = match case {
        GuessingCase::UnknownAccount => TestUser::numbered(90_000_000 + std::process::id() as usize),
        GuessingCase::FromUntrustedOrigins | GuessingCase::FromTrustedOrigins => target.fresh_user()?,
    };
    if case == GuessingCase::FromTrustedOrigins {
        for (index, address) in OWNER_ADDRESSES.iter().enumerate() {
            result.require(
                "the owner can log in before the attack",
                target.can_log_in(index as u64, DialectKind::Jwt, &user.email, *address).await?,
            );
        }
        result.require(
            "the app's user can log in before the attack",
            target.can_log_in(1, DialectKind::Mefp, &user.phone, client_address(0)).await?,
        );
    }
    let started_at = Instant::now();
    let verified = RefCell::new(BTreeMap::<String, u64>::new());
    let successes = Cell::new(0);
    let counting = RefCell::new(result);
    let build_request = |number: u64| {
        let dialect = DialectKind::ALL[usize::try_from(number % 5).unwrap_or_default()];
        let (address, _) = address_and_bucket(case, dialect, number / 5);
        let request = target.login_request(
            dialect,
            &identifier_of(case, &user, dialect, number),
            &format!("guess-{number}"),
            address,
        );
        // Each gateway receives guesses in all dialects.
        BurstRequest::new(target.gateway_address(number / 5), request.to_bytes())
    };
    send_burst(options, name, options.requests, build_request, |number, _, sent| {
        let dialect = DialectKind::ALL[usize::try_from(number % 5).unwrap_or_default()];
        let Some(response) = counting.borrow_mut().count(sent) else { return };
        let response = target.client.parse_response(dialect, &response);
        if response.is_success() {
            successes.set(successes.get() + 1);
        } else {
            counting.borrow_mut().rejected += 1;
        }
        if response.is_wrong_password() {
            *verified.borrow_mut().entry(address_and_bucket(case, dialect, number / 5).1).or_default() += 1;
        }
    })
    .await;
    let (mut result, allowed) =
        (counting.into_inner(), allowed_attempts::allowed_guesses_at_account(started_at.elapsed()));
    let verified = verified.into_inner();
    let excess: u64 = verified.values().map(|guesses| guesses.saturating_sub(allowed)).sum();
    result.let_through = successes.get() + excess;
    result.rejected -= excess;
    let expected_buckets = if case == GuessingCase::FromTrustedOrigins { 4 } else { 1 };
    // Otherwise the rate limit was not reached.
    result.require(
        "each bucket is full",
        verified.len() == expected_buckets && verified.values().all(|guesses| *guesses >= 6),
    );
    let counts: Vec<_> = verified.iter().map(|(bucket, guesses)| format!("{bucket} {guesses}")).collect();
    result = result.with_note(format!("verified: {}; allowed each: {allowed}", counts.join(", ")));
    if !options.unprotected && case != GuessingCase::UnknownAccount {
        check_after_guessing(target, case, &user, &mut result).await?;
    }
    Ok(result)
}

/// Checks the account lockout after the guesses: the correct password is rejected from an untrusted address. If the
/// guesses came only from untrusted origins, also checks that cloudbox and JWT accept it after the wait.
async fn check_after_guessing(
    target: &Target,
    case: GuessingCase,
    user: &TestUser,
    result: &mut AttackResult,
) -> Result<()> {
    let untrusted_address = client_address(ATTACKER_ADDRESSES + 1);
    let correct_login = |source| target.login_request(DialectKind::Cloudbox, &user.name, PASSWORD, source);
    let response = target.send_and_parse(0, DialectKind::Cloudbox, &correct_login(untrusted_address)).await?;
    result.sent += 1;
    // The wait may have ended at this very moment.
    if !response.is_rate_limited() && !response.is_success() {
        result.require("the correct password is rejected by the account lockout", false);
    }
    result.rejected += u64::from(response.is_rate_limited());
    if case == GuessingCase::FromUntrustedOrigins {
        // Untrusted origins share one bucket, so the lockout ends for all of them after the wait.
        let wait = response.retry_after.unwrap_or_default().min(64);
        tokio::time::sleep(Duration::from_secs(wait)).await;
        let response = target.send_and_parse(1, DialectKind::Cloudbox, &correct_login(untrusted_address)).await?;
        result.require("the correct password is accepted after the wait", response.is_success());
        result.require(
            "the JWT dialect accepts it as well",
            target.can_log_in(0, DialectKind::Jwt, &user.email, untrusted_address).await?,
        );
    }
    Ok(())
}

/// Password spraying: one guess at each of many accounts, none of which exists.
pub(crate) async fn spray_many_accounts(
    options: &Options,
    name: &str,
    target: &Target,
    origin: SprayOrigin,
) -> Result<AttackResult> {
    let allowed = if origin == SprayOrigin::OneApp {
        allowed_attempts::FAILURES_PER_APP
    } else {
        allowed_attempts::FAILURES_PER_ADDRESS
    };
    let count = (allowed * 2).max(options.requests / 5);
    // No other attack uses these addresses: its failures would count as well.
    let address: IpAddr = match origin {
        SprayOrigin::OneAddress | SprayOrigin::OneApp => IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        SprayOrigin::ForgedForwardedFor => IpAddr::V4(Ipv4Addr::new(127, 0, 77, 1)),
    };
    let dialect_of = |number: u64| match origin {
        SprayOrigin::OneApp => DialectKind::Mefp,
        SprayOrigin::OneAddress | SprayOrigin::ForgedForwardedFor => {
            [DialectKind::Cloudbox, DialectKind::Jwt, DialectKind::Tms, DialectKind::Portal]
                [usize::try_from(number % 4).unwrap_or(0)]
        }
    };
    let result = RefCell::new(AttackResult::new(name, target));
    let (verified, successes) = (Cell::new(0_u64), Cell::new(0_u64));
    let build_request = |number: u64| {
        let unknown = TestUser::numbered(80_000_000 + usize::try_from(number).unwrap_or_default());
        let client = if origin == SprayOrigin::OneApp { &target.other_app_client } else { &target.client };
        let request =
            client.login_request(dialect_of(number), &unknown.phone, "guess", crate::target::fresh_timestamp());
        let request = match origin {
            SprayOrigin::OneAddress => request.with_forwarded_for(address),
            SprayOrigin::ForgedForwardedFor => request
                .with_forwarded_for(client_address(number))
                .with_header("forwarded", "for=192.0.2.9")
                .with_header("x-real-ip", "192.0.2.9"),
            SprayOrigin::OneApp => request.with_forwarded_for(client_address(number)),
        };
        let source = (origin == SprayOrigin::ForgedForwardedFor).then_some(address);
        BurstRequest { source, ..BurstRequest::new(target.gateway_address(number / 4 + number), request.to_bytes()) }
    };
    send_burst(options, name, count, build_request, |number, _, sent| {
        let Some(response) = result.borrow_mut().count(sent) else { return };
        let client = if origin == SprayOrigin::OneApp { &target.other_app_client } else { &target.client };
        let response = client.parse_response(dialect_of(number), &response);
        verified.set(verified.get() + u64::from(response.is_wrong_password()));
        successes.set(successes.get() + u64::from(response.is_success()));
        result.borrow_mut().rejected += u64::from(!response.is_success());
    })
    .await;
    let mut result = result.into_inner();
    let excess = verified.get().saturating_sub(allowed);
    result.let_through = successes.get() + excess;
    result.rejected -= excess;
    result.require("the bucket is full", verified.get() >= allowed);
    let user = target.fresh_user()?;
    result.require(
        "other users can log in",
        target.can_log_in(0, DialectKind::Jwt, &user.email, OWNER_ADDRESSES[0]).await?,
    );
    Ok(result.with_note(format!("verified: {}; allowed: {allowed}", verified.get())))
}
