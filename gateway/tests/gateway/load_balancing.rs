//! Which instance answers, when another is asked, and what is seen of it.

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

/// An instance whose readiness is the test's to say, and which counts what it answers.
struct TestInstance {
    url: String,
    ready: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
}

impl TestInstance {
    fn start(ready: bool) -> Self {
        let (ready, answered) = (Arc::new(AtomicBool::new(ready)), Arc::new(AtomicUsize::new(0)));
        let listener = local_listener();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (says, counts) = (ready.clone(), answered.clone());
        let server = HttpServer::new(move || {
            let (says, counts) = (says.clone(), counts.clone());
            let readiness = move || {
                let ready = says.load(Ordering::SeqCst);
                std::future::ready(if ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() }.finish())
            };
            let answer = move || {
                counts.fetch_add(1, Ordering::SeqCst);
                async { HttpResponse::Ok().body("answered") }
            };
            App::new().route("/readyz", web::get().to(readiness)).default_service(web::to(answer))
        });
        actix_web::rt::spawn(server.workers(1).disable_signals().listen(listener).unwrap().run());
        Self { url, ready, answered }
    }

    fn answered_requests(&self) -> usize {
        self.answered.load(Ordering::SeqCst)
    }

    fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::SeqCst);
    }
}

async fn send_requests(gateway: &TestGateway, times: usize) {
    for _ in 0..times {
        let reply = gateway.send("POST", PATH, "", "body").await;
        assert_eq!((reply.status, reply.body.as_str()), (200, "answered"));
    }
}

#[actix_web::test]
async fn an_instance_that_is_not_ready_gets_requests_only_if_none_is_ready() {
    let (one, two) = (TestInstance::start(true), TestInstance::start(false));
    let gateway = start_gateway(&[("mefp", &format!("{},{}", one.url, two.url))], &[]);
    wait_until("one usable", || gateway.instance(&one.url).healthy).await;
    send_requests(&gateway, 10).await;
    assert_eq!((one.answered_requests(), two.answered_requests()), (10, 0));
    two.set_ready(true);
    wait_until("both usable", || gateway.instance(&two.url).healthy).await;
    send_requests(&gateway, 10).await;
    assert_eq!((one.answered_requests(), two.answered_requests()), (15, 5));
    // A store is down, and all say so: they are asked all the same, for only they can tell it in their dialect.
    one.set_ready(false);
    two.set_ready(false);
    wait_until("none usable", || !gateway.instance(&one.url).healthy && !gateway.instance(&two.url).healthy).await;
    send_requests(&gateway, 10).await;
    assert_eq!((one.answered_requests(), two.answered_requests()), (20, 10));
    assert!(gateway.inner.unavailable_services().contains(&"mefp".to_owned()));
}

#[actix_web::test]
async fn an_unreachable_service_fails_fast_and_recovers_within_two_seconds() {
    let place = local_listener();
    let (url, address) = (format!("http://{}", place.local_addr().unwrap()), place.local_addr().unwrap());
    drop(place);
    let gateway = start_gateway(&[("mefp", &url)], &[]);
    for _ in 0..3 {
        assert_eq!(gateway.get(PATH).await.status, 503);
    }
    wait_until("an open circuit", || gateway.instance(&url).circuit == CircuitState::Open).await;
    let failures = gateway.instance(&url).failures;
    assert!(failures >= 3 && !gateway.instance(&url).healthy);
    let answer = || async { HttpResponse::Ok().body("answered") };
    let server = HttpServer::new(move || App::new().default_service(web::to(answer)));
    actix_web::rt::spawn(server.workers(1).disable_signals().bind(address).unwrap().run());
    let back = Instant::now();
    while gateway.get(PATH).await.status != 200 {
        assert!(back.elapsed() < Duration::from_secs(2), "it is back, and nobody noticed");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    wait_until("a closed circuit", || gateway.instance(&url).circuit == CircuitState::Closed).await;
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
    let asked = Instant::now();
    assert_eq!(gateway.send("POST", PATH, "", "body").await.status, 503);
    assert!(asked.elapsed() < Duration::from_millis(500), "{:?}", asked.elapsed());
    assert_eq!((gateway.instance(&url).in_flight, gateway.instance(&url).failures), (0, 3));
}

#[actix_web::test]
async fn timeouts_on_one_path_do_not_open_the_circuit() {
    let url = start_service(|request: HttpRequest| {
        let slow = request.path().ends_with("/slow");
        async move {
            if slow {
                std::future::pending::<()>().await;
            }
            HttpResponse::Ok().body("answered")
        }
    });
    let gateway = start_gateway(&[("mefp", &url)], &[("STELE_UPSTREAM_TIMEOUT", "1")]);
    gateway.wait_until_healthy(&["mefp"]).await;
    let late = futures_util::future::join_all((0..20).map(|_| gateway.get("/auth/slow"))).await;
    assert!(late.iter().all(|reply| reply.status == 504));
    let view = gateway.instance(&url);
    assert_eq!((view.healthy, view.circuit, view.failures), (true, CircuitState::Closed, 20));
    assert_eq!(gateway.get(PATH).await.status, 200);
    assert!(gateway.inner.unavailable_services().iter().all(|missing| missing != "mefp"));
}

#[actix_web::test]
async fn a_request_that_may_have_been_processed_is_not_retried() {
    // Each ends the connection in its own way; none proves that it did not act.
    for answer in ["", "nonsense\r\n\r\n", "HTTP/1.1 20"] {
        let good = TestInstance::start(true);
        let gateway = start_gateway(&[("mefp", &format!("{},{}", start_raw_service(answer), good.url))], &[]);
        let mut statuses = Vec::new();
        for _ in 0..4 {
            statuses.push(gateway.send("POST", PATH, "", "body").await.status);
        }
        assert!(statuses.contains(&503) && statuses.contains(&200), "{statuses:?}");
        let answered = statuses.iter().filter(|&&status| status == 200).count();
        assert_eq!(good.answered_requests(), answered, "a lost request was sent again: {answer:?}");
    }
}

/// A service that answers once a connection, and closes it when the next request has come.
fn start_one_response_service() -> (String, Arc<AtomicUsize>) {
    let listener = local_listener();
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let (url, asked) = (format!("http://{}", listener.local_addr().unwrap()), Arc::new(AtomicUsize::new(0)));
    let count = asked.clone();
    actix_web::rt::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let count = count.clone();
            actix_web::rt::spawn(async move {
                let mut bytes = [0; 4096];
                let read = stream.read(&mut bytes).await.unwrap_or(0);
                let health = bytes[..read].starts_with(b"GET /readyz");
                count.fetch_add(usize::from(read > 0 && !health), Ordering::SeqCst);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nanswered").await;
                let read = stream.read(&mut bytes).await.unwrap_or(0);
                count.fetch_add(usize::from(read > 0), Ordering::SeqCst);
            });
        }
    });
    (url, asked)
}

