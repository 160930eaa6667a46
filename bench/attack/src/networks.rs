//! Having codes sent from very many networks, and to countries that are not served.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use stele_bench_kit::dialect::{JWT_SEND, PORTAL_SEND, form};
use stele_bench_kit::{Dialect, Person, Request, Result};

use crate::report::Row;
use crate::target::{Fleet, LOW_SENDS, client};
use crate::volley::{Shot, volley};
use crate::{Options, budget};

/// Where codes are asked for from, or sent to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    /// From very many /64 of one /48.
    Nested,
    /// From very many addresses that have nothing in common.
    Total,
    /// To numbers in countries that are not listed.
    Countries,
}

/// What a code is sent to: no user's, so that each is another recipient.
fn recipient(number: u64, offset: usize) -> Person {
    Person::numbered(50_000_000 + offset + usize::try_from(number).unwrap_or_default())
}

fn ask(dialect: Dialect, phone: &str) -> Request {
    match dialect {
        Dialect::Jwt => form(JWT_SEND, &[("account", phone), ("phone", phone)]),
        _ => form(PORTAL_SEND, &[("username", phone)]),
    }
}

pub(crate) async fn networks(options: &Options, name: &str, fleet: &Fleet, case: Case) -> Result<Row> {
    if case == Case::Countries {
        return countries(name, fleet).await;
    }
    // A /48 has four times a /64's budget.
    let allowed = if case == Case::Nested { 4 * budget::SENDER } else { LOW_SENDS };
    let count = (options.requests / 10).max(allowed * 2);
    let site = fleet.fresh();
    let from = |number: u64| -> IpAddr {
        match case {
            Case::Nested => {
                let network =
                    (0x2001_0db9_u128 << 96) | (u128::from(site & 0xffff) << 80) | (u128::from(number & 0xffff) << 64);
                Ipv6Addr::from_bits(network | 1).into()
            }
            Case::Total | Case::Countries => client(8_000_000 + number),
        }
    };
    let dialect = |number: u64| [Dialect::Portal, Dialect::Jwt][usize::from(number % 2 == 1)];
    let offset = usize::try_from(site).unwrap_or_default() * 10_000;
    let row = RefCell::new(Row::new(name, fleet));
    let taken = RefCell::new(0_u64);
    let make = |number: u64| {
        let request = ask(dialect(number), &recipient(number, offset).phone).from_client(from(number));
        Shot::new(fleet.front(number / 2), request.bytes())
    };
    volley(options, name, count, make, |number, _, sent| {
        let Some(answer) = row.borrow_mut().count(sent) else { return };
        *taken.borrow_mut() += u64::from(fleet.caller.read(dialect(number), &answer).is_done());
    })
    .await;
    let (mut row, taken) = (row.into_inner(), taken.into_inner());
    row.through = taken.saturating_sub(allowed);
    row.refused = row.tried - row.faults - taken;
    row.works("a network's own budget is spent", taken >= budget::SENDER);
    Ok(row.noted(format!("taken: {taken}; allowed: {allowed}")))
}

/// Satellite phones and premium numbers, which cost the payer of messages most.
async fn countries(name: &str, fleet: &Fleet) -> Result<Row> {
    let mut row = Row::new(name, fleet);
    for number in 0..60_u64 {
        let phone = [format!("+88216{number:08}"), format!("+1900{number:07}"), format!("+8621{number:08}")];
        let phone = &phone[usize::try_from(number % 3).unwrap_or_default()];
        for dialect in [Dialect::Portal, Dialect::Jwt] {
            let sent = fleet.ask(number, &ask(dialect, phone).from_client(fleet.newcomer())).await?;
            row.count(Ok(sent));
        }
    }
    let person = fleet.person()?;
    fleet.ask(0, &ask(Dialect::Portal, &person.phone).from_client(fleet.newcomer())).await?;
    row.works("a mainland mobile gets one", fleet.code(&person.phone, 0).await.is_ok());
    // What was sent before it is there, too, by then.
    tokio::time::sleep(Duration::from_secs(1)).await;
    row.through = ["88216", "1900", "8621"].iter().map(|area| fleet.site.messages(area) as u64).sum();
    row.refused = row.tried - row.faults - row.through;
    Ok(row)
}
