//! Clock changes: the clock is set an hour forward and back while the server runs, with libfaketime between the process
//! and the system's clock.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use stele_testkit::servers;

use crate::client::{CLOUDBOX_LOGIN, DialectKind, Response, TMS_LOGIN, TestUser, encode_base64, salted_proof};
use crate::stele_fixture::{PASSWORD, SteleFixture};
use crate::support::libfaketime_path;

const HOUR: i64 = 3_600;

/// A server with a manipulated clock, its offset from the real time in seconds, and a user.
struct ClockTest {
    fixture: SteleFixture,
    user: TestUser,
    offset_file: PathBuf,
    offset: i64,
    /// Number of timestamps used so far.
    used_timestamps: u64,
}

/// Sets the clock of the processes that read this file; atomically, so that no process reads a partial file.
fn set_clock_offset(file: &Path, offset: i64) {
    let new_file = file.with_extension("new");
    std::fs::write(&new_file, format!("{offset:+}\n")).unwrap();
    std::fs::rename(new_file, file).unwrap();
}

impl ClockTest {
    fn new(offset: i64) -> Self {
        Self::with_settings(offset, &[])
    }

    fn with_settings(offset: i64, stores: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap().keep();
        let offset_file = folder.join("clock");
        set_clock_offset(&offset_file, offset);
        let library = libfaketime_path();
        let clock_settings = [
            ("LD_PRELOAD", library.as_str()),
            ("FAKETIME_TIMESTAMP_FILE", offset_file.to_str().unwrap()),
            ("FAKETIME_NO_CACHE", "1"),
            // Setting a system's clock does not change the monotonic clock.
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("NO_FAKE_STAT", "1"),
        ];
        let fixture = SteleFixture::with_settings(&[&clock_settings[..], stores].concat());
        let user = fixture.add_user("mark", "13800138000");
        Self { fixture, user, offset_file, offset, used_timestamps: 0 }
    }

    fn step_clock(&mut self, seconds: i64) {
        self.offset += seconds;
        set_clock_offset(&self.offset_file, self.offset);
    }

    fn restart(&mut self) {
        let SteleFixture { installation, server, client } = &mut self.fixture;
        let (app, client_token) = (client.app.clone(), client.client_token.clone());
        let log = std::mem::replace(server, installation.start_up()).stop();
        assert!(!log.contains("panicked"), "{log}");
        *client = crate::client::DialectClient::new(server, app, &client_token);
    }

    /// The body of a salted login with a timestamp that is fresh by the server's clock and was not used before.
    fn salted_login_body(&mut self) -> Value {
        #[expect(clippy::disallowed_methods, reason = "a client has a clock of its own")]
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        self.used_timestamps += 1;
        let at = now.checked_add_signed(self.offset).unwrap() + self.used_timestamps;
        json!({ "username": self.user.name, "password": salted_proof(PASSWORD, at), "timestamp": at })
    }

    async fn send(&self, dialect: DialectKind, body: &Value) -> Response {
        match dialect {
            DialectKind::Cloudbox => self.fixture.client.post_json(CLOUDBOX_LOGIN, &[], body).await,
            _ => {
                self.fixture
                    .client
                    .post_json(TMS_LOGIN, &[("authorization", &self.fixture.client.client_token)], body)
                    .await
            }
        }
    }

    /// Logs in successfully, with a fresh timestamp by the server's clock.
    async fn login(&mut self, dialect: DialectKind) -> Response {
        match dialect {
            DialectKind::Cloudbox | DialectKind::Tms => {
                let body = self.salted_login_body();
                self.send(dialect, &body).await.assert_success()
            }
            _ => self.fixture.client.login(dialect, &self.user, PASSWORD).await.assert_success(),
        }
    }

    async fn assert_all_dialects_log_in(&mut self) {
        for dialect in DialectKind::ALL {
            self.login(dialect).await;
        }
    }

    async fn register(&self, phone: &str, code: &str) -> Response {
        let fields = [("username", phone), ("password", &encode_base64(PASSWORD)), ("code", &encode_base64(code))];
        self.fixture.client.post_form("/i/register", &[], &fields).await
    }

    async fn request_code(&self, phone: &str) -> String {
        self.fixture.send_code(DialectKind::Portal, "", phone).await.assert_success();
        self.fixture.server.next_code(phone, 0)
    }

    /// Sends wrong proofs until the account is locked out; returns the lockout in seconds.
    async fn lock_account(&mut self, name: &str) -> u64 {
        for _ in 0..20 {
            let mut body = self.salted_login_body();
            body["username"] = json!(name);
            let response = self.send(DialectKind::Cloudbox, &body).await;
            if response.status == 429 {
                return response.headers["retry-after"].to_str().unwrap().parse().unwrap();
            }
            response.assert_is(200, "1002");
        }
        panic!("{name} is never locked out");
    }
}

/// Proofs, sessions and codes that were issued before the clock was set.
struct IssuedCredentials {
    proofs: Vec<(DialectKind, Value)>,
    active_sessions: Vec<(DialectKind, Vec<String>)>,
    ended_sessions: Vec<(DialectKind, String)>,
    used_code: (String, String),
    unused_code: (String, String),
}

