//! Stores that can be taken away and given back, as an outage does it, and watched while they are at work.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use stele_core::app::{App, ClientToken};
use stele_core::ports::{
    Admission, Attempt, CodeCheck, CodeGuess, NewCode, QuotaExceeded, ReplayMark, Settlement, StateStore, Use,
    UserStore, Verdict,
};
use stele_core::session::{NewSession, Session, Ticket, TicketKind, TokenKey};
use stele_core::time::Timestamp;
use stele_core::user::{Account, Credential, NewUser, User, UserId, UserRef, UserStatus};
use stele_core::{Error, Result};

/// What a store that is off says: nothing of it may reach a client.
const CAUSE: &str = "switched off: postgres://user:secret@db";

/// Takes the stores that it wraps away. All clones are one switch; everything is up at first.
#[derive(Clone, Default)]
pub(crate) struct Switch {
    accounts: Down,
    apps: Down,
    state: Down,
    watcher: Arc<Mutex<Option<Watcher>>>,
    users_made: Calls,
    state_made: Calls,
}

/// The calls that a store was asked for so far, by the names of their methods.
type Calls = Arc<Mutex<Vec<&'static str>>>;

/// When a watcher is told of a store's call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// It is about to be made.
    Before,
    /// It has been answered; nobody has heard it yet.
    After,
}

/// Is told of each call of a store by the name of its method, and says whether the answer is lost on its way.
pub type Watcher = Arc<dyn Fn(&'static str, Moment) -> bool + Send + Sync>;

/// Whoever watches a store, and what it was asked for.
struct Watch {
    watcher: Arc<Mutex<Option<Watcher>>>,
    made: Calls,
}

impl Watch {
    fn tell(&self, call: &'static str, moment: Moment) -> bool {
        let watcher = self.watcher.lock().unwrap().clone();
        watcher.is_some_and(|watcher| watcher(call, moment))
    }

    async fn around<T>(&self, call: &'static str, work: impl Future<Output = Result<T>> + Send) -> Result<T> {
        self.made.lock().unwrap().push(call);
        self.tell(call, Moment::Before);
        let outcome = work.await;
        if self.tell(call, Moment::After) { Err(Error::unavailable(CAUSE)) } else { outcome }
    }
}

/// Whether something is away.
#[derive(Clone, Debug, Default)]
struct Down(Arc<AtomicBool>);

impl Down {
    fn set(&self, down: bool) {
        self.0.store(down, Ordering::SeqCst);
    }

    /// The store, while it is up.
    fn up<'a, S: ?Sized>(&self, store: &'a Arc<S>) -> Result<&'a S> {
        if self.0.load(Ordering::SeqCst) { Err(Error::unavailable(CAUSE)) } else { Ok(store) }
    }
}

impl Switch {
    /// `store`, under this switch.
    pub(crate) fn users(&self, store: Arc<dyn UserStore>) -> Arc<dyn UserStore> {
        let watch = self.watch_over(&self.users_made);
        Arc::new(Users { store, accounts: self.accounts.clone(), apps: self.apps.clone(), watch })
    }

    /// `store`, under this switch.
    pub(crate) fn state(&self, store: Arc<dyn StateStore>) -> Arc<dyn StateStore> {
        Arc::new(State { store, down: self.state.clone(), watch: self.watch_over(&self.state_made) })
    }

    fn watch_over(&self, made: &Calls) -> Watch {
        Watch { watcher: self.watcher.clone(), made: made.clone() }
    }

    /// The calls of the user store and of the short-lived store since they were taken last, in their order.
    pub(crate) fn take_made(&self) -> [Vec<&'static str>; 2] {
        [&self.users_made, &self.state_made].map(|made| std::mem::take(&mut *made.lock().unwrap()))
    }

    /// Has `watcher` told of every call, in place of who was before.
    pub(crate) fn watch(&self, watcher: Option<Watcher>) {
        *self.watcher.lock().unwrap() = watcher;
    }

    /// Whether the user store is away.
    pub(crate) fn users_down(&self, down: bool) {
        self.accounts.set(down);
        self.apps.set(down);
    }

    /// Whether the user store is away but for what an app is.
    pub(crate) fn accounts_down(&self, down: bool) {
        self.accounts.set(down);
    }

    /// Whether the short-lived store is away.
    pub(crate) fn state_down(&self, down: bool) {
        self.state.set(down);
    }
}

struct Users {
    store: Arc<dyn UserStore>,
    accounts: Down,
    apps: Down,
    watch: Watch,
}

impl Users {
    fn up(&self) -> Result<&dyn UserStore> {
        self.accounts.up(&self.store)
    }
}

