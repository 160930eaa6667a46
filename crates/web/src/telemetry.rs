//! Logs: one line an event, for people or as JSON, on standard error.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::config::{ConfigError, Settings};

/// The default level. The server library tells of every thread it starts and of every malformed request, which is a
/// stranger's to make as many of as they like.
const QUIET: &str = "info,actix_server=warn,actix_http=off";

/// Starts logging as `STELE_LOG` (a level, or directives as `info,stele_store=debug`) and `STELE_LOG_FORMAT`
/// (`human` or `json`) say. A second call changes nothing.
///
/// # Errors
/// If either setting cannot be read.
pub fn start(settings: &Settings) -> Result<(), ConfigError> {
    let filter = settings.read("STELE_LOG", EnvFilter::new(QUIET), |text| {
        EnvFilter::try_new(text).map_err(|e| format!("`{text}` is not a level or a list of directives: {e}"))
    })?;
    let json = settings.read("STELE_LOG_FORMAT", false, |text| match text {
        "human" => Ok(false),
        "json" => Ok(true),
        _ => Err(format!("`{text}` is neither human nor json")),
    })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A process has one log; when tests start several services the first call has set it up.
    if json {
        let _ = builder.json().flatten_event(true).try_init();
    } else {
        let _ = builder.with_target(false).with_ansi(std::io::stderr().is_terminal()).try_init();
    }
    Ok(())
}
