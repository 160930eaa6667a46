//! A collector of traces: takes OTLP over HTTP as the real one does, and keeps what it is sent.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span as Sent;
use prost::Message as _;

/// A span, and whose it is.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) service: String,
    pub(crate) data: Sent,
}

impl Span {
    /// An attribute as text; empty if it is not there.
    pub(crate) fn attribute(&self, key: &str) -> String {
        attribute_text(&self.data.attributes, key)
    }

    pub(crate) fn trace_id(&self) -> String {
        hex(&self.data.trace_id)
    }

    pub(crate) fn span_id(&self) -> String {
        hex(&self.data.span_id)
    }

    pub(crate) fn parent_span_id(&self) -> String {
        hex(&self.data.parent_span_id)
    }
}

fn hex(bytes: &[u8]) -> String {
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

/// Listens until the test's process ends.
pub(crate) struct Collector {
    received: Arc<Mutex<ReceivedRequests>>,
    address: String,
}

impl Collector {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let kept = Arc::<Mutex<ReceivedRequests>>::default();
        let shared = Arc::clone(&kept);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let kept = Arc::clone(&shared);
                std::thread::spawn(move || handle_connection(stream, &kept));
            }
        });
        Self { received: kept, address }
    }

    /// What `OTEL_EXPORTER_OTLP_ENDPOINT` has to be.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The heads of the requests that came.
    pub(crate) fn request_heads(&self) -> Vec<String> {
        self.received.lock().unwrap().request_heads.clone()
    }

    /// All bytes that came, heads left out.
    pub(crate) fn body_bytes(&self) -> Vec<u8> {
        self.received.lock().unwrap().bodies.concat()
    }

    /// Every span that came.
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

/// Takes requests on one connection, one after the other.
fn handle_connection(stream: TcpStream, kept: &Mutex<ReceivedRequests>) {
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
            let mut kept = kept.lock().unwrap();
            kept.request_heads.push(head);
            kept.bodies.push(body);
        }
        let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
        if reader.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}
