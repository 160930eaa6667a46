//! A machine's clock that is set by an hour, forward and back, under a process that runs: by libfaketime, which stands
//! between the process and its clock.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::client::{Answer, CLOUDBOX, Dialect, Person, TMS, base64, proof};
use crate::scene::{PASSWORD, Scene};

const HOUR: i64 = 3_600;

/// A scene whose clock is off.
struct Warped {
    scene: Scene,
    mark: Person,
    file: PathBuf,
    offset: i64,
    used: u64,
}

/// Where Debian's package has the library.
fn library() -> String {
    let folders = std::fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path());
    let library = folders.map(|folder| folder.join("faketime/libfaketimeMT.so.1")).find(|path| path.exists());
    library.expect("faketime must be installed").display().to_string()
}

/// Sets the clock that reads this file, at once and whole.
fn set(file: &Path, offset: i64) {
    let new = file.with_extension("new");
    std::fs::write(&new, format!("{offset:+}\n")).unwrap();
    std::fs::rename(new, file).unwrap();
}

impl Warped {
    fn new(offset: i64) -> Self {
        let folder = tempfile::tempdir().unwrap().keep();
        let file = folder.join("clock");
        set(&file, offset);
        let scene = Scene::with(&[
            ("LD_PRELOAD", &library()),
            ("FAKETIME_TIMESTAMP_FILE", file.to_str().unwrap()),
            ("FAKETIME_NO_CACHE", "1"),
            // What counts seconds, and not what time it is, is left alone, as by whoever sets a clock.
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("NO_FAKE_STAT", "1"),
        ]);
        let mark = scene.person("mark", "13800138000");
        Self { scene, mark, file, offset, used: 0 }
    }

    fn step(&mut self, by: i64) {
        self.offset += by;
        set(&self.file, self.offset);
    }

    fn restart(&mut self) {
        let Scene { home, server, client } = &mut self.scene;
        let (app, tms) = (client.app.clone(), client.tms.clone());
        let log = std::mem::replace(server, home.up()).stop();
        assert!(!log.contains("panicked"), "{log}");
        *client = crate::client::Client::new(server, app, &tms);
    }

    /// The body of a salted login with a timestamp that was not used before and is right by the server's clock.
    fn salted(&mut self) -> Value {
        #[expect(clippy::disallowed_methods, reason = "a client has a clock of its own")]
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        self.used += 1;
        let at = now.checked_add_signed(self.offset).unwrap() + self.used;
        json!({ "username": self.mark.name, "password": proof(PASSWORD, at), "timestamp": at })
    }

    async fn send(&self, dialect: Dialect, body: &Value) -> Answer {
        match dialect {
            Dialect::Cloudbox => self.scene.client.json(CLOUDBOX, &[], body).await,
            _ => self.scene.client.json(TMS, &[("authorization", &self.scene.client.tms)], body).await,
        }
    }

    /// Logs in with what is right by the server's clock.
    async fn login(&mut self, dialect: Dialect) -> Answer {
        match dialect {
            Dialect::Cloudbox | Dialect::Tms => {
                let body = self.salted();
                self.send(dialect, &body).await.good()
            }
            _ => self.scene.client.login(dialect, &self.mark, PASSWORD).await.good(),
        }
    }

    async fn all_log_in(&mut self) {
        for dialect in Dialect::ALL {
            self.login(dialect).await;
        }
    }

    async fn register(&self, phone: &str, code: &str) -> Answer {
        let fields = [("username", phone), ("password", &base64(PASSWORD)), ("code", &base64(code))];
        self.scene.client.form("/i/register", &[], &fields).await
    }

    async fn code(&self, phone: &str) -> String {
        self.scene.send_code(Dialect::Portal, "", phone).await.good();
        self.scene.server.code_after(phone, 0)
    }

