//! `stele check`: what is configured, and whether it works.

use stele_app::password_hashing::HashingConfig;
use stele_app::readiness::ReadinessCheck;
use stele_app::stores::{self, DATABASE_URL, DatabaseUrl, REDIS_URL};
use stele_app::{Environment, context};
use stele_service::private_file::{self, PermissionFinding};
use stele_service::{ConfigError, Settings};

use super::{CommandError, admin, print_line};
use crate::services;

pub(crate) async fn run(settings: Settings) -> Result<(), CommandError> {
    print_settings(&settings)?;
    let database = settings.raw_value(&DATABASE_URL).is_some();
    let outbox = context::delivery_config(&settings, &Environment::default())?.is_outbox();
    let context = stele_app::open_with_delivery(settings, Environment::default(), admin::disabled_delivery()).await?;
    print_line(&format!("ok: keys in {}", context.settings.keys_dir().display()))?;
    check_file_permissions(&context.settings)?;
    let hashing = HashingConfig::from_settings(&context.settings)?;
    let good = if hashing.is_weak() { "warning: weak, for tests only" } else { "ok" };
    print_line(&format!("{good}: passwords are hashed by {hashing}"))?;
    for service in services::ALL {
        (service.routes)(&context)?;
        print_line(&format!("ok: {}'s settings", service.name))?;
    }
    gateway::Config::from_settings(&context.settings)?.validate()?;
    print_line("ok: the routing table")?;
    ReadinessCheck::for_context(&context).check().await.map_err(ConfigError::new)?;
    print_line("ok: the stores answer, are set up as they must be, and the schema is current")?;
    if database && outbox {
        let text = "STELE_DELIVERY: codes would go to an outbox file, which is for development only";
        return Err(ConfigError::new(text).into());
    }
    print_line(if outbox { "note: codes go to outbox.jsonl: for development only" } else { "ok: delivery" })
}

/// Whether others on this machine can read or replace what is kept in files.
fn check_file_permissions(settings: &Settings) -> Result<(), CommandError> {
    let data = settings.data_dir();
    let mut findings = Vec::new();
    findings.extend(private_file::check_secret_directory(&data));
    findings.extend(private_file::check_secret_directory(&settings.keys_dir()));
    findings.extend(private_file::check_private_file(&data.join("outbox.jsonl")));
    if let DatabaseUrl::Sqlite(path) = stores::database_url(settings)? {
        findings.extend(private_file::check_database_files(&path));
    }
    if settings.raw_value(&REDIS_URL).is_none() {
        findings.extend(private_file::check_database_files(&data.join("state.db")));
    }
    let mut fault = None;
    for finding in findings {
        match finding {
            PermissionFinding::Warning(text) => print_line(&format!("warning: {text}"))?,
            PermissionFinding::Error(text) => fault = fault.or(Some(text)),
        }
    }
    match fault {
        None => print_line("ok: the files are this user's alone"),
        Some(text) => Err(ConfigError::new(text).into()),
    }
}

fn print_settings(settings: &Settings) -> Result<(), CommandError> {
    let known = services::settings();
    for setting in known.iter().flat_map(|list| list.iter()) {
        let value = match settings.raw_value(*setting) {
            Some(_) if setting.is_secret() => "(set)".to_owned(),
            Some(value) => value.to_owned(),
            None => setting.default_text(),
        };
        print_line(&format!("{:<28} {value:<36} {} ({})", setting.name(), setting.help(), setting.value_format()))?;
    }
    // What else OpenTelemetry's SDK reads is its own.
    for name in settings.names().filter(|name| name.starts_with("STELE_")) {
        if !known.iter().any(|list| list.iter().any(|setting| setting.name() == name)) {
            print_line(&format!("warning: {name} is set, but nothing reads it"))?;
        }
    }
    Ok(())
}
