//! Providers that hang, fail or are not there, and what everybody else notices of it.

use std::ffi::OsStr;
use std::io::Write;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stele_core::Error;
use stele_delivery::Bounds;
use tracing_subscriber::fmt::MakeWriter;

use crate::gateway::{Act, Gateway};
use crate::mailserver::{MailServer, Mood};
use crate::{ALONE, CODE, PHONE, alone, bounds, message, open, soon};

fn refusal(outcome: stele_core::Result<()>) -> String {
    match outcome {
        Err(Error::Unavailable(cause)) => cause.to_string(),
        other => panic!("{other:?}"),
    }
}

#[actix_web::test]
async fn mail_goes_out_while_the_gateway_hangs() {
    let mut gateway = Gateway::start(&[], Act::Hang);
    let mut server = MailServer::start(Mood::Well).await;
    let urls = format!("{},{}", gateway.url, server.url);
    let delivery = open(&urls, Bounds { workers: 1, ..bounds() });
    for _ in 0..3 {
        delivery.dispatch(message(PHONE)).unwrap();
    }
    gateway.next().await;
    delivery.dispatch(message("mark@example.com")).unwrap();
    server.next().await;
    assert!(!gateway.has_more(), "one at a time");
}

#[actix_web::test]
async fn a_full_queue_and_a_slow_provider_refuse_at_once() {
    let mut gateway = Gateway::start(&[], Act::Hang);
    let delivery = open(&gateway.url, Bounds { pending: 2, ..bounds() });
    for _ in 0..2 {
        delivery.dispatch(message(PHONE)).unwrap();
        gateway.next().await;
    }
    assert_eq!(refusal(delivery.dispatch(message(PHONE))), "sms: the queue is full");
    assert!(refusal(delivery.check(&message(PHONE).to)).contains("full"));

    let delivery = open(&gateway.url, Bounds { stale: Duration::ZERO, ..bounds() });
    delivery.dispatch(message(PHONE)).unwrap();
    gateway.next().await;
    assert_eq!(refusal(delivery.dispatch(message(PHONE))), "sms: the provider has been failing or too slow");
    // It is well again: so is the channel.
    for _ in 0..3 {
        gateway.release();
    }
    soon(delivery.drain()).await;
    delivery.dispatch(message(PHONE)).unwrap();
}

#[actix_web::test]
async fn attempts_at_a_provider_that_hangs_end() {
    let gateway = Gateway::start(&[], Act::Hang);
    let server = MailServer::start(Mood::Ignore("")).await;
    let brief = Bounds { attempt: Duration::from_millis(50), pending: 1, ..bounds() };
    let delivery = open(&format!("{},{}", gateway.url, server.url), brief);
    for _ in 0..2 {
        delivery.dispatch(message(PHONE)).unwrap();
        delivery.dispatch(message("mark@example.com")).unwrap();
        soon(delivery.drain()).await;
    }
}

#[actix_web::test]
async fn what_is_too_old_is_not_sent() {
    let mut gateway = Gateway::start(&[], Act::Answer(200));
    let delivery = open(&gateway.url, Bounds { worth: Duration::ZERO, ..bounds() });
    delivery.dispatch(message(PHONE)).unwrap();
    soon(delivery.drain()).await;
    assert!(!gateway.has_more());
}

#[actix_web::test]
async fn failures_are_logged_without_code_recipient_and_address() {
    // What is logged is decided for the whole process, so it must not have other tests in it.
    if std::env::var_os(ALONE).is_none() {
        let this = "trouble::failures_are_logged_without_code_recipient_and_address";
        return alone(this, "RUST_BACKTRACE", OsStr::new("0")).await;
    }
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    // Nobody listens there any more.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("webhook+http://user:pass@{closed}/?token=t0ken,smtp://u:p4ss@{closed}?from=a@b.c&tls=none");
    let delivery = open(&url, bounds());
    delivery.dispatch(message(PHONE)).unwrap();
    delivery.dispatch(message("mark@example.com")).unwrap();
    soon(delivery.drain()).await;

    let mut gateway = Gateway::start(&[], Act::Answer(400));
    let mut server = MailServer::start(Mood::Refuse("RCPT", "550 5.1.1 <mark@example.com> is unknown, 012345")).await;
    let delivery = open(&format!("{},{}", gateway.url, server.url), bounds());
    delivery.dispatch(message(PHONE)).unwrap();
    delivery.dispatch(message("mark@example.com")).unwrap();
    soon(delivery.drain()).await;
    assert!(gateway.has_more() && !server.has_more());

    let log = log.text();
    for told in [
        "Connection refused",
        "attempts=3",
        "the gateway answered 400",
        "the mail server answered 550",
        "to=\"*42\"",
        "to=\"m*@example.com\"",
        "purpose=\"reset\"",
        "a code was not delivered",
    ] {
        assert!(log.contains(told), "{told}: {log}");
    }
    for secret in [CODE, PHONE, "mark@", "t0ken", "p4ss", crate::SECRET] {
        assert!(!log.contains(secret), "{secret}: {log}");
    }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