    /// Fails until the account must wait, and gives for how long.
    async fn lock(&mut self, name: &str) -> u64 {
        for _ in 0..20 {
            let mut body = self.salted();
            body["username"] = json!(name);
            let answer = self.send(Dialect::Cloudbox, &body).await;
            if answer.status == 429 {
                return answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
            }
            answer.is(200, "1002");
        }
        panic!("{name} may be guessed at without end");
    }
}

/// What was opened, ended and used up before the clock was set.
struct Before {
    proofs: Vec<(Dialect, Value)>,
    alive: Vec<(Dialect, Vec<String>)>,
    ended: Vec<(Dialect, String)>,
    used: (String, String),
    unused: (String, String),
}

impl Warped {
    async fn before(&mut self) -> Before {
        let (mut proofs, mut alive, mut ended) = (Vec::new(), Vec::new(), Vec::new());
        for dialect in [Dialect::Cloudbox, Dialect::Tms] {
            let body = self.salted();
            self.send(dialect, &body).await.good();
            proofs.push((dialect, body));
        }
        for dialect in [Dialect::Cloudbox, Dialect::Tms, Dialect::Jwt] {
            let mut tokens = Vec::new();
            for _ in 0..4 {
                tokens.push(self.login(dialect).await.token());
            }
            alive.push((dialect, tokens));
        }
        for dialect in [Dialect::Cloudbox, Dialect::Jwt] {
            let token = self.login(dialect).await.token();
            assert_eq!(self.scene.client.alive(dialect, &token).await, Some(true));
            ended.push((dialect, token));
        }
        let (one, other) = ("13900139001", "13900139002");
        let (used, unused) = (self.code(one).await, self.code(other).await);
        self.register(one, &used).await.good();
        Before { proofs, alive, ended, used: (one.to_owned(), used), unused: (other.to_owned(), unused) }
    }

    /// Whatever the clock says, what was ended and used up is, a proof that was accepted is `refused`, and who is right
    /// gets in.
    async fn holds(&mut self, before: &mut Before, refused: &str) {
        for (dialect, body) in &before.proofs {
            self.send(*dialect, body).await.is(200, refused);
        }
        for (dialect, token) in &before.ended {
            assert_eq!(self.scene.client.alive(*dialect, token).await, Some(false), "{dialect:?}: {refused}");
        }
        for (dialect, tokens) in &mut before.alive {
            let token = tokens.pop().unwrap();
            assert_eq!(self.scene.client.alive(*dialect, &token).await, Some(true), "{dialect:?}: {refused}");
        }
        self.register(&before.used.0, &before.used.1).await.is(200, "3208");
        self.all_log_in().await;
    }
}

#[tokio::test]
#[ignore = "needs faketime"]
async fn a_clock_that_is_set_by_an_hour_opens_nothing_and_locks_nobody_out() {
    // The store is older than what the clock is set back by.
    let mut warped = Warped::new(-4 * HOUR);
    warped.step(2 * HOUR);
    let mut before = warped.before().await;
    warped.holds(&mut before, "1004").await;

    warped.step(HOUR);
    warped.holds(&mut before, "1003").await;
    // Its hour is over.
    warped.register(&before.unused.0, &before.unused.1).await.is(200, "3208");
    // A process that starts sweeps out what has expired.
    warped.restart();
    warped.all_log_in().await;
    warped.scene.home.add_user("eve", "another", &[]);
    warped.lock("eve").await;

    warped.step(-HOUR);
    warped.holds(&mut before, "1004").await;
    assert!(warped.lock("eve").await <= 60, "nobody waits for a clock that was set back");

    // An hour behind the time.
    warped.step(-HOUR);
    warped.holds(&mut before, "1003").await;
    warped.step(HOUR);
    for (dialect, body) in &before.proofs {
        warped.send(*dialect, body).await.is(200, "1004");
    }
    let log = warped.scene.server.stop();
    assert!(!log.contains("panicked") && !log.contains("ERROR"), "{log}");
    std::fs::remove_dir_all(warped.file.parent().unwrap()).unwrap();
}