#[async_trait]
impl UserStore for Users {
    async fn find(&self, key: &str) -> Result<Option<Account>> {
        self.watch.around("find", self.up()?.find(key)).await
    }
    async fn find_ref(&self, user: UserRef) -> Result<Option<Account>> {
        self.watch.around("find_ref", self.up()?.find_ref(user)).await
    }
    async fn add(&self, new: &NewUser) -> Result<Option<User>> {
        self.watch.around("add", self.up()?.add(new)).await
    }
    async fn change_credential(&self, user: UserId, epoch: i64, next: i64, new: &Credential) -> Result<bool> {
        self.watch.around("change_credential", self.up()?.change_credential(user, epoch, next, new)).await
    }
    async fn upgrade_credential(&self, user: UserId, epoch: i64, old: &str, new: &Credential) -> Result<bool> {
        self.watch.around("upgrade_credential", self.up()?.upgrade_credential(user, epoch, old, new)).await
    }
    async fn set_status(&self, user: UserId, status: UserStatus, next: i64) -> Result<bool> {
        self.watch.around("set_status", self.up()?.set_status(user, status, next)).await
    }
    async fn list(&self, after: i64, limit: u32) -> Result<Vec<User>> {
        self.watch.around("list", self.up()?.list(after, limit)).await
    }
    async fn app(&self, name: &str) -> Result<Option<App>> {
        self.watch.around("app", self.apps.up(&self.store)?.app(name)).await
    }
    async fn add_app(&self, app: &App) -> Result<bool> {
        self.watch.around("add_app", self.up()?.add_app(app)).await
    }
    async fn client_token(&self, hash: &[u8; 32]) -> Result<Option<ClientToken>> {
        self.watch.around("client_token", self.up()?.client_token(hash)).await
    }
    async fn add_client_token(&self, token: &ClientToken) -> Result<bool> {
        self.watch.around("add_client_token", self.up()?.add_client_token(token)).await
    }
    async fn use_proof(&self, proof: &ReplayMark) -> Result<bool> {
        self.watch.around("use_proof", self.up()?.use_proof(proof)).await
    }
    async fn release_proof(&self, proof: &ReplayMark) -> Result<()> {
        self.watch.around("release_proof", self.up()?.release_proof(proof)).await
    }
    async fn forget_proofs(&self, now: Timestamp, limit: u32) -> Result<u64> {
        self.watch.around("forget_proofs", self.up()?.forget_proofs(now, limit)).await
    }
    async fn ping(&self) -> Result<()> {
        self.watch.around("ping", self.up()?.ping()).await
    }
}

struct State {
    store: Arc<dyn StateStore>,
    down: Down,
    watch: Watch,
}

impl State {
    fn up(&self) -> Result<&dyn StateStore> {
        self.down.up(&self.store)
    }
}

#[async_trait]
impl StateStore for State {
    async fn birth(&self) -> Result<Timestamp> {
        self.watch.around("birth", self.up()?.birth()).await
    }
    async fn admit(&self, attempt: &Attempt) -> Result<Admission> {
        self.watch.around("admit", self.up()?.admit(attempt)).await
    }
    async fn settle(&self, attempt: &Attempt, verdict: &Verdict) -> Result<Settlement> {
        self.watch.around("settle", self.up()?.settle(attempt, verdict)).await
    }
    async fn guess_code(&self, attempt: &Attempt, guess: &CodeGuess) -> Result<CodeCheck> {
        self.watch.around("guess_code", self.up()?.guess_code(attempt, guess)).await
    }
    async fn send_code(&self, uses: &[Use], code: Option<&NewCode>, now: Timestamp) -> Result<Option<QuotaExceeded>> {
        self.watch.around("send_code", self.up()?.send_code(uses, code, now)).await
    }
    async fn session(&self, key: &TokenKey, now: Timestamp) -> Result<Option<Session>> {
        self.watch.around("session", self.up()?.session(key, now)).await
    }
    async fn open_session(&self, new: &NewSession) -> Result<()> {
        self.watch.around("open_session", self.up()?.open_session(new)).await
    }
    async fn touch_session(&self, key: &TokenKey, session: &Session) -> Result<()> {
        self.watch.around("touch_session", self.up()?.touch_session(key, session)).await
    }
    async fn restamp_session(&self, key: &TokenKey, epoch: i64) -> Result<()> {
        self.watch.around("restamp_session", self.up()?.restamp_session(key, epoch)).await
    }
    async fn end_session(&self, key: &TokenKey, user: UserId) -> Result<bool> {
        self.watch.around("end_session", self.up()?.end_session(key, user)).await
    }
    async fn put_ticket(&self, key: &TokenKey, ticket: &Ticket) -> Result<()> {
        self.watch.around("put_ticket", self.up()?.put_ticket(key, ticket)).await
    }
    async fn redeem_ticket(
        &self,
        key: &TokenKey,
        kind: TicketKind,
        audience: &str,
        now: Timestamp,
    ) -> Result<Option<Ticket>> {
        self.watch.around("redeem_ticket", self.up()?.redeem_ticket(key, kind, audience, now)).await
    }
    async fn put_captcha(&self, id: u64, expires: Timestamp) -> Result<()> {
        self.watch.around("put_captcha", self.up()?.put_captcha(id, expires)).await
    }
    async fn view_captcha(&self, id: u64, most: u32, now: Timestamp) -> Result<bool> {
        self.watch.around("view_captcha", self.up()?.view_captcha(id, most, now)).await
    }
    async fn take_captcha(&self, id: u64, now: Timestamp) -> Result<bool> {
        self.watch.around("take_captcha", self.up()?.take_captcha(id, now)).await
    }
    async fn sweep(&self, now: Timestamp) -> Result<()> {
        self.watch.around("sweep", self.up()?.sweep(now)).await
    }
    async fn ping(&self) -> Result<()> {
        self.watch.around("ping", self.up()?.ping()).await
    }
    fn defect(&self) -> Option<String> {
        self.store.defect()
    }
}
