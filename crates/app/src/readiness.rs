//! Readiness: whether a process can do its work right now, and if not, why.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use stele_core::UseCases;
use stele_service::admin::ReadinessProbe;
use stele_service::drain::{DRAINING_REASON, Drain, Readiness};

use crate::audit_log::AuditLogWriter;
use crate::context::Context;
use crate::stores;

/// A store that has not answered by then does not. Below the second that the gateway gives a service to say so.
const PING_TIMEOUT: Duration = Duration::from_millis(700);

/// With less free space on its disk, an embedded store cannot be relied on to take a login.
const MIN_FREE_BYTES: u64 = 256 * 1024;

/// What `/readyz` asks. Clones ask the same.
#[derive(Clone)]
pub struct ReadinessCheck {
    use_cases: UseCases,
    drain: Drain,
    audit_log: Arc<AuditLogWriter>,
    /// Where embedded stores are.
    embedded_store_folders: Vec<PathBuf>,
}

impl ReadinessCheck {
    /// Of a process that works with `context`.
    pub fn for_context(context: &Context) -> Self {
        let Context { use_cases, drain, audit_log: trail, settings, .. } = context.clone();
        Self { use_cases, drain, audit_log: trail, embedded_store_folders: stores::embedded_folders(&settings) }
    }

    /// Whether both stores answer in time and can be written, as far as can be seen without writing, and the process is
    /// not going to stop.
    pub async fn check(&self) -> Readiness {
        if self.drain.is_draining() {
            return Err(DRAINING_REASON.to_owned());
        }
        // First, for then the trail cannot be written either.
        if self.embedded_store_folders.iter().any(|folder| is_disk_full(folder)) {
            return Err("the disk under the data folder is full; free space there".to_owned());
        }
        if self.audit_log.is_failing() {
            return Err("the audit trail cannot be written (the log says why); it is tried twice a second".to_owned());
        }
        check_stores(&self.use_cases).await
    }
}

/// What the admin port says: both stores answer, the audit trail is written, and the program is not going to stop.
pub fn readiness_probe(context: &Context) -> ReadinessProbe {
    let readiness = ReadinessCheck::for_context(context);
    Arc::new(move || {
        let readiness = readiness.clone();
        Box::pin(async move { readiness.check().await })
    })
}

/// Whether both stores answer, and in time, and nothing is wrong with their setup. A stalled store must not be taken for
/// a dead service.
async fn check_stores(use_cases: &UseCases) -> Readiness {
    let (users, state) = tokio::join!(
        ping_store("the users' database", use_cases.ping_users()),
        ping_store("the store of short-lived state", use_cases.ping_state())
    );
    users.and(state)?;
    use_cases.state_store_misconfiguration().map_or(Ok(()), Err)
}

async fn ping_store(store: &str, ping: impl Future<Output = stele_core::Result<()>>) -> Readiness {
    match tokio::time::timeout(PING_TIMEOUT, ping).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(format!("{store} does not answer, or cannot be written")),
    }
}

/// Whether there is no space left at `folder`; `false` if it cannot be asked, for then the stores say what is wrong.
fn is_disk_full(folder: &Path) -> bool {
    rustix::fs::statvfs(folder).is_ok_and(|disk| {
        // Some space of some file systems is the superuser's alone.
        let blocks = if rustix::process::geteuid().is_root() { disk.f_bfree } else { disk.f_bavail };
        blocks.saturating_mul(disk.f_frsize) < MIN_FREE_BYTES
    })
}
