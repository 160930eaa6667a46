//! Readiness check (`/readyz`): whether a process can serve requests now, and if not, the reason.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use stele_core::UseCases;
use stele_service::admin::ReadinessCheckFn;
use stele_service::drain::{DRAINING_REASON, Drain, Readiness};

use crate::audit_log::AuditLogWriter;
use crate::clock_check::ClockCheck;
use crate::context::Context;
use crate::stores;

/// Timeout of a store's ping, below the gateway's health check timeout of one second.
const PING_TIMEOUT: Duration = Duration::from_millis(700);

/// With less free disk space, an embedded store may be unable to record a login.
const MIN_FREE_BYTES: u64 = 256 * 1024;

/// The readiness check of a process. Clones share the state of the process.
#[derive(Clone)]
pub struct ReadinessCheck {
    use_cases: UseCases,
    drain: Drain,
    audit_log: Arc<AuditLogWriter>,
    clock_check: Arc<ClockCheck>,
    /// The folders of embedded stores, for the check of free disk space.
    embedded_store_folders: Vec<PathBuf>,
}

impl ReadinessCheck {
    /// The readiness check of a process with this `context`.
    pub fn for_context(context: &Context) -> Self {
        let Context { use_cases, drain, audit_log, clock_check, settings, .. } = context.clone();
        let embedded_store_folders = stores::embedded_folders(&settings);
        Self { use_cases, drain, audit_log, clock_check, embedded_store_folders }
    }

    /// Ready if the process is not draining, the disk has free space, the audit log can be written, both stores respond
    /// in time and are writable, as far as can be checked without writing, and this machine's clock is right.
    pub async fn check(&self) -> Readiness {
        if self.drain.is_draining() {
            return Err(DRAINING_REASON.to_owned());
        }
        // Checked before the audit log, which cannot be written to a full disk either: this reason names the cause.
        if self.embedded_store_folders.iter().any(|folder| is_disk_full(folder)) {
            return Err("the disk under the data folder is full; free space there".to_owned());
        }
        if self.audit_log.is_failing() {
            return Err(
                "the audit log cannot be written (see the log for the cause); retried twice a second".to_owned()
            );
        }
        check_stores(&self.use_cases).await?;
        self.clock_check.readiness().await
    }
}

/// The readiness check of a process with this `context`, as the servers of `/readyz` call it.
pub fn build_readiness_check(context: &Context) -> ReadinessCheckFn {
    let readiness = ReadinessCheck::for_context(context);
    Arc::new(move || {
        let readiness = readiness.clone();
        Box::pin(async move { readiness.check().await })
    })
}

/// Whether both stores respond in time and the state store is configured correctly. The timeout lets a service with a
/// stalled store report the reason before the gateway considers the service dead.
async fn check_stores(use_cases: &UseCases) -> Readiness {
    let (users, state) = tokio::join!(
        ping_store("the user store", use_cases.ping_users()),
        ping_store("the state store", use_cases.ping_state())
    );
    users.and(state)?;
    use_cases.state_store_misconfiguration().map_or(Ok(()), Err)
}

async fn ping_store(store: &str, ping: impl Future<Output = stele_core::Result<()>>) -> Readiness {
    match tokio::time::timeout(PING_TIMEOUT, ping).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(format!("{store} does not respond or cannot be written")),
    }
}

/// Whether the disk of `folder` is full; `false` if that cannot be determined, since the stores then report the error.
fn is_disk_full(folder: &Path) -> bool {
    rustix::fs::statvfs(folder).is_ok_and(|disk| {
        // Some file systems reserve space for the superuser.
        let blocks = if rustix::process::geteuid().is_root() { disk.f_bfree } else { disk.f_bavail };
        blocks.saturating_mul(disk.f_frsize) < MIN_FREE_BYTES
    })
}
