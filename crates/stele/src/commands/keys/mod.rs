//! `stele keys`: lists, rotates and retires sealing keys and JWT signing keys (key rotation). The commands change the
//! database and the key folder; running instances notice the change and reload their keys.

mod list;
mod retire;
mod rotate;

use std::path::PathBuf;
use std::sync::Arc;

use stele_app::audit_log::AuditLogWriter;
use stele_app::context;
use stele_app::token_settings::JWT_ALG;
use stele_core::event::{Action, Subject};
use stele_core::ports::KeyRecord;
use stele_core::time::Timestamp;
use stele_core::usecase::administration::Administration;
use stele_keys::{KeyKind, SEALING_KEYS};
use stele_service::Settings;

use self::retire::UnexpiredTokens;
use super::{CommandError, OutputFormat, admin};
use crate::args::KeysCommand;
use crate::services;

/// The database, the audit log and the key folder that the key commands work on.
struct KeyAdmin {
    administration: Administration,
    audit_log: Arc<AuditLogWriter>,
    folder: PathBuf,
    /// The kinds of signing keys of all services, for the configured algorithms.
    signing_kinds: Vec<KeyKind>,
}

impl KeyAdmin {
    async fn open(settings: &Settings) -> Result<Self, CommandError> {
        let (administration, audit_log) = context::open_administration(settings).await?;
        let mut signing_kinds = Vec::<KeyKind>::new();
        for service in &services::ALL {
            for kind in (service.signing_key_kinds)(settings)? {
                // Services share keys of one algorithm.
                if !signing_kinds.iter().any(|known| known.name == kind.name) {
                    signing_kinds.push(kind);
                }
            }
        }
        Ok(Self { administration, audit_log, folder: settings.keys_dir(), signing_kinds })
    }

    fn now(&self) -> Timestamp {
        self.administration.now()
    }

    /// Records the action in the audit log with the outcome that corresponds to `result`.
    async fn record_action<T>(
        &self,
        action: Action,
        subject: Option<Subject>,
        result: Result<T, CommandError>,
    ) -> Result<T, CommandError> {
        admin::record_action(&self.administration, &self.audit_log, action, subject, result).await
    }

    /// The kind and the number of a registered key; `None` for the key of keyed hashes, and for a signing key of an
    /// algorithm that no service here uses.
    fn kind_of(&self, record: &KeyRecord) -> Option<(KeyKind, u32)> {
        let mut kinds = std::iter::once(SEALING_KEYS).chain(self.signing_kinds.iter().copied());
        kinds.find_map(|kind| Some((kind, record.number(kind.name)?)))
    }
}

/// The number of the active key of a kind: the newest key that is active at `now`.
fn active_number(records: &[KeyRecord], kind: &KeyKind, now: Timestamp) -> Option<u32> {
    let started = records.iter().filter(|record| record.active_from <= now);
    started.filter_map(|record| record.number(kind.name)).max()
}

pub(crate) async fn run(settings: &Settings, command: KeysCommand) -> Result<(), CommandError> {
    let key_admin = KeyAdmin::open(settings).await?;
    match command {
        KeysCommand::List { json } => list::run(&key_admin, OutputFormat::from_json_flag(json)).await,
        KeysCommand::Rotate { jwt, alg, lead, no_reseal, json } => {
            let format = OutputFormat::from_json_flag(json);
            let is_signing_key = jwt || alg.is_some();
            let kind = if is_signing_key {
                stele_jose::key_kind(alg.map_or_else(|| settings.get(&JWT_ALG), Ok)?)
            } else {
                SEALING_KEYS
            };
            let result = rotate::register_next_key(&key_admin, &kind, lead).await;
            let subject = result.as_ref().ok().map(Subject::from);
            let record = key_admin.record_action(Action::AddKey, subject, result).await?;
            rotate::print_registered_key(&record, format)?;
            if is_signing_key || no_reseal {
                return Ok(());
            }
            rotate::wait_until_active(&key_admin, &record).await;
            key_admin.record_action(Action::Reseal, None, rotate::reseal(&key_admin, settings, format).await).await
        }
        KeysCommand::Reseal { json } => {
            let result = rotate::reseal(&key_admin, settings, OutputFormat::from_json_flag(json)).await;
            key_admin.record_action(Action::Reseal, None, result).await
        }
        KeysCommand::Retire { key, compromised } => {
            let tokens = if compromised { UnexpiredTokens::End } else { UnexpiredTokens::Keep };
            retire::run(&key_admin, settings, &key, tokens).await
        }
    }
}
