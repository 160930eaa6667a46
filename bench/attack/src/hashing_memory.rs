//! Bursts of logins with a password, between which the threads that hash have ended.

use std::time::Duration;

use futures_util::future::join_all;
use stele_bench_kit::{DialectKind, Result};

use crate::report::AttackResult;
use crate::target::Target;

const BURSTS: u64 = 6;
const LOGINS_PER_BURST: u64 = 8;
/// Longer than a thread that hashes waits for more.
const PAUSE_BETWEEN_BURSTS: Duration = Duration::from_secs(7);
const MIB: u64 = 1 << 20;

/// Memory of each process against what it had at first: a hash's memory for each slot, and 15 MB.
pub(crate) async fn login_bursts(name: &str, fleet: &Target) -> Result<AttackResult> {
    let mut row = AttackResult::new(name, fleet);
    let resident = || fleet.processes().iter().map(|process| process.usage().resident_bytes).collect::<Vec<_>>();
    let idle = resident();
    let slots = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let mut most = idle.clone();
    for _ in 0..BURSTS {
        let people =
            (0..LOGINS_PER_BURST * fleet.entry_count()).map(|_| fleet.fresh_user()).collect::<Result<Vec<_>>>()?;
        let logins = people.iter().enumerate().map(|(turn, person)| async move {
            fleet.can_log_in(turn as u64, DialectKind::Jwt, &person.email, fleet.fresh_client_address()).await
        });
        for good in join_all(logins).await {
            row.sent += 1;
            row.require("a password gets in", good?);
        }
        tokio::time::sleep(PAUSE_BETWEEN_BURSTS).await;
        for (most, now) in most.iter_mut().zip(resident()) {
            *most = now.max(*most);
        }
    }
    let allowed = slots * 20 * MIB + 15_000_000;
    let grown = most.iter().zip(&idle).map(|(most, idle)| most.saturating_sub(*idle));
    row.let_through = grown.clone().filter(|grown| *grown > allowed).count() as u64;
    row.rejected = row.sent;
    let (most, whose) = grown.zip(fleet.processes()).max_by_key(|(grown, _)| *grown).unzip();
    let whose = whose.map_or("", |process| process.name());
    let note = format!("{whose} grew most: {} MiB of {} allowed", most.unwrap_or_default() / MIB, allowed / MIB);
    Ok(row.with_note(note))
}
