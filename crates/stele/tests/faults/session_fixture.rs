//! What people had opened, ended and used up before a fault, and what has become of it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::client::{
    CLOUDBOX_LOGIN, CLOUDBOX_LOGOUT, DialectClient, DialectKind, Response, TMS_LOGIN, TestUser, base64, salted_proof,
};
use crate::stele_fixture::{PASSWORD, SteleFixture, assert_unavailable};

/// Made by [`Before::new`].
pub(crate) struct SessionFixture {
    /// Salted logins that were let in.
    proofs: Vec<(DialectKind, Value)>,
    active_sessions: Vec<(DialectKind, String)>,
    ended_sessions: Vec<(DialectKind, String)>,
    /// Phones and codes to register them with at the portal.
    used_code: (String, String),
    unused_code: (String, String),
    reset_token: String,
    user: TestUser,
}

/// Whether the short-lived store is the one that it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StateStoreRecovery {
    /// It is.
    Intact,
    /// It came back with its sessions: from a disk, or as a replica.
    Restored,
    /// It came back empty.
    Empty,
}

/// The body of a salted login of so many seconds ago: not of the future, as those of a clock that is fast, which a store
/// that came back empty cannot tell from new ones.
fn salted_login_body(person: &TestUser, ago: u64) -> Value {
    #[expect(clippy::disallowed_methods, reason = "a client has a clock of its own")]
    let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() - ago;
    json!({ "username": person.name, "password": salted_proof(PASSWORD, at), "timestamp": at })
}

async fn send_salted_login(client: &DialectClient, dialect: DialectKind, body: &Value) -> Response {
    match dialect {
        DialectKind::Cloudbox => client.json(CLOUDBOX_LOGIN, &[], body).await,
        _ => client.json(TMS_LOGIN, &[("authorization", &client.client_token)], body).await,
    }
}

async fn register(client: &DialectClient, (phone, code): &(String, String)) -> Response {
    let fields = [("username", phone.as_str()), ("password", &base64(PASSWORD)), ("code", &base64(code))];
    client.form("/i/register", &[], &fields).await
}

async fn set_password(client: &DialectClient, person: &TestUser, ticket: &str) -> Response {
    let fields = [("account", person.name.as_str()), ("password", "by-a-thief")];
    client.form("/api/v1/Auth/updatePassword", &[("authorization", ticket)], &fields).await
}

/// Asks whether a session lives, without taking trouble for an answer; asking may end it.
async fn check_session(client: &DialectClient, dialect: DialectKind, token: &str) -> Response {
    match dialect {
        DialectKind::Cloudbox => client.json(CLOUDBOX_LOGOUT, &[("authorization", token)], &json!({})).await,
        DialectKind::Jwt => {
            client.send(reqwest::Method::GET, "/api/v1/Auth/Logout", &[("token", token)], "".into()).await
        }
        other => panic!("{other:?}"),
    }
}

