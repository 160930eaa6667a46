//! Providers that hang, fail or are unreachable, and the effect on other messages.

use std::ffi::OsStr;
use std::io::Write;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stele_core::Error;
use stele_delivery::QueueConfig;
use tracing_subscriber::fmt::MakeWriter;

use crate::mail_server::{MailServer, ServerBehavior};
use crate::sms_gateway::{GatewayBehavior, SmsGateway};
use crate::{CODE, PHONE, SUBPROCESS_MARKER, message, open_delivery, run_in_subprocess, test_config, within_timeout};

fn unavailable_reason(outcome: stele_core::Result<()>) -> String {
    match outcome {
        Err(Error::Unavailable(cause)) => cause.to_string(),
        other => panic!("{other:?}"),
    }
}

#[actix_web::test]
async fn mail_is_delivered_while_the_sms_gateway_hangs() {
    let mut gateway = SmsGateway::start(&[], GatewayBehavior::Hang);
    let mut server = MailServer::start(ServerBehavior::AcceptAll).await;
    let urls = format!("{},{}", gateway.url, server.url);
    let delivery = open_delivery(&urls, QueueConfig { max_in_flight: 1, ..test_config() });
    for _ in 0..3 {
        delivery.dispatch(message(PHONE)).unwrap();
    }
    gateway.next_request().await;
    delivery.dispatch(message("mark@example.com")).unwrap();
    server.next_mail().await;
    assert!(!gateway.has_unread_request(), "one message at a time");
}

#[actix_web::test]
async fn a_full_queue_or_slow_provider_rejects_immediately() {
    let mut gateway = SmsGateway::start(&[], GatewayBehavior::Hang);
    let delivery = open_delivery(&gateway.url, QueueConfig { max_pending: 2, ..test_config() });
    for _ in 0..2 {
        delivery.dispatch(message(PHONE)).unwrap();
        gateway.next_request().await;
    }
    assert_eq!(unavailable_reason(delivery.dispatch(message(PHONE))), "sms: the queue is full");
    assert!(unavailable_reason(delivery.check_available(&message(PHONE).to)).contains("full"));

    let delivery = open_delivery(&gateway.url, QueueConfig { failure_tolerance: Duration::ZERO, ..test_config() });
    delivery.dispatch(message(PHONE)).unwrap();
    gateway.next_request().await;
    assert_eq!(unavailable_reason(delivery.dispatch(message(PHONE))), "sms: the provider has been failing or too slow");
    // The channel is available again when the provider has recovered.
    for _ in 0..3 {
        gateway.release();
    }
    within_timeout(delivery.drain()).await;
    delivery.dispatch(message(PHONE)).unwrap();
}

#[actix_web::test]
async fn attempts_to_a_hanging_provider_time_out() {
    let gateway = SmsGateway::start(&[], GatewayBehavior::Hang);
    let server = MailServer::start(ServerBehavior::NoReply("")).await;
    let short_timeout = QueueConfig { attempt_timeout: Duration::from_millis(50), max_pending: 1, ..test_config() };
    let delivery = open_delivery(&format!("{},{}", gateway.url, server.url), short_timeout);
    for _ in 0..2 {
        delivery.dispatch(message(PHONE)).unwrap();
        delivery.dispatch(message("mark@example.com")).unwrap();
        within_timeout(delivery.drain()).await;
    }
}

#[actix_web::test]
async fn an_expired_message_is_not_sent() {
    let mut gateway = SmsGateway::start(&[], GatewayBehavior::Respond(200));
    let delivery = open_delivery(&gateway.url, QueueConfig { max_message_age: Duration::ZERO, ..test_config() });
    delivery.dispatch(message(PHONE)).unwrap();
    within_timeout(delivery.drain()).await;
    assert!(!gateway.has_unread_request());
}

#[actix_web::test]
async fn delivery_failures_are_logged_without_code_recipient_or_url() {
    // The log level is global to the process, so no other test may run in it.
    if std::env::var_os(SUBPROCESS_MARKER).is_none() {
        let test_name = "provider_failures::delivery_failures_are_logged_without_code_recipient_or_url";
        return run_in_subprocess(test_name, "RUST_BACKTRACE", OsStr::new("0")).await;
    }
    let log = LogBuffer::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    // A port that was just closed.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("webhook+http://user:pass@{closed}/?token=t0ken,smtp://u:p4ss@{closed}?from=a@b.c&tls=none");
    let delivery = open_delivery(&url, test_config());
    delivery.dispatch(message(PHONE)).unwrap();
    delivery.dispatch(message("mark@example.com")).unwrap();
    within_timeout(delivery.drain()).await;

    let mut gateway = SmsGateway::start(&[], GatewayBehavior::Respond(400));
    let mut server =
        MailServer::start(ServerBehavior::ReplyWith("RCPT", "550 5.1.1 <mark@example.com> is unknown, 012345")).await;
    let delivery = open_delivery(&format!("{},{}", gateway.url, server.url), test_config());
    delivery.dispatch(message(PHONE)).unwrap();
    delivery.dispatch(message("mark@example.com")).unwrap();
    within_timeout(delivery.drain()).await;
    assert!(gateway.has_unread_request() && !server.has_unread_mail());

    let log = log.text();
    for expected in [
        "Connection refused",
        "attempts=3",
        "the gateway responded 400",
        "the mail server replied 550",
        "to=\"*42\"",
        "to=\"m*@example.com\"",
        "purpose=\"reset\"",
        "a code was not delivered",
    ] {
        assert!(log.contains(expected), "{expected}: {log}");
    }
    for secret in [CODE, PHONE, "mark@", "t0ken", "p4ss", crate::SECRET] {
        assert!(!log.contains(secret), "{secret}: {log}");
    }
}

#[derive(Clone, Default)]
struct LogBuffer(Arc<Mutex<Vec<u8>>>);

impl LogBuffer {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for LogBuffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogBuffer {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
