//! Telemetry setup: logs on standard error, one line per event, for people or as JSON; traces over OTLP if a collector
//! is configured.

use std::io::IsTerminal as _;

use opentelemetry::trace::TracerProvider as _;
use tracing::level_filters::LevelFilter;
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::filter::{FilterExt as _, Targets, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

use crate::config::{ConfigError, Settings};
use crate::otlp::{self, TracerProviderGuard};
use crate::setting::parsed;
use crate::trace::{self, TRACE_TARGET};

crate::settings! {
    /// Logging.
    pub const SETTINGS = "STELE_";
    /// log level; the server library logs more only if a directive names it: `actix_http=debug`
    LOG: Targets = parsed(parse_log_filter, "a level, or directives such as info,stele_store=debug", "info");
    /// format of log lines
    LOG_FORMAT: LogFormat = parsed(parse_log_format, "human or json", "human");
}

/// Log format of `STELE_LOG_FORMAT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LogFormat {
    /// For people.
    Human,
    /// One JSON object per line.
    Json,
}

/// Maximum log levels of actix's crates, unless a directive names them. Actix logs each started thread and each
/// malformed request, and a client can send any number of malformed requests.
const LIBRARY_LOG_LEVELS: [(&str, LevelFilter); 2] =
    [("actix_server", LevelFilter::WARN), ("actix_http", LevelFilter::OFF)];

/// Logs and traces of a running program. Exports the remaining spans on drop.
#[must_use = "traces end when this is dropped"]
pub struct TelemetryGuard {
    _tracer_provider: Option<TracerProviderGuard>,
}

/// Starts logging by `STELE_LOG` and `STELE_LOG_FORMAT`, and exporting traces of `program` by `OTEL_…`. The first call
/// in a process installs the subscriber; a further call does not replace it.
///
/// # Errors
/// If a setting is invalid.
pub fn start(settings: &Settings, program: &str) -> Result<TelemetryGuard, ConfigError> {
    install_subscriber(settings, otlp::start_exporter(settings, program)?)
}

/// Starts logging without traces, for a command that does its work and exits.
///
/// # Errors
/// If a setting is invalid.
pub fn start_logging_only(settings: &Settings) -> Result<TelemetryGuard, ConfigError> {
    install_subscriber(settings, None)
}

fn install_subscriber(
    settings: &Settings,
    tracer_provider: Option<TracerProviderGuard>,
) -> Result<TelemetryGuard, ConfigError> {
    let (filter, format) = (settings.get(&LOG)?, settings.get(&LOG_FORMAT)?);
    // If `fmt` cannot write an event, it reports the error by `eprintln!`, which panics on a closed pipe.
    let log = fmt::layer().with_writer(std::io::stderr).log_internal_errors(false);
    let log = match format {
        LogFormat::Json => log.json().flatten_event(true).boxed(),
        LogFormat::Human => log.with_target(false).with_ansi(std::io::stderr().is_terminal()).boxed(),
    };
    let log = log.with_filter(filter.and(filter_fn(|metadata| metadata.target() != TRACE_TARGET)));
    if tracer_provider.is_some() {
        trace::enable();
    }
    let spans = tracer_provider.as_ref().map(|guard| {
        let layer = OpenTelemetryLayer::new(guard.provider().tracer("stele"));
        let layer = layer.with_location(false).with_threads(false).with_tracked_inactivity(false);
        let only_spans = filter_fn(|metadata| metadata.target() == TRACE_TARGET).with_max_level_hint(LevelFilter::INFO);
        layer.with_level(false).with_target(false).with_filter(only_spans)
    });
    // A process has one subscriber; when tests start several services, the first call has installed it.
    let _ = tracing_subscriber::registry().with(spans).with(log).try_init();
    Ok(TelemetryGuard { _tracer_provider: tracer_provider })
}

fn parse_log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "human" => Ok(LogFormat::Human),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("`{text}` is not a log format; write human or json")),
    }
}

/// The filter of `directives`, with [`LIBRARY_LOG_LEVELS`] for the targets that `directives` does not name.
fn parse_log_filter(directives: &str) -> Result<Targets, String> {
    let parts = directives.split(',').map(str::trim).filter(|part| !part.is_empty());
    let level = parts.clone().rev().find_map(|part| part.parse::<LevelFilter>().ok()).unwrap_or(LevelFilter::INFO);
    let library_levels = LIBRARY_LOG_LEVELS.map(|(target, max)| format!("{target}={}", max.min(level)));
    // Of two directives for the same target, the last one applies.
    let effective: Vec<_> =
        [level.to_string()].into_iter().chain(library_levels).chain(parts.map(str::to_owned)).collect();
    effective.join(",").parse().map_err(|e| format!("`{directives}` is neither a level nor a list of directives: {e}"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct CapturedLog(Arc<Mutex<Vec<u8>>>);

    impl Write for CapturedLog {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// The events that are logged under `directives`.
    fn logged_lines(directives: &str) -> Vec<&'static str> {
        let captured = CapturedLog::default();
        let writer = captured.clone();
        let lines = fmt::layer().with_ansi(false).with_writer(move || writer.clone());
        let log = tracing_subscriber::registry().with(lines.with_filter(parse_log_filter(directives).unwrap()));
        tracing::subscriber::with_default(log, || {
            tracing::error!(target: "actix_http::h1::dispatcher", "library error");
            tracing::debug!(target: "actix_http::h1::dispatcher", "library debug");
            tracing::warn!(target: "actix_server::worker", "server warning");
            tracing::info!(target: "actix_server::worker", "server info");
            tracing::error!(target: "stele_store::users", "our error");
            tracing::warn!(target: "stele_store::users", "our warning");
            tracing::info!(target: "stele_store::users", "our info");
            tracing::debug!(target: "stele_store::users", "our debug");
        });
        let text = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
        let messages = ["library error", "library debug", "server warning", "server info"];
        let messages = messages.into_iter().chain(["our error", "our warning", "our info", "our debug"]);
        messages.filter(|line| text.contains(line)).collect()
    }

    #[test]
    fn a_level_applies_to_our_crates_and_not_to_the_server_library() {
        assert_eq!(logged_lines("info"), ["server warning", "our error", "our warning", "our info"]);
        assert_eq!(logged_lines("warn"), ["server warning", "our error", "our warning"]);
        assert_eq!(logged_lines("error"), ["our error"]);
        assert_eq!(logged_lines("off"), [""; 0]);
        assert_eq!(logged_lines("trace"), ["server warning", "our error", "our warning", "our info", "our debug"]);
        assert_eq!(
            logged_lines("stele_store=debug"),
            ["server warning", "our error", "our warning", "our info", "our debug"]
        );
        assert_eq!(logged_lines("warn,stele_store=info"), ["server warning", "our error", "our warning", "our info"]);
    }

    #[test]
    fn the_server_library_logs_when_a_directive_names_it() {
        assert_eq!(logged_lines("error,actix_http=debug"), ["library error", "library debug", "our error"]);
        assert_eq!(
            logged_lines("actix_server=info,warn"),
            ["server warning", "server info", "our error", "our warning"]
        );
        assert_eq!(logged_lines("actix_http::h1=error,off"), ["library error"]);
    }

    #[test]
    fn an_invalid_log_directive_is_reported() {
        assert!(parse_log_filter("stele=loud").unwrap_err().starts_with("`stele=loud` is neither"));
    }
}
