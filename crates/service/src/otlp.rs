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

use crate::config::{ConfigError, Setting, Settings, setting};

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";

/// The standard variables of OpenTelemetry; from the environment alone.
pub const SETTINGS: &[Setting] = &[
    setting(ENDPOINT, "none: no traces", "collector of traces, such as http://localhost:4318 (OTLP over HTTP)"),
    setting("OTEL_EXPORTER_OTLP_HEADERS", "none", "what the collector asks for: NAME=VALUE, by commas"),
    setting("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf", "the only one there is"),
    setting("OTEL_SERVICE_NAME", "stele-<service>", "what traces call this program"),
    setting("OTEL_RESOURCE_ATTRIBUTES", "none", "what else is told of it: NAME=VALUE, by commas"),
    setting("OTEL_TRACES_SAMPLER", "parentbased_always_on", "which traces are kept, such as traceidratio"),
    setting("OTEL_TRACES_SAMPLER_ARG", "1.0", "how many of them, 0 to 1"),
];

/// How long a program that stops waits for what is left to be sent.
const FLUSH: Duration = Duration::from_secs(2);
/// How often a collector that is away is told of.
const REMIND: Duration = Duration::from_secs(60);

/// The way to a collector, closed when dropped.
pub(crate) struct Export(SdkTracerProvider);

impl Export {
    pub(crate) fn provider(&self) -> &SdkTracerProvider {
        &self.0
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        if let Err(cause) = self.0.shutdown_with_timeout(FLUSH) {
            tracing::warn!(%cause, "the last spans were not sent");
        }
    }
}

/// Opens the way to the collector, if one is named. Whether it is there shows later.
///
/// # Errors
/// If a variable cannot be used.
pub(crate) fn open(settings: &Settings, program: &str) -> Result<Option<Export>, ConfigError> {
    if settings.text(ENDPOINT).is_none() && settings.text(TRACES_ENDPOINT).is_none() {
        return Ok(None);
    }
    for name in [ENDPOINT, TRACES_ENDPOINT] {
        settings.read(name, (), |text| {
            let web = Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
            web.then_some(()).ok_or_else(|| "is not an address such as http://localhost:4318".to_owned())
        })?;
    }
    for name in ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] {
        settings.read(name, (), |text| match text {
            "http/protobuf" => Ok(()),
            _ => Err(format!("`{text}` is not built in; use http/protobuf and the collector's port for it, 4318")),
        })?;
    }
    let exporter = Otlp::builder().with_http().build();
    let exporter = exporter.map_err(|e| ConfigError::new(format!("{ENDPOINT}: traces cannot be sent: {e}")))?;
    let mut resource = Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_service_name(program.to_owned())
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_detector(Box::new(EnvResourceDetector::new()));
    if let Some(name) = settings.text("OTEL_SERVICE_NAME") {
        resource = resource.with_service_name(name.to_owned());
    }
    let patient = Patient { exporter, told: Mutex::default() };
    let provider = SdkTracerProvider::builder().with_batch_exporter(patient).with_resource(resource.build()).build();
    Ok(Some(Export(provider)))
}

/// An exporter that says once in a while that it cannot send.
#[derive(Debug)]
struct Patient {
    exporter: Otlp,
    told: Mutex<Option<Instant>>,
}

impl Patient {
    fn tell(&self, result: &OTelSdkResult, spans: usize) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(()) if told.take().is_some() => tracing::info!("traces are sent again"),
            Err(cause) if told.is_none_or(|at| at.elapsed() >= REMIND) => {
                *told = Some(Instant::now());
                tracing::warn!(%cause, spans, "traces cannot be sent ({ENDPOINT}); requests go on without");
            }
            _ => {}
        }
    }
}

impl SpanExporter for Patient {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let result = self.exporter.export(batch).await;
        self.tell(&result, spans);
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
