//! Without a collector no span is created at any log level, and no trace context header is set.

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use stele_service::{Settings, telemetry, trace};

#[test]
fn without_a_collector_no_span_is_created() {
    let settings = Settings::default().with_values([("STELE_LOG", "trace".to_owned())]);
    let _telemetry = telemetry::start(&settings, "stele-test").unwrap();
    assert!(tracing::enabled!(tracing::Level::TRACE), "the log is on");
    assert!(!trace::is_enabled());
    let traceparent = HeaderValue::from_static("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    let mut headers = HeaderMap::new();
    headers.insert(HeaderName::from_static("traceparent"), traceparent);
    let span = trace::server_span("POST", "/", &headers);
    assert!(span.is_none() && trace::trace_id(&span).is_none());
    trace::inject_context(&span, |name, _| panic!("{name} is set although there is no span"));
}