impl SessionFixture {
    /// Has a new person, told by `number`, log in and out everywhere.
    pub(crate) async fn new(scene: &SteleFixture, number: usize) -> Self {
        let client = &scene.client;
        let person = scene.add_user(&format!("person{number}"), &format!("137{number:08}"));
        let (mut proofs, mut alive, mut ended) = (Vec::new(), Vec::new(), Vec::new());
        for (ago, dialect) in [DialectKind::Cloudbox, DialectKind::Tms].into_iter().enumerate() {
            // A store takes nothing that is as old as it is, nor the same proof by another door.
            let began = Instant::now();
            let body = loop {
                let body = salted_login_body(&person, ago as u64);
                let answer = send_salted_login(client, dialect, &body).await;
                if answer.is_success() {
                    break body;
                }
                let again = matches!(answer.code().as_str(), "1003" | "1004");
                assert!(again && began.elapsed() < Duration::from_secs(5), "{answer:?}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            };
            proofs.push((dialect, body));
        }
        for dialect in [DialectKind::Cloudbox, DialectKind::Jwt] {
            alive.push((dialect, client.login(dialect, &person, PASSWORD).await.assert_success().token()));
            let token = client.login(dialect, &person, PASSWORD).await.assert_success().token();
            assert_eq!(client.is_session_alive(dialect, &token).await, Some(true));
            ended.push((dialect, token));
        }
        let mut codes = Vec::new();
        for phone in [format!("135{number:08}"), format!("136{number:08}")] {
            scene.send_code(DialectKind::Portal, "", &phone).await.assert_success();
            let code = scene.server.next_code(&phone, 0);
            codes.push((phone, code));
        }
        let (unused, used) = (codes.pop().unwrap(), codes.pop().unwrap());
        register(client, &used).await.assert_success();
        scene.send_code(DialectKind::Jwt, &person.name, &person.phone).await.assert_success();
        let code = scene.server.next_code(&person.phone, 0);
        let fields = [("account", person.name.as_str()), ("identifyCode", &code)];
        let reset = client.form("/api/v1/Auth/validatePhone", &[], &fields).await.assert_success().token();
        Self {
            proofs,
            active_sessions: alive,
            ended_sessions: ended,
            used_code: used,
            unused_code: unused,
            reset_token: reset,
            user: person,
        }
    }

    /// While a store is away: 503 within two seconds for every login, and nothing that was ended or used up opens. (The
    /// reset token is left alone: a store that is only stalled may yet do what nobody waits for any more, and use it up.)
    pub(crate) async fn assert_unavailable(&self, scene: &SteleFixture) {
        let client = &scene.client;
        join_all(DialectKind::ALL.map(async |dialect| {
            let began = Instant::now();
            let answer = client.login(dialect, &self.user, PASSWORD).await;
            let took = began.elapsed();
            assert_unavailable(dialect, &answer);
            assert!(took < Duration::from_secs(2), "{dialect:?} took {took:?}");
        }))
        .await;
        let proofs = self.proofs.iter().map(async |(dialect, body)| {
            assert_unavailable(*dialect, &send_salted_login(client, *dialect, body).await);
        });
        // Neither alive nor dead: nobody knows.
        let alive = self.active_sessions.iter().map(async |(dialect, token)| {
            assert_unavailable(*dialect, &check_session(client, *dialect, token).await);
        });
        let ended = self.ended_sessions.iter().map(async |(dialect, token)| {
            let answer = check_session(client, *dialect, token).await;
            assert!(matches!(answer.status, 401 | 503), "{dialect:?}: {answer:?}");
        });
        let codes = [&self.used_code, &self.unused_code].map(async |pair| {
            assert_unavailable(DialectKind::Portal, &register(client, pair).await);
        });
        tokio::join!(join_all(proofs), join_all(alive), join_all(ended), join_all(codes));
        scene.wait_for_readiness(503).await;
    }

    /// Until every dialect lets the person in, which it must two seconds after `back` at the latest.
    pub(crate) async fn wait_until_login_succeeds(&self, scene: &SteleFixture, back: Instant) {
        for dialect in DialectKind::ALL {
            loop {
                let answer = scene.client.login(dialect, &self.user, PASSWORD).await;
                if answer.is_success() {
                    break;
                }
                // A store that came back takes no proof that is as old as it is.
                let stale = matches!(dialect, DialectKind::Cloudbox | DialectKind::Tms) && answer.code() == "1003";
                if !stale {
                    assert_unavailable(dialect, &answer);
                }
                let refused = back.elapsed();
                assert!(refused < Duration::from_secs(2), "{dialect:?} after {refused:?}: {answer:?}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }

    /// When the stores are back: what was ended is, what was used up is, and the rest is what the store remembers.
    pub(crate) async fn assert_state_preserved(&self, scene: &SteleFixture, memory: StateStoreRecovery) {
        let client = &scene.client;
        scene.wait_for_readiness(200).await;
        for (dialect, body) in &self.proofs {
            let code = if memory == StateStoreRecovery::Intact { "1004" } else { "1003" };
            send_salted_login(client, *dialect, body).await.assert_is(200, code);
        }
        for (dialect, token) in &self.ended_sessions {
            assert_eq!(client.is_session_alive(*dialect, token).await, Some(false), "{dialect:?}");
        }
        for (dialect, token) in &self.active_sessions {
            assert_eq!(
                client.is_session_alive(*dialect, token).await,
                Some(memory != StateStoreRecovery::Empty),
                "{dialect:?}"
            );
        }
        register(client, &self.used_code).await.assert_is(200, "3208");
        let answer = register(client, &self.unused_code).await;
        let reset = set_password(client, &self.user, &self.reset_token).await;
        if memory == StateStoreRecovery::Intact {
            answer.assert_success();
            reset.assert_success();
        } else {
            answer.assert_is(200, "3208");
            reset.assert_is(401, "-1");
        }
    }
}
