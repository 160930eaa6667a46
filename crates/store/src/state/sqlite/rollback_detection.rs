//! What a power cut or an old copy of the file may have taken.
//!
//! The file is written without waiting for the disk (`synchronous=NORMAL`), which no kill of a process can undo, but a
//! power cut can: the last moments before it may be gone. So may more, if the file is a copy that was put back from a
//! backup. That must not bring back what was used up meanwhile. So the process that opens the file first after the machine
//! started, or after it was not in use for minutes, as a copy is not, gives the store a new birth, before which every
//! proof is stale, and forgets what can be used once.

use std::time::Duration;

use diesel::prelude::*;
use stele_core::mac::sha256;
use stele_core::time::Timestamp;

use super::BIRTH_KEY;
use super::schema::{captchas, codes, meta, tickets};

const BOOT_KEY: &str = "boot";
const SEEN_KEY: &str = "seen";

/// A file that no process has had open for so long may be an old copy. Those that have it open say so once a minute.
const MAX_UNSEEN: Duration = Duration::from_secs(150);

/// Since when the machine runs, and for how long: by no clock that is ever set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Uptime {
    /// What distinguishes this start of the machine from others.
    pub(super) boot_id: i64,
    /// How long it has run.
    pub(super) since_boot: Duration,
}

impl Uptime {
    /// The machine's; `None` where the system does not say.
    pub(super) fn now() -> Option<Self> {
        let id = std::fs::read("/proc/sys/kernel/random/boot_id").ok()?;
        let boot = sha256(id.trim_ascii()).first_chunk().map(|bytes| i64::from_le_bytes(*bytes))?;
        let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
        let seconds = uptime.split('.').next()?.parse().ok()?;
        Some(Self { boot_id: boot, since_boot: Duration::from_secs(seconds) })
    }

    fn seconds(self) -> i64 {
        i64::try_from(self.since_boot.as_secs()).unwrap_or(i64::MAX)
    }
}

/// Does what must be done if the file may hold what was used up since.
pub(super) fn invalidate_if_rolled_back(
    conn: &mut SqliteConnection,
    uptime: Option<Uptime>,
    now: Timestamp,
) -> QueryResult<()> {
    let Some(uptime) = uptime else { return Ok(()) };
    let mut noted = |key| meta::table.find(key).select(meta::value).get_result::<i64>(conn).optional();
    if let Some(boot) = noted(BOOT_KEY)? {
        // A file of an earlier version does not say when it was seen.
        let unseen = noted(SEEN_KEY)?.map(|seen| uptime.seconds().checked_sub(seen));
        let limit = i64::try_from(MAX_UNSEEN.as_secs()).unwrap_or(i64::MAX);
        let current = unseen.flatten().is_some_and(|unseen| (0..=limit).contains(&unseen));
        if boot != uptime.boot_id || !current {
            let reborn = (meta::key.eq(BIRTH_KEY), meta::value.eq(now.as_micros()));
            diesel::replace_into(meta::table).values(reborn).execute(conn)?;
            diesel::delete(codes::table).execute(conn)?;
            diesel::delete(tickets::table).execute(conn)?;
            diesel::delete(captchas::table).execute(conn)?;
        }
    }
    let booted = (meta::key.eq(BOOT_KEY), meta::value.eq(uptime.boot_id));
    diesel::replace_into(meta::table).values(booted).execute(conn)?;
    record_in_use(conn, Some(uptime))
}

/// Notes that the file is in use.
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
    async fn a_reboot_gives_the_store_a_new_birth() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let expires = LATER.saturating_add(std::time::Duration::from_secs(60));
        let state = SqliteStateStore::open(&path, &SystemClock).unwrap();
        state.store_captcha(1, expires).await.unwrap();
        drop(state);

        let mut conn = sqlite::open_connection(&path, sqlite::Durability::SurvivesProcessCrash).unwrap();
        invalidate_if_rolled_back(&mut conn, Uptime::now(), LATER).unwrap();
        let state = SqliteStateStore::open(&path, &SystemClock).unwrap();
        assert!(state.created_at().await.unwrap() < LATER, "the same start of the machine");
        assert!(state.count_captcha_view(1, 5, SystemClock.now()).await.unwrap());

        let other = Uptime::now().map(|uptime| Uptime { boot_id: uptime.boot_id ^ 1, ..uptime });
        invalidate_if_rolled_back(&mut conn, other, LATER).unwrap();
        assert_eq!(state.created_at().await.unwrap(), LATER);
        assert!(!state.count_captcha_view(1, 5, SystemClock.now()).await.unwrap());
    }

    #[tokio::test]
    async fn a_restored_backup_gives_the_store_a_new_birth() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let state = SqliteStateStore::open(&path, &SystemClock).unwrap();
        state.store_captcha(1, LATER.saturating_add(Duration::from_secs(60))).await.unwrap();

        let uptime = Uptime::now().unwrap();
        let after = |span| Some(Uptime { since_boot: uptime.since_boot + span, ..uptime });
        let mut conn = sqlite::open_connection(&path, sqlite::Durability::SurvivesProcessCrash).unwrap();
        // In use until a moment ago, as at a restart; and by a process that has it open.
        invalidate_if_rolled_back(&mut conn, after(MAX_UNSEEN - Duration::from_secs(10)), LATER).unwrap();
        record_in_use(&mut conn, after(2 * MAX_UNSEEN)).unwrap();
        invalidate_if_rolled_back(&mut conn, after(3 * MAX_UNSEEN), LATER).unwrap();
        let birth = state.created_at().await.unwrap();
        assert!(birth < LATER && state.count_captcha_view(1, 5, SystemClock.now()).await.unwrap());

        invalidate_if_rolled_back(&mut conn, after(5 * MAX_UNSEEN), LATER).unwrap();
        assert_eq!(state.created_at().await.unwrap(), LATER);
        assert!(!state.count_captcha_view(1, 5, SystemClock.now()).await.unwrap());
    }
}
