//! Working on the user base beside running services.

use std::io::BufRead as _;
use std::sync::Arc;

use stele_core::ports::{Delivery, Message};
use stele_core::random::OsRandom;
use stele_core::time::SystemClock;
use stele_web::boot::{self, Surroundings};
use stele_web::keyring::KeyRing;
use stele_web::{ConfigError, Context, Settings};
use zeroize::Zeroizing;

use super::CommandError;
use crate::services;

/// Opens the user base. Makes nothing that is missing.
pub(crate) async fn open(settings: Settings) -> Result<Context, CommandError> {
    Ok(boot::open_with(settings, Surroundings::default(), no_delivery()).await?)
}

/// What commands deliver codes by: they send none.
pub(crate) fn no_delivery() -> Arc<dyn Delivery> {
    Arc::new(NoDelivery)
}

/// Makes missing keys and brings the schema up to date.
pub(crate) async fn migrate(settings: Settings) -> Result<(), CommandError> {
    boot::provision(&settings, &services::ALL, &OsRandom).await?;
    // As whatever runs will: what is wrong with a key is told now.
    let database = boot::current(&settings).await?;
    KeyRing::open(settings.keys(), database.keys(), Arc::new(SystemClock)).await?;
    println!("keys in {}: ready\nschema: current", settings.keys().display());
    Ok(())
}

/// The first line of standard input.
pub(crate) fn secret_from_stdin() -> Result<Zeroizing<String>, CommandError> {
    let mut line = Zeroizing::new(String::new());
    let read = std::io::stdin().lock().read_line(&mut line);
    read.map_err(|e| ConfigError::new(format!("standard input cannot be read: {e}")))?;
    let line = Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned());
    if line.is_empty() {
        return Err(
            ConfigError::new("standard input is empty; write the secret to it, as in: printf %s SECRET | …").into()
        );
    }
    Ok(line)
}

struct NoDelivery;

impl Delivery for NoDelivery {
    fn dispatch(&self, _: Message) -> stele_core::Result<()> {
        Err(stele_core::Error::unavailable("this command delivers nothing"))
    }
}
