//! Refused requests that are to fill the disk: how much each leaves.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use serde_json::json;
use stele_bench_kit::dialect::{CLOUDBOX_RESET, form, json_post, proof};
use stele_bench_kit::{Dialect, Person, Request, Result};

use crate::Options;
use crate::report::Row;
use crate::target::{Fleet, client, stamp};
use crate::volley::{Shot, volley};

/// cloudbox takes the md5 of a new password; anything else is a bad parameter, before any account is looked up.
const NEW_DIGEST: &str = "5f4dcc3b5aa765d61d8327deb882cf99";

/// The most entries of the audit trail that one origin may cause in an hour, in all classes of failures
/// (`STELE_AUDIT_ORIGIN`), and what the attack's own good calls add.
const ENTRIES: u64 = 2 * 240 + 20;

/// What is refused.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    /// Logins from one IPv6 /64, each from another address and at another account.
    Network,
    /// Logouts at the portal with a cookie that was never issued.
    Cookies,
    /// Changes of a password at cloudbox, each for another user, from one address.
    Users,
}

fn request(fleet: &Fleet, case: Case, origin: u64, number: u64) -> Request {
    match case {
        Case::Network => {
            let nobody = Person::numbered(60_000_000 + usize::try_from(number).unwrap_or_default());
            let address =
                Ipv6Addr::from_bits((0x2001_0db8_u128 << 96) | (u128::from(origin) << 64) | u128::from(number));
            fleet.caller.login(Dialect::Cloudbox, &nobody.phone, "guess", stamp()).from_client(address.into())
        }
        Case::Cookies => form("/i/logout", &[("username", "13800000000")])
            .with("cookie", &format!("stele_session={number:032x}"))
            .from_client(address(origin)),
        Case::Users => {
            let at = stamp();
            let body = json!({
                "user_id": (100_001 + number).to_string(), "orig_password": proof("guess", at),
                "new_password": NEW_DIGEST, "timestamp": at,
            });
            json_post(CLOUDBOX_RESET, &body).from_client(address(origin))
        }
    }
}

fn address(origin: u64) -> IpAddr {
    client(9_000_000 + origin)
}

pub(crate) async fn growth(options: &Options, name: &str, fleet: &Fleet, case: Case) -> Result<Row> {
    let origin = fleet.fresh();
    let (before, entries) = (measure(fleet).await?, entries(fleet)?);
    let row = RefCell::new(Row::new(name, fleet));
    let through = RefCell::new(0_u64);
    let make = |number: u64| Shot::new(fleet.front(number), request(fleet, case, origin, number).bytes());
    volley(options, name, options.requests, make, |_, _, sent| {
        let Some(answer) = row.borrow_mut().count(sent) else { return };
        if case != Case::Cookies {
            *through.borrow_mut() += u64::from(fleet.caller.read(Dialect::Cloudbox, &answer).is_done());
        }
    })
    .await;
    // What waits is written.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (after, entries) = (measure(fleet).await?, self::entries(fleet)?.saturating_sub(entries));
    let mut row = row.into_inner();
    // Each instance has budgets of its own.
    let allowed = ENTRIES * fleet.fronts();
    row.through = through.into_inner() + entries.saturating_sub(allowed);
    row.refused = row.tried - row.faults;
    let home = fleet.newcomer();
    row.works("others get in", fleet.lets_in(0, Dialect::Cloudbox, &fleet.person()?.name, home).await?);
    let each = |of: fn(&[u64; 3]) -> u64| of(&after).saturating_sub(of(&before)) as f64 / row.tried.max(1) as f64;
    let (users, state, logs) = (each(|sizes| sizes[0]), each(|sizes| sizes[1]), each(|sizes| sizes[2]));
    let note = format!(
        "entries of the trail: {entries}, at most {allowed}; bytes a request: users {users:.0}, state {state:.0}, logs {logs:.0}"
    );
    Ok(row.noted(note))
}

/// The sizes of users, state and logs.
async fn measure(fleet: &Fleet) -> Result<[u64; 3]> {
    let sizes = fleet.stores.sizes().await?;
    let logs = fleet.processes().iter().map(|process| std::fs::metadata(process.log_file()).map_or(0, |log| log.len()));
    Ok([sizes.users, sizes.state, logs.sum()])
}

/// How many entries the audit trail has.
fn entries(fleet: &Fleet) -> Result<u64> {
    Ok(fleet.site.stele(&["audit", "--json"], "")?.lines().count() as u64)
}
