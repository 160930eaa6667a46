//! When the short-lived store is gone: a clear 503 in dialect, nothing fails open, and all is well when it is back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use stele_core::ports::{Admission, Attempt, CodeCheck, CodeGuess, NewCode, Settlement, StateStore, Use, Verdict};
use stele_core::session::{Session, Ticket, TicketKind, TokenKey};
use stele_core::time::Timestamp;
use stele_core::{Error, Result};

use crate::portal::{HOME, PHONE, Portal, b64};

/// A store that can be taken away.
struct Switched {
    store: Arc<dyn StateStore>,
    down: AtomicBool,
}

impl Switched {
    fn up(&self) -> Result<&dyn StateStore> {
        if self.down.load(Ordering::SeqCst) { Err(Error::unavailable("switched off")) } else { Ok(&*self.store) }
    }
}

#[tokio::test]
async fn without_the_store_nothing_opens_and_with_it_all_is_well() {
    let portal = Portal::new().await;
    portal.member(PHONE, "hna123").await;
    let token = portal.login(PHONE, "hna123").await.token();
    let code = portal.code(PHONE).await;

    let store = Arc::new(Switched { store: portal.lab.deps().state.clone(), down: AtomicBool::new(true) });
    let mut context = portal.lab.context().clone();
    context.deps.state = store.clone();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(svc_portal::SERVICE.start(&context, listener).unwrap());

    let (password, code) = (b64("new123"), b64(&code));
    let form = format!("username={PHONE}&password={password}&code={code}");
    let post = async |path: &str| {
        let request = stele_testkit::http().post(format!("http://{address}{path}")).header("x-forwarded-for", HOME);
        portal.send(request.header("cookie", format!("stele_session={token}")).body(form.clone())).await
    };
    for path in ["/i/login", "/i/logout", "/i/register", "/i/resetpwd", "/code/send"] {
        let answer = post(path).await;
        assert_eq!(answer.is("503").text, "服务暂不可用", "{path}");
        // A logout that did not happen leaves the cookie, so that it can be tried again.
        assert_eq!(answer.set_cookie, None, "{path}");
    }
    portal.login(PHONE, "hna123").await.is("200");
    assert!(portal.lives(&token).await);
    assert_eq!(portal.lab.codes().len(), 2);

    store.down.store(false, Ordering::SeqCst);
    post("/i/logout").await.is("200");
    assert!(!portal.lives(&token).await);
    post("/i/resetpwd").await.is("200");
    post("/i/login").await.is("200");
}

#[tokio::test]
async fn when_all_hashing_is_taken_clients_are_told_to_come_back() {
    // One slot, one request in it, and a hash that takes a while.
    let settings = [("STELE_HASH_SLOTS", "1"), ("STELE_HASH_QUEUE", "1"), ("STELE_HASH_COST", "65536,8,1")];
    let portal = Portal::with(&settings).await;
    let login = || portal.login(PHONE, "hna123");
    let (a, b, c, d) = tokio::join!(login(), login(), login(), login());
    let answers = [a, b, c, d];
    let busy: Vec<_> = answers.iter().filter(|answer| answer.code == "503").collect();
    assert!(!busy.is_empty(), "{answers:?}");
    for answer in busy {
        assert_eq!((answer.is("503").text.as_str(), answer.retry_after), ("服务暂不可用", Some(1)));
    }
    portal.lab.clock().advance(Duration::from_secs(900));
    login().await.is("3201");
}

#[async_trait]
impl StateStore for Switched {
    async fn birth(&self) -> Result<Timestamp> {
        self.up()?.birth().await
    }
    async fn admit(&self, attempt: &Attempt) -> Result<Admission> {
        self.up()?.admit(attempt).await
    }
    async fn settle(&self, attempt: &Attempt, verdict: &Verdict) -> Result<Settlement> {
        self.up()?.settle(attempt, verdict).await
    }
    async fn guess_code(&self, attempt: &Attempt, guess: &CodeGuess) -> Result<CodeCheck> {
        self.up()?.guess_code(attempt, guess).await
    }
    async fn send_code(&self, uses: &[Use], code: Option<&NewCode>, now: Timestamp) -> Result<Option<Duration>> {
        self.up()?.send_code(uses, code, now).await
    }
    async fn session(&self, key: &TokenKey, now: Timestamp) -> Result<Option<Session>> {
        self.up()?.session(key, now).await
    }
    async fn open_session(&self, key: &TokenKey, session: &Session) -> Result<()> {
        self.up()?.open_session(key, session).await
    }
    async fn touch_session(&self, key: &TokenKey, last_seen: Timestamp, expires: Timestamp) -> Result<()> {
        self.up()?.touch_session(key, last_seen, expires).await
    }
    async fn restamp_session(&self, key: &TokenKey, epoch: i64) -> Result<()> {
        self.up()?.restamp_session(key, epoch).await
    }
    async fn end_session(&self, key: &TokenKey) -> Result<bool> {
        self.up()?.end_session(key).await
    }
    async fn put_ticket(&self, key: &TokenKey, ticket: &Ticket) -> Result<()> {
        self.up()?.put_ticket(key, ticket).await
    }
    async fn redeem_ticket(
        &self,
        key: &TokenKey,
        kind: TicketKind,
        audience: &str,
        now: Timestamp,
    ) -> Result<Option<Ticket>> {
        self.up()?.redeem_ticket(key, kind, audience, now).await
    }
    async fn put_captcha(&self, id: u64, expires: Timestamp) -> Result<()> {
        self.up()?.put_captcha(id, expires).await
    }
    async fn has_captcha(&self, id: u64, now: Timestamp) -> Result<bool> {
        self.up()?.has_captcha(id, now).await
    }
    async fn take_captcha(&self, id: u64, now: Timestamp) -> Result<bool> {
        self.up()?.take_captcha(id, now).await
    }
    async fn sweep(&self, now: Timestamp) -> Result<()> {
        self.up()?.sweep(now).await
    }
    async fn ping(&self) -> Result<()> {
        self.up()?.ping().await
    }
}
