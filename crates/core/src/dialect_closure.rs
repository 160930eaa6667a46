//! Closures of a dialect: brown-outs, which end, and switch-offs, which last until they are taken back (ADR 61).
//!
//! While a dialect is closed, its service answers every request as if a store were unavailable.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use strum::{EnumIter, IntoEnumIterator as _, IntoStaticStr};

use crate::dialect_use::ClientName;
use crate::time::Timestamp;

/// The most closures that may be scheduled at a time.
pub const MAX_SCHEDULED: usize = 200;
/// The longest brown-out. A dialect that shall be closed for longer is switched off.
pub const MAX_BROWNOUT: Duration = Duration::from_secs(7 * 86_400);
/// The longest time after which a refused client is asked to retry: a canceled closure must not keep clients away.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3_600);

/// The kind of a closure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EnumIter, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum ClosureKind {
    /// The dialect is closed for a while, so that those who still use it notice.
    Brownout,
    /// The dialect is switched off.
    Off,
}

impl ClosureKind {
    /// Both kinds.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::iter()
    }

    /// The name in the database and in metrics.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The kind of this name; `None` if there is none.
    pub fn parse(name: &str) -> Option<Self> {
        Self::all().find(|kind| kind.as_str() == name)
    }
}

/// A closure to be scheduled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewClosure {
    /// The kind.
    pub kind: ClosureKind,
    /// The dialect.
    pub dialect: String,
    /// The client that is refused; `None`: every client.
    pub client: Option<String>,
    /// From when on requests are refused.
    pub starts_at: Timestamp,
    /// Until when, exclusive; `None` if the closure has no end.
    pub ends_at: Option<Timestamp>,
    /// When the closure was scheduled.
    pub created_at: Timestamp,
    /// The operating-system account that scheduled it.
    pub operator: String,
}

/// A closure as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialectClosure {
    /// The number by which it is canceled.
    pub id: i64,
    /// What was scheduled.
    pub closure: NewClosure,
    /// When it was canceled; `None` if it was not.
    pub canceled_at: Option<Timestamp>,
}

impl DialectClosure {
    /// Whether requests of `client` in `dialect` are refused at `now`.
    fn refuses(&self, dialect: &str, client: &str, now: Timestamp) -> bool {
        let NewClosure { dialect: closed, client: closed_client, starts_at, ends_at, .. } = &self.closure;
        let is_closed_to_client = closed_client.as_deref().is_none_or(|closed| closed == client);
        let is_in_window = *starts_at <= now && ends_at.is_none_or(|ends_at| now < ends_at);
        self.canceled_at.is_none() && closed == dialect && is_closed_to_client && is_in_window
    }
}

/// Why a request is refused, and when the client may retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The kind of the closure.
    pub kind: ClosureKind,
    /// The rest of the window, 1 s to 1 h; 1 h if the dialect is switched off.
    pub retry_after: Duration,
}

/// The scheduled closures in the memory of a service. A request of an open dialect costs one load of a flag.
#[derive(Debug, Default)]
pub struct ClosureSchedule {
    has_closures: AtomicBool,
    closures: RwLock<Vec<DialectClosure>>,
}

impl ClosureSchedule {
    /// Replaces the scheduled closures.
    pub fn replace(&self, closures: Vec<DialectClosure>) {
        let has_closures = !closures.is_empty();
        *self.closures.write().unwrap_or_else(PoisonError::into_inner) = closures;
        self.has_closures.store(has_closures, Ordering::Release);
    }

