//! A fake OpenTelemetry collector: accepts OTLP over HTTP and records the requests.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span as OtlpSpan;
use prost::Message as _;

/// A received span and the service that sent it.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) service: String,
    pub(crate) data: OtlpSpan,
}

impl Span {
    /// An attribute's value as text; empty if it is missing.
    pub(crate) fn attribute(&self, key: &str) -> String {
        attribute_text(&self.data.attributes, key)
    }

    pub(crate) fn trace_id(&self) -> String {
        encode_hex(&self.data.trace_id)
    }

    pub(crate) fn span_id(&self) -> String {
        encode_hex(&self.data.span_id)
    }

    pub(crate) fn parent_span_id(&self) -> String {
        encode_hex(&self.data.parent_span_id)
    }
}

fn encode_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attribute_text(attributes: &[KeyValue], key: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == key).and_then(|attribute| attribute.value.clone());
    match found {
        Some(AnyValue { value: Some(Value::StringValue(text)) }) => text,
        Some(AnyValue { value: Some(Value::IntValue(number)) }) => number.to_string(),
        Some(other) => format!("{other:?}"),
        None => String::new(),
    }
}

#[derive(Default)]
struct ReceivedRequests {
    request_heads: Vec<String>,
    bodies: Vec<Vec<u8>>,
}

/// A collector that listens until the test process ends.
pub(crate) struct Collector {
    received: Arc<Mutex<ReceivedRequests>>,
    address: String,
}

impl Collector {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let received = Arc::<Mutex<ReceivedRequests>>::default();
        let shared = Arc::clone(&received);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let received = Arc::clone(&shared);
                std::thread::spawn(move || handle_connection(stream, &received));
            }
        });
        Self { received, address }
    }

    /// The value for `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The heads of the received requests.
    pub(crate) fn request_heads(&self) -> Vec<String> {
        self.received.lock().unwrap().request_heads.clone()
    }

    /// The bodies of the received requests, concatenated.
    pub(crate) fn body_bytes(&self) -> Vec<u8> {
        self.received.lock().unwrap().bodies.concat()
    }

    /// Every received span.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let mut spans = Vec::new();
        for body in &self.received.lock().unwrap().bodies {
            for resource in ExportTraceServiceRequest::decode(body.as_slice()).unwrap().resource_spans {
                let service = attribute_text(&resource.resource.unwrap().attributes, "service.name");
                let sent = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
                spans.extend(sent.map(|sent| Span { service: service.clone(), data: sent }));
            }
        }
        spans
    }
}

/// Serves the requests of one keep-alive connection.
fn handle_connection(stream: TcpStream, received: &Mutex<ReceivedRequests>) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        let length =
            head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
        let mut body = vec![0; length.unwrap()];
        reader.read_exact(&mut body).unwrap();
        {
            let mut received = received.lock().unwrap();
            received.request_heads.push(head);
            received.bodies.push(body);
        }
        let response = "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
        if reader.get_mut().write_all(response.as_bytes()).is_err() {
            return;
        }
    }
}
