//! Every number of the domain that can be configured, with its default (`docs/RATE-LIMITS.md`, `docs/PROTOCOLS.md`).

use std::time::Duration;

use crate::countries::Countries;
use crate::rate_limit::{Cost, Quota, Schedule};
use crate::time::Timestamp;

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
const QUARTER: Duration = Duration::from_secs(900);

/// The rules that the use cases go by.
#[derive(Clone, Debug)]
pub struct Policy {
    /// How far a salted proof's timestamp may be from now; `None`: any (clients with broken clocks).
    pub skew: Option<Duration>,
    /// How long a digest is remembered where `skew` is `None`.
    pub replay_memory: Duration,
    /// How long a login may be sent once more, from the same address with the same proof; zero: not at all.
    pub repeat_window: Duration,
    /// How long a session lives after it was last used.
    pub session_ttl: Duration,
    /// How many sessions a user may have, in all dialects together; a login beyond it ends the oldest.
    pub sessions_per_user: u32,
    /// The fewest characters of a password that a user chooses.
    pub password_min: usize,
    /// Whether sealed digests are kept, without which no salted proof can be checked.
    pub salted: bool,
    /// How long a code lives.
    pub code_ttl: Duration,
    /// How many wrong tries burn a code.
    pub code_tries: u32,
    /// How long a reset token lives (JWT document, 验证手机).
    pub reset_ttl: Duration,
    /// How long a one-time token between apps lives (MeFP document, 获取Token).
    pub ticket_ttl: Duration,
    /// How long a captcha lives.
    pub captcha_ttl: Duration,
    /// How many times a captcha's picture is shown.
    pub captcha_views: u32,
    /// How old a login may be to change the password without the old one (JWT document, 更新密码).
    pub recent_login: Duration,
    /// Limits on guessing.
    pub guessing: Guessing,
    /// Limits on sending codes.
    pub sending: Sending,
    /// Where short messages may be sent.
    pub sms_countries: Countries,
}

/// Limits on guessing passwords and codes, summed over the dialects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guessing {
    /// An account's budget, and each known origin's own budget there.
    pub account: Schedule,
    /// An address's budget.
    pub address: Schedule,
    /// An app's budget.
    pub app: Schedule,
    /// How long after a login an origin is known to an account.
    pub known_for: Duration,
    /// After how many failures, in the budget that applies to the origin, a login asks for a challenge.
    pub challenge_after: u32,
}

impl Guessing {
    /// A known origin is stored again at a login at `now` only if it would be forgotten before this instant. To store it at
    /// each login would cost more than the login's session; a thousandth less, 43 minutes of 30 days, is not missed.
    #[must_use]
    pub fn renew_known_before(&self, now: Timestamp) -> Timestamp {
        now.after(self.known_for - self.known_for / 1_000)
    }
}

/// Limits on sending codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sending {
    /// To one recipient: over all dialects together, but for JWT, which has as much of its own.
    pub recipient: Quota,
    /// From one address.
    pub address: Quota,
    /// From one app.
    pub app: Quota,
    /// Captchas drawn for one address.
    pub captcha: Quota,
    /// All together, from everywhere to all; `None`: as many as there are. It bounds what a flood costs.
    pub total: Option<Quota>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            skew: Some(Duration::from_secs(300)),
            replay_memory: 30 * DAY,
            repeat_window: Duration::ZERO,
            session_ttl: 12 * HOUR,
            sessions_per_user: 10_000,
            password_min: 6,
            salted: true,
            code_ttl: HOUR,
            code_tries: 5,
            reset_ttl: Duration::from_secs(600),
            ticket_ttl: Duration::from_secs(300),
            captcha_ttl: Duration::from_secs(300),
            captcha_views: 5,
            recent_login: QUARTER,
            guessing: Guessing::default(),
            sending: Sending::default(),
            sms_countries: Countries::default(),
        }
    }
}

impl Default for Guessing {
    fn default() -> Self {
        let doubling = Cost::Doubling { base: Duration::from_secs(1), cap: Duration::from_secs(60) };
        Self {
            account: Schedule { free: 5, window: QUARTER, cost: doubling },
            address: Schedule { free: 100, window: QUARTER, cost: Cost::RestOfWindow },
            app: Schedule { free: 1_000, window: QUARTER, cost: Cost::RestOfWindow },
            known_for: 30 * DAY,
            challenge_after: 5,
        }
    }
}

impl Default for Sending {
    fn default() -> Self {
        let hourly = |max| Quota { max, window: HOUR };
        Self {
            recipient: hourly(5),
            address: hourly(30),
            app: hourly(1_000),
            captcha: hourly(300),
            total: Some(hourly(10_000)),
        }
    }
}
