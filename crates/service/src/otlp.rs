//! Sending spans to a collector, by OTLP over HTTP. The SDK reads the standard variables itself; here is what decides
//! whether there is a collector at all, and what keeps one that is away from being noticed by anybody but the log.

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
    /// The standard variables of OpenTelemetry; from the environment alone.
    pub const SETTINGS = "";
    /// collector of traces (OTLP over HTTP)
    OTEL_EXPORTER_OTLP_ENDPOINT: Option<()> = parsed_optional(parse_http_endpoint, "such as http://localhost:4318", "none: no traces");
    /// collector of traces, with the path; goes before OTEL_EXPORTER_OTLP_ENDPOINT
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: Option<()> = parsed_optional(parse_http_endpoint, "such as http://localhost:4318/v1/traces", "none");
    /// what the collector asks for
    OTEL_EXPORTER_OTLP_HEADERS: Option<String> = optional("none").value_format("NAME=VALUE by commas").secret();
    /// how spans are sent
    OTEL_EXPORTER_OTLP_PROTOCOL: () = parsed(parse_protocol, "the only one there is", "http/protobuf");
    /// how spans are sent to OTEL_EXPORTER_OTLP_TRACES_ENDPOINT
    OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: () = parsed(parse_protocol, "the only one there is", "http/protobuf");
    /// name of this program in traces
    OTEL_SERVICE_NAME: Option<String> = optional("stele-<service>");
    /// more attributes of this program
    OTEL_RESOURCE_ATTRIBUTES: Option<String> = optional("none").value_format("NAME=VALUE by commas");
    /// which traces are kept
    OTEL_TRACES_SAMPLER: String = with_default("parentbased_always_on").value_format("such as traceidratio");
    /// the share of them
    OTEL_TRACES_SAMPLER_ARG: String = with_default("1.0").value_format("0 to 1");
}

fn parse_http_endpoint(text: &str) -> Result<Option<()>, String> {
    let web = Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    web.then_some(Some(())).ok_or_else(|| "is not an address such as http://localhost:4318".to_owned())
}

fn parse_protocol(text: &str) -> Result<(), String> {
    match text {
        "http/protobuf" => Ok(()),
        _ => Err(format!("`{text}` is not built in; use http/protobuf and the collector's port for it, 4318")),
    }
}

/// How long a program that stops waits for what is left to be sent.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a collector that is away is told of.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// The way to a collector, closed when dropped.
pub(crate) struct TracerProviderGuard(SdkTracerProvider);

impl TracerProviderGuard {
    pub(crate) fn provider(&self) -> &SdkTracerProvider {
        &self.0
    }
}

impl Drop for TracerProviderGuard {
    fn drop(&mut self) {
        if let Err(cause) = self.0.shutdown_with_timeout(FLUSH_TIMEOUT) {
            tracing::warn!(%cause, "the last spans were not sent");
        }
    }
}

/// Opens the way to the collector, if one is named. Whether it is there shows later.
///
/// # Errors
/// If a variable cannot be used.
pub(crate) fn start_exporter(settings: &Settings, program: &str) -> Result<Option<TracerProviderGuard>, ConfigError> {
    let endpoint = settings.get(&OTEL_EXPORTER_OTLP_ENDPOINT)?.or(settings.get(&OTEL_EXPORTER_OTLP_TRACES_ENDPOINT)?);
    if endpoint.is_none() {
        return Ok(None);
    }
    settings.get(&OTEL_EXPORTER_OTLP_PROTOCOL)?;
    settings.get(&OTEL_EXPORTER_OTLP_TRACES_PROTOCOL)?;
    let exporter = Otlp::builder().with_http().build();
    let exporter =
        exporter.map_err(|e| ConfigError::new(format!("OTEL_EXPORTER_OTLP_ENDPOINT: traces cannot be sent: {e}")))?;
    let mut resource = Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_service_name(program.to_owned())
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_detector(Box::new(EnvResourceDetector::new()));
    if let Some(name) = settings.get(&OTEL_SERVICE_NAME)? {
        resource = resource.with_service_name(name);
    }
    let patient = FailureLoggingExporter { exporter, last_warning: Mutex::default() };
    let provider = SdkTracerProvider::builder().with_batch_exporter(patient).with_resource(resource.build()).build();
    Ok(Some(TracerProviderGuard(provider)))
}

/// An exporter that says once in a while that it cannot send.
#[derive(Debug)]
struct FailureLoggingExporter {
    exporter: Otlp,
    last_warning: Mutex<Option<Instant>>,
}

impl FailureLoggingExporter {
    fn log_result(&self, result: &OTelSdkResult, spans: usize) {
        let mut last_warning = self.last_warning.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(()) if last_warning.take().is_some() => tracing::info!("traces are sent again"),
            Err(cause) if last_warning.is_none_or(|at| at.elapsed() >= WARNING_INTERVAL) => {
                *last_warning = Some(Instant::now());
                tracing::warn!(%cause, spans, "traces cannot be sent (OTEL_EXPORTER_OTLP_ENDPOINT); requests go on without");
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
