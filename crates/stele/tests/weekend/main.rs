//! The weekend of a migration: five old login servers with overlapping people are replaced by Stele behind nginx, one
//! API after the other, under load. Every login that succeeds at the old server must succeed, before, during and after
//! the cut-over.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
#![expect(clippy::print_stderr, reason = "the numbers of logins are printed")]

#[expect(dead_code, reason = "shared with the end-to-end tests, which use more of it")]
#[path = "../e2e/client.rs"]
mod client;
#[expect(dead_code, reason = "shared with the end-to-end tests, which use more of it")]
#[path = "../e2e/support.rs"]
mod support;

mod changes;
mod load;
mod nginx;
mod old_world;
mod people;
mod requests;
mod sessions;
mod stele;

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use stele_old_servers::{Call, Fault, Outcome};
use tokio::task::block_in_place;

use self::client::DialectKind;
use self::load::Load;
use self::nginx::{Nginx, Upstream};
use self::old_world::{OldWorld, source};
use self::people::Population;
use self::requests::OldClients;
use self::sessions::Sessions;
use self::stele::{IMPORT_ORDER, Stele};
use self::support::eventually;

/// People of the five tables.
const PEOPLE: usize = 600;
/// Logins of each dialect in each phase, at least.
const LOGINS: usize = 60;
/// How long an old server takes for a login while it is cut over.
const IN_FLIGHT: Duration = Duration::from_millis(200);
/// People who register at the portal between the import and the cut-over.
const NEWCOMERS: usize = 3;
/// People of each table who change their password there meanwhile.
const CHANGES: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs MariaDB, nginx, PostgreSQL and Redis"]
async fn five_old_servers_are_replaced_under_load() {
    let mut population = Population::new(PEOPLE);
    population.add_newcomers(NEWCOMERS);
    let old = OldWorld::start(&population).await;
    let mut nginx = block_in_place(|| Nginx::start(&old));
    let load = Load::new(population, OldClients::new(nginx.url()));
    let workers = load.start("old servers");
    let stele = block_in_place(|| Stele::new(&old));
    let server = block_in_place(|| stele.start_overlap());
    nginx.set_stele(server.address()).await;
    load.wait_for(&DialectKind::ALL, LOGINS).await;

    let sessions = Sessions::open(&load).await;

    load.begin_phase("import");
    import_all(&stele, &old, &load.population);
    eprintln!("hashes that wait: {}", block_in_place(|| stele.waiting_hashes()));
    load.wait_for(&DialectKind::ALL, LOGINS).await;

    load.begin_phase("changes at the old servers");
    changes::register_newcomers(&load, &old).await;
    changes::change_at_old_servers(&load, &old, CHANGES).await;
    import_changes(&stele, &old, &load.population);
    load.wait_for(&DialectKind::ALL, LOGINS).await;

    for (dialect, phase) in DialectKind::ALL.into_iter().zip([
        "cloudbox cut over",
        "TMS cut over",
        "portal cut over",
        "MeFP cut over",
        "JWT cut over",
    ]) {
        load.begin_phase(phase);
        // So slow that logins are in flight when nginx reloads.
        old.server(dialect).set_fault_on(Call::Login, Fault::Slow(IN_FLIGHT));
        let before = old.server(dialect).count(Call::Login);
        block_in_place(|| eventually("a login", || (old.server(dialect).count(Call::Login) > before).then_some(())));
        nginx.set(dialect, Upstream::Stele).await;
        old.server(dialect).set_fault_on(Call::Login, Fault::None);
        load.assert_answered_by(dialect, nginx.expected_upstream(dialect)).await;
        load.wait_for(&[dialect], LOGINS).await;
    }
    load.begin_phase("all at Stele");
    DialectKind::ALL.iter().for_each(|dialect| old.server(*dialect).clear_log());
    sessions.assert_ended().await;
    load.use_other_passwords_at_once().await;
    load.wait_for(&DialectKind::ALL, LOGINS).await;
    assert_only_unknown_passwords_are_asked_about(&load, &old);
    block_in_place(|| stele.wait_for_hashing());

    load.begin_phase("changes in Stele");
    let changed = changes::change_at_stele(&load, &server, DialectKind::Cloudbox, 3).await
        + changes::change_at_stele(&load, &server, DialectKind::Portal, 2).await;
    assert_eq!(changed, 5);
    load.begin_phase("cloudbox back at the old server");
    block_in_place(|| stele.bring_back_passwords(&old, changed));
    nginx.set(DialectKind::Cloudbox, Upstream::Old).await;
    load.assert_answered_by(DialectKind::Cloudbox, nginx.expected_upstream(DialectKind::Cloudbox)).await;
    load.wait_for(&DialectKind::ALL, LOGINS).await;
    load.begin_phase("cloudbox at Stele again");
    nginx.set(DialectKind::Cloudbox, Upstream::Stele).await;
    load.wait_for(&DialectKind::ALL, LOGINS).await;

    load.begin_phase("old servers stopped");
    let after = block_in_place(|| stele.start_after());
    load.leave_out_unknown_passwords();
    nginx.set_stele(after.address()).await;
    block_in_place(|| server.stop());
    old.stop();
    load.wait_for(&DialectKind::ALL, LOGINS).await;
    load.stop(workers).await;
    let (accepted, refused) = try_unknown_passwords(&load).await;
    eprintln!("passwords that Stele did not know: {accepted} accepted, {refused} refused without the old servers");
    eprintln!("{}", load.table());
    load.assert_all_right();
    let errors: Vec<_> = nginx.error_log().lines().filter(|line| line.contains("[error]")).map(str::to_owned).collect();
    assert_eq!(errors, Vec::<String>::new(), "every request that nginx passed on was answered");
}

