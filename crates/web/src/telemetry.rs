//! Logs and traces. Logs: one line an event, for people or as JSON, on standard error. Traces: over OTLP, if there is a
//! collector.

use std::io::IsTerminal as _;

use opentelemetry::trace::TracerProvider as _;
use tracing::level_filters::LevelFilter;
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::filter::{FilterExt as _, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt};

use crate::config::{ConfigError, Settings};
use crate::otlp::{self, Export};
use crate::trace::{self, TRACE};

/// The default level. The server library tells of every thread it starts and of every malformed request, which is a
/// stranger's to make as many of as they like.
const QUIET: &str = "info,actix_server=warn,actix_http=off";

/// Logs and traces of a program that runs. What is left of its traces is sent when this is dropped.
#[must_use = "traces end when this is dropped"]
pub struct Telemetry {
    _export: Option<Export>,
}

/// Starts logging as `STELE_LOG` (a level, or directives as `info,stele_store=debug`) and `STELE_LOG_FORMAT`
/// (`human` or `json`) say, and sending traces of `program` as `OTEL_…` say. A second call changes nothing.
///
/// # Errors
/// If a setting cannot be read or used.
pub fn start(settings: &Settings, program: &str) -> Result<Telemetry, ConfigError> {
    begin(settings, otlp::open(settings, program)?)
}

/// Starts logging alone, for a command that does its work and ends.
///
/// # Errors
/// If a setting cannot be read or used.
pub fn logs(settings: &Settings) -> Result<Telemetry, ConfigError> {
    begin(settings, None)
}

fn begin(settings: &Settings, export: Option<Export>) -> Result<Telemetry, ConfigError> {
    let filter = settings.read("STELE_LOG", EnvFilter::new(QUIET), |text| {
        EnvFilter::try_new(text).map_err(|e| format!("`{text}` is not a level or a list of directives: {e}"))
    })?;
    let json = settings.read("STELE_LOG_FORMAT", false, |text| match text {
        "human" => Ok(false),
        "json" => Ok(true),
        _ => Err(format!("`{text}` is neither human nor json")),
    })?;
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = match json {
        true => lines.json().flatten_event(true).boxed(),
        false => lines.with_target(false).with_ansi(std::io::stderr().is_terminal()).boxed(),
    };
    let lines = lines.with_filter(filter.and(filter_fn(|metadata| metadata.target() != TRACE)));
    if export.is_some() {
        trace::turn_on();
    }
    let spans = export.as_ref().map(|export| {
        let layer = OpenTelemetryLayer::new(export.provider().tracer("stele"));
        let layer = layer.with_location(false).with_threads(false).with_tracked_inactivity(false);
        let ours = filter_fn(|metadata| metadata.target() == TRACE).with_max_level_hint(LevelFilter::INFO);
        layer.with_level(false).with_target(false).with_filter(ours)
    });
    // A process has one log; when tests start several services the first call has set it up.
    let _ = tracing_subscriber::registry().with(spans).with(lines).try_init();
    Ok(Telemetry { _export: export })
}
