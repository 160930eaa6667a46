//! What use cases tell of themselves: one event each, however they end, with nothing secret in it.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::future::Future as _;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

use stele_core::event::{Act, Event, Outcome, Subject};
use stele_core::identifier::Recipient;
use stele_core::password::RawPassword;
use stele_core::ports::Events;
use stele_core::proof::{Proof, ProofKind, Salted};
use stele_core::usecase::Caller;
use stele_core::usecase::login::{Audience, Carrier, Challenge, Login};
use stele_core::{Deps, UseCases};
use stele_testkit::{Lab, md5_hex};
use tokio::task::consume_budget;

#[derive(Default)]
struct Log(Mutex<Vec<Event>>);

impl Events for Log {
    fn record(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

impl Log {
    /// What was told since the last time.
    fn take(&self) -> Vec<(Act, Outcome, Option<Subject>)> {
        let events = std::mem::take(&mut *self.0.lock().unwrap());
        events.into_iter().map(|event| (event.act, event.outcome, event.subject)).collect()
    }
}

fn watched(lab: &Lab) -> (UseCases, Arc<Log>) {
    let log = Arc::<Log>::default();
    (UseCases::new(Deps { events: log.clone(), ..lab.deps().clone() }), log)
}

fn caller() -> Caller {
    Caller::direct("tms", IpAddr::from([192, 0, 2, 1]))
}

fn request<'a>(identifier: &'a str, proof: Proof, caller: &'a Caller) -> Login<'a> {
    let (audience, challenge, carrier) = (Audience::Everyone, Challenge::Never, Carrier::Token);
    Login { identifier, proof, caller, audience, challenge, carrier }
}

fn raw(password: &str) -> Proof {
    Proof::Raw(RawPassword::new(password.to_owned()))
}

#[tokio::test]
async fn a_login_tells_once_how_it_ended_and_what_proved_it() {
    let lab = Lab::new().await;
    let user = lab.user("mark").add().await;
    let (use_cases, log) = watched(&lab);
    let (caller, mark) = (caller(), Some(Subject::User(user.id)));
    let timestamp = u64::try_from(use_cases.now().as_secs()).unwrap();
    let digest = stele_core::hex::decode(&md5_hex(&format!("{}{timestamp}", md5_hex("123456")))).unwrap();
    let salted = || Proof::Either(Salted { digest, timestamp: timestamp.into() });
    let (kind, raw_kind) = (Act::Login(ProofKind::Salted), Act::Login(ProofKind::Raw));

    let welcome = use_cases.login(request("mark", salted(), &caller)).await.unwrap();
    assert_eq!(log.take(), [(kind, Outcome::Done, mark.clone())], "which of the two it was is known");
    use_cases.login(request("mark", salted(), &caller)).await.unwrap_err();
    assert_eq!(log.take(), [(Act::Login(ProofKind::Either), Outcome::Replayed, mark.clone())]);
    use_cases.login(request("mark", raw("654321"), &caller)).await.unwrap_err();
    use_cases.login(request("nobody", raw("654321"), &caller)).await.unwrap_err();
    let expected = [(raw_kind, Outcome::WrongPassword, mark.clone()), (raw_kind, Outcome::UnknownUser, None)];
    assert_eq!(log.take(), expected);

    lab.state_down(true);
    use_cases.login(request("mark", raw("123456"), &caller)).await.unwrap_err();
    lab.state_down(false);
    assert_eq!(log.take(), [(raw_kind, Outcome::Unavailable, mark.clone())]);

    use_cases.logout("tms", &welcome.token).await.unwrap();
    use_cases.logout("tms", &welcome.token).await.unwrap_err();
    assert_eq!(log.take(), [(Act::Logout, Outcome::Done, mark), (Act::Logout, Outcome::NotAuthenticated, None)]);
}

// With threads of its own: the store's own call goes on, and may end as the test does.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_hangs_up_is_told_of_too() {
    let lab = Lab::new().await;
    lab.user("mark").add().await;
    let (use_cases, log) = watched(&lab);
    let caller = caller();
    let mut asked = Box::pin(use_cases.login(request("mark", raw("123456"), &caller)));
    let mut cx = Context::from_waker(Waker::noop());
    // With its budget used up, the task waits for whatever it awaits, however soon that is there.
    while pin!(consume_budget()).poll(&mut cx).is_ready() {}
    assert!(asked.as_mut().poll(&mut cx).is_pending());
    drop(asked);
    // How far it came before is the store's matter: whose login it was may be known or not.
    let told = log.take();
    assert!(matches!(told[..], [(Act::Login(ProofKind::Raw), Outcome::Abandoned, _)]), "{told:?}");
}

#[tokio::test]
async fn the_trail_learns_what_the_client_must_not_and_no_secret() {
    let lab = Lab::new().await;
    lab.user("mark").phone("13800138000").add().await;
    let (use_cases, log) = watched(&lab);
    let stranger = Recipient::parse("13900139000").unwrap();
    use_cases.send_reset(&caller(), "mark", &stranger).await.unwrap();
    let told = log.take();
    assert_eq!((told.len(), told[0].1), (1, Outcome::UnknownUser), "nothing was sent: {told:?}");
    let secret = use_cases.add_app("melink", None, Vec::new()).await.unwrap();
    let told = format!("{:?}", log.take());
    assert!(told.contains("AddApp, Done") && told.contains("melink") && !told.contains(secret.as_str()), "{told}");
}
