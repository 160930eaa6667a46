//! A running `stele up` with people, and what a dialect says when it cannot do something.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;

use crate::client::{DialectClient, DialectKind, MefpApp, Response, TestUser};
use crate::support::{Installation, Server, eventually};

pub(crate) const PASSWORD: &str = "the-password";

/// A server, a client of it, and where it lives.
pub(crate) struct SteleFixture {
    pub(crate) client: DialectClient,
    pub(crate) server: Server,
    pub(crate) installation: Installation,
}

impl SteleFixture {
    /// `stele up` with these settings, cheap password hashes, and limits that a test does not reach.
    pub(crate) fn with_settings(settings: &[(&str, &str)]) -> Self {
        let mut home = Installation::with_settings(&[("STELE_HASH_COST", "64,1,1,weak"), ("STELE_LOG", "info")]);
        for name in ["STELE_SEND_ADDRESS", "STELE_SEND_APP", "STELE_SEND_RECIPIENT", "STELE_LIMIT_ADDRESS"] {
            home.set(name, "1000000");
        }
        for (name, value) in settings {
            home.set(name, value);
        }
        Self::start_on(home)
    }

    /// `stele up` on this home.
    pub(crate) fn start_on(home: Installation) -> Self {
        let server = home.start_up();
        let app = MefpApp::new("melink", home.add_app("melink", "melink"));
        let tms = home.run(&["token", "add", "faults"]).last_stdout_word();
        Self { client: DialectClient::new(&server, app, &tms), server, installation: home }
    }

    /// Someone whose password is [`PASSWORD`].
    pub(crate) fn add_user(&self, name: &str, phone: &str) -> TestUser {
        let email = format!("{name}@example.com");
        let id = self.installation.add_user(name, PASSWORD, &["--phone", phone, "--email", &email]);
        TestUser { id, name: name.to_owned(), phone: phone.to_owned(), email }
    }

    /// Has a dialect send a code to a phone or, where the dialect takes one, an e-mail address, for whoever has it.
    pub(crate) async fn send_code(&self, dialect: DialectKind, account: &str, to: &str) -> Response {
        match dialect {
            DialectKind::Portal => self.client.form("/code/send", &[], &[("username", to)]).await,
            DialectKind::Mefp => self.client.mefp("/auth/captcha", &json!({ "login_name": to, "usage": 2 })).await,
            DialectKind::Jwt => {
                let field = if to.contains('@') { "email" } else { "phone" };
                let fields = [("account", account), (field, to)];
                self.client.form("/api/v1/Auth/ForgetPassword", &[], &fields).await
            }
            DialectKind::Cloudbox | DialectKind::Tms => panic!("{dialect:?} sends no codes"),
        }
    }

    /// Waits until `/readyz` at the public address is answered so.
    pub(crate) async fn wait_for_readiness(&self, status: u16) {
        let began = Instant::now();
        loop {
            let answer = self.client.send(Method::GET, "/readyz", &[], String::new()).await;
            if answer.status == status {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(10), "{answer:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until `/readyz` at the admin port says so, and at the public address answers accordingly.
    pub(crate) async fn wait_for_readiness_reason(&self, said: &str) {
        let printed = self.server.stdout();
        let url = printed.split("(health: ").nth(1).unwrap().split(',').next().unwrap();
        let began = Instant::now();
        loop {
            let text = stele_testkit::http_client().get(url).send().await.unwrap().text().await.unwrap();
            if text.starts_with(said) {
                break;
            }
            assert!(began.elapsed() < Duration::from_secs(10), "{text}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.wait_for_readiness(if said == "ready" { 200 } else { 503 }).await;
    }

    /// How many codes were given up.
    pub(crate) fn undelivered_count(&self) -> usize {
        self.server.log().matches("a code was not delivered").count()
    }

    /// The first line of the log that holds `part`.
    pub(crate) fn log_line_containing(&self, part: &str) -> String {
        eventually(part, || self.server.log().lines().find(|line| line.contains(part)).map(str::to_owned))
    }
}

/// That a dialect says, in its own words, that we are in trouble, and when to try again.
#[track_caller]
pub(crate) fn assert_unavailable(dialect: DialectKind, answer: &Response) {
    let code = ["1009", "1009", "503", "50300", "-1"][dialect as usize];
    assert_eq!((answer.status, answer.code().as_str()), (503, code), "{dialect:?}: {answer:?}");
    let again: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&again), "{dialect:?}: {answer:?}");
    assert_eq!(answer.headers["cache-control"], "no-store", "{dialect:?}");
}
