//! Sessions, proofs and codes of a user from before a store outage, and assertions about them during and after it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::client::{
    CLOUDBOX_LOGIN, CLOUDBOX_LOGOUT, DialectClient, DialectKind, Response, TMS_LOGIN, TestUser, encode_base64,
    salted_proof,
};
use crate::stele_fixture::{PASSWORD, SteleFixture, assert_unavailable};

/// A user with active and ended sessions, used proofs, codes and a reset token.
pub(crate) struct SessionFixture {
    /// Salted logins that were accepted.
    proofs: Vec<(DialectKind, Value)>,
    active_sessions: Vec<(DialectKind, String)>,
    ended_sessions: Vec<(DialectKind, String)>,
    /// A phone, and a code to register it at the portal.
    used_code: (String, String),
    unused_code: (String, String),
    reset_token: String,
    user: TestUser,
}

/// What the state store still has after the outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StateStoreRecovery {
    /// All data: the store was only unreachable.
    Intact,
    /// All data, after a restart from disk or a failover to a replica: sessions stay valid, earlier proofs and codes do
    /// not.
    Restored,
    /// No data.
    Empty,
}

/// The body of a salted login with a timestamp `ago` seconds in the past. Not in the future: an empty store could not
/// distinguish such a proof from a new one.
fn salted_login_body(person: &TestUser, ago: u64) -> Value {
    #[expect(clippy::disallowed_methods, reason = "a client has a clock of its own")]
    let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() - ago;
    json!({ "username": person.name, "password": salted_proof(PASSWORD, at), "timestamp": at })
}

async fn send_salted_login(client: &DialectClient, dialect: DialectKind, body: &Value) -> Response {
    match dialect {
        DialectKind::Cloudbox => client.post_json(CLOUDBOX_LOGIN, &[], body).await,
        _ => client.post_json(TMS_LOGIN, &[("authorization", &client.client_token)], body).await,
    }
}

async fn register(client: &DialectClient, (phone, code): &(String, String)) -> Response {
    let fields = [("username", phone.as_str()), ("password", &encode_base64(PASSWORD)), ("code", &encode_base64(code))];
    client.post_form("/i/register", &[], &fields).await
}

async fn set_password(client: &DialectClient, person: &TestUser, ticket: &str) -> Response {
    let fields = [("account", person.name.as_str()), ("password", "by-a-thief")];
    client.post_form("/api/v1/Auth/updatePassword", &[("authorization", ticket)], &fields).await
}

/// Logs out of a session; the response shows whether the session was valid.
async fn check_session(client: &DialectClient, dialect: DialectKind, token: &str) -> Response {
    match dialect {
        DialectKind::Cloudbox => client.post_json(CLOUDBOX_LOGOUT, &[("authorization", token)], &json!({})).await,
        DialectKind::Jwt => {
            client.send(reqwest::Method::GET, "/api/v1/Auth/Logout", &[("token", token)], "".into()).await
        }
        other => panic!("{other:?}"),
    }
}

