//! A machine's clock that is set by an hour, forward and back, under a process that runs: by libfaketime, which stands
//! between the process and its clock.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::client::{CLOUDBOX_LOGIN, DialectKind, Response, TMS_LOGIN, TestUser, base64, salted_proof};
use crate::stele_fixture::{PASSWORD, SteleFixture};

const HOUR: i64 = 3_600;

/// A scene whose clock is off.
struct ClockTest {
    fixture: SteleFixture,
    user: TestUser,
    offset_file: PathBuf,
    offset: i64,
    last_timestamp: u64,
}

/// Where Debian's package has the library.
fn libfaketime_path() -> String {
    let folders = std::fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path());
    let library = folders.map(|folder| folder.join("faketime/libfaketimeMT.so.1")).find(|path| path.exists());
    library.expect("faketime must be installed").display().to_string()
}

/// Sets the clock that reads this file, at once and whole.
fn set_clock_offset(file: &Path, offset: i64) {
    let new = file.with_extension("new");
    std::fs::write(&new, format!("{offset:+}\n")).unwrap();
    std::fs::rename(new, file).unwrap();
}

impl ClockTest {
    fn new(offset: i64) -> Self {
        let folder = tempfile::tempdir().unwrap().keep();
        let file = folder.join("clock");
        set_clock_offset(&file, offset);
        let scene = SteleFixture::with_settings(&[
            ("LD_PRELOAD", &libfaketime_path()),
            ("FAKETIME_TIMESTAMP_FILE", file.to_str().unwrap()),
            ("FAKETIME_NO_CACHE", "1"),
            // What counts seconds, and not what time it is, is left alone, as by whoever sets a clock.
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("NO_FAKE_STAT", "1"),
        ]);
        let mark = scene.add_user("mark", "13800138000");
        Self { fixture: scene, user: mark, offset_file: file, offset, last_timestamp: 0 }
    }

    fn step_clock(&mut self, by: i64) {
        self.offset += by;
        set_clock_offset(&self.offset_file, self.offset);
    }

    fn restart(&mut self) {
        let SteleFixture { installation: home, server, client } = &mut self.fixture;
        let (app, tms) = (client.app.clone(), client.client_token.clone());
        let log = std::mem::replace(server, home.start_up()).stop();
        assert!(!log.contains("panicked"), "{log}");
        *client = crate::client::DialectClient::new(server, app, &tms);
    }

    /// The body of a salted login with a timestamp that was not used before and is right by the server's clock.
    fn salted_login_body(&mut self) -> Value {
        #[expect(clippy::disallowed_methods, reason = "a client has a clock of its own")]
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        self.last_timestamp += 1;
        let at = now.checked_add_signed(self.offset).unwrap() + self.last_timestamp;
        json!({ "username": self.user.name, "password": salted_proof(PASSWORD, at), "timestamp": at })
    }

    async fn send(&self, dialect: DialectKind, body: &Value) -> Response {
        match dialect {
            DialectKind::Cloudbox => self.fixture.client.json(CLOUDBOX_LOGIN, &[], body).await,
            _ => {
                self.fixture.client.json(TMS_LOGIN, &[("authorization", &self.fixture.client.client_token)], body).await
            }
        }
    }

    /// Logs in with what is right by the server's clock.
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
        let fields = [("username", phone), ("password", &base64(PASSWORD)), ("code", &base64(code))];
        self.fixture.client.form("/i/register", &[], &fields).await
    }

    async fn code(&self, phone: &str) -> String {
        self.fixture.send_code(DialectKind::Portal, "", phone).await.assert_success();
        self.fixture.server.next_code(phone, 0)
    }

    /// Fails until the account must wait, and gives for how long.
    async fn lock_account(&mut self, name: &str) -> u64 {
        for _ in 0..20 {
            let mut body = self.salted_login_body();
            body["username"] = json!(name);
            let answer = self.send(DialectKind::Cloudbox, &body).await;
            if answer.status == 429 {
                return answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
            }
            answer.assert_is(200, "1002");
        }
        panic!("{name} may be guessed at without end");
    }
}

