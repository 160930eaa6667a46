//! What people had opened, ended and used up before a fault, and what has become of it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::client::{Answer, CLOUDBOX, CLOUDBOX_LOGOUT, Client, Dialect, Person, TMS, base64, proof};
use crate::scene::{PASSWORD, Scene, is_unavailable};

/// Made by [`Before::new`].
pub(crate) struct Before {
    /// Salted logins that were let in.
    proofs: Vec<(Dialect, Value)>,
    alive: Vec<(Dialect, String)>,
    ended: Vec<(Dialect, String)>,
    /// Phones and codes to register them with at the portal.
    used: (String, String),
    unused: (String, String),
    reset: String,
    person: Person,
}

/// Whether the short-lived store is the one that it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Memory {
    /// It is.
    Whole,
    /// It came back with its sessions: from a disk, or as a replica.
    Restored,
    /// It came back empty.
    Empty,
}

/// The body of a salted login of so many seconds ago: not of the future, as those of a clock that is fast, which a store
/// that came back empty cannot tell from new ones.
fn salted(person: &Person, ago: u64) -> Value {
    #[expect(clippy::disallowed_methods, reason = "a client has a clock of its own")]
    let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() - ago;
    json!({ "username": person.name, "password": proof(PASSWORD, at), "timestamp": at })
}

async fn prove(client: &Client, dialect: Dialect, body: &Value) -> Answer {
    match dialect {
        Dialect::Cloudbox => client.json(CLOUDBOX, &[], body).await,
        _ => client.json(TMS, &[("authorization", &client.tms)], body).await,
    }
}

async fn register(client: &Client, (phone, code): &(String, String)) -> Answer {
    let fields = [("username", phone.as_str()), ("password", &base64(PASSWORD)), ("code", &base64(code))];
    client.form("/i/register", &[], &fields).await
}

async fn set_password(client: &Client, person: &Person, ticket: &str) -> Answer {
    let fields = [("account", person.name.as_str()), ("password", "by-a-thief")];
    client.form("/api/v1/Auth/updatePassword", &[("authorization", ticket)], &fields).await
}

/// Asks whether a session lives, without taking trouble for an answer; asking may end it.
async fn asked(client: &Client, dialect: Dialect, token: &str) -> Answer {
    match dialect {
        Dialect::Cloudbox => client.json(CLOUDBOX_LOGOUT, &[("authorization", token)], &json!({})).await,
        Dialect::Jwt => client.send(reqwest::Method::GET, "/api/v1/Auth/Logout", &[("token", token)], "".into()).await,
        other => panic!("{other:?}"),
    }
}

