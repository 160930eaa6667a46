//! A running `stele up` with a client, and the response of each dialect while a store or a provider is unavailable.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;

use crate::client::{DialectClient, DialectKind, Response, TestUser};
use crate::support::{Installation, Server, eventually};

pub(crate) const PASSWORD: &str = "the-password";

/// A running server with a client and the installation that it runs on.
pub(crate) struct SteleFixture {
    pub(crate) client: DialectClient,
    pub(crate) server: Server,
    pub(crate) installation: Installation,
}

impl SteleFixture {
    /// Starts `stele up` with these settings, cheap password hashes, and rate limits that no test reaches.
    pub(crate) fn with_settings(settings: &[(&str, &str)]) -> Self {
        let mut installation =
            Installation::with_settings(&[("STELE_HASH_COST", "64,1,1,weak"), ("STELE_LOG", "info")]);
        for name in ["STELE_SEND_ADDRESS", "STELE_SEND_APP", "STELE_SEND_RECIPIENT", "STELE_LIMIT_ADDRESS"] {
            installation.set(name, "1000000");
        }
        for (name, value) in settings {
            installation.set(name, value);
        }
        Self::start_on(installation)
    }

    /// Starts `stele up` on this installation.
    pub(crate) fn start_on(installation: Installation) -> Self {
        let server = installation.start_up();
        Self { client: DialectClient::register(&installation, &server), server, installation }
    }

    /// Adds a user with the password [`PASSWORD`].
    pub(crate) fn add_user(&self, name: &str, phone: &str) -> TestUser {
        TestUser::add(&self.installation, name, phone, &format!("{name}@example.com"), PASSWORD)
    }

    /// Requests a code through a dialect for a phone or, if the dialect supports it, an e-mail address.
    pub(crate) async fn send_code(&self, dialect: DialectKind, account: &str, to: &str) -> Response {
        match dialect {
            DialectKind::Portal => self.client.post_form("/code/send", &[], &[("username", to)]).await,
            DialectKind::Mefp => self.client.call_mefp("/auth/captcha", &json!({ "login_name": to, "usage": 2 })).await,
            DialectKind::Jwt => {
                let field = if to.contains('@') { "email" } else { "phone" };
                let fields = [("account", account), (field, to)];
                self.client.post_form("/api/v1/Auth/ForgetPassword", &[], &fields).await
            }
            DialectKind::Cloudbox | DialectKind::Tms => panic!("{dialect:?} sends no codes"),
        }
    }

    /// Waits until `/readyz` at the public address has this status.
    pub(crate) async fn wait_for_readiness(&self, status: u16) {
        let started_at = Instant::now();
        loop {
            let response = self.client.send(Method::GET, "/readyz", &[], String::new()).await;
            if response.status == status {
                return;
            }
            assert!(started_at.elapsed() < Duration::from_secs(10), "{response:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the response of `/readyz` at the admin port begins with `reason`, and `/readyz` at the public
    /// address has the status that corresponds to it.
    pub(crate) async fn wait_for_readiness_reason(&self, reason: &str) {
        let url = format!("{}/readyz", self.server.admin_url());
        let started_at = Instant::now();
        loop {
            let text = stele_testkit::http_client().get(&url).send().await.unwrap().text().await.unwrap();
            if text.starts_with(reason) {
                break;
            }
            assert!(started_at.elapsed() < Duration::from_secs(10), "{text}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.wait_for_readiness(if reason == "ready" { 200 } else { 503 }).await;
    }

    /// The number of codes that the log reports as undelivered.
    pub(crate) fn undelivered_count(&self) -> usize {
        self.server.log().matches("a code was not delivered").count()
    }

    /// Waits for a log line that contains `part`; returns it.
    pub(crate) fn log_line_containing(&self, part: &str) -> String {
        eventually(part, || self.server.log().lines().find(|line| line.contains(part)).map(str::to_owned))
    }
}

/// Asserts a 503 response in the dialect's format, with `Retry-After`, that must not be cached.
#[track_caller]
pub(crate) fn assert_unavailable(dialect: DialectKind, response: &Response) {
    let code = ["1009", "1009", "503", "50300", "-1"][dialect as usize];
    assert_eq!((response.status, response.code().as_str()), (503, code), "{dialect:?}: {response:?}");
    let retry_after: u64 = response.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&retry_after), "{dialect:?}: {response:?}");
    assert_eq!(response.headers["cache-control"], "no-store", "{dialect:?}");
}
