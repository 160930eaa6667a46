//! Background tasks of a process: writing the audit log, key rotation, closures, deletion of expired rows, the clock check,
//! argon2id over imported password hashes (of imports, and of earlier versions).

use std::time::Duration;

use stele_core::usecase::hash_pending::HashReport;
use stele_core::usecase::wrap_hashes::WrapReport;

use crate::context::Context;

/// Writes the audit log, deletes expired rows, follows key rotation and the closures of dialects, and checks the clock.
/// Runs until dropped.
pub async fn run_background_tasks(context: Context) {
    let Context { use_cases, audit_log, clock_check, closures, use_retention, .. } = context;
    tokio::join!(
        use_cases.run_background_tasks(),
        audit_log.run(),
        clock_check.run(),
        closures.run(),
        use_retention.run(),
    );
}

/// How often to look for imported hashes that wait for argon2id.
const HASHING_INTERVAL: Duration = Duration::from_secs(10);

/// Computes argon2id over imported hashes, while no login does. Every instance takes part. Runs until dropped.
pub async fn hash_imported(context: Context) {
    let Context { imports, hasher, .. } = context;
    loop {
        match imports.hash_pending(&hasher).await {
            Ok(HashReport { rows: 0, .. }) => {}
            Ok(HashReport { rows, unreadable }) => tracing::info!(rows, unreadable, "imported hashes are now argon2id"),
            Err(cause) => tracing::warn!(%cause, "imported hashes could not be hashed; trying again"),
        }
        tokio::time::sleep(HASHING_INTERVAL).await;
    }
}

/// Wraps imported hashes that earlier versions stored unwrapped (ADR 25), one at a time so that logins have priority.
pub async fn wrap_earlier_hashes(context: Context) {
    let wrap_all = async {
        let verifiers = &context.verifiers;
        let pending = verifiers.count_unwrapped().await?;
        if pending == 0 {
            return Ok(None);
        }
        tracing::info!(pending, "wrapping imported hashes in argon2id");
        context.use_cases.wrap_hashes(verifiers.as_ref()).await.map(Some)
    };
    match wrap_all.await {
        Ok(None) => {}
        Ok(Some(WrapReport { rows, unreadable: 0 })) => tracing::info!(rows, "imported hashes are wrapped in argon2id"),
        Ok(Some(WrapReport { rows, unreadable })) => {
            tracing::warn!(rows, unreadable, "some imported hashes are malformed; set new passwords for these users");
        }
        Err(cause) => tracing::warn!(%cause, "imported hashes could not be wrapped; run `stele migrate`"),
    }
}