impl Before {
    /// Has a new person, told by `number`, log in and out everywhere.
    pub(crate) async fn new(scene: &Scene, number: usize) -> Self {
        let client = &scene.client;
        let person = scene.person(&format!("person{number}"), &format!("137{number:08}"));
        let (mut proofs, mut alive, mut ended) = (Vec::new(), Vec::new(), Vec::new());
        for (ago, dialect) in [Dialect::Cloudbox, Dialect::Tms].into_iter().enumerate() {
            // A store takes nothing that is as old as it is, nor the same proof by another door.
            let began = Instant::now();
            let body = loop {
                let body = salted(&person, ago as u64);
                let answer = prove(client, dialect, &body).await;
                if answer.succeeded() {
                    break body;
                }
                let again = matches!(answer.code().as_str(), "1003" | "1004");
                assert!(again && began.elapsed() < Duration::from_secs(5), "{answer:?}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            };
            proofs.push((dialect, body));
        }
        for dialect in [Dialect::Cloudbox, Dialect::Jwt] {
            alive.push((dialect, client.login(dialect, &person, PASSWORD).await.good().token()));
            let token = client.login(dialect, &person, PASSWORD).await.good().token();
            assert_eq!(client.alive(dialect, &token).await, Some(true));
            ended.push((dialect, token));
        }
        let mut codes = Vec::new();
        for phone in [format!("135{number:08}"), format!("136{number:08}")] {
            scene.send_code(Dialect::Portal, "", &phone).await.good();
            let code = scene.server.code_after(&phone, 0);
            codes.push((phone, code));
        }
        let (unused, used) = (codes.pop().unwrap(), codes.pop().unwrap());
        register(client, &used).await.good();
        scene.send_code(Dialect::Jwt, &person.name, &person.phone).await.good();
        let code = scene.server.code_after(&person.phone, 0);
        let fields = [("account", person.name.as_str()), ("identifyCode", &code)];
        let reset = client.form("/api/v1/Auth/validatePhone", &[], &fields).await.good().token();
        Self { proofs, alive, ended, used, unused, reset, person }
    }

    /// While a store is away: 503 within two seconds for every login, and nothing that was ended or used up opens. (The
    /// reset token is left alone: a store that is only stalled may yet do what nobody waits for any more, and use it up.)
    pub(crate) async fn is_refused(&self, scene: &Scene) {
        let client = &scene.client;
        join_all(Dialect::ALL.map(async |dialect| {
            let began = Instant::now();
            let answer = client.login(dialect, &self.person, PASSWORD).await;
            let took = began.elapsed();
            is_unavailable(dialect, &answer);
            assert!(took < Duration::from_secs(2), "{dialect:?} took {took:?}");
        }))
        .await;
        let proofs = self.proofs.iter().map(async |(dialect, body)| {
            is_unavailable(*dialect, &prove(client, *dialect, body).await);
        });
        // Neither alive nor dead: nobody knows.
        let alive = self.alive.iter().map(async |(dialect, token)| {
            is_unavailable(*dialect, &asked(client, *dialect, token).await);
        });
        let ended = self.ended.iter().map(async |(dialect, token)| {
            let answer = asked(client, *dialect, token).await;
            assert!(matches!(answer.status, 401 | 503), "{dialect:?}: {answer:?}");
        });
        let codes = [&self.used, &self.unused].map(async |pair| {
            is_unavailable(Dialect::Portal, &register(client, pair).await);
        });
        tokio::join!(join_all(proofs), join_all(alive), join_all(ended), join_all(codes));
        scene.says_ready(503).await;
    }

    /// Until every dialect lets the person in, which it must two seconds after `back` at the latest.
    pub(crate) async fn is_let_in(&self, scene: &Scene, back: Instant) {
        for dialect in Dialect::ALL {
            loop {
                let answer = scene.client.login(dialect, &self.person, PASSWORD).await;
                if answer.succeeded() {
                    break;
                }
                // A store that came back takes no proof that is as old as it is.
                let stale = matches!(dialect, Dialect::Cloudbox | Dialect::Tms) && answer.code() == "1003";
                if !stale {
                    is_unavailable(dialect, &answer);
                }
                let refused = back.elapsed();
                assert!(refused < Duration::from_secs(2), "{dialect:?} after {refused:?}: {answer:?}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }

    /// When the stores are back: what was ended is, what was used up is, and the rest is what the store remembers.
    pub(crate) async fn is_as_it_was(&self, scene: &Scene, memory: Memory) {
        let client = &scene.client;
        scene.says_ready(200).await;
        for (dialect, body) in &self.proofs {
            let code = if memory == Memory::Whole { "1004" } else { "1003" };
            prove(client, *dialect, body).await.is(200, code);
        }
        for (dialect, token) in &self.ended {
            assert_eq!(client.alive(*dialect, token).await, Some(false), "{dialect:?}");
        }
        for (dialect, token) in &self.alive {
            assert_eq!(client.alive(*dialect, token).await, Some(memory != Memory::Empty), "{dialect:?}");
        }
        register(client, &self.used).await.is(200, "3208");
        let answer = register(client, &self.unused).await;
        let reset = set_password(client, &self.person, &self.reset).await;
        if memory == Memory::Whole {
            answer.good();
            reset.good();
        } else {
            answer.is(200, "3208");
            reset.is(401, "-1");
        }
    }
}
