//! `stele keys`: which keys are in service. The commands act on the database and the key folder; running instances
//! take up by themselves what has changed.

mod list;
mod retire;
mod rotate;

use std::path::PathBuf;
use std::sync::Arc;

use stele_app::audit_log::AuditLogWriter;
use stele_app::context;
use stele_core::event::{Action, Subject};
use stele_core::ports::KeyRecord;
use stele_core::time::Timestamp;
use stele_core::usecase::administration::Administration;
use stele_keys::{KeyKind, SEALING_KEYS};
use stele_service::{ConfigError, Settings};

use super::{CommandError, admin};
use crate::args::KeysCommand;
use crate::services;

/// What the commands work with.
struct KeyAdmin {
    administration: Administration,
    audit_log: Arc<AuditLogWriter>,
    folder: PathBuf,
    /// The families of signing keys.
    signing_kinds: Vec<KeyKind>,
}

impl KeyAdmin {
    async fn open(settings: &Settings) -> Result<Self, CommandError> {
        let (administration, trail) = context::administration(settings).await?;
        let families: Result<Vec<_>, _> =
            services::ALL.iter().map(|service| (service.signing_key_kind)(settings)).collect();
        let signing = families?.into_iter().flatten().collect();
        Ok(Self { administration, audit_log: trail, folder: settings.keys_dir(), signing_kinds: signing })
    }

    fn now(&self) -> Timestamp {
        self.administration.now()
    }

    /// Writes into the audit trail what was done.
    async fn record_action<T>(
        &self,
        act: Action,
        subject: Option<Subject>,
        done: Result<T, CommandError>,
    ) -> Result<T, CommandError> {
        admin::record_action(&self.administration, &self.audit_log, act, subject, done).await
    }

    /// The family that a key in service belongs to, and its number there.
    fn kind_of(&self, record: &KeyRecord) -> Option<(KeyKind, u32)> {
        let mut families = std::iter::once(SEALING_KEYS).chain(self.signing_kinds.iter().copied());
        families.find_map(|family| Some((family, record.number(family.name)?)))
    }
}

/// The key of a family that works at `now`: the newest whose time has come.
fn active_number(records: &[KeyRecord], family: &KeyKind, now: Timestamp) -> Option<u32> {
    let due = records.iter().filter(|record| record.works_from <= now);
    due.filter_map(|record| record.number(family.name)).max()
}

pub(crate) async fn run(settings: &Settings, command: KeysCommand) -> Result<(), CommandError> {
    let desk = KeyAdmin::open(settings).await?;
    match command {
        KeysCommand::List { json } => list::run(&desk, json).await,
        KeysCommand::Rotate { jwt, lead, no_reseal, json } => {
            let family = if jwt { desk.signing_kinds.first().copied() } else { Some(SEALING_KEYS) };
            let family = family.ok_or_else(|| ConfigError::new("no dialect here signs"))?;
            let put = rotate::activate_next_key(&desk, &family, lead).await;
            let subject = put.as_ref().ok().map(Subject::from);
            let put = desk.record_action(Action::AddKey, subject, put).await?;
            rotate::print_activation(&put, json)?;
            if jwt || no_reseal {
                return Ok(());
            }
            rotate::wait_until_active(&desk, &put).await;
            desk.record_action(Action::Reseal, None, rotate::reseal(&desk, settings, json).await).await
        }
        KeysCommand::Reseal { json } => {
            desk.record_action(Action::Reseal, None, rotate::reseal(&desk, settings, json).await).await
        }
        KeysCommand::Retire { key } => retire::run(&desk, settings, &key).await,
    }
}
