//! The short-lived state in Redis: one script for each call, one trip for each script.
//!
//! Everything that the limits, replays and codes are made of has one hash tag and so is in one slot of a cluster,
//! where one script can see it whole. Sessions, tickets and captchas are each in the slot of their own key, and so is
//! the index of a user's sessions. Instants are the caller's, as everywhere; the server's clock dates births and clears
//! away what is long over.

mod attempts;
mod call;
mod eviction;
mod link;
mod place;
mod records;
mod scripts;
mod servers;
mod sessions;

use std::sync::Arc;

use async_trait::async_trait;
use stele_core::hex;
use stele_core::ports::{
    Admission, Attempt, CodeCheck, CodeGuess, NewCode, QuotaExceeded, Settlement, StateStore, Use, Verdict,
};
use stele_core::session::{NewSession, Session, Ticket, TicketKind, TokenKey};
use stele_core::time::{Clock, Timestamp};
use stele_core::user::UserId;
use stele_core::{Error, Result};

use crate::OpenError;
use call::Call;
use link::Links;
use place::Place;
use servers::Servers;

/// The short-lived state in Redis: one server, a master that sentinels know, or a cluster.
pub struct RedisState {
    links: Links,
    clock: Arc<dyn Clock>,
    prefix: String,
    /// Whether a script can see a session along with the limits, and all sessions of a user: not on a cluster.
    whole: bool,
}

impl RedisState {
    /// Connects to `redis://…`, `redis+sentinel://…` or `redis+cluster://…`, and notes the birth of a store that is
    /// empty. From then on it reconnects by itself.
    ///
    /// # Errors
    /// [`OpenError`] if the URL cannot be read, or the servers cannot be used now.
    pub async fn open(url: &str, clock: Arc<dyn Clock>) -> Result<Arc<Self>, OpenError> {
        let place = Place::parse(url)?;
        let unusable = |cause: String| OpenError::RedisUnreachable { place: place.to_string(), cause };
        let servers = Servers::new(&place).map_err(|e| unusable(e.to_string()))?;
        let prefix = place.prefix.clone();
        let links = Links::open(servers, format!("{{{prefix}}}:birth"), Arc::clone(&clock)).await.map_err(unusable)?;
        Ok(Arc::new(Self { links, clock, prefix, whole: !place.is_cluster() }))
    }

    /// A key of what one script must see together: it has the deployment's tag.
    fn together(&self, kind: &str, name: impl std::fmt::Display) -> String {
        format!("{{{}}}:{kind}:{name}", self.prefix)
    }

    /// A key of what is by itself, and wherever on a cluster it happens to be.
    fn apart(&self, kind: &str, name: impl std::fmt::Display) -> String {
        format!("{}:{kind}:{name}", self.prefix)
    }

    fn birth_key(&self) -> String {
        format!("{{{}}}:birth", self.prefix)
    }

    fn ticket_key(&self, key: &TokenKey) -> String {
        self.apart("ticket", hex::encode(&key.0))
    }

    fn captcha_key(&self, id: u64) -> String {
        self.apart("captcha", id)
    }

    /// For what comes without a time: how long to keep it is all that depends on this.
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn done(&self, call: Call) -> Result<()> {
        self.links.here().run::<i64>(&call).await.map(drop)
    }
}

/// A record or an answer that makes no sense: names what it was, never the value.
fn nonsense(what: &'static str) -> Error {
    Error::internal(format!("the state store gave a {what} that makes no sense"))
}

#[async_trait]
impl StateStore for RedisState {
    async fn birth(&self) -> Result<Timestamp> {
        let call = Call::new(&scripts::BIRTH).key(self.birth_key());
        let (at, _): (i64, String) = self.links.here().run(&call).await?;
        Ok(Timestamp::from_micros(at))
    }

    async fn admit(&self, attempt: &Attempt) -> Result<Admission> {
        self.admission(attempt).await
    }

    async fn settle(&self, attempt: &Attempt, verdict: &Verdict) -> Result<Settlement> {
        self.settlement(attempt, verdict).await
    }

    async fn guess_code(&self, attempt: &Attempt, guess: &CodeGuess) -> Result<CodeCheck> {
        self.code_check(attempt, guess).await
    }

    async fn send_code(&self, uses: &[Use], code: Option<&NewCode>, now: Timestamp) -> Result<Option<QuotaExceeded>> {
        self.count(uses, code, now).await
    }

    async fn session(&self, key: &TokenKey, now: Timestamp) -> Result<Option<Session>> {
        let row = self.links.here().query(&records::get_session(&self.session_key(key))).await?;
        Ok(records::session(row)?.filter(|session| session.expires > now))
    }

    async fn open_session(&self, new: &NewSession) -> Result<()> {
        self.put_session(new, self.now()).await
    }

    async fn touch_session(&self, key: &TokenKey, session: &Session) -> Result<()> {
        self.note_use(key, session).await
    }

    async fn restamp_session(&self, key: &TokenKey, epoch: i64) -> Result<()> {
        self.done(Call::new(&scripts::RESTAMP_SESSION).key(self.session_key(key)).arg(epoch)).await
    }

    async fn end_session(&self, key: &TokenKey, user: UserId) -> Result<bool> {
        self.remove_session(key, user).await
    }

    async fn put_ticket(&self, key: &TokenKey, ticket: &Ticket) -> Result<()> {
        let call = Call::new(&scripts::PUT_TICKET).key(self.ticket_key(key)).instant(self.now());
        self.done(records::with_ticket(call, ticket)).await
    }

    async fn redeem_ticket(
        &self,
        key: &TokenKey,
        kind: TicketKind,
        audience: &str,
        now: Timestamp,
    ) -> Result<Option<Ticket>> {
        let call = Call::new(&scripts::REDEEM_TICKET).key(self.ticket_key(key)).instant(now);
        let row = self.links.here().run(&call.arg(kind.as_str()).arg(audience)).await?;
        records::ticket(row, kind, audience)
    }

    async fn put_captcha(&self, id: u64, expires: Timestamp) -> Result<()> {
        let call = Call::new(&scripts::PUT_CAPTCHA).key(self.captcha_key(id)).instant(self.now());
        self.done(call.instant(expires)).await
    }

    async fn view_captcha(&self, id: u64, most: u32, now: Timestamp) -> Result<bool> {
        let call = Call::new(&scripts::VIEW_CAPTCHA).key(self.captcha_key(id)).instant(now);
        self.links.here().run(&call.arg(most)).await
    }

    async fn take_captcha(&self, id: u64, now: Timestamp) -> Result<bool> {
        self.links.here().run(&Call::new(&scripts::TAKE_CAPTCHA).key(self.captcha_key(id)).instant(now)).await
    }

    /// Nothing: Redis clears away by itself.
    async fn sweep(&self, _: Timestamp) -> Result<()> {
        Ok(())
    }

    /// Writes: a replica, and a server without memory or disk space, answer what is read.
    async fn ping(&self) -> Result<()> {
        self.done(Call::new(&scripts::WRITABLE).key(self.birth_key())).await
    }

    fn defect(&self) -> Option<String> {
        self.links.eviction()
    }
}
