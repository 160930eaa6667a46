//! Load balancing over a service's instances: health checks, circuit breaker, retry of failed connects, failure counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use gateway::CircuitState;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{
    TestGateway, local_listener, start_echo_service, start_gateway, start_raw_service, start_service, unreachable_url,
    wait_until,
};

const PATH: &str = "/auth/login";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Readiness {
    Ready,
    NotReady,
}

/// An instance whose readiness the test sets, and which counts the requests that it answers, without health checks.
struct TestInstance {
    url: String,
    is_ready: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
}

impl TestInstance {
    fn start(readiness: Readiness) -> Self {
        let is_ready = Arc::new(AtomicBool::new(readiness == Readiness::Ready));
        let answered = Arc::new(AtomicUsize::new(0));
        let listener = local_listener();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (is_ready_now, count) = (is_ready.clone(), answered.clone());
        let server = HttpServer::new(move || {
            let (is_ready, count) = (is_ready_now.clone(), count.clone());
            let readyz = move || {
                let is_ready = is_ready.load(Ordering::SeqCst);
                std::future::ready(
                    if is_ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() }.finish(),
                )
            };
            let handler = move || {
                count.fetch_add(1, Ordering::SeqCst);
                async { HttpResponse::Ok().body("answered") }
            };
            App::new().route("/readyz", web::get().to(readyz)).default_service(web::to(handler))
        });
        actix_web::rt::spawn(server.workers(1).disable_signals().listen(listener).unwrap().run());
        Self { url, is_ready, answered }
    }

    fn answered_requests(&self) -> usize {
        self.answered.load(Ordering::SeqCst)
    }

    fn set_readiness(&self, readiness: Readiness) {
        self.is_ready.store(readiness == Readiness::Ready, Ordering::SeqCst);
    }
}

async fn send_requests(gateway: &TestGateway, count: usize) {
    for _ in 0..count {
        let reply = gateway.send("POST", PATH, "", "body").await;
        assert_eq!((reply.status, reply.body.as_str()), (200, "answered"));
    }
}

#[actix_web::test]
async fn an_instance_that_is_not_ready_gets_requests_only_if_none_is_ready() {
    let (first, second) = (TestInstance::start(Readiness::Ready), TestInstance::start(Readiness::NotReady));
    let gateway = start_gateway(&[("mefp", &format!("{},{}", first.url, second.url))], &[]);
    wait_until("the first instance to be healthy", || gateway.instance(&first.url).is_healthy).await;
    send_requests(&gateway, 10).await;
    assert_eq!((first.answered_requests(), second.answered_requests()), (10, 0));
    second.set_readiness(Readiness::Ready);
    wait_until("both instances to be healthy", || gateway.instance(&second.url).is_healthy).await;
    send_requests(&gateway, 10).await;
    assert_eq!((first.answered_requests(), second.answered_requests()), (15, 5));
    // Every instance is not ready, as when a store is down: requests are still forwarded, because only the service can
    // report the failure in its dialect.
    first.set_readiness(Readiness::NotReady);
    second.set_readiness(Readiness::NotReady);
    wait_until("no instance to be healthy", || {
        !gateway.instance(&first.url).is_healthy && !gateway.instance(&second.url).is_healthy
    })
    .await;
    send_requests(&gateway, 10).await;
    assert_eq!((first.answered_requests(), second.answered_requests()), (20, 10));
    assert!(gateway.inner.unavailable_services().contains(&"mefp".to_owned()));
}

