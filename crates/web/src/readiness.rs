//! Readiness: whether a process can do its work right now, and if not, why.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use stele_core::UseCases;

use crate::drain::{Drain, Readiness, STOPPING};
use crate::service::Context;
use crate::trail::Trail;
use crate::{boot, serve};

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
        Self { use_cases, drain, trail, folders: boot::embedded_folders(&settings) }
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
        serve::ready(&self.use_cases).await
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
