//! When the short-lived store is gone: 503 in dialect, no token passes for live, and all is well when it is back.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use stele_core::ports::{Admission, Attempt, CodeCheck, CodeGuess, NewCode, Settlement, StateStore, Use, Verdict};
use stele_core::session::{Session, Ticket, TicketKind, TokenKey};
use stele_core::time::Timestamp;
use stele_core::{Error, Result};
use svc_jwt::SERVICE;

use crate::{Answer, Bench};

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
    let bench = Bench::new().await;
    bench.lab.user("a").phone("13800138000").add().await;
    let token = bench.login("a", "123456").await;
    let reset = bench.reset_token("a", "13800138000").await;

    let store = Arc::new(Switched { store: bench.lab.deps().state.clone(), down: AtomicBool::new(true) });
    let mut context = bench.lab.context().clone();
    context.deps.state = store.clone();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(SERVICE.start(&context, listener).unwrap());
    let send = async |method: &str, path: &str, token: &str, body: &str| -> Answer {
        let url = format!("http://{address}/api/v1/Auth/{path}");
        let request = bench.http.request(method.parse().unwrap(), url).header("token", token);
        bench.send(request.body(body.to_owned())).await
    };

    for (method, path, token, body, message) in [
        ("POST", "Login", "", "account=a&password=123456", "服务暂不可用"),
        ("GET", "Logout", token.as_str(), "", "服务暂不可用"),
        ("POST", "ForgetPassword", "", "account=a&phone=13800138000", "发送短信失败"),
        ("POST", "ForgetPassword", "", "account=nobody&phone=13800138000", "发送短信失败"),
        ("POST", "validatePhone", "", "account=a&identifyCode=123456", "服务暂不可用"),
        ("POST", "updatePassword", &token, "account=a&password=new123", "服务暂不可用"),
        ("POST", "updatePassword", &reset, "account=a&password=new123", "服务暂不可用"),
        ("GET", "getCAPTCHA", "", "", "获取验证码失败"),
        ("POST", "CAPTCHA", "", "", "获取验证码失败"),
        ("GET", "CAPTCHA/1", "", "", "获取验证码失败"),
    ] {
        let answer = send(method, path, token, body).await;
        answer.fails(503, message);
        assert_eq!(answer.header("retry-after"), "1", "{path}");
    }
    store.down.store(false, Ordering::SeqCst);
    assert_eq!(send("POST", "updatePassword", &reset, "account=a&password=new123").await.message(), "更新密码成功");
    send("GET", "Logout", &token, "").await.fails(401, "注销失败");
    assert_eq!(send("POST", "Login", "", "account=a&password=new123").await.message(), "登录成功");
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
