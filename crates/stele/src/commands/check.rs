//! `stele check`: what is configured, and whether it works.

use stele_web::boot::{self, Surroundings};
use stele_web::delivery::Plan;
use stele_web::hashing::Hashing;
use stele_web::readiness::ReadinessCheck;
use stele_web::{ConfigError, Settings};

use super::{CommandError, admin};
use crate::services;

/// Settings whose values are secrets, or hold one.
const SECRET: [&str; 6] = [
    "STELE_MEFP_SECRET",
    "STELE_DATABASE_URL",
    "STELE_REDIS_URL",
    "STELE_DELIVERY",
    "STELE_WEBHOOK_SECRET",
    "OTEL_EXPORTER_OTLP_HEADERS",
];

pub(crate) async fn run(settings: Settings) -> Result<(), CommandError> {
    explain(&settings);
    let database = settings.text("STELE_DATABASE_URL").is_some();
    let outbox = Plan::read(&settings, &Surroundings::default())?.is_outbox();
    let context = boot::open_with(settings, Surroundings::default(), admin::no_delivery()).await?;
    println!("ok: keys in {}", context.settings.keys().display());
    let hashing = Hashing::read(&context.settings)?;
    let good = if hashing.is_weak() { "warning: weak, for tests only" } else { "ok" };
    println!("{good}: passwords are hashed by {hashing}");
    for service in services::ALL {
        (service.routes)(&context)?;
        println!("ok: {}'s settings", service.name);
    }
    gateway::Config::from_settings(&context.settings)?;
    println!("ok: the routing table");
    ReadinessCheck::of(&context).check().await.map_err(ConfigError::new)?;
    println!("ok: the stores answer, are set up as they must be, and the schema is current");
    if database && outbox {
        let text = "STELE_DELIVERY: codes would go to an outbox file, which is for development only";
        return Err(ConfigError::new(text).into());
    }
    println!("{}", if outbox { "note: codes go to outbox.jsonl: for development only" } else { "ok: delivery" });
    Ok(())
}

fn explain(settings: &Settings) {
    let known = services::settings();
    for setting in known.iter().flat_map(|list| list.iter()) {
        let value = match settings.text(setting.name) {
            Some(_) if SECRET.contains(&setting.name) => "(set)",
            Some(value) => value,
            None => setting.default,
        };
        println!("{:<28} {value:<36} {}", setting.name, setting.help);
    }
    // What else OpenTelemetry's SDK reads is its own.
    for name in settings.names().filter(|name| name.starts_with("STELE_")) {
        if !known.iter().any(|list| list.iter().any(|setting| setting.name == name)) {
            println!("warning: {name} is set, but nothing reads it");
        }
    }
}