#[actix_web::test]
async fn a_request_on_a_closed_keep_alive_connection_is_not_retried() {
    let (tired, asked) = start_one_response_service();
    let good = TestInstance::start(true);
    let gateway = start_gateway(&[("mefp", &format!("{tired},{}", good.url))], &[("STELE_HEALTH_INTERVAL", "60")]);
    gateway.wait_until_healthy(&["mefp"]).await;
    let mut statuses = Vec::new();
    // In turn: tired, good, tired (over the kept connection), good.
    for _ in 0..4 {
        statuses.push(gateway.send("POST", PATH, "", "a=b").await.status);
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 200, 503]);
    assert_eq!((asked.load(Ordering::SeqCst), good.answered_requests()), (2, 2));
}

#[actix_web::test]
async fn a_request_that_could_not_connect_is_retried_on_another_instance() {
    let (away, good) = (unreachable_url(), TestInstance::start(true));
    let gateway = start_gateway(&[("mefp", &format!("{away},{}", good.url))], &[]);
    // Before anybody has looked, too: bodies are sent only once there is a connection.
    send_requests(&gateway, 8).await;
    assert_eq!(good.answered_requests(), 8);
    wait_until("the absent one found out", || gateway.instance(&away).failures > 0).await;
    assert!(!gateway.instance(&away).healthy);
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
    wait_until("nothing in flight", || gateway.instance(&url).in_flight == 0).await;
    let view = gateway.instance(&url);
    assert_eq!((view.healthy, view.circuit, view.failures), (true, CircuitState::Closed, 0));
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
    wait_until("nothing in flight", || gateway.instance(&url).in_flight == 0).await;
}

/// An address that takes no more connections, and says nothing: nobody accepts, and the queue is full.
fn listener_with_full_backlog() -> (String, std::net::TcpListener, Vec<std::net::TcpStream>) {
    let listener = local_listener();
    let address = listener.local_addr().unwrap();
    let connect = || std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200));
    let queue = std::iter::from_fn(|| connect().ok()).collect();
    (format!("http://{address}"), listener, queue)
}

#[actix_web::test]
async fn a_connect_timeout_is_counted_only_for_its_own_instance() {
    let (full, _listener, _queue) = listener_with_full_backlog();
    // Not ready, so that all three are as good as each other: each is given one of three requests.
    let (one, two) = (TestInstance::start(false), TestInstance::start(false));
    let urls = format!("{full},{},{}", one.url, two.url);
    let gateway =
        start_gateway(&[("mefp", &urls)], &[("STELE_UPSTREAM_TIMEOUT", "1"), ("STELE_HEALTH_INTERVAL", "60")]);
    let asked = futures_util::future::join_all((0..3).map(|_| gateway.get(PATH))).await;
    let mut told: Vec<_> = asked.iter().map(|reply| reply.status).collect();
    told.sort_unstable();
    assert_eq!(told, [200, 200, 504]);
    let failures = [&full, &one.url, &two.url].map(|url| gateway.instance(url).failures > 0);
    assert_eq!(failures, [true, false, false]);
}