/// Imports the five tables: people who are in an earlier one are joined by their phone.
fn import_all(stele: &Stele, old: &OldWorld, population: &Population) {
    let mut known = HashSet::new();
    for dialect in IMPORT_ORDER {
        let people = population
            .accounts
            .iter()
            .filter(|account| account.dialect == dialect && account.is_registered.load(Ordering::Relaxed))
            .map(|a| a.person);
        let (merged, added): (Vec<_>, Vec<_>) = people.partition(|person| known.contains(person));
        let expected = format!("added {} same 0 merged {} refused 0", added.len(), merged.len());
        block_in_place(|| stele.import("check", dialect, old, &expected));
        block_in_place(|| stele.import("run", dialect, old, &expected));
        eprintln!("import of {}: {expected}", source(dialect));
        known.extend(added);
    }
}

/// Imports once more: who registered meanwhile is added, and a changed password is refused and not taken over.
fn import_changes(stele: &Stele, old: &OldWorld, population: &Population) {
    for dialect in IMPORT_ORDER {
        let rows = population.tables[dialect as usize].len();
        let added = if dialect == DialectKind::Portal { NEWCOMERS } else { 0 };
        let expected = format!("added {added} same {} merged 0 refused {CHANGES}", rows - CHANGES);
        let output = block_in_place(|| stele.import("run", dialect, old, &expected));
        assert!(output.stdout.contains(&format!("refused {CHANGES}: changed")), "{output:?}");
    }
}

/// Tries each password of people who had one that Stele did not know.
async fn try_unknown_passwords(load: &Load) -> (usize, usize) {
    let (mut accepted, mut refused) = (0, 0);
    for account in &load.population.accounts {
        if load.person(account).has_other_password.load(Ordering::Relaxed) {
            if load.is_accepted(account).await { accepted += 1 } else { refused += 1 }
        }
    }
    (accepted, refused)
}

/// Stele has asked the old servers about passwords that it did not know, and about wrong ones, and about no others.
fn assert_only_unknown_passwords_are_asked_about(load: &Load, old: &OldWorld) {
    let mut confirmed = 0;
    for dialect in DialectKind::ALL {
        let calls = old.server(dialect).calls();
        for call in calls.iter().filter(|call| call.call == Call::Login && call.outcome == Outcome::Accepted) {
            let is_of = |account: &&people::Account| {
                account.dialect == dialect && account.identifiers.contains(&call.identifier)
            };
            let account = load.population.accounts.iter().find(is_of).unwrap_or_else(|| panic!("{call:?}"));
            assert!(load.person(account).has_other_password.load(Ordering::Relaxed), "{dialect:?}: {call:?}");
            confirmed += 1;
        }
    }
    eprintln!("all at Stele: the old servers were asked about and confirmed {confirmed} logins");
    assert!(confirmed > 0);
}
