//! Crash recovery: `stele up` is killed repeatedly under load; no acknowledged change may be lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::{DialectClient, DialectKind, MefpApp, encode_base64};
use crate::support::{Installation, Server, TEST_TIMEOUT};

const ROUNDS: usize = 50;
const CONCURRENCY: usize = 4;

/// A user and the passwords that may be valid: one after an acknowledged change, two if the server was killed before
/// the last change was acknowledged.
#[derive(Debug)]
struct RegisteredUser {
    phone: String,
    passwords: Vec<String>,
}

/// State that the tasks of one round share.
struct Round {
    number: usize,
    client: DialectClient,
    server: Server,
    /// Number of requests sent so far. The server is killed when it reaches the round's number of requests.
    sent: AtomicUsize,
    stopped: AtomicBool,
}

impl Round {
    fn count_request(&self) {
        self.sent.fetch_add(1, Ordering::SeqCst);
    }

    /// Waits for the code for `to` that follows the first `already_sent` codes; `None` once the server is killed.
    async fn next_code(&self, to: &str, already_sent: usize) -> Option<String> {
        while !self.stopped.load(Ordering::SeqCst) {
            if let Some(code) = self.server.codes(to).into_iter().nth(already_sent) {
                return Some(code);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        None
    }

    /// Posts a form to the portal; returns its status code, or `None` if the server died.
    async fn portal_code(&self, path: &str, fields: &[(&str, &str)]) -> Option<String> {
        self.count_request();
        Some(self.client.try_post_form(path, &[], fields).await.ok()?.code())
    }

    /// Registers one user at the portal and changes the password; records what was acknowledged in `users`.
    async fn register(&self, phone: &str, users: &mut Vec<RegisteredUser>) -> Option<()> {
        let passwords = [format!("first-{phone}"), format!("second-{phone}")];
        for (step, (path, password)) in ["/i/register", "/i/resetpwd"].into_iter().zip(&passwords).enumerate() {
            assert_eq!(self.portal_code("/code/send", &[("username", phone)]).await?, "200");
            let code = encode_base64(&self.next_code(phone, step).await?);
            let fields = [("username", phone), ("password", &encode_base64(password)), ("code", &code)];
            if step == 1 {
                users.last_mut().unwrap().passwords.push(password.clone());
            }
            assert_eq!(self.portal_code(path, &fields).await?, "200", "{path} {phone}");
            match step {
                0 => users.push(RegisteredUser { phone: phone.to_owned(), passwords: vec![password.clone()] }),
                _ => users.last_mut().unwrap().passwords = vec![password.clone()],
            }
        }
        Some(())
    }

    /// Registers one user at MeFP.
    async fn register_mefp(&self, phone: &str, users: &mut Vec<RegisteredUser>) -> Option<()> {
        let password = format!("first-{phone}");
        self.count_request();
        let request = json!({ "login_name": phone, "usage": 1 });
        assert_eq!(self.client.try_call_mefp("/auth/captcha", &request).await.ok()?.code(), "1");
        let message = json!({ "login_name": phone, "password": password, "captcha": self.next_code(phone, 0).await? });
        self.count_request();
        assert_eq!(self.client.try_call_mefp("/auth/register", &message).await.ok()?.code(), "1");
        users.push(RegisteredUser { phone: phone.to_owned(), passwords: vec![password] });
        Some(())
    }

    /// Registers users until the server is killed.
    async fn register_until_killed(&self, task: usize) -> Vec<RegisteredUser> {
        let mut users = Vec::new();
        for index in 0.. {
            let phone = format!("13{:02}{task:02}{index:05}", self.number);
            let result = match task {
                0 => self.register_mefp(&phone, &mut users).await,
                _ => self.register(&phone, &mut users).await,
            };
            if result.is_none() {
                break;
            }
        }
        users
    }
}

/// Asserts that each user can log in with exactly one of the possible passwords, also through another dialect.
async fn assert_all_can_log_in(client: &DialectClient, users: &mut [RegisteredUser]) {
    for user in users {
        let mut accepted = Vec::new();
        for password in &user.passwords {
            let response = client.login_as(DialectKind::Portal, &user.phone, password).await;
            if response.is_success() {
                accepted.push(password.clone());
                client.login_as(DialectKind::Cloudbox, &user.phone, password).await.assert_success();
            }
        }
        assert_eq!(accepted.len(), 1, "an acknowledged change is lost: {user:?}");
        user.passwords = accepted;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_changes_survive_sigkill() {
    let mut installation = Installation::with_settings(&[("STELE_HASH_COST", "64,1,1,weak"), ("STELE_LOG", "warn")]);
    for name in ["STELE_SEND_ADDRESS", "STELE_LIMIT_ADDRESS", "STELE_SEND_APP"] {
        installation.set(name, "1000000");
    }
    let mut server = installation.start_up();
    let app = MefpApp::new("melink", installation.add_app("melink", "melink"));
    let mut all_users = Vec::new();
    for number in 0..ROUNDS {
        let client = DialectClient::new(&server, app.clone(), "");
        let (sent, stopped) = (AtomicUsize::new(0), AtomicBool::new(false));
        let round = Arc::new(Round { number, client, server, sent, stopped });
        let tasks: Vec<_> = (0..CONCURRENCY)
            .map(|task| {
                let round = round.clone();
                tokio::spawn(async move { round.register_until_killed(task).await })
            })
            .collect();
        let kill_after = 8 + number * 17 % 71;
        let deadline = Instant::now() + TEST_TIMEOUT;
        while round.sent.load(Ordering::SeqCst) < kill_after {
            assert!(
                Instant::now() < deadline && !tasks.iter().any(|task| task.is_finished()),
                "round {number} makes no progress"
            );
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        round.server.kill();
        round.stopped.store(true, Ordering::SeqCst);
        let mut users = Vec::new();
        for task in tasks {
            users.extend(task.await.unwrap());
        }
        server = installation.start_up();
        let client = DialectClient::new(&server, app.clone(), "");
        assert_all_can_log_in(&client, &mut users).await;
        all_users.extend(users);
    }
    assert!(all_users.len() > ROUNDS, "too few registrations for a result: {}", all_users.len());
    let client = DialectClient::new(&server, app, "");
    assert_all_can_log_in(&client, &mut all_users).await;
    let listed = installation.run(&["user", "list"]).assert_success().stdout.lines().count();
    assert!(listed >= all_users.len(), "{listed} users, but {} registrations were acknowledged", all_users.len());
    server.stop();
}