#[actix_web::test]
async fn an_unreachable_service_fails_fast_and_recovers_within_two_seconds() {
    let listener = local_listener();
    let address = listener.local_addr().unwrap();
    let url = format!("http://{address}");
    drop(listener);
    let gateway = start_gateway(&[("mefp", &url)], &[]);
    for _ in 0..3 {
        assert_eq!(gateway.get(PATH).await.status, 503);
    }
    wait_until("the circuit to open", || gateway.instance(&url).circuit == CircuitState::Open).await;
    let failures = gateway.instance(&url).failures;
    assert!(failures >= 3 && !gateway.instance(&url).is_healthy);
    let handler = || async { HttpResponse::Ok().body("answered") };
    let server = HttpServer::new(move || App::new().default_service(web::to(handler)));
    actix_web::rt::spawn(server.workers(1).disable_signals().bind(address).unwrap().run());
    let restarted_at = Instant::now();
    while gateway.get(PATH).await.status != 200 {
        assert!(restarted_at.elapsed() < Duration::from_secs(2), "the restarted service gets no requests");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    wait_until("the circuit to close", || gateway.instance(&url).circuit == CircuitState::Closed).await;
}

#[actix_web::test]
async fn three_timeouts_open_the_circuit_of_a_service_that_only_accepts_connections() {
    let silent = local_listener();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let gateway = start_gateway(&[("mefp", &url)], &[("STELE_UPSTREAM_TIMEOUT", "1"), ("STELE_HEALTH_INTERVAL", "60")]);
    for _ in 0..3 {
        assert_eq!(gateway.send("POST", PATH, "", "body").await.status, 504);
    }
    assert_eq!(gateway.instance(&url).circuit, CircuitState::Open);
    let started_at = Instant::now();
    assert_eq!(gateway.send("POST", PATH, "", "body").await.status, 503);
    assert!(started_at.elapsed() < Duration::from_millis(500), "{:?}", started_at.elapsed());
    assert_eq!((gateway.instance(&url).in_flight, gateway.instance(&url).failures), (0, 3));
}

#[actix_web::test]
async fn timeouts_on_one_path_do_not_open_the_circuit() {
    let url = start_service(|request: HttpRequest| {
        let is_slow = request.path().ends_with("/slow");
        async move {
            if is_slow {
                std::future::pending::<()>().await;
            }
            HttpResponse::Ok().body("answered")
        }
    });
    let gateway = start_gateway(&[("mefp", &url)], &[("STELE_UPSTREAM_TIMEOUT", "1")]);
    gateway.wait_until_healthy(&["mefp"]).await;
    let timed_out = futures_util::future::join_all((0..20).map(|_| gateway.get("/auth/slow"))).await;
    assert!(timed_out.iter().all(|reply| reply.status == 504));
    let view = gateway.instance(&url);
    assert_eq!((view.is_healthy, view.circuit, view.failures), (true, CircuitState::Closed, 20));
    assert_eq!(gateway.get(PATH).await.status, 200);
    assert!(gateway.inner.unavailable_services().iter().all(|service| service != "mefp"));
}

#[actix_web::test]
async fn a_request_that_may_have_been_processed_is_not_retried() {
    // Each response is incomplete or invalid in another way. None proves that the request was not processed.
    for response in ["", "nonsense\r\n\r\n", "HTTP/1.1 20"] {
        let good = TestInstance::start(Readiness::Ready);
        let gateway = start_gateway(&[("mefp", &format!("{},{}", start_raw_service(response), good.url))], &[]);
        let mut statuses = Vec::new();
        for _ in 0..4 {
            statuses.push(gateway.send("POST", PATH, "", "body").await.status);
        }
        assert!(statuses.contains(&503) && statuses.contains(&200), "{statuses:?}");
        let succeeded = statuses.iter().filter(|&&status| status == 200).count();
        assert_eq!(good.answered_requests(), succeeded, "a failed request was retried: {response:?}");
    }
}

/// Starts a service that answers the first request of a connection, and closes the connection on receipt of the second.
/// Returns its URL and the number of requests received, without health checks.
fn start_one_response_service() -> (String, Arc<AtomicUsize>) {
    let listener = local_listener();
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let (url, received) = (format!("http://{}", listener.local_addr().unwrap()), Arc::new(AtomicUsize::new(0)));
    let count = received.clone();
    actix_web::rt::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let count = count.clone();
            actix_web::rt::spawn(async move {
                let mut bytes = [0; 4096];
                let read = stream.read(&mut bytes).await.unwrap_or(0);
                let is_health_check = bytes[..read].starts_with(b"GET /readyz");
                count.fetch_add(usize::from(read > 0 && !is_health_check), Ordering::SeqCst);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nanswered").await;
                let read = stream.read(&mut bytes).await.unwrap_or(0);
                count.fetch_add(usize::from(read > 0), Ordering::SeqCst);
            });
        }
    });
    (url, received)
}