impl ClockTest {
    async fn issue_credentials(&mut self) -> IssuedCredentials {
        let (mut proofs, mut active_sessions, mut ended_sessions) = (Vec::new(), Vec::new(), Vec::new());
        for dialect in [DialectKind::Cloudbox, DialectKind::Tms] {
            let body = self.salted_login_body();
            self.send(dialect, &body).await.assert_success();
            proofs.push((dialect, body));
        }
        for dialect in [DialectKind::Cloudbox, DialectKind::Tms, DialectKind::Jwt] {
            let mut tokens = Vec::new();
            for _ in 0..4 {
                tokens.push(self.login(dialect).await.token());
            }
            active_sessions.push((dialect, tokens));
        }
        for dialect in [DialectKind::Cloudbox, DialectKind::Jwt] {
            let token = self.login(dialect).await.token();
            assert_eq!(self.fixture.client.is_session_alive(dialect, &token).await, Some(true));
            ended_sessions.push((dialect, token));
        }
        let (phone, other_phone) = ("13900139001", "13900139002");
        let (used, unused) = (self.request_code(phone).await, self.request_code(other_phone).await);
        self.register(phone, &used).await.assert_success();
        IssuedCredentials {
            proofs,
            active_sessions,
            ended_sessions,
            used_code: (phone.to_owned(), used),
            unused_code: (other_phone.to_owned(), unused),
        }
    }

    /// Asserts that used proofs are rejected with the cloudbox code `rejection`, ended sessions and used codes stay
    /// invalid, active sessions stay valid, and every dialect accepts a login.
    async fn assert_holds(&mut self, before: &mut IssuedCredentials, rejection: &str) {
        for (dialect, body) in &before.proofs {
            self.send(*dialect, body).await.assert_is(200, rejection);
        }
        for (dialect, token) in &before.ended_sessions {
            assert_eq!(
                self.fixture.client.is_session_alive(*dialect, token).await,
                Some(false),
                "{dialect:?}: {rejection}"
            );
        }
        for (dialect, tokens) in &mut before.active_sessions {
            let token = tokens.pop().unwrap();
            assert_eq!(
                self.fixture.client.is_session_alive(*dialect, &token).await,
                Some(true),
                "{dialect:?}: {rejection}"
            );
        }
        self.register(&before.used_code.0, &before.used_code.1).await.assert_is(200, "3208");
        self.assert_all_dialects_log_in().await;
    }
}

#[tokio::test]
#[ignore = "needs faketime"]
async fn a_one_hour_clock_step_revives_no_credential_and_locks_no_user() {
    // The state store is older than the steps that the clock is set back.
    let mut test = ClockTest::new(-4 * HOUR);
    test.step_clock(2 * HOUR);
    let mut before = test.issue_credentials().await;
    test.assert_holds(&mut before, "1004").await;

    test.step_clock(HOUR);
    test.assert_holds(&mut before, "1003").await;
    // The code has expired after an hour.
    test.register(&before.unused_code.0, &before.unused_code.1).await.assert_is(200, "3208");
    // A starting process deletes what has expired.
    test.restart();
    test.assert_all_dialects_log_in().await;
    test.fixture.installation.add_user("eve", "another-one", &[]);
    test.lock_account("eve").await;

    test.step_clock(-HOUR);
    test.assert_holds(&mut before, "1004").await;
    assert!(test.lock_account("eve").await <= 60, "setting the clock back does not extend a lockout");

    // An hour behind the original time.
    test.step_clock(-HOUR);
    test.assert_holds(&mut before, "1003").await;
    test.step_clock(HOUR);
    for (dialect, body) in &before.proofs {
        test.send(*dialect, body).await.assert_is(200, "1004");
    }
    let log = test.fixture.server.stop();
    assert!(!log.contains("panicked") && !log.contains("ERROR"), "{log}");
    std::fs::remove_dir_all(test.offset_file.parent().unwrap()).unwrap();
}

/// The value of a metric with its labels.
async fn scrape_metric(test: &ClockTest, series: &str) -> Option<f64> {
    let url = format!("{}/metrics", test.fixture.server.admin_url());
    let text = stele_testkit::http_client().get(url).send().await.unwrap().text().await.unwrap();
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

#[tokio::test]
#[ignore = "needs faketime, PostgreSQL and Redis"]
async fn an_instance_ten_minutes_fast_is_not_ready_and_reports_the_offset() {
    const METRIC: &str = "stele_store_clock_offset_seconds{store=\"users\"}";
    let (database, redis) = (servers::database_url(), servers::redis_url());
    let stores = [("STELE_DATABASE_URL", database.as_str()), ("STELE_REDIS_URL", redis.as_str())];
    let mut test = ClockTest::with_settings(600, &stores);
    let reason = "not ready: this machine's clock is 600.0 s ahead of the user store's server";
    test.fixture.wait_for_readiness_reason(reason).await;
    let logged = test.fixture.log_line_containing("600.0 s ahead of the state store's server");
    assert!(logged.contains("WARN") && logged.contains("synchronize it by NTP"), "{logged}");
    let offset = scrape_metric(&test, METRIC).await.unwrap();
    assert!((599.0..601.0).contains(&offset), "{offset}");
    let check = test.fixture.installation.run(&["check"]);
    assert!(check.code == Some(2) && check.stderr.contains("600.0 s ahead"), "{check:?}");

    // An instance that is not ready checks its clock every 5 s.
    test.step_clock(-597);
    test.fixture.wait_for_readiness_reason("ready").await;
    test.fixture.log_line_containing("3.0 s ahead of the state store's server");
    test.assert_all_dialects_log_in().await;
    let check = test.fixture.installation.run(&["check"]);
    let warning = "warning: this machine's clock is 3.0 s ahead of the user store's server";
    assert!(check.stdout.lines().any(|line| line.starts_with(warning)), "{check:?}");

    // A server started with the right clock logs nothing about it.
    test.step_clock(-3);
    let lines_before = test.fixture.server.log().matches("this machine's clock").count();
    test.restart();
    test.fixture.wait_for_readiness_reason("ready").await;
    assert_eq!(scrape_metric(&test, METRIC).await, Some(0.0));
    assert_eq!(test.fixture.server.log().matches("this machine's clock").count(), lines_before);
    std::fs::remove_dir_all(test.offset_file.parent().unwrap()).unwrap();
}
