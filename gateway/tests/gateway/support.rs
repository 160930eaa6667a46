//! Test fixtures: a gateway, upstream services, and a client that sends raw bytes.

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use actix_web::dev::ServerHandle;
use actix_web::{App, Handler, HttpRequest, HttpResponse, HttpServer, Responder, web};
use gateway::{Config, InstanceView};
use serde_json::{Value, json};
use stele_service::config::Settings;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use zeroize::Zeroizing;

/// The name of each service, and a path that is routed to it.
// dialects: services
#[rustfmt::skip]
pub(crate) const SERVICES: [(&str, &str); 6] = [
    ("cloudbox", "/api/v1/cloudbox/x"),
    ("tms", "/container/api/v1/cloudbox/tms/x"),
    ("portal", "/i/x"),
    ("mefp", "/auth/x"),
    ("jwt", "/api/v1/Auth/x"),
    ("oauth", "/.well-known/x"),
];
// dialects: end

/// The longest that a test waits for anything.
pub(crate) const TEST_TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) fn local_listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// A URL where no process listens: connections are refused.
pub(crate) fn unreachable_url() -> String {
    format!("http://{}", local_listener().local_addr().unwrap())
}

/// Starts a service that is ready and answers every other request with `handler`. Returns its URL.
pub(crate) fn start_service<F, Args>(handler: F) -> String
where
    F: Handler<Args> + Send,
    Args: actix_web::FromRequest + 'static,
    F::Output: Responder + 'static,
{
    let listener = local_listener();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = HttpServer::new(move || {
        let app = App::new().app_data(web::PayloadConfig::new(1 << 24));
        app.route("/readyz", web::get().to(HttpResponse::Ok)).default_service(web::to(handler.clone()))
    });
    actix_web::rt::spawn(server.workers(1).disable_signals().listen(listener).unwrap().run());
    url
}

/// Starts a service that describes each request in its response, as JSON. Returns its URL.
pub(crate) fn start_echo_service(name: &'static str) -> String {
    start_service(move |request: HttpRequest, body: web::Bytes| async move {
        let headers: Vec<_> =
            request.headers().iter().map(|(name, value)| json!([name.as_str(), value.to_str().unwrap()])).collect();
        HttpResponse::Ok().insert_header(("X-Served-By", name)).json(json!({
            "service": name,
            "method": request.method().as_str(),
            "target": request.uri().to_string(),
            "headers": headers,
            "body": String::from_utf8_lossy(&body),
        }))
    })
}

/// Starts a service that is ready, answers every other request with the bytes `response` and closes the connection.
/// Returns its URL.
pub(crate) fn start_raw_service(response: &'static str) -> String {
    let listener = local_listener();
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    actix_web::rt::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = [0; 4096];
            let read = stream.read(&mut bytes).await.unwrap_or(0);
            let is_health_check = bytes[..read].starts_with(b"GET /readyz");
            let reply = if is_health_check { "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" } else { response };
            let _ = stream.write_all(reply.as_bytes()).await;
        }
    });
    url
}

/// A running gateway.
pub(crate) struct TestGateway {
    pub(crate) address: SocketAddr,
    pub(crate) handle: ServerHandle,
    /// The handle by which the program reloads, drains and observes the gateway.
    pub(crate) inner: gateway::Gateway,
}

