//! A running `stele up` with people, and what a dialect says when it cannot do something.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;

use crate::client::{Answer, App, Client, Dialect, Person};
use crate::support::{Home, Server, eventually};

pub(crate) const PASSWORD: &str = "the-password";

/// A server, a client of it, and where it lives.
pub(crate) struct Scene {
    pub(crate) client: Client,
    pub(crate) server: Server,
    pub(crate) home: Home,
}

impl Scene {
    /// `stele up` with these settings, cheap password hashes, and limits that a test does not reach.
    pub(crate) fn with(settings: &[(&str, &str)]) -> Self {
        let mut home = Home::with(&[("STELE_HASH_COST", "64,1,1,weak"), ("STELE_LOG", "info")]);
        for name in ["STELE_SEND_ADDRESS", "STELE_SEND_APP", "STELE_SEND_RECIPIENT", "STELE_LIMIT_ADDRESS"] {
            home.set(name, "1000000");
        }
        for (name, value) in settings {
            home.set(name, value);
        }
        Self::up(home)
    }

    /// `stele up` on this home.
    pub(crate) fn up(home: Home) -> Self {
        let server = home.up();
        let app = App::new("melink", home.add_app("melink", "melink"));
        let tms = home.run(&["token", "add", "faults"]).last_word();
        Self { client: Client::new(&server, app, &tms), server, home }
    }

    /// Someone whose password is [`PASSWORD`].
    pub(crate) fn person(&self, name: &str, phone: &str) -> Person {
        let email = format!("{name}@example.com");
        let id = self.home.add_user(name, PASSWORD, &["--phone", phone, "--email", &email]);
        Person { id, name: name.to_owned(), phone: phone.to_owned(), email }
    }

    /// Has a dialect send a code to a phone or, where the dialect takes one, an e-mail address, for whoever has it.
    pub(crate) async fn send_code(&self, dialect: Dialect, account: &str, to: &str) -> Answer {
        match dialect {
            Dialect::Portal => self.client.form("/code/send", &[], &[("username", to)]).await,
            Dialect::Mefp => self.client.mefp("/auth/captcha", &json!({ "login_name": to, "usage": 2 })).await,
            Dialect::Jwt => {
                let field = if to.contains('@') { "email" } else { "phone" };
                let fields = [("account", account), (field, to)];
                self.client.form("/api/v1/Auth/ForgetPassword", &[], &fields).await
            }
            Dialect::Cloudbox | Dialect::Tms => panic!("{dialect:?} sends no codes"),
        }
    }

    /// Waits until `/readyz` at the public address is answered so.
    pub(crate) async fn says_ready(&self, status: u16) {
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
    pub(crate) async fn says_why(&self, said: &str) {
        let printed = self.server.stdout();
        let url = printed.split("(health: ").nth(1).unwrap().split(',').next().unwrap();
        let began = Instant::now();
        loop {
            let text = stele_testkit::http().get(url).send().await.unwrap().text().await.unwrap();
            if text.starts_with(said) {
                break;
            }
            assert!(began.elapsed() < Duration::from_secs(10), "{text}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.says_ready(if said == "ready" { 200 } else { 503 }).await;
    }

    /// How many codes were given up.
    pub(crate) fn undelivered(&self) -> usize {
        self.server.log().matches("a code was not delivered").count()
    }

    /// The first line of the log that holds `part`.
    pub(crate) fn logged(&self, part: &str) -> String {
        eventually(part, || self.server.log().lines().find(|line| line.contains(part)).map(str::to_owned))
    }
}

/// That a dialect says, in its own words, that we are in trouble, and when to try again.
#[track_caller]
pub(crate) fn is_unavailable(dialect: Dialect, answer: &Answer) {
    let code = ["1009", "1009", "503", "50300", "-1"][dialect as usize];
    assert_eq!((answer.status, answer.code().as_str()), (503, code), "{dialect:?}: {answer:?}");
    let again: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&again), "{dialect:?}: {answer:?}");
    assert_eq!(answer.headers["cache-control"], "no-store", "{dialect:?}");
}
