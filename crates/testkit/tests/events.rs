//! Audit events: each call of a use case emits exactly one event, whatever the outcome, and no event contains a secret.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::HashSet;
use std::future::Future as _;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

use stele_core::event::{Action, Event, Outcome, Subject};
use stele_core::identifier::Recipient;
use stele_core::password::RawPassword;
use stele_core::ports::EventSink;
use stele_core::proof::{Proof, ProofKind, SaltedProof};
use stele_core::usecase::RequestInfo;
use stele_core::usecase::login::{AllowedUsers, Challenge, LoginRequest, SessionTransport};
use stele_core::{Dependencies, Error, UseCases};
use stele_testkit::{StoreState, TestLab, md5_hex};
use tokio::task::consume_budget;

#[derive(Default)]
struct RecordedEvents(Mutex<Vec<Event>>);

impl EventSink for RecordedEvents {
    fn record(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

impl RecordedEvents {
    /// Returns and clears the recorded events.
    fn take(&self) -> Vec<(Action, Outcome, Option<Subject>)> {
        let events = std::mem::take(&mut *self.0.lock().unwrap());
        events.into_iter().map(|event| (event.action, event.outcome, event.subject)).collect()
    }
}

fn with_recorded_events(lab: &TestLab) -> (UseCases, Arc<RecordedEvents>) {
    let log = Arc::<RecordedEvents>::default();
    (UseCases::new(Dependencies { events: log.clone(), ..lab.dependencies().clone() }), log)
}

fn request_info() -> RequestInfo {
    RequestInfo::from_client("tms", IpAddr::from([192, 0, 2, 1]))
}

fn login_request<'a>(identifier: &'a str, proof: Proof, caller: &'a RequestInfo) -> LoginRequest<'a> {
    let (allowed_users, challenge, transport) = (AllowedUsers::Everyone, Challenge::Never, SessionTransport::Token);
    LoginRequest { identifier, proof, caller, allowed_users, challenge, transport }
}

fn raw_password(password: &str) -> Proof {
    Proof::Raw(RawPassword::new(password.to_owned()))
}

#[tokio::test]
async fn a_login_emits_one_event_with_outcome_and_proof() {
    let lab = TestLab::new().await;
    let user = lab.user("mark").add().await;
    let (use_cases, log) = with_recorded_events(&lab);
    let (caller, mark) = (request_info(), Some(Subject::User(user.id)));
    let timestamp = u64::try_from(use_cases.now().as_secs()).unwrap();
    let digest = stele_core::hex::decode(&md5_hex(&format!("{}{timestamp}", md5_hex("123456")))).unwrap();
    let salted_proof = || Proof::SaltedOrDigest(SaltedProof { digest, timestamp: timestamp.into() });
    let (salted_login, raw_login) = (Action::Login(ProofKind::Salted), Action::Login(ProofKind::Raw));

    let session = use_cases.login(login_request("mark", salted_proof(), &caller)).await.unwrap();
    assert_eq!(
        log.take(),
        [(salted_login, Outcome::Done, mark.clone())],
        "a successful login reveals which of the two proofs it was"
    );
    use_cases.login(login_request("mark", salted_proof(), &caller)).await.unwrap_err();
    assert_eq!(log.take(), [(Action::Login(ProofKind::SaltedOrDigest), Outcome::Replayed, mark.clone())]);
    use_cases.login(login_request("mark", raw_password("654321"), &caller)).await.unwrap_err();
    use_cases.login(login_request("unknown", raw_password("654321"), &caller)).await.unwrap_err();
    let expected = [(raw_login, Outcome::WrongPassword, mark.clone()), (raw_login, Outcome::UnknownUser, None)];
    assert_eq!(log.take(), expected);

    lab.set_state_store(StoreState::Down);
    use_cases.login(login_request("mark", raw_password("123456"), &caller)).await.unwrap_err();
    lab.set_state_store(StoreState::Up);
    assert_eq!(log.take(), [(raw_login, Outcome::Unavailable, mark.clone())]);

    use_cases.logout("tms", &session.token).await.unwrap();
    use_cases.logout("tms", &session.token).await.unwrap_err();
    assert_eq!(log.take(), [(Action::Logout, Outcome::Done, mark), (Action::Logout, Outcome::NotAuthenticated, None)]);
}

#[tokio::test]
async fn the_end_of_sessions_emits_one_event_with_outcome_and_user() {
    let lab = TestLab::new().await;
    let user = lab.user("mark").add().await;
    let other = lab.user("ada").phone("13800138001").add().await;
    let (use_cases, log) = with_recorded_events(&lab);
    let caller = request_info();
    let log_in = async || use_cases.login(login_request("mark", raw_password("123456"), &caller)).await.unwrap().token;
    let (first, second) = (log_in().await, log_in().await);
    let (mark, end_session) = (Some(Subject::User(user.id)), Action::EndSession);
    log.take();

    lab.set_state_store(StoreState::Down);
    assert!(matches!(use_cases.end_session(&first.key(), None).await, Err(Error::Unavailable(_))));
    assert!(matches!(use_cases.end_sessions(user.id).await, Err(Error::Unavailable(_))));
    assert!(matches!(use_cases.list_sessions(user.id).await, Err(Error::Unavailable(_))));
    lab.set_state_store(StoreState::Up);
    let unavailable = |subject| (end_session, Outcome::Unavailable, subject);
    assert_eq!(log.take(), [unavailable(None), unavailable(mark.clone())]);

    let list = use_cases.list_sessions(user.id).await.unwrap();
    assert_eq!(list.sessions.iter().map(|keyed| keyed.key).collect::<HashSet<_>>(), [first.key(), second.key()].into());
    let refused = use_cases.end_session(&first.key(), Some(other.id)).await;
    assert!(matches!(refused, Err(Error::NotAuthenticated)), "a session of another user");
    use_cases.end_session(&first.key(), Some(user.id)).await.unwrap();
    assert!(
        use_cases.authenticate("tms", &first).await.is_err() && use_cases.authenticate("tms", &second).await.is_ok()
    );
    use_cases.end_session(&first.key(), None).await.unwrap_err();
    assert_eq!(use_cases.end_sessions(user.id).await.unwrap(), 1);
    assert!(use_cases.authenticate("tms", &second).await.is_err());
    let (done, unknown) = ((end_session, Outcome::Done, mark), (end_session, Outcome::NotAuthenticated, None));
    assert_eq!(log.take(), [unknown.clone(), done.clone(), unknown, done]);
}

// Multi-threaded: the store's call continues after the login has been dropped, and may outlive the test.
#[tokio::test(flavor = "multi_thread")]
async fn a_disconnected_client_is_still_audited() {
    let lab = TestLab::new().await;
    lab.user("mark").add().await;
    let (use_cases, log) = with_recorded_events(&lab);
    let caller = request_info();
    let mut login = Box::pin(use_cases.login(login_request("mark", raw_password("123456"), &caller)));
    let mut cx = Context::from_waker(Waker::noop());
    // Once the task's cooperative budget is used up, every further await is pending, even if its future is ready.
    while pin!(consume_budget()).poll(&mut cx).is_ready() {}
    assert!(login.as_mut().poll(&mut cx).is_pending());
    drop(login);
    // Whether the event names the user depends on how far the login got.
    let recorded = log.take();
    assert!(matches!(recorded[..], [(Action::Login(ProofKind::Raw), Outcome::ClientDisconnected, _)]), "{recorded:?}");
}

#[tokio::test]
async fn the_audit_log_records_hidden_reasons_and_no_secrets() {
    let lab = TestLab::new().await;
    lab.user("mark").phone("13800138000").add().await;
    let (use_cases, log) = with_recorded_events(&lab);
    let stranger = Recipient::parse("13900139000").unwrap();
    use_cases.send_reset(&request_info(), "mark", &stranger).await.unwrap();
    let recorded = log.take();
    assert_eq!((recorded.len(), recorded[0].1), (1, Outcome::UnknownUser), "nothing was sent: {recorded:?}");
    let secret = use_cases.add_app("melink", None, Vec::new()).await.unwrap();
    let recorded_text = format!("{:?}", log.take());
    assert!(
        recorded_text.contains("AddApp, Done")
            && recorded_text.contains("melink")
            && !recorded_text.contains(secret.as_str()),
        "{recorded_text}"
    );
}
