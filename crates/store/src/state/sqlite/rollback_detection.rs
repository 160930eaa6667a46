//! Replay protection after a rollback of the state file: detects a power loss or a restored backup.
//!
//! The file is written without waiting for the disk (`synchronous=NORMAL`): it survives a crash of the process, but a
//! power loss may revert the last commits, and a restored backup reverts more. Used proofs, codes and tickets must not
//! become usable again. Therefore the first process that opens the file after a boot, or after [`MAX_UNSEEN`] without
//! use, sets a new birth, before which every proof is stale, and deletes all codes, tickets and captchas.

use std::time::Duration;

use diesel::prelude::*;
use stele_core::mac::sha256;
use stele_core::time::Timestamp;

use super::BIRTH_KEY;
use super::schema::{captchas, codes, meta, tickets};

/// Key in the table `meta`: the boot that the file was last used in.
const BOOT_KEY: &str = "boot";
/// Key in the table `meta`: seconds of uptime at which the file was last used.
const SEEN_KEY: &str = "seen";

/// A file unused for longer may be a restored backup. A process that has it open records its use once a minute.
const MAX_UNSEEN: Duration = Duration::from_secs(150);

/// The machine's boot and uptime. Both are independent of the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Uptime {
    /// Identifies this boot.
    pub(super) boot_id: i64,
    /// Time since this boot.
    pub(super) since_boot: Duration,
}

impl Uptime {
    /// Reads boot and uptime from `/proc`; `None` on a system without `/proc`, where no rollback is detected.
    pub(super) fn now() -> Option<Self> {
        let uuid = std::fs::read("/proc/sys/kernel/random/boot_id").ok()?;
        let boot_id = sha256(uuid.trim_ascii()).first_chunk().map(|bytes| i64::from_le_bytes(*bytes))?;
        let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
        let seconds = uptime.split('.').next()?.parse().ok()?;
        Some(Self { boot_id, since_boot: Duration::from_secs(seconds) })
    }

    fn seconds(self) -> i64 {
        i64::try_from(self.since_boot.as_secs()).unwrap_or(i64::MAX)
    }
}

/// Sets a new birth at `now` and deletes one-time data if the file may have been rolled back. Records that the file is
/// in use.
pub(super) fn invalidate_if_rolled_back(
    conn: &mut SqliteConnection,
    uptime: Option<Uptime>,
    now: Timestamp,
) -> QueryResult<()> {
    let Some(uptime) = uptime else { return Ok(()) };
    let mut read_meta = |key| meta::table.find(key).select(meta::value).get_result::<i64>(conn).optional();
    if let Some(boot_id) = read_meta(BOOT_KEY)? {
        // A file of an earlier version has no `seen`.
        let unseen = read_meta(SEEN_KEY)?.map(|seen| uptime.seconds().checked_sub(seen));
        let limit = i64::try_from(MAX_UNSEEN.as_secs()).unwrap_or(i64::MAX);
        let recently_used = unseen.flatten().is_some_and(|unseen| (0..=limit).contains(&unseen));
        if boot_id != uptime.boot_id || !recently_used {
            let birth = (meta::key.eq(BIRTH_KEY), meta::value.eq(now.as_micros()));
            diesel::replace_into(meta::table).values(birth).execute(conn)?;
            diesel::delete(codes::table).execute(conn)?;
            diesel::delete(tickets::table).execute(conn)?;
            diesel::delete(captchas::table).execute(conn)?;
        }
    }
    let boot = (meta::key.eq(BOOT_KEY), meta::value.eq(uptime.boot_id));
    diesel::replace_into(meta::table).values(boot).execute(conn)?;
    record_in_use(conn, Some(uptime))
}

/// Records that the file is in use now.
pub(super) fn record_in_use(conn: &mut SqliteConnection, uptime: Option<Uptime>) -> QueryResult<()> {
    let Some(uptime) = uptime else { return Ok(()) };
    let seen = (meta::key.eq(SEEN_KEY), meta::value.eq(uptime.seconds()));
    diesel::replace_into(meta::table).values(seen).execute(conn).map(drop)
}

#[cfg(test)]
mod tests {
    use stele_core::ports::StateStore as _;
    use stele_core::time::{Clock, SystemClock};

    use super::super::{SqliteStateStore, sqlite};
    use super::*;

    const LATER: Timestamp = Timestamp::from_secs(4_000_000_000);

    #[tokio::test]
    async fn a_reboot_sets_a_new_birth_and_deletes_captchas() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let expires = LATER.saturating_add(std::time::Duration::from_secs(60));
        let state = SqliteStateStore::open(&path, &SystemClock).unwrap();
        state.store_captcha(1, expires).await.unwrap();
        drop(state);

        let mut conn = sqlite::open_connection(&path, sqlite::Durability::SurvivesProcessCrash).unwrap();
        invalidate_if_rolled_back(&mut conn, Uptime::now(), LATER).unwrap();
        let state = SqliteStateStore::open(&path, &SystemClock).unwrap();
        assert!(state.created_at().await.unwrap() < LATER, "a restart within one boot retains the birth");
        assert!(state.count_captcha_view(1, 5, SystemClock.now()).await.unwrap());

        let other_boot = Uptime::now().map(|uptime| Uptime { boot_id: uptime.boot_id ^ 1, ..uptime });
        invalidate_if_rolled_back(&mut conn, other_boot, LATER).unwrap();
        assert_eq!(state.created_at().await.unwrap(), LATER);
        assert!(!state.count_captcha_view(1, 5, SystemClock.now()).await.unwrap());
    }

    #[tokio::test]
    async fn a_restored_backup_sets_a_new_birth_and_deletes_captchas() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let state = SqliteStateStore::open(&path, &SystemClock).unwrap();
        state.store_captcha(1, LATER.saturating_add(Duration::from_secs(60))).await.unwrap();

        let uptime = Uptime::now().unwrap();
        let uptime_after = |span| Some(Uptime { since_boot: uptime.since_boot + span, ..uptime });
        let mut conn = sqlite::open_connection(&path, sqlite::Durability::SurvivesProcessCrash).unwrap();
        // The file was used recently, first as at a restart, then by a process that has it open.
        invalidate_if_rolled_back(&mut conn, uptime_after(MAX_UNSEEN - Duration::from_secs(10)), LATER).unwrap();
        record_in_use(&mut conn, uptime_after(2 * MAX_UNSEEN)).unwrap();
        invalidate_if_rolled_back(&mut conn, uptime_after(3 * MAX_UNSEEN), LATER).unwrap();
        let birth = state.created_at().await.unwrap();
        assert!(birth < LATER && state.count_captcha_view(1, 5, SystemClock.now()).await.unwrap());

        invalidate_if_rolled_back(&mut conn, uptime_after(5 * MAX_UNSEEN), LATER).unwrap();
        assert_eq!(state.created_at().await.unwrap(), LATER);
        assert!(!state.count_captcha_view(1, 5, SystemClock.now()).await.unwrap());
    }
}