#[actix_web::test]
async fn a_request_on_a_closed_keep_alive_connection_is_not_retried() {
    let (one_response, received) = start_one_response_service();
    let good = TestInstance::start(Readiness::Ready);
    let gateway =
        start_gateway(&[("mefp", &format!("{one_response},{}", good.url))], &[("STELE_HEALTH_INTERVAL", "60")]);
    gateway.wait_until_healthy(&["mefp"]).await;
    let mut statuses = Vec::new();
    // Round robin: one_response, good, one_response (on the keep-alive connection), good.
    for _ in 0..4 {
        statuses.push(gateway.send("POST", PATH, "", "a=b").await.status);
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 200, 503]);
    assert_eq!((received.load(Ordering::SeqCst), good.answered_requests()), (2, 2));
}

#[actix_web::test]
async fn a_request_that_could_not_connect_is_retried_on_another_instance() {
    let (unreachable, good) = (unreachable_url(), TestInstance::start(Readiness::Ready));
    let gateway = start_gateway(&[("mefp", &format!("{unreachable},{}", good.url))], &[]);
    // The first requests are sent before the first health check. They can be retried, because the body is sent only
    // after the connection is made.
    send_requests(&gateway, 8).await;
    assert_eq!(good.answered_requests(), 8);
    wait_until("the unreachable instance to fail", || gateway.instance(&unreachable).failures > 0).await;
    assert!(!gateway.instance(&unreachable).is_healthy);
}

#[actix_web::test]
async fn a_body_aborted_by_the_client_is_no_instance_failure() {
    let url = start_echo_service("mefp");
    let gateway = start_gateway(&[("mefp", &url)], &[]);
    gateway.wait_until_healthy(&["mefp"]).await;
    for _ in 0..5 {
        let mut client = gateway.connect().await;
        client.write_all(b"POST /auth/login HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nhalf").await.unwrap();
        drop(client);
    }
    wait_until("no request in flight", || gateway.instance(&url).in_flight == 0).await;
    let view = gateway.instance(&url);
    assert_eq!((view.is_healthy, view.circuit, view.failures), (true, CircuitState::Closed, 0));
}

#[actix_web::test]
async fn a_request_is_in_flight_until_its_last_response_byte() {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel::<Result<web::Bytes, std::io::Error>>();
    let receiver = Arc::new(std::sync::Mutex::new(Some(receiver)));
    let url = start_service(move || {
        let mut receiver = receiver.lock().unwrap().take().unwrap();
        let body = futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx));
        async { HttpResponse::Ok().streaming(body) }
    });
    let gateway = start_gateway(&[("mefp", &url)], &[]);
    let mut client = gateway.connect().await;
    client.write_all(b"GET /auth/login HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await.unwrap();
    sender.send(Ok(web::Bytes::from_static(b"part"))).unwrap();
    crate::support::read_until(&mut client, &mut Vec::new(), "part").await;
    assert_eq!(gateway.instance(&url).in_flight, 1);
    drop(sender);
    crate::support::read_all(&mut client).await;
    wait_until("no request in flight", || gateway.instance(&url).in_flight == 0).await;
}

/// A URL where a connect times out, because the listener does not accept and its backlog is full; and the listener and
/// the connections that must stay open for that.
fn listener_with_full_backlog() -> (String, std::net::TcpListener, Vec<std::net::TcpStream>) {
    let listener = local_listener();
    let address = listener.local_addr().unwrap();
    let connect = || std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200));
    let backlog = std::iter::from_fn(|| connect().ok()).collect();
    (format!("http://{address}"), listener, backlog)
}

#[actix_web::test]
async fn a_connect_timeout_is_counted_only_for_its_own_instance() {
    let (full, _listener, _backlog) = listener_with_full_backlog();
    // No instance is ready, so that all three are equally preferred: each gets one of three requests.
    let (first, second) = (TestInstance::start(Readiness::NotReady), TestInstance::start(Readiness::NotReady));
    let urls = format!("{full},{},{}", first.url, second.url);
    let gateway =
        start_gateway(&[("mefp", &urls)], &[("STELE_UPSTREAM_TIMEOUT", "1"), ("STELE_HEALTH_INTERVAL", "60")]);
    let replies = futures_util::future::join_all((0..3).map(|_| gateway.get(PATH))).await;
    let mut statuses: Vec<_> = replies.iter().map(|reply| reply.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 504]);
    let failures = [&full, &first.url, &second.url].map(|url| gateway.instance(url).failures > 0);
    assert_eq!(failures, [true, false, false]);
}
