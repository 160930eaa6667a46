//! What a power cut may have taken.
//!
//! The file is written without waiting for the disk (`synchronous=NORMAL`), which no kill of a process can undo, but a
//! power cut can: the last moments before it may be gone. That must not bring back what was used up in them. So the
//! first to open the file after the machine started gives the store a new birth, before which every proof is stale,
//! and forgets what can be used once.

use diesel::prelude::*;
use stele_core::mac::sha256;
use stele_core::time::Timestamp;

use super::BIRTH;
use super::schema::{captchas, codes, meta, tickets};

const BOOT: &str = "boot";

/// What tells this start of the machine from others; `None` where the system does not say.
pub(super) fn boot_id() -> Option<i64> {
    let id = std::fs::read("/proc/sys/kernel/random/boot_id").ok()?;
    sha256(id.trim_ascii()).first_chunk().map(|bytes| i64::from_le_bytes(*bytes))
}

/// Does what must be done if the machine was started anew since the file was last opened.
pub(super) fn outlived(conn: &mut SqliteConnection, boot: Option<i64>, now: Timestamp) -> QueryResult<()> {
    let Some(boot) = boot else { return Ok(()) };
    let last = meta::table.find(BOOT).select(meta::value).get_result::<i64>(conn).optional()?;
    if last == Some(boot) {
        return Ok(());
    }
    if last.is_some() {
        let reborn = (meta::key.eq(BIRTH), meta::value.eq(now.as_micros()));
        diesel::replace_into(meta::table).values(reborn).execute(conn)?;
        diesel::delete(codes::table).execute(conn)?;
        diesel::delete(tickets::table).execute(conn)?;
        diesel::delete(captchas::table).execute(conn)?;
    }
    let seen = (meta::key.eq(BOOT), meta::value.eq(boot));
    diesel::replace_into(meta::table).values(seen).execute(conn).map(drop)
}

#[cfg(test)]
mod tests {
    use stele_core::ports::StateStore as _;
    use stele_core::time::{Clock, SystemClock};

    use super::super::{SqliteState, sqlite};
    use super::*;

    const LATER: Timestamp = Timestamp::from_secs(4_000_000_000);

    #[tokio::test]
    async fn a_restarted_machine_gives_the_store_a_new_birth() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let expires = LATER.after(std::time::Duration::from_secs(60));
        let state = SqliteState::open(&path, &SystemClock).unwrap();
        state.put_captcha(1, expires).await.unwrap();
        drop(state);

        let mut conn = sqlite::connect(&path, sqlite::Durability::Process).unwrap();
        outlived(&mut conn, boot_id(), LATER).unwrap();
        let state = SqliteState::open(&path, &SystemClock).unwrap();
        assert!(state.birth().await.unwrap() < LATER, "the same start of the machine");
        assert!(state.has_captcha(1, SystemClock.now()).await.unwrap());

        outlived(&mut conn, boot_id().map(|id| id ^ 1), LATER).unwrap();
        assert_eq!(state.birth().await.unwrap(), LATER);
        assert!(!state.has_captcha(1, SystemClock.now()).await.unwrap());
    }
}
