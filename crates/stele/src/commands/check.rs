//! `stele check`: prints the settings in effect and checks keys, file permissions, routes, stores and delivery.

use stele_app::password_hashing::HashingConfig;
use stele_app::readiness::ReadinessCheck;
use stele_app::stores::{self, DATABASE_URL, DatabaseUrl, REDIS_URL};
use stele_app::{Environment, PublicEndpoint, context};
use stele_service::common_settings::LISTEN;
use stele_service::private_file::{self, PermissionFinding};
use stele_service::{ConfigError, Settings};

use super::{CommandError, admin, print_line};
use crate::services;

pub(crate) async fn run(settings: Settings) -> Result<(), CommandError> {
    print_settings(&settings)?;
    let has_database_server = settings.raw_value(&DATABASE_URL).is_some();
    let uses_outbox = context::delivery_config(&settings, &Environment::default())?.is_outbox();
    let mut context =
        stele_app::open_with_delivery(settings, Environment::default(), admin::disabled_delivery()).await?;
    // `stele up` with port 0 has another one, which is as valid.
    let address = context.settings.get(&LISTEN)?.unwrap_or(gateway::DEFAULT_LISTEN);
    context.public_endpoint = Some(PublicEndpoint { scheme: "http", address });
    print_line(&format!("ok: keys in {}", context.settings.keys_dir().display()))?;
    check_file_permissions(&context.settings)?;
    let hashing = HashingConfig::from_settings(&context.settings)?;
    let label = if hashing.is_weak() { "warning: weak, for tests only" } else { "ok" };
    print_line(&format!("{label}: passwords are hashed by {hashing}"))?;
    for service in services::ALL {
        if let Err(reason) = (service.prerequisite)(&context) {
            print_line(&format!("warning: {}: {reason}; `stele up` leaves the service out", service.name))?;
            continue;
        }
        (service.routes)(&context)?;
        print_line(&format!("ok: {}'s settings", service.name))?;
    }
    for old_server in context::describe_old_servers(&context.settings)? {
        print_line(&format!("ok: {old_server}"))?;
    }
    gateway::Config::from_settings(&context.settings)?.validate()?;
    print_line("ok: the routing table")?;
    ReadinessCheck::for_context(&context).check().await.map_err(ConfigError::new)?;
    for warning in context.clock_check.warnings() {
        print_line(&format!("warning: {warning}"))?;
    }
    print_line("ok: the stores respond, their configuration is valid, and this version can use the schema")?;
    if has_database_server && uses_outbox {
        let text = "STELE_DELIVERY: codes would go to an outbox file, which is for development only; set a mail server \
                    or a webhook";
        return Err(ConfigError::new(text).into());
    }
    print_line(if uses_outbox { "note: codes go to outbox.jsonl: for development only" } else { "ok: delivery" })
}

/// Checks that other users of this machine can neither read nor replace the data folder, the keys and the databases.
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
    let mut first_error = None;
    for finding in findings {
        match finding {
            PermissionFinding::Warning(text) => print_line(&format!("warning: {text}"))?,
            PermissionFinding::Error(text) => first_error = first_error.or(Some(text)),
        }
    }
    match first_error {
        None => print_line("ok: no other user can access the files"),
        Some(text) => Err(ConfigError::new(text).into()),
    }
}

fn print_settings(settings: &Settings) -> Result<(), CommandError> {
    let known_settings = services::settings();
    for setting in known_settings.iter().flat_map(|list| list.iter()) {
        let value = match settings.raw_value(*setting) {
            Some(_) if setting.is_secret() => "(set)".to_owned(),
            Some(value) => value.to_owned(),
            None => setting.default_text(),
        };
        print_line(&format!("{:<28} {value:<36} {} ({})", setting.name(), setting.help(), setting.value_format()))?;
    }
    // Only STELE_ names: OpenTelemetry's SDK reads further OTEL_ variables itself.
    for name in settings.names().filter(|name| name.starts_with("STELE_")) {
        if !known_settings.iter().any(|list| list.iter().any(|setting| setting.name() == name)) {
            print_line(&format!("warning: {name} is set, but no program reads it; check its spelling"))?;
        }
    }
    Ok(())
}
