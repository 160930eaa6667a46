//! Readiness: whether a process can do its work right now, and if not, why.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use stele_core::UseCases;
use stele_service::admin::Ready;
use stele_service::drain::{Drain, Readiness, STOPPING};

use crate::context::Context;
use crate::stores;
use crate::trail::Trail;

/// A store that has not answered by then does not. Below the second that the gateway gives a service to say so.
const PING: Duration = Duration::from_millis(700);

/// With less free space on its disk, an embedded store cannot be relied on to take a login.
const LEAST_FREE: u64 = 256 * 1024;

/// What `/readyz` asks. Clones ask the same.
#[derive(Clone)]
pub struct ReadinessCheck {
    use_cases: UseCases,
    drain: Drain,
    trail: Arc<Trail>,
    /// Where embedded stores are.
    folders: Vec<PathBuf>,
}

impl ReadinessCheck {
    /// Of a process that works with `context`.
    pub fn of(context: &Context) -> Self {
        let Context { use_cases, drain, trail, settings, .. } = context.clone();
        Self { use_cases, drain, trail, folders: stores::embedded_folders(&settings) }
    }

    /// Whether both stores answer in time and can be written, as far as can be seen without writing, and the process is
    /// not going to stop.
    pub async fn check(&self) -> Readiness {
        if self.drain.is_draining() {
            return Err(STOPPING.to_owned());
        }
        // First, for then the trail cannot be written either.
        if self.folders.iter().any(|folder| is_full(folder)) {
            return Err("the disk under the data folder is full; free space there".to_owned());
        }
        if self.trail.is_failing() {
            return Err("the audit trail cannot be written (the log says why); it is tried twice a second".to_owned());
        }
        answer(&self.use_cases).await
    }
}

/// What the admin port says: both stores answer, the audit trail is written, and the program is not going to stop.
pub fn readiness(context: &Context) -> Ready {
    let readiness = ReadinessCheck::of(context);
    Arc::new(move || {
        let readiness = readiness.clone();
        Box::pin(async move { readiness.check().await })
    })
}

/// Whether both stores answer, and in time, and nothing is wrong with their setup. A stalled store must not be taken for
/// a dead service.
async fn answer(use_cases: &UseCases) -> Readiness {
    let (users, state) = tokio::join!(
        answers("the users' database", use_cases.ping_users()),
        answers("the store of short-lived state", use_cases.ping_state())
    );
    users.and(state)?;
    use_cases.state_defect().map_or(Ok(()), Err)
}

async fn answers(store: &str, ping: impl Future<Output = stele_core::Result<()>>) -> Readiness {
    match tokio::time::timeout(PING, ping).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(format!("{store} does not answer, or cannot be written")),
    }
}

/// Whether there is no space left at `folder`; `false` if it cannot be asked, for then the stores say what is wrong.
fn is_full(folder: &Path) -> bool {
    rustix::fs::statvfs(folder).is_ok_and(|disk| {
        // Some space of some file systems is the superuser's alone.
        let blocks = if rustix::process::geteuid().is_root() { disk.f_bfree } else { disk.f_bavail };
        blocks.saturating_mul(disk.f_frsize) < LEAST_FREE
    })
}
