//! What a service answers by itself, in whatever dialect the service speaks.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::dev::ServerHandle;
use actix_web::http::{Method, StatusCode};
use stele_app::{Context, Service, Surroundings};
use stele_core::Error;
use stele_core::random::OsRandom;
use stele_dialect::openapi::{About, Description, OpenApi};
use stele_dialect::{Calls, Dialect, Failure, Refusal, Routes, status_of};
use stele_service::{ConfigError, Settings};

#[derive(Debug)]
struct Grumble;

impl Dialect for Grumble {
    const NAME: &'static str = "grumble";

    fn refuse(refusal: &Refusal) -> HttpResponse {
        HttpResponse::build(refusal.status()).body(format!("{refusal:?}"))
    }

    fn fail(error: &Error) -> HttpResponse {
        HttpResponse::build(status_of(error)).body("opaque")
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the type that services have")]
fn routes(_: &Context) -> Result<Routes, ConfigError> {
    Ok(Arc::new(|config| calls().serve(config)))
}

fn calls() -> Calls<Grumble> {
    Calls::default().at(Method::GET, "/panic", "/panic", panics, || Description::of("panic", "Panic", "Always.")).at(
        Method::GET,
        "/fault",
        "/fault",
        fails,
        || Description::of("fault", "Fail", "Always."),
    )
}

fn document() -> OpenApi {
    let about = About { title: "Grumble", text: &["No."], refusals: &[], more: &[], schemes: Vec::new };
    calls().document(&about)
}

async fn panics() -> HttpResponse {
    panic!("a handler with a bug");
}

async fn fails() -> Result<HttpResponse, Failure<Grumble>> {
    Err(Error::unavailable("the password is hunter2").into())
}

async fn context(folder: &Path) -> Result<Context, ConfigError> {
    let settings = Settings::default().with([("STELE_DATA", folder.display().to_string())]);
    stele_app::provision(&settings, &[], &OsRandom).await?;
    stele_app::open(settings, Surroundings::default()).await
}

/// Starts the service on a free port.
fn start(context: &Context) -> Result<(SocketAddr, ServerHandle), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let server = Service::new::<Grumble>(0, &[], routes, document).start(context, listener)?;
    let handle = server.handle();
    actix_web::rt::spawn(server);
    Ok((address, handle))
}

#[actix_web::test]
async fn before_it_stops_a_service_says_so_and_still_answers() {
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
    context.drain.begin();
    for (path, status) in [("/healthz", 200), ("/readyz", 503), ("/fault", 503), ("/panic", 500), ("/stray", 404)] {
        assert_eq!(ask(path).await, (status, true), "{path}");
    }
    handle.stop(true).await;
}

#[actix_web::test]
async fn panics_faults_and_strays_are_answered_in_dialect() {
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
async fn a_body_that_still_comes_after_its_refusal_is_read_for_a_moment() {
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
