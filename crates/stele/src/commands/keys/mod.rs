//! `stele keys`: which keys are in service. The commands act on the database and the key folder; running instances
//! take up by themselves what has changed.

mod list;
mod retire;
mod rotate;

use std::path::PathBuf;
use std::sync::Arc;

use stele_app::context;
use stele_app::trail::Trail;
use stele_core::event::{Act, Subject};
use stele_core::ports::KeyRecord;
use stele_core::time::Timestamp;
use stele_core::usecase::administration::Administration;
use stele_keys::{Family, SEALING};
use stele_service::{ConfigError, Settings};

use super::{CommandError, admin};
use crate::args::Keys;
use crate::services;

/// What the commands work with.
struct Desk {
    administration: Administration,
    trail: Arc<Trail>,
    folder: PathBuf,
    /// The families of signing keys.
    signing: Vec<Family>,
}

impl Desk {
    async fn open(settings: &Settings) -> Result<Self, CommandError> {
        let (administration, trail) = context::administration(settings).await?;
        let families: Result<Vec<_>, _> = services::ALL.iter().map(|service| (service.signing)(settings)).collect();
        let signing = families?.into_iter().flatten().collect();
        Ok(Self { administration, trail, folder: settings.keys(), signing })
    }

    fn now(&self) -> Timestamp {
        self.administration.now()
    }

    /// Writes into the audit trail what was done.
    async fn record<T>(
        &self,
        act: Act,
        subject: Option<Subject>,
        done: Result<T, CommandError>,
    ) -> Result<T, CommandError> {
        admin::record(&self.administration, &self.trail, act, subject, done).await
    }

    /// The family that a key in service belongs to, and its number there.
    fn family_of(&self, record: &KeyRecord) -> Option<(Family, u32)> {
        let mut families = std::iter::once(SEALING).chain(self.signing.iter().copied());
        families.find_map(|family| Some((family, record.number(family.name)?)))
    }
}

/// The key of a family that works at `now`: the newest whose time has come.
fn working(records: &[KeyRecord], family: &Family, now: Timestamp) -> Option<u32> {
    let due = records.iter().filter(|record| record.works_from <= now);
    due.filter_map(|record| record.number(family.name)).max()
}

pub(crate) async fn run(settings: &Settings, command: Keys) -> Result<(), CommandError> {
    let desk = Desk::open(settings).await?;
    match command {
        Keys::List { json } => list::run(&desk, json).await,
        Keys::Rotate { jwt, lead, no_reseal, json } => {
            let family = if jwt { desk.signing.first().copied() } else { Some(SEALING) };
            let family = family.ok_or_else(|| ConfigError::new("no dialect here signs"))?;
            let put = rotate::put_in_service(&desk, &family, lead).await;
            let subject = put.as_ref().ok().map(Subject::from);
            let put = desk.record(Act::AddKey, subject, put).await?;
            rotate::announce(&put, json)?;
            if jwt || no_reseal {
                return Ok(());
            }
            rotate::wait_for(&desk, &put).await;
            desk.record(Act::Reseal, None, rotate::reseal(&desk, settings, json).await).await
        }
        Keys::Reseal { json } => desk.record(Act::Reseal, None, rotate::reseal(&desk, settings, json).await).await,
        Keys::Retire { key } => retire::run(&desk, settings, &key).await,
    }
}
