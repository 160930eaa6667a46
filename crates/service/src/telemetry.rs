//! Logs and traces. Logs: one line an event, for people or as JSON, on standard error. Traces: over OTLP, if there is a
//! collector.

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
    /// Logs.
    pub const SETTINGS = "STELE_";
    /// how much is logged; of the server library only by name: `actix_http=debug`
    LOG: Targets = parsed(parse_log_filter, "a level, or directives such as info,stele_store=debug", "info");
    /// how it is logged
    LOG_FORMAT: bool = parsed(parse_log_format, "human or json", "human");
}

/// What is told of the server library unless it is asked for by name: it tells of every thread it starts and of every
/// malformed request, which is a stranger's to make as many of as they like.
const LIBRARY_LOG_LEVELS: [(&str, LevelFilter); 2] =
    [("actix_server", LevelFilter::WARN), ("actix_http", LevelFilter::OFF)];

/// Logs and traces of a program that runs. What is left of its traces is sent when this is dropped.
#[must_use = "traces end when this is dropped"]
pub struct TelemetryGuard {
    _tracer_provider: Option<TracerProviderGuard>,
}

/// Starts logging as `STELE_LOG` (a level, or directives as `info,stele_store=debug`; the server library is as quiet as
/// ever unless a directive names it) and `STELE_LOG_FORMAT`
/// (`human` or `json`) say, and sending traces of `program` as `OTEL_…` say. A second call changes nothing.
///
/// # Errors
/// If a setting cannot be read or used.
pub fn start(settings: &Settings, program: &str) -> Result<TelemetryGuard, ConfigError> {
    init(settings, otlp::start_exporter(settings, program)?)
}

/// Starts logging alone, for a command that does its work and ends.
///
/// # Errors
/// If a setting cannot be read or used.
pub fn start_logging_only(settings: &Settings) -> Result<TelemetryGuard, ConfigError> {
    init(settings, None)
}

fn init(settings: &Settings, export: Option<TracerProviderGuard>) -> Result<TelemetryGuard, ConfigError> {
    let (filter, json) = (settings.get(&LOG)?, settings.get(&LOG_FORMAT)?);
    // Of an event that cannot be written, `fmt` writes to standard error by `eprintln!`, which panics on a closed pipe.
    let lines = fmt::layer().with_writer(std::io::stderr).log_internal_errors(false);
    let lines = match json {
        true => lines.json().flatten_event(true).boxed(),
        false => lines.with_target(false).with_ansi(std::io::stderr().is_terminal()).boxed(),
    };
    let lines = lines.with_filter(filter.and(filter_fn(|metadata| metadata.target() != TRACE_TARGET)));
    if export.is_some() {
        trace::enable();
    }
    let spans = export.as_ref().map(|export| {
        let layer = OpenTelemetryLayer::new(export.provider().tracer("stele"));
        let layer = layer.with_location(false).with_threads(false).with_tracked_inactivity(false);
        let ours = filter_fn(|metadata| metadata.target() == TRACE_TARGET).with_max_level_hint(LevelFilter::INFO);
        layer.with_level(false).with_target(false).with_filter(ours)
    });
    // A process has one log; when tests start several services the first call has set it up.
    let _ = tracing_subscriber::registry().with(spans).with(lines).try_init();
    Ok(TelemetryGuard { _tracer_provider: export })
}

fn parse_log_format(text: &str) -> Result<bool, String> {
    match text {
        "human" => Ok(false),
        "json" => Ok(true),
        _ => Err(format!("`{text}` is neither human nor json")),
    }
}

/// What `directives` ask for, with [`QUIET`] for what they do not name.
fn parse_log_filter(directives: &str) -> Result<Targets, String> {
    let parts = directives.split(',').map(str::trim).filter(|part| !part.is_empty());
    let level = parts.clone().rev().find_map(|part| part.parse::<LevelFilter>().ok()).unwrap_or(LevelFilter::INFO);
    let quiet = LIBRARY_LOG_LEVELS.map(|(target, most)| format!("{target}={}", most.min(level)));
    // Of two directives for one target the later counts.
    let all: Vec<_> = [level.to_string()].into_iter().chain(quiet).chain(parts.map(str::to_owned)).collect();
    all.join(",").parse().map_err(|e| format!("`{directives}` is not a level or a list of directives: {e}"))
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

    /// What is told of under `directives`: by whom, at which level.
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
        let all = ["library error", "library debug", "server warning", "server info"];
        let all = all.into_iter().chain(["our error", "our warning", "our info", "our debug"]);
        all.filter(|line| text.contains(line)).collect()
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
        assert!(parse_log_filter("stele=loud").unwrap_err().starts_with("`stele=loud` is not"));
    }
}
