//! What a service answers by itself, in whatever dialect the service speaks.

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

    fn render_rejection(refusal: &RequestRejection) -> HttpResponse {
        HttpResponse::build(refusal.status()).body(format!("{refusal:?}"))
    }

    fn render_error(error: &Error) -> HttpResponse {
        HttpResponse::build(status_for_error(error)).body("opaque")
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the type that services have")]
fn routes(_: &Context) -> Result<Routes, ConfigError> {
    Ok(Arc::new(|config| routed_calls().configure(config)))
}

fn routed_calls() -> Endpoints<TestDialect> {
    Endpoints::default()
        .route(Method::GET, "/panic", "/panic", panics, || OperationDescription::new("panic", "Panic", "Always."))
        .route(Method::GET, "/fault", "/fault", fails, || OperationDescription::new("fault", "Fail", "Always."))
}

fn document() -> OpenApi {
    let about = ApiInfo {
        title: "Grumble",
        description: &["No."],
        error_bodies: &[],
        extra_schemas: &[],
        security_schemes: Vec::new,
    };
    routed_calls().openapi_document(&about)
}

async fn panics() -> HttpResponse {
    panic!("a handler with a bug");
}

async fn fails() -> Result<HttpResponse, CallError<TestDialect>> {
    Err(Error::unavailable("the password is hunter2").into())
}

async fn context(folder: &Path) -> Result<Context, ConfigError> {
    let settings = Settings::default().with_values([("STELE_DATA", folder.display().to_string())]);
    stele_app::provision(&settings, &[], &OsRandom).await?;
    stele_app::open(settings, Environment::default()).await
}

/// Starts the service on a free port.
fn start(context: &Context) -> Result<(SocketAddr, ServerHandle), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let server = Service::new::<TestDialect>(0, &[], routes, document).start(context, listener)?;
    let handle = server.handle();
    actix_web::rt::spawn(server);
    Ok((address, handle))
}

#[actix_web::test]
async fn a_draining_service_is_not_ready_but_still_serves_requests() {
    let folder = tempfile::tempdir().unwrap();
    let context = context(folder.path()).await.unwrap();
    let (address, handle) = start(&context).unwrap();
    // One client, which keeps its connections where it may.
    let client = reqwest::Client::new();
    let ask = async |path: &str| {
        let answer = client.get(format!("http://{address}{path}")).send().await.unwrap();
        let closes = answer.headers().get("connection").is_some_and(|value| value == "close");
        (answer.status().as_u16(), closes)
    };
    for (path, status) in [("/healthz", 200), ("/readyz", 200), ("/fault", 503), ("/panic", 500)] {
        assert_eq!(ask(path).await, (status, false), "{path}");
    }
    assert_eq!(client.post(format!("http://{address}/readyz")).send().await.unwrap().text().await.unwrap(), "Method");
    context.drain.start();
    for (path, status) in [("/healthz", 200), ("/readyz", 503), ("/fault", 503), ("/panic", 500), ("/stray", 404)] {
        assert_eq!(ask(path).await, (status, true), "{path}");
    }
    handle.stop(true).await;
}

#[actix_web::test]
async fn panics_errors_and_unknown_paths_are_rendered_in_dialect() {
    let folder = tempfile::tempdir().unwrap();
    let context = context(folder.path()).await.unwrap();
    let (address, handle) = start(&context).unwrap();

    for (path, status, body) in [
        ("/panic", StatusCode::INTERNAL_SERVER_ERROR, "Internal"),
        ("/fault", StatusCode::SERVICE_UNAVAILABLE, "opaque"),
        ("/stray", StatusCode::NOT_FOUND, "NotFound"),
        // The worker that panicked still answers.
        ("/panic", StatusCode::INTERNAL_SERVER_ERROR, "Internal"),
    ] {
        let answer = reqwest::get(format!("http://{address}{path}")).await.unwrap();
        assert_eq!(answer.status().as_u16(), status.as_u16(), "{path}");
        if path == "/fault" {
            assert_eq!(answer.headers()["retry-after"], "1");
            assert_eq!(answer.headers()["cache-control"], "no-store");
        }
        assert_eq!(answer.text().await.unwrap(), body, "{path}");
    }
    // What takes no parameters is served by GET and POST alike.
    let put = reqwest::Client::new().put(format!("http://{address}/panic")).send().await.unwrap();
    assert_eq!(put.status().as_u16(), 405);
    assert_eq!(put.headers()["allow"], "GET, HEAD, POST");
    handle.stop(true).await;
}

/// Closed at once, the refusal could be lost in a reset; and nothing is read without end.
#[actix_web::test]
async fn a_refused_request_with_a_body_gets_a_lingering_close() {
    use std::time::{Duration, Instant};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let folder = tempfile::tempdir().unwrap();
    let context = context(folder.path()).await.unwrap();
    let (address, handle) = start(&context).unwrap();
    let refused = async || {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let head = "POST /stray HTTP/1.1\r\nHost: h\r\nContent-Length: 200000\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"NotFound") {
            assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0);
        }
        stream
    };
    // A client that sends the rest of it and then reads.
    let mut stream = refused().await;
    stream.write_all(&[b'x'; 200_000]).await.unwrap();
    assert_eq!(stream.read_to_end(&mut Vec::new()).await.unwrap(), 0, "the end, and no reset");
    // A client that does not stop. What is due is checked twice a second.
    let begun = Instant::now();
    let mut stream = refused().await;
    while stream.write_all(&[b'x'; 100]).await.is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(20), "it is still read");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(begun.elapsed() > Duration::from_millis(400), "{:?}", begun.elapsed());
    handle.stop(true).await;
}
