//! A gateway, services that echo, and a client that sends exactly the bytes it is told to.

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

/// Each service, and a path of it.
pub(crate) const SERVICES: [(&str, &str); 5] = [
    ("cloudbox", "/api/v1/cloudbox/x"),
    ("tms", "/container/api/v1/cloudbox/tms/x"),
    ("portal", "/i/login"),
    ("mefp", "/auth/login"),
    ("jwt", "/api/v1/Auth/Login"),
];

/// No test waits longer, whatever goes wrong.
pub(crate) const TEST_TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) fn local_listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// An address where nobody listens.
pub(crate) fn unreachable_url() -> String {
    format!("http://{}", local_listener().local_addr().unwrap())
}

/// A service that answers everything with `handler`.
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

/// A service that answers what reached it.
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

/// A service that says it is ready, and otherwise reads a request, says `answer` and closes.
pub(crate) fn start_raw_service(answer: &'static str) -> String {
    let listener = local_listener();
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    actix_web::rt::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = [0; 4096];
            let read = stream.read(&mut bytes).await.unwrap_or(0);
            let health = bytes[..read].starts_with(b"GET /readyz");
            let said = if health { "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" } else { answer };
            let _ = stream.write_all(said.as_bytes()).await;
        }
    });
    url
}

pub(crate) struct TestGateway {
    pub(crate) address: SocketAddr,
    pub(crate) handle: ServerHandle,
    /// What the program holds of it.
    pub(crate) inner: gateway::Gateway,
}

/// A gateway with these settings in front of these services.
pub(crate) fn start_gateway(upstreams: &[(&str, &str)], settings: &[(&'static str, &str)]) -> TestGateway {
    start_gateway_with(upstreams, settings, |config| config)
}

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

/// What a gateway is told; the services that are not named are away.
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

/// Waits until it is so.
pub(crate) async fn wait_until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + TEST_TIMEOUT;
    while !so() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

pub(crate) fn secret_string(text: &str) -> Zeroizing<String> {
    Zeroizing::new(text.to_owned())
}

/// An answer, its body whole.
#[derive(Debug)]
pub(crate) struct TestResponse {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl TestResponse {
    fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
        let status = head.get(9..12).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{head}"));
        let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
        let body = if chunked { decode_chunked(body) } else { body.to_owned() };
        Self { status, head: head.to_owned(), body }
    }

    /// The only value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let all = self.headers(name);
        assert!(all.len() < 2, "{name} more than once: {}", self.head);
        all.first().copied()
    }

    pub(crate) fn headers(&self, name: &str) -> Vec<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// What the echoing service saw of a header.
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
    /// The only instance at this URL.
    pub(crate) fn instance(&self, url: &str) -> InstanceView {
        let address = url.strip_prefix("http://").unwrap().parse().unwrap();
        self.inner.instances().into_iter().find(|one| one.address == address).unwrap()
    }

    /// Waits until every instance of these services is known to be usable.
    pub(crate) async fn wait_until_healthy(&self, services: &[&str]) {
        let ours = |view: &InstanceView| services.contains(&view.service.as_str());
        let all = || self.inner.instances().into_iter().filter(ours).all(|view| view.healthy);
        wait_until("usable instances", all).await;
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends these bytes, and reads until the gateway closes.
    pub(crate) async fn send_raw(&self, bytes: impl AsRef<[u8]>) -> TestResponse {
        let mut stream = self.connect().await;
        // It may have answered and closed before it was sent everything.
        let _ = stream.write_all(bytes.as_ref()).await;
        TestResponse::parse(&read_all(&mut stream).await)
    }

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

/// Everything until the other side closes.
pub(crate) async fn read_all(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let reading = stream.read_to_end(&mut bytes);
    // A reset after the answer is a close as well.
    let _ = tokio::time::timeout(TEST_TIMEOUT, reading).await.expect("the gateway neither answered nor closed");
    bytes
}

/// Reads on until `bytes` hold `wanted`.
pub(crate) async fn read_until(stream: &mut TcpStream, bytes: &mut Vec<u8>, wanted: &str) {
    let reading = async {
        while !String::from_utf8_lossy(bytes).contains(wanted) {
            let read = stream.read_buf(bytes).await.unwrap();
            assert!(read > 0, "closed before {wanted:?}: {:?}", String::from_utf8_lossy(bytes));
        }
    };
    tokio::time::timeout(TEST_TIMEOUT, reading).await.unwrap_or_else(|_| panic!("{wanted:?} never came"));
}
