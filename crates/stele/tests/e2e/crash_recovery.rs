//! Killed in the middle, again and again: what was answered is kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::{DialectClient, DialectKind, MefpApp, base64};
use crate::support::{Installation, Server, TEST_TIMEOUT};

const ROUNDS: usize = 50;
const CONCURRENCY: usize = 4;

/// What a user's password may be: one, once the change was answered; two, where the server died before it answered.
#[derive(Debug)]
struct RegisteredUser {
    phone: String,
    passwords: Vec<String>,
}

/// What the registering tasks of one round share.
struct Round {
    number: usize,
    client: DialectClient,
    server: Server,
    /// Requests sent so far: the server is killed when there are enough.
    sent: AtomicUsize,
    stopped: AtomicBool,
}

impl Round {
    fn count_request(&self) {
        self.sent.fetch_add(1, Ordering::SeqCst);
    }

    /// The next code for `to`, or nothing once the server is dead.
    async fn next_code(&self, to: &str, seen: usize) -> Option<String> {
        while !self.stopped.load(Ordering::SeqCst) {
            if let Some(code) = self.server.codes(to).into_iter().nth(seen) {
                return Some(code);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        None
    }

    /// The portal's answer to a form: its status code, or nothing where the server died.
    async fn portal_code(&self, path: &str, fields: &[(&str, &str)]) -> Option<String> {
        self.count_request();
        Some(self.client.try_form(path, &[], fields).await.ok()?.code())
    }

    /// Registers one user at the portal and changes the password; what was answered is in `users`.
    async fn register(&self, phone: &str, users: &mut Vec<RegisteredUser>) -> Option<()> {
        let passwords = [format!("first-{phone}"), format!("second-{phone}")];
        for (turn, (path, password)) in ["/i/register", "/i/resetpwd"].into_iter().zip(&passwords).enumerate() {
            assert_eq!(self.portal_code("/code/send", &[("username", phone)]).await?, "200");
            let code = base64(&self.next_code(phone, turn).await?);
            let fields = [("username", phone), ("password", &base64(password)), ("code", &code)];
            if turn == 1 {
                users.last_mut().unwrap().passwords.push(password.clone());
            }
            assert_eq!(self.portal_code(path, &fields).await?, "200", "{path} {phone}");
            match turn {
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
        let asked = json!({ "login_name": phone, "usage": 1 });
        assert_eq!(self.client.try_mefp("/auth/captcha", &asked).await.ok()?.code(), "1");
        let message = json!({ "login_name": phone, "password": password, "captcha": self.next_code(phone, 0).await? });
        self.count_request();
        assert_eq!(self.client.try_mefp("/auth/register", &message).await.ok()?.code(), "1");
        users.push(RegisteredUser { phone: phone.to_owned(), passwords: vec![password] });
        Some(())
    }

    /// Registers users until the server dies.
    async fn register_until_killed(&self, task: usize) -> Vec<RegisteredUser> {
        let mut users = Vec::new();
        for turn in 0.. {
            let phone = format!("13{:02}{task:02}{turn:05}", self.number);
            let went_on = match task {
                0 => self.register_mefp(&phone, &mut users).await,
                _ => self.register(&phone, &mut users).await,
            };
            if went_on.is_none() {
                break;
            }
        }
        users
    }
}

/// Each user is let in by one of the passwords that may be theirs, and by another dialect too.
async fn assert_all_can_log_in(client: &DialectClient, users: &mut [RegisteredUser]) {
    for user in users {
        let mut right = Vec::new();
        for password in &user.passwords {
            let answer = client.login_as(DialectKind::Portal, &user.phone, password).await;
            if answer.is_success() {
                right.push(password.clone());
                client.login_as(DialectKind::Cloudbox, &user.phone, password).await.assert_success();
            }
        }
        assert_eq!(right.len(), 1, "answered, and lost: {user:?}");
        user.passwords = right;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_changes_survive_sigkill() {
    let mut home = Installation::with_settings(&[("STELE_HASH_COST", "64,1,1,weak"), ("STELE_LOG", "warn")]);
    for name in ["STELE_SEND_ADDRESS", "STELE_LIMIT_ADDRESS", "STELE_SEND_APP"] {
        home.set(name, "1000000");
    }
    let mut server = home.start_up();
    let app = MefpApp::new("melink", home.add_app("melink", "melink"));
    let mut all = Vec::new();
    for number in 0..ROUNDS {
        let client = DialectClient::new(&server, app.clone(), "");
        let (sent, over) = (AtomicUsize::new(0), AtomicBool::new(false));
        let round = Arc::new(Round { number, client, server, sent, stopped: over });
        let tasks: Vec<_> = (0..CONCURRENCY)
            .map(|task| {
                let round = round.clone();
                tokio::spawn(async move { round.register_until_killed(task).await })
            })
            .collect();
        let enough = 8 + number * 17 % 71;
        let deadline = Instant::now() + TEST_TIMEOUT;
        while round.sent.load(Ordering::SeqCst) < enough {
            assert!(
                Instant::now() < deadline && !tasks.iter().any(|task| task.is_finished()),
                "round {number} stands still"
            );
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        round.server.kill();
        round.stopped.store(true, Ordering::SeqCst);
        let mut users = Vec::new();
        for task in tasks {
            users.extend(task.await.unwrap());
        }
        server = home.start_up();
        let client = DialectClient::new(&server, app.clone(), "");
        assert_all_can_log_in(&client, &mut users).await;
        all.extend(users);
    }
    assert!(all.len() > ROUNDS, "too few were registered to tell anything: {}", all.len());
    let client = DialectClient::new(&server, app, "");
    assert_all_can_log_in(&client, &mut all).await;
    let listed = home.run(&["user", "list"]).assert_success().stdout.lines().count();
    assert!(listed >= all.len(), "{listed} users, {} were told that they are", all.len());
    server.stop();
}
