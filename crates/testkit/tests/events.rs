//! What use cases tell of themselves: one event each, however they end, with nothing secret in it.

#![expect(clippy::unwrap_used, reason = "tests")]

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
use stele_core::{Dependencies, UseCases};
use stele_testkit::{TestLab, md5_hex};
use tokio::task::consume_budget;

#[derive(Default)]
struct RecordedEvents(Mutex<Vec<Event>>);

impl EventSink for RecordedEvents {
    fn record(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

impl RecordedEvents {
    /// What was told since the last time.
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

fn request<'a>(identifier: &'a str, proof: Proof, caller: &'a RequestInfo) -> LoginRequest<'a> {
    let (audience, challenge, carrier) = (AllowedUsers::Everyone, Challenge::Never, SessionTransport::Token);
    LoginRequest { identifier, proof, caller, allowed_users: audience, challenge, transport: carrier }
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
    let salted = || Proof::SaltedOrDigest(SaltedProof { digest, timestamp: timestamp.into() });
    let (kind, raw_kind) = (Action::Login(ProofKind::Salted), Action::Login(ProofKind::Raw));

    let welcome = use_cases.login(request("mark", salted(), &caller)).await.unwrap();
    assert_eq!(log.take(), [(kind, Outcome::Done, mark.clone())], "which of the two it was is known");
    use_cases.login(request("mark", salted(), &caller)).await.unwrap_err();
    assert_eq!(log.take(), [(Action::Login(ProofKind::SaltedOrDigest), Outcome::Replayed, mark.clone())]);
    use_cases.login(request("mark", raw_password("654321"), &caller)).await.unwrap_err();
    use_cases.login(request("nobody", raw_password("654321"), &caller)).await.unwrap_err();
    let expected = [(raw_kind, Outcome::WrongPassword, mark.clone()), (raw_kind, Outcome::UnknownUser, None)];
    assert_eq!(log.take(), expected);

    lab.set_state_store_down(true);
    use_cases.login(request("mark", raw_password("123456"), &caller)).await.unwrap_err();
    lab.set_state_store_down(false);
    assert_eq!(log.take(), [(raw_kind, Outcome::Unavailable, mark.clone())]);

    use_cases.logout("tms", &welcome.token).await.unwrap();
    use_cases.logout("tms", &welcome.token).await.unwrap_err();
    assert_eq!(log.take(), [(Action::Logout, Outcome::Done, mark), (Action::Logout, Outcome::NotAuthenticated, None)]);
}

// With threads of its own: the store's own call goes on, and may end as the test does.
#[tokio::test(flavor = "multi_thread")]
async fn a_disconnected_client_is_still_audited() {
    let lab = TestLab::new().await;
    lab.user("mark").add().await;
    let (use_cases, log) = with_recorded_events(&lab);
    let caller = request_info();
    let mut asked = Box::pin(use_cases.login(request("mark", raw_password("123456"), &caller)));
    let mut cx = Context::from_waker(Waker::noop());
    // With its budget used up, the task waits for whatever it awaits, however soon that is there.
    while pin!(consume_budget()).poll(&mut cx).is_ready() {}
    assert!(asked.as_mut().poll(&mut cx).is_pending());
    drop(asked);
    // How far it came before is the store's matter: whose login it was may be known or not.
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