/// Starts a gateway in front of `upstreams`, given as service name and URLs.
pub(crate) fn start_gateway(upstreams: &[(&str, &str)], settings: &[(&'static str, &str)]) -> TestGateway {
    start_gateway_with(upstreams, settings, |config| config)
}

/// As [`start_gateway`], with the configuration changed by `adapt`.
pub(crate) fn start_gateway_with(
    upstreams: &[(&str, &str)],
    settings: &[(&'static str, &str)],
    adapt: impl FnOnce(Config) -> Config,
) -> TestGateway {
    let gateway = gateway::Gateway::new(adapt(test_config(upstreams, settings)));
    let listener = local_listener();
    let address = listener.local_addr().unwrap();
    let server = gateway.start(listener).unwrap();
    let handle = server.handle();
    actix_web::rt::spawn(server);
    TestGateway { address, handle, inner: gateway }
}

/// A configuration with these upstreams and settings. Services without an upstream here are unreachable.
pub(crate) fn test_config(upstreams: &[(&str, &str)], settings: &[(&'static str, &str)]) -> Config {
    let values = settings.iter().map(|(name, value)| (*name, (*value).to_owned()));
    let settings = Settings::default().with_values([("STELE_WORKERS", "1".to_owned())]).with_values(values);
    let mut config = Config::from_settings(&settings).unwrap().validate().unwrap();
    for (service, _) in SERVICES {
        config = config.with_upstream(service, "http://127.0.0.1:1").unwrap();
    }
    for (service, url) in upstreams {
        config = config.with_upstream(service, url).unwrap();
    }
    config
}

/// Waits until `condition` holds; fails after [`TEST_TIMEOUT`].
pub(crate) async fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + TEST_TIMEOUT;
    while !condition() {
        assert!(Instant::now() < deadline, "timed out waiting for: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

pub(crate) fn secret_string(text: &str) -> Zeroizing<String> {
    Zeroizing::new(text.to_owned())
}

/// A response with its complete body; chunks are decoded.
#[derive(Debug)]
pub(crate) struct TestResponse {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl TestResponse {
    fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no response: {text:?}"));
        let status = head.get(9..12).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{head}"));
        let is_chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
        let body = if is_chunked { decode_chunked(body) } else { body.to_owned() };
        Self { status, head: head.to_owned(), body }
    }

    /// The value of a header field that occurs at most once.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let values = self.headers(name);
        assert!(values.len() < 2, "{name} more than once: {}", self.head);
        values.first().copied()
    }

    /// The values of all header fields with this name.
    pub(crate) fn headers(&self, name: &str) -> Vec<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// The values of a header field in the request that the echo service received.
    pub(crate) fn forwarded_header(&self, name: &str) -> Vec<String> {
        let json = self.json();
        let pairs = json["headers"].as_array().unwrap().iter();
        pairs.filter(|pair| pair[0] == name).map(|pair| pair[1].as_str().unwrap().to_owned()).collect()
    }
}

fn decode_chunked(mut text: &str) -> String {
    let mut body = String::new();
    while let Some((size, rest)) = text.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            break;
        }
        body += &rest[..size];
        text = &rest[size + 2..];
    }
    body
}

impl TestGateway {
    /// The instance with this URL.
    pub(crate) fn instance(&self, url: &str) -> InstanceView {
        let address = url.strip_prefix("http://").unwrap().parse().unwrap();
        self.inner.instances().into_iter().find(|view| view.address == address).unwrap()
    }

    /// Waits until every instance of these services is healthy.
    pub(crate) async fn wait_until_healthy(&self, services: &[&str]) {
        let is_named = |view: &InstanceView| services.contains(&view.service.as_str());
        let are_all_healthy = || self.inner.instances().into_iter().filter(is_named).all(|view| view.is_healthy);
        wait_until("healthy instances", are_all_healthy).await;
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends these bytes on a new connection, and reads until the gateway closes it.
    pub(crate) async fn send_raw(&self, bytes: impl AsRef<[u8]>) -> TestResponse {
        let mut stream = self.connect().await;
        // The gateway may respond and close before everything is sent.
        let _ = stream.write_all(bytes.as_ref()).await;
        TestResponse::parse(&read_all(&mut stream).await)
    }

    /// Sends a request with these header lines, each with its CR LF, and this body.
    pub(crate) async fn send(&self, method: &str, target: &str, headers: &str, body: &str) -> TestResponse {
        let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let head =
            format!("{method} {target} HTTP/1.1\r\nHost: public.example\r\nConnection: close\r\n{headers}{length}");
        self.send_raw(format!("{head}\r\n{body}")).await
    }

    pub(crate) async fn get(&self, target: &str) -> TestResponse {
        self.send("GET", target, "", "").await
    }
}

/// Reads until the other side closes or resets the connection.
pub(crate) async fn read_all(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let reading = stream.read_to_end(&mut bytes);
    // A reset after the response counts as a close.
    let _ = tokio::time::timeout(TEST_TIMEOUT, reading).await.expect("no response and no close");
    bytes
}

/// Reads into `bytes` until they contain `wanted`.
pub(crate) async fn read_until(stream: &mut TcpStream, bytes: &mut Vec<u8>, wanted: &str) {
    let reading = async {
        while !String::from_utf8_lossy(bytes).contains(wanted) {
            let read = stream.read_buf(bytes).await.unwrap();
            assert!(read > 0, "closed before {wanted:?}: {:?}", String::from_utf8_lossy(bytes));
        }
    };
    tokio::time::timeout(TEST_TIMEOUT, reading).await.unwrap_or_else(|_| panic!("timed out waiting for {wanted:?}"));
}
