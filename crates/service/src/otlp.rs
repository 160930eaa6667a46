//! Export of traces to an OpenTelemetry collector by OTLP over HTTP. The SDK reads the standard `OTEL_*` variables;
//! this module decides whether a collector is configured, and logs when it is unreachable. Requests are never affected.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry::KeyValue;
use opentelemetry_otlp::SpanExporter as Otlp;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::resource::{EnvResourceDetector, TelemetryResourceDetector};
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use reqwest::Url;

use crate::config::{ConfigError, Settings};
use crate::setting::{optional, parsed, parsed_optional, with_default};

crate::settings! {
    /// OpenTelemetry's standard variables; only from the environment.
    pub const SETTINGS = "";
    /// endpoint of the trace collector (OTLP over HTTP)
    OTEL_EXPORTER_OTLP_ENDPOINT: Option<()> =
        parsed_optional(parse_http_endpoint, "such as http://localhost:4318", "none: no traces");
    /// endpoint of the trace collector, with the path; takes precedence over OTEL_EXPORTER_OTLP_ENDPOINT
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: Option<()> =
        parsed_optional(parse_http_endpoint, "such as http://localhost:4318/v1/traces", "none");
    /// request headers for the collector, such as its credentials
    OTEL_EXPORTER_OTLP_HEADERS: Option<String> =
        optional("none").value_format("NAME=VALUE, separated by commas").secret();
    /// protocol of the trace export
    OTEL_EXPORTER_OTLP_PROTOCOL: () = parsed(parse_protocol, "only http/protobuf", "http/protobuf");
    /// protocol of the trace export to OTEL_EXPORTER_OTLP_TRACES_ENDPOINT
    OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: () = parsed(parse_protocol, "only http/protobuf", "http/protobuf");
    /// service name of this program in traces
    OTEL_SERVICE_NAME: Option<String> = optional("stele-<service>");
    /// further resource attributes of this program
    OTEL_RESOURCE_ATTRIBUTES: Option<String> = optional("none").value_format("NAME=VALUE, separated by commas");
    /// sampler: which traces are recorded
    OTEL_TRACES_SAMPLER: String = with_default("parentbased_always_on").value_format("such as traceidratio");
    /// argument of the sampler, such as the share of recorded traces
    OTEL_TRACES_SAMPLER_ARG: String = with_default("1.0").value_format("0 to 1");
}

fn parse_http_endpoint(text: &str) -> Result<Option<()>, String> {
    let is_http_url = Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    is_http_url
        .then_some(Some(()))
        .ok_or_else(|| "the value is not an HTTP URL; write for example http://localhost:4318".to_owned())
}

fn parse_protocol(text: &str) -> Result<(), String> {
    match text {
        "http/protobuf" => Ok(()),
        _ => Err(format!("`{text}` is not supported; use http/protobuf, with the collector's port for it (4318)")),
    }
}

/// How long a stopping program waits for the export of remaining spans.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);
/// Shortest interval between warnings while the collector is unreachable.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// A tracer provider that flushes and shuts down on drop.
pub(crate) struct TracerProviderGuard(SdkTracerProvider);

impl TracerProviderGuard {
    pub(crate) fn provider(&self) -> &SdkTracerProvider {
        &self.0
    }
}

impl Drop for TracerProviderGuard {
    fn drop(&mut self) {
        if let Err(cause) = self.0.shutdown_with_timeout(FLUSH_TIMEOUT) {
            tracing::warn!(%cause, "the last spans were not exported");
        }
    }
}

/// Starts exporting traces, if a collector is configured. Does not connect to the collector yet.
///
/// # Errors
/// If a variable is invalid or the exporter cannot be built from the variables.
pub(crate) fn start_exporter(settings: &Settings, program: &str) -> Result<Option<TracerProviderGuard>, ConfigError> {
    let endpoint = settings.get(&OTEL_EXPORTER_OTLP_ENDPOINT)?.or(settings.get(&OTEL_EXPORTER_OTLP_TRACES_ENDPOINT)?);
    if endpoint.is_none() {
        return Ok(None);
    }
    // Validated here; the SDK reads these variables itself.
    settings.get(&OTEL_EXPORTER_OTLP_PROTOCOL)?;
    settings.get(&OTEL_EXPORTER_OTLP_TRACES_PROTOCOL)?;
    let exporter = Otlp::builder().with_http().build();
    let exporter = exporter
        .map_err(|e| ConfigError::new(format!("OTEL_EXPORTER_OTLP_ENDPOINT: traces cannot be exported: {e}")))?;
    let mut resource = Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_service_name(program.to_owned())
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_detector(Box::new(EnvResourceDetector::new()));
    if let Some(name) = settings.get(&OTEL_SERVICE_NAME)? {
        resource = resource.with_service_name(name);
    }
    let exporter = FailureLoggingExporter { exporter, last_warning: Mutex::default() };
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build()).build();
    Ok(Some(TracerProviderGuard(provider)))
}

/// An exporter that logs failures, at most once a minute, and the recovery.
#[derive(Debug)]
struct FailureLoggingExporter {
    exporter: Otlp,
    last_warning: Mutex<Option<Instant>>,
}

impl FailureLoggingExporter {
    fn log_result(&self, result: &OTelSdkResult, spans: usize) {
        let mut last_warning = self.last_warning.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(()) if last_warning.take().is_some() => tracing::info!("traces are exported again"),
            Err(cause) if last_warning.is_none_or(|at| at.elapsed() >= WARNING_INTERVAL) => {
                *last_warning = Some(Instant::now());
                tracing::warn!(%cause, spans, "traces cannot be exported (OTEL_EXPORTER_OTLP_ENDPOINT)");
            }
            _ => {}
        }
    }
}

impl SpanExporter for FailureLoggingExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let result = self.exporter.export(batch).await;
        self.log_result(&result, spans);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
