//! `stele check`: what is configured, and whether it works.

use stele_app::hashing::Hashing;
use stele_app::readiness::ReadinessCheck;
use stele_app::stores::{self, DATABASE_URL, REDIS_URL, Target};
use stele_app::{Surroundings, context};
use stele_service::private_file::{self, Finding};
use stele_service::{ConfigError, Settings};

use super::{CommandError, admin, say};
use crate::services;

pub(crate) async fn run(settings: Settings) -> Result<(), CommandError> {
    explain(&settings)?;
    let database = settings.text(&DATABASE_URL).is_some();
    let outbox = context::plan(&settings, &Surroundings::default())?.is_outbox();
    let context = stele_app::open_with(settings, Surroundings::default(), admin::no_delivery()).await?;
    say(&format!("ok: keys in {}", context.settings.keys().display()))?;
    files(&context.settings)?;
    let hashing = Hashing::read(&context.settings)?;
    let good = if hashing.is_weak() { "warning: weak, for tests only" } else { "ok" };
    say(&format!("{good}: passwords are hashed by {hashing}"))?;
    for service in services::ALL {
        (service.routes)(&context)?;
        say(&format!("ok: {}'s settings", service.name))?;
    }
    gateway::Config::from_settings(&context.settings)?.complete()?;
    say("ok: the routing table")?;
    ReadinessCheck::of(&context).check().await.map_err(ConfigError::new)?;
    say("ok: the stores answer, are set up as they must be, and the schema is current")?;
    if database && outbox {
        let text = "STELE_DELIVERY: codes would go to an outbox file, which is for development only";
        return Err(ConfigError::new(text).into());
    }
    say(if outbox { "note: codes go to outbox.jsonl: for development only" } else { "ok: delivery" })
}

/// Whether others on this machine can read or replace what is kept in files.
fn files(settings: &Settings) -> Result<(), CommandError> {
    let data = settings.data();
    let mut findings = Vec::new();
    findings.extend(private_file::judge_folder(&data));
    findings.extend(private_file::judge_folder(&settings.keys()));
    findings.extend(private_file::judge_file(&data.join("outbox.jsonl")));
    if let Target::Sqlite(path) = stores::target(settings)? {
        findings.extend(private_file::judge_database(&path));
    }
    if settings.text(&REDIS_URL).is_none() {
        findings.extend(private_file::judge_database(&data.join("state.db")));
    }
    let mut fault = None;
    for finding in findings {
        match finding {
            Finding::Warning(text) => say(&format!("warning: {text}"))?,
            Finding::Fault(text) => fault = fault.or(Some(text)),
        }
    }
    match fault {
        None => say("ok: the files are this user's alone"),
        Some(text) => Err(ConfigError::new(text).into()),
    }
}

fn explain(settings: &Settings) -> Result<(), CommandError> {
    let known = services::settings();
    for setting in known.iter().flat_map(|list| list.iter()) {
        let value = match settings.text(*setting) {
            Some(_) if setting.is_secret() => "(set)".to_owned(),
            Some(value) => value.to_owned(),
            None => setting.default_text(),
        };
        say(&format!("{:<28} {value:<36} {} ({})", setting.name(), setting.help(), setting.takes()))?;
    }
    // What else OpenTelemetry's SDK reads is its own.
    for name in settings.names().filter(|name| name.starts_with("STELE_")) {
        if !known.iter().any(|list| list.iter().any(|setting| setting.name() == name)) {
            say(&format!("warning: {name} is set, but nothing reads it"))?;
        }
    }
    Ok(())
}