impl SessionFixture {
    /// Adds the user with this number, logs them in and out, and requests codes and a reset token.
    pub(crate) async fn new(fixture: &SteleFixture, number: usize) -> Self {
        let client = &fixture.client;
        let person = fixture.add_user(&format!("person{number}"), &format!("137{number:08}"));
        let (mut proofs, mut active_sessions, mut ended_sessions) = (Vec::new(), Vec::new(), Vec::new());
        // In the past: the logins below have timestamps from now on.
        for (ago, dialect) in [(1, DialectKind::Cloudbox), (2, DialectKind::Tms)] {
            // The store rejects proofs that are not newer than itself, and a proof that the other dialect has used.
            let started_at = Instant::now();
            let body = loop {
                let body = salted_login_body(&person, ago);
                let response = send_salted_login(client, dialect, &body).await;
                if response.is_success() {
                    break body;
                }
                let is_retryable = matches!(response.code().as_str(), "1003" | "1004");
                assert!(is_retryable && started_at.elapsed() < Duration::from_secs(5), "{response:?}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            };
            proofs.push((dialect, body));
        }
        for dialect in [DialectKind::Cloudbox, DialectKind::Jwt] {
            active_sessions.push((dialect, client.login(dialect, &person, PASSWORD).await.assert_success().token()));
            let token = client.login(dialect, &person, PASSWORD).await.assert_success().token();
            assert_eq!(client.is_session_alive(dialect, &token).await, Some(true));
            ended_sessions.push((dialect, token));
        }
        let mut codes = Vec::new();
        for phone in [format!("135{number:08}"), format!("136{number:08}")] {
            fixture.send_code(DialectKind::Portal, "", &phone).await.assert_success();
            let code = fixture.server.next_code(&phone, 0);
            codes.push((phone, code));
        }
        let (unused_code, used_code) = (codes.pop().unwrap(), codes.pop().unwrap());
        register(client, &used_code).await.assert_success();
        fixture.send_code(DialectKind::Jwt, &person.name, &person.phone).await.assert_success();
        let code = fixture.server.next_code(&person.phone, 0);
        let fields = [("account", person.name.as_str()), ("identifyCode", &code)];
        let reset_token = client.post_form("/api/v1/Auth/validatePhone", &[], &fields).await.assert_success().token();
        Self { proofs, active_sessions, ended_sessions, used_code, unused_code, reset_token, user: person }
    }

    /// Asserts the behaviour during an outage: 503 within two seconds for every login, and neither ended sessions nor
    /// used proofs and codes are accepted. (The reset token is not tried: a paused store may execute the call later and
    /// consume it.)
    pub(crate) async fn assert_unavailable(&self, fixture: &SteleFixture) {
        let client = &fixture.client;
        join_all(DialectKind::ALL.map(async |dialect| {
            let started_at = Instant::now();
            let response = client.login(dialect, &self.user, PASSWORD).await;
            let elapsed = started_at.elapsed();
            assert_unavailable(dialect, &response);
            assert!(elapsed < Duration::from_secs(2), "{dialect:?} took {elapsed:?}");
        }))
        .await;
        let proofs = self.proofs.iter().map(async |(dialect, body)| {
            assert_unavailable(*dialect, &send_salted_login(client, *dialect, body).await);
        });
        // Whether the session is valid cannot be determined, so neither success nor 401 is right.
        let active = self.active_sessions.iter().map(async |(dialect, token)| {
            assert_unavailable(*dialect, &check_session(client, *dialect, token).await);
        });
        let ended = self.ended_sessions.iter().map(async |(dialect, token)| {
            let response = check_session(client, *dialect, token).await;
            assert!(matches!(response.status, 401 | 503), "{dialect:?}: {response:?}");
        });
        let codes = [&self.used_code, &self.unused_code].map(async |pair| {
            assert_unavailable(DialectKind::Portal, &register(client, pair).await);
        });
        tokio::join!(join_all(proofs), join_all(active), join_all(ended), join_all(codes));
        fixture.wait_for_readiness(503).await;
    }

    /// Waits until every dialect accepts a login, which must happen within two seconds after `recovered_at`.
    pub(crate) async fn wait_until_login_succeeds(&self, fixture: &SteleFixture, recovered_at: Instant) {
        for dialect in DialectKind::ALL {
            loop {
                let response = fixture.client.login(dialect, &self.user, PASSWORD).await;
                if response.is_success() {
                    break;
                }
                // A restarted store rejects proofs that are not newer than itself.
                let is_stale = matches!(dialect, DialectKind::Cloudbox | DialectKind::Tms) && response.code() == "1003";
                if !is_stale {
                    assert_unavailable(dialect, &response);
                }
                let elapsed = recovered_at.elapsed();
                assert!(elapsed < Duration::from_secs(2), "{dialect:?} after {elapsed:?}: {response:?}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }

    /// Asserts that after recovery ended sessions and used proofs and codes stay invalid, and that active sessions and
    /// unused codes are valid as far as the state store still has them.
    pub(crate) async fn assert_state_preserved(&self, fixture: &SteleFixture, recovery: StateStoreRecovery) {
        let client = &fixture.client;
        fixture.wait_for_readiness(200).await;
        for (dialect, body) in &self.proofs {
            let code = if recovery == StateStoreRecovery::Intact { "1004" } else { "1003" };
            send_salted_login(client, *dialect, body).await.assert_is(200, code);
        }
        for (dialect, token) in &self.ended_sessions {
            assert_eq!(client.is_session_alive(*dialect, token).await, Some(false), "{dialect:?}");
        }
        for (dialect, token) in &self.active_sessions {
            assert_eq!(
                client.is_session_alive(*dialect, token).await,
                Some(recovery != StateStoreRecovery::Empty),
                "{dialect:?}"
            );
        }
        register(client, &self.used_code).await.assert_is(200, "3208");
        let response = register(client, &self.unused_code).await;
        let reset = set_password(client, &self.user, &self.reset_token).await;
        if recovery == StateStoreRecovery::Intact {
            response.assert_success();
            reset.assert_success();
        } else {
            response.assert_is(200, "3208");
            reset.assert_is(401, "-1");
        }
    }
}
