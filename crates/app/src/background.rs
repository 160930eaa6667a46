//! Background tasks of a process: the audit trail, keys, expiry, hashes that earlier builds imported.

use std::sync::Arc;

use stele_core::UseCases;
use stele_core::usecase::wrap_hashes::WrapReport;

use crate::audit_log::AuditLogWriter;
use crate::context::Context;
use crate::stores;

/// Background tasks: writes the audit trail, forgets what has expired, and keeps up with the keys in service. Runs until
/// dropped.
pub async fn run_background_tasks(use_cases: UseCases, trail: Arc<AuditLogWriter>) {
    tokio::join!(use_cases.run_background_tasks(), trail.run());
}

/// Wraps imported hashes that earlier builds stored as they came, one at a time: logins come first.
pub async fn wrap_earlier_hashes(context: Context) {
    let work = async {
        let verifiers = stores::open_database(&context.settings).map_err(stele_core::Error::internal)?.verifiers();
        let pending = verifiers.count_unwrapped().await?;
        if pending == 0 {
            return Ok(None);
        }
        tracing::info!(pending, "wrapping imported hashes in argon2id");
        context.use_cases.wrap_hashes(verifiers.as_ref()).await.map(Some)
    };
    match work.await {
        Ok(None) => {}
        Ok(Some(WrapReport { rows, unreadable: 0 })) => tracing::info!(rows, "imported hashes are wrapped in argon2id"),
        Ok(Some(WrapReport { rows, unreadable })) => {
            tracing::warn!(rows, unreadable, "some imported hashes cannot be read; set these users' passwords");
        }
        Err(cause) => tracing::warn!(%cause, "imported hashes are not wrapped yet; run `stele migrate`"),
    }
}
