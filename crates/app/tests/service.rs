//! Responses that every service has in common: draining, panics, errors, unknown paths, lingering close.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::dev::ServerHandle;
use actix_web::http::{Method, StatusCode};
use stele_app::{Context, Environment, Service};
use stele_core::Error;
use stele_core::random::OsRandom;
use stele_dialect::openapi::{ApiInfo, OpenApi, OperationDescription};
use stele_dialect::{CallError, Dialect, Endpoints, RequestRejection, Routes, status_for_error};
use stele_service::{ConfigError, Settings};

#[derive(Debug)]
struct TestDialect;

impl Dialect for TestDialect {
    const NAME: &'static str = "grumble";

    fn render_rejection(rejection: &RequestRejection) -> HttpResponse {
        HttpResponse::build(rejection.status()).body(format!("{rejection:?}"))
    }

    fn render_error(error: &Error) -> HttpResponse {
        HttpResponse::build(status_for_error(error)).body("opaque")
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the type that services have")]
fn routes(_: &Context) -> Result<Routes, ConfigError> {
    Ok(Arc::new(|config| endpoints().configure(config)))
}

fn endpoints() -> Endpoints<TestDialect> {
    Endpoints::default()
        .route(Method::GET, "/panic", "/panic", panics, || OperationDescription::new("panic", "Panic", "Always."))
        .route(Method::GET, "/fault", "/fault", fails, || OperationDescription::new("fault", "Fail", "Always."))
}

fn openapi_document() -> OpenApi {
    let api_info = ApiInfo {
        title: "Grumble",
        description: &["No."],
        error_bodies: &[],
        extra_schemas: &[],
        security_schemes: Vec::new,
    };
    endpoints().openapi_document(&api_info)
}

async fn panics() -> HttpResponse {
    panic!("a handler with a bug");
}

async fn fails() -> Result<HttpResponse, CallError<TestDialect>> {
    Err(Error::unavailable("the password is hunter2").into())
}

async fn open_context(folder: &Path) -> Result<Context, ConfigError> {
    let settings = Settings::default().with_values([("STELE_DATA", folder.display().to_string())]);
    stele_app::provision(&settings, &[], &OsRandom).await?;
    stele_app::open(settings, Environment::default()).await
}

/// Starts a service of the test dialect on a free port.
fn start_service(context: &Context) -> Result<(SocketAddr, ServerHandle), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let server = Service::new::<TestDialect>(0, &[], routes, openapi_document).start(context, listener)?;
    let handle = server.handle();
    actix_web::rt::spawn(server);
    Ok((address, handle))
}

#[actix_web::test]
async fn a_draining_service_is_not_ready_but_still_serves_requests() {
    let folder = tempfile::tempdir().unwrap();
    let context = open_context(folder.path()).await.unwrap();
    let (address, handle) = start_service(&context).unwrap();
    // One client, which reuses connections where possible.
    let client = reqwest::Client::new();
    let get = async |path: &str| {
        let response = client.get(format!("http://{address}{path}")).send().await.unwrap();
        let has_connection_close = response.headers().get("connection").is_some_and(|value| value == "close");
        (response.status().as_u16(), has_connection_close)
    };
    for (path, status) in [("/healthz", 200), ("/readyz", 200), ("/fault", 503), ("/panic", 500)] {
        assert_eq!(get(path).await, (status, false), "{path}");
    }
    assert_eq!(
        client.post(format!("http://{address}/readyz")).send().await.unwrap().text().await.unwrap(),
        "MethodNotAllowed"
    );
    context.drain.start();
    for (path, status) in [("/healthz", 200), ("/readyz", 503), ("/fault", 503), ("/panic", 500), ("/stray", 404)] {
        assert_eq!(get(path).await, (status, true), "{path}");
    }
    handle.stop(true).await;
}

#[actix_web::test]
async fn panics_errors_and_unknown_paths_are_rendered_in_dialect() {
    let folder = tempfile::tempdir().unwrap();
    let context = open_context(folder.path()).await.unwrap();
    let (address, handle) = start_service(&context).unwrap();

    for (path, status, body) in [
        ("/panic", StatusCode::INTERNAL_SERVER_ERROR, "Internal"),
        ("/fault", StatusCode::SERVICE_UNAVAILABLE, "opaque"),
        ("/stray", StatusCode::NOT_FOUND, "NotFound"),
        // The worker still serves requests after a panic.
        ("/panic", StatusCode::INTERNAL_SERVER_ERROR, "Internal"),
    ] {
        let response = reqwest::get(format!("http://{address}{path}")).await.unwrap();
        assert_eq!(response.status().as_u16(), status.as_u16(), "{path}");
        if path == "/fault" {
            assert_eq!(response.headers()["retry-after"], "1");
            assert_eq!(response.headers()["cache-control"], "no-store");
        }
        assert_eq!(response.text().await.unwrap(), body, "{path}");
    }
    // An endpoint without parameters accepts GET and POST.
    let put = reqwest::Client::new().put(format!("http://{address}/panic")).send().await.unwrap();
    assert_eq!(put.status().as_u16(), 405);
    assert_eq!(put.headers()["allow"], "GET, HEAD, POST");
    handle.stop(true).await;
}

/// If the connection were closed at once, a TCP reset could discard the response. The linger is bounded in time.
#[actix_web::test]
async fn a_rejected_request_with_a_body_gets_a_lingering_close() {
    use std::time::{Duration, Instant};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let folder = tempfile::tempdir().unwrap();
    let context = open_context(folder.path()).await.unwrap();
    let (address, handle) = start_service(&context).unwrap();
    let open_rejected_connection = async || {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let head = "POST /stray HTTP/1.1\r\nHost: h\r\nContent-Length: 200000\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut response = Vec::new();
        while !response.ends_with(b"NotFound") {
            assert_ne!(stream.read_buf(&mut response).await.unwrap(), 0);
        }
        stream
    };
    // The client sends the remaining body and then reads.
    let mut stream = open_rejected_connection().await;
    stream.write_all(&[b'x'; 200_000]).await.unwrap();
    assert_eq!(stream.read_to_end(&mut Vec::new()).await.unwrap(), 0, "end of stream, not a reset");
    // The client never stops sending. The server checks its timeouts twice a second.
    let started_at = Instant::now();
    let mut stream = open_rejected_connection().await;
    while stream.write_all(&[b'x'; 100]).await.is_ok() {
        assert!(started_at.elapsed() < Duration::from_secs(20), "the server still reads");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(started_at.elapsed() > Duration::from_millis(400), "{:?}", started_at.elapsed());
    handle.stop(true).await;
}
