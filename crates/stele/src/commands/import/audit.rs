//! Imports and exports in the audit log: by which operator, of which source and run, and with which counts.

use std::sync::Arc;

use stele_app::audit_log::AuditLogWriter;
use stele_app::context;
use stele_core::event::{Action, Outcome, Subject};
use stele_core::import::SourceName;
use stele_core::usecase::administration::Administration;
use stele_core::usecase::import::Imports;
use stele_service::Settings;

use crate::commands::{CommandError, admin};

/// The audit log of the database that is imported into.
pub(in crate::commands) struct ImportAudit {
    administration: Administration,
    log: Arc<AuditLogWriter>,
}

impl ImportAudit {
    pub(in crate::commands) async fn open(settings: &Settings) -> Result<Self, CommandError> {
        let (administration, log) = context::open_administration(settings).await?;
        Ok(Self { administration, log })
    }

    /// Records what was done with the last run of a source. An interrupted action has the outcome `unavailable`.
    pub(super) async fn record_run(
        &self,
        action: Action,
        imports: &Imports,
        source: &SourceName,
        is_complete: bool,
    ) -> Result<(), CommandError> {
        let outcome = if is_complete { Outcome::Done } else { Outcome::Unavailable };
        let run = match imports.find_last_run(source).await {
            Ok(run) => run,
            // Whatever interrupted the action may have reached the database, too; that is what is reported.
            Err(_) if !is_complete => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let subject = run.as_ref().map_or_else(|| Subject::from(source), Subject::from);
        let recorded = self.record(action, subject, outcome).await;
        if is_complete { recorded } else { Ok(()) }
    }

    /// Records an action and writes it to the database.
    pub(in crate::commands) async fn record(
        &self,
        action: Action,
        subject: Subject,
        outcome: Outcome,
    ) -> Result<(), CommandError> {
        self.administration.record(action, Some(subject), outcome);
        admin::flush_audit_log(&self.log).await
    }
}
