//! Attack: memory exhaustion by password hashing. Sends bursts of password logins, with pauses in which idle hashing
//! threads end, and checks that memory stays bounded.

use std::time::Duration;

use futures_util::future::join_all;
use stele_bench_kit::{DialectKind, Result};

use crate::report::AttackResult;
use crate::target::Target;

const BURSTS: u64 = 6;
const LOGINS_PER_BURST: u64 = 8;
/// Longer than the idle timeout of a hashing thread.
const PAUSE_BETWEEN_BURSTS: Duration = Duration::from_secs(7);
const MIB: u64 = 1 << 20;

/// Compares the resident memory of each process with its memory before the bursts. It may grow by a hash's memory for
/// each hashing slot, plus 15 MB.
pub(crate) async fn send_login_bursts(name: &str, target: &Target) -> Result<AttackResult> {
    let mut result = AttackResult::new(name, target);
    let resident_bytes = || target.processes().iter().map(|process| process.usage().resident_bytes).collect::<Vec<_>>();
    let idle = resident_bytes();
    let slots = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let mut peak = idle.clone();
    for _ in 0..BURSTS {
        let users =
            (0..LOGINS_PER_BURST * target.gateway_count()).map(|_| target.fresh_user()).collect::<Result<Vec<_>>>()?;
        let logins = users.iter().enumerate().map(|(index, user)| async move {
            target.can_log_in(index as u64, DialectKind::Jwt, &user.email, target.fresh_client_address()).await
        });
        for logged_in in join_all(logins).await {
            result.sent += 1;
            result.require("the password is accepted", logged_in?);
        }
        tokio::time::sleep(PAUSE_BETWEEN_BURSTS).await;
        for (peak, now) in peak.iter_mut().zip(resident_bytes()) {
            *peak = now.max(*peak);
        }
    }
    let allowed = slots * 20 * MIB + 15_000_000;
    let growth = peak.iter().zip(&idle).map(|(peak, idle)| peak.saturating_sub(*idle));
    result.let_through = growth.clone().filter(|bytes| *bytes > allowed).count() as u64;
    result.rejected = result.sent;
    let (most, process) = growth.zip(target.processes()).max_by_key(|(bytes, _)| *bytes).unzip();
    let process_name = process.map_or("", |process| process.name());
    let note =
        format!("largest growth: {process_name}, {} MiB of {} allowed", most.unwrap_or_default() / MIB, allowed / MIB);
    Ok(result.with_note(note))
}