    /// Whether a request in `dialect` is refused now. `client` is the request's client by the operator's list, `None`
    /// if the list does not name it. Of several closures, the one that lasts longest counts.
    pub fn find(&self, dialect: &str, client: Option<&str>, now: impl FnOnce() -> Timestamp) -> Option<Refusal> {
        if !self.has_closures.load(Ordering::Acquire) {
            return None;
        }
        let (client, now) = (client.unwrap_or(ClientName::OTHER), now());
        let closures = self.closures.read().unwrap_or_else(PoisonError::into_inner);
        let refusing = closures.iter().filter(|closure| closure.refuses(dialect, client, now));
        let remaining = |closure: &DialectClosure| match closure.closure.ends_at {
            Some(ends_at) => ends_at.saturating_duration_since(now),
            None => Duration::MAX,
        };
        let longest = refusing.max_by_key(|closure| remaining(closure))?;
        let retry_after =
            Duration::from_secs(remaining(longest).min(MAX_RETRY_AFTER).as_micros().div_ceil(1_000_000) as u64);
        Some(Refusal { kind: longest.closure.kind, retry_after })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    fn closure(kind: ClosureKind, client: Option<&str>, starts_in: i64, ends_in: Option<i64>) -> DialectClosure {
        let later = |seconds: i64| Timestamp::from_secs(NOW.as_secs() + seconds);
        DialectClosure {
            id: 1,
            closure: NewClosure {
                kind,
                dialect: "tms".to_owned(),
                client: client.map(str::to_owned),
                starts_at: later(starts_in),
                ends_at: ends_in.map(later),
                created_at: NOW,
                operator: "uid:0@host".to_owned(),
            },
            canceled_at: None,
        }
    }

    fn refusal(closures: &[DialectClosure], dialect: &str, client: Option<&str>) -> Option<(ClosureKind, u64)> {
        let schedule = ClosureSchedule::default();
        schedule.replace(closures.to_vec());
        let refusal = schedule.find(dialect, client, || NOW)?;
        Some((refusal.kind, refusal.retry_after.as_secs()))
    }

    #[test]
    fn a_window_refuses_its_dialect_and_client_from_its_start_to_its_end() {
        use ClosureKind::{Brownout, Off};
        let window = |starts_in, ends_in| [closure(Brownout, None, starts_in, Some(ends_in))];
        assert_eq!(refusal(&window(0, 60), "tms", None), Some((Brownout, 60)));
        assert_eq!(refusal(&window(-59, 1), "tms", Some("kiosk")), Some((Brownout, 1)));
        assert_eq!(refusal(&window(-60, 0), "tms", None), None);
        assert_eq!(refusal(&window(1, 60), "tms", None), None);
        assert_eq!(refusal(&window(0, 60), "jwt", None), None);
        assert_eq!(refusal(&window(0, 90_000), "tms", None), Some((Brownout, 3_600)));
        let of_client = [closure(Brownout, Some("kiosk"), 0, Some(60))];
        assert_eq!(refusal(&of_client, "tms", Some("kiosk")), Some((Brownout, 60)));
        assert_eq!(refusal(&of_client, "tms", None), None);
        assert_eq!(refusal(&[closure(Brownout, Some("other"), 0, Some(60))], "tms", None), Some((Brownout, 60)));
        assert_eq!(refusal(&[closure(Off, None, 0, None)], "tms", None), Some((Off, 3_600)));
        let both = [closure(Off, None, 0, None), closure(Brownout, None, 0, Some(60))];
        assert_eq!(refusal(&both, "tms", None), Some((Off, 3_600)));
        let canceled = DialectClosure { canceled_at: Some(NOW), ..closure(Off, None, 0, None) };
        assert_eq!(refusal(&[canceled], "tms", None), None);
        assert_eq!(refusal(&[], "tms", None), None);
    }

    #[test]
    fn a_started_second_of_the_window_counts() {
        let schedule = ClosureSchedule::default();
        schedule.replace(vec![closure(ClosureKind::Brownout, None, 0, Some(60))]);
        let just_before_the_end = Timestamp::from_micros(NOW.as_micros() + 59_999_999);
        assert_eq!(
            schedule.find("tms", None, || just_before_the_end).map(|refusal| refusal.retry_after),
            Some(Duration::from_secs(1))
        );
        schedule.replace(Vec::new());
        assert_eq!(schedule.find("tms", None, || NOW), None);
    }

    #[test]
    fn kinds_have_names() {
        assert!(ClosureKind::all().all(|kind| ClosureKind::parse(kind.as_str()) == Some(kind)));
        assert_eq!(ClosureKind::parse("closed"), None);
    }
}