/// What was opened, ended and used up before the clock was set.
struct IssuedBefore {
    proofs: Vec<(DialectKind, Value)>,
    active_sessions: Vec<(DialectKind, Vec<String>)>,
    ended_sessions: Vec<(DialectKind, String)>,
    used_code: (String, String),
    unused_code: (String, String),
}

impl ClockTest {
    async fn issue_credentials(&mut self) -> IssuedBefore {
        let (mut proofs, mut alive, mut ended) = (Vec::new(), Vec::new(), Vec::new());
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
            alive.push((dialect, tokens));
        }
        for dialect in [DialectKind::Cloudbox, DialectKind::Jwt] {
            let token = self.login(dialect).await.token();
            assert_eq!(self.fixture.client.is_session_alive(dialect, &token).await, Some(true));
            ended.push((dialect, token));
        }
        let (one, other) = ("13900139001", "13900139002");
        let (used, unused) = (self.code(one).await, self.code(other).await);
        self.register(one, &used).await.assert_success();
        IssuedBefore {
            proofs,
            active_sessions: alive,
            ended_sessions: ended,
            used_code: (one.to_owned(), used),
            unused_code: (other.to_owned(), unused),
        }
    }

    /// Whatever the clock says, what was ended and used up is, a proof that was accepted is `refused`, and who is right
    /// gets in.
    async fn assert_holds(&mut self, before: &mut IssuedBefore, refused: &str) {
        for (dialect, body) in &before.proofs {
            self.send(*dialect, body).await.assert_is(200, refused);
        }
        for (dialect, token) in &before.ended_sessions {
            assert_eq!(
                self.fixture.client.is_session_alive(*dialect, token).await,
                Some(false),
                "{dialect:?}: {refused}"
            );
        }
        for (dialect, tokens) in &mut before.active_sessions {
            let token = tokens.pop().unwrap();
            assert_eq!(
                self.fixture.client.is_session_alive(*dialect, &token).await,
                Some(true),
                "{dialect:?}: {refused}"
            );
        }
        self.register(&before.used_code.0, &before.used_code.1).await.assert_is(200, "3208");
        self.assert_all_dialects_log_in().await;
    }
}

#[tokio::test]
#[ignore = "needs faketime"]
async fn a_one_hour_clock_step_revives_no_credential_and_locks_no_user() {
    // The store is older than what the clock is set back by.
    let mut warped = ClockTest::new(-4 * HOUR);
    warped.step_clock(2 * HOUR);
    let mut before = warped.issue_credentials().await;
    warped.assert_holds(&mut before, "1004").await;

    warped.step_clock(HOUR);
    warped.assert_holds(&mut before, "1003").await;
    // Its hour is over.
    warped.register(&before.unused_code.0, &before.unused_code.1).await.assert_is(200, "3208");
    // A process that starts sweeps out what has expired.
    warped.restart();
    warped.assert_all_dialects_log_in().await;
    warped.fixture.installation.add_user("eve", "another", &[]);
    warped.lock_account("eve").await;

    warped.step_clock(-HOUR);
    warped.assert_holds(&mut before, "1004").await;
    assert!(warped.lock_account("eve").await <= 60, "nobody waits for a clock that was set back");

    // An hour behind the time.
    warped.step_clock(-HOUR);
    warped.assert_holds(&mut before, "1003").await;
    warped.step_clock(HOUR);
    for (dialect, body) in &before.proofs {
        warped.send(*dialect, body).await.assert_is(200, "1004");
    }
    let log = warped.fixture.server.stop();
    assert!(!log.contains("panicked") && !log.contains("ERROR"), "{log}");
    std::fs::remove_dir_all(warped.offset_file.parent().unwrap()).unwrap();
}
