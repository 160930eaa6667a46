//! Every number of the domain that can be configured, with its default (`docs/RATE-LIMITS.md`, `docs/PROTOCOLS.md`).

use std::time::Duration;

use crate::countries::Countries;
use crate::rate_limit::{FailureLimit, Penalty, Quota};
use crate::time::Timestamp;

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
const QUARTER_HOUR: Duration = Duration::from_secs(900);

/// The rules that the use cases go by.
#[derive(Clone, Debug)]
pub struct Policy {
    /// How far a salted proof's timestamp may be from now; `None`: any (clients with broken clocks).
    pub max_clock_skew: Option<Duration>,
    /// How long a digest is remembered where `skew` is `None`.
    pub replay_retention: Duration,
    /// How long a login may be sent once more, from the same address with the same proof; zero: not at all.
    pub repeat_window: Duration,
    /// How long a session lives after it was last used.
    pub session_ttl: Duration,
    /// How many sessions a user may have, in all dialects together; a login beyond it ends the oldest.
    pub sessions_per_user: u32,
    /// The fewest characters of a password that a user chooses.
    pub min_password_length: usize,
    /// Whether sealed digests are kept, without which no salted proof can be checked.
    pub salted_logins_enabled: bool,
    /// How long a code lives.
    pub code_ttl: Duration,
    /// How many wrong tries burn a code.
    pub max_code_attempts: u32,
    /// How long a reset token lives (JWT document, 验证手机).
    pub reset_ttl: Duration,
    /// How long a one-time token between apps lives (MeFP document, 获取Token).
    pub ticket_ttl: Duration,
    /// How long a captcha lives.
    pub captcha_ttl: Duration,
    /// How many times a captcha's picture is shown.
    pub captcha_views: u32,
    /// How old a login may be to change the password without the old one (JWT document, 更新密码).
    pub recent_login_max_age: Duration,
    /// Limits on guessing.
    pub login_limits: LoginLimits,
    /// Limits on sending codes.
    pub send_quotas: SendQuotas,
    /// Where short messages may be sent.
    pub sms_countries: Countries,
}

/// Limits on guessing passwords and codes, summed over the dialects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoginLimits {
    /// An account's budget, and each known origin's own budget there.
    pub account: FailureLimit,
    /// An address's budget.
    pub address: FailureLimit,
    /// An app's budget.
    pub app: FailureLimit,
    /// How long after a login an origin is known to an account.
    pub trusted_origin_ttl: Duration,
    /// After how many failures, in the budget that applies to the origin, a login asks for a challenge.
    pub challenge_after: u32,
}

impl LoginLimits {
    /// A known origin is stored again at a login at `now` only if it would be forgotten before this instant. To store it at
    /// each login would cost more than the login's session; a thousandth less, 43 minutes of 30 days, is not missed.
    #[must_use]
    pub fn renew_trusted_origin_before(&self, now: Timestamp) -> Timestamp {
        now.saturating_add(self.trusted_origin_ttl - self.trusted_origin_ttl / 1_000)
    }
}

/// Limits on sending codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendQuotas {
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
            max_clock_skew: Some(Duration::from_secs(300)),
            replay_retention: 30 * DAY,
            repeat_window: Duration::ZERO,
            session_ttl: 12 * HOUR,
            sessions_per_user: 10_000,
            min_password_length: 6,
            salted_logins_enabled: true,
            code_ttl: HOUR,
            max_code_attempts: 5,
            reset_ttl: Duration::from_secs(600),
            ticket_ttl: Duration::from_secs(300),
            captcha_ttl: Duration::from_secs(300),
            captcha_views: 5,
            recent_login_max_age: QUARTER_HOUR,
            login_limits: LoginLimits::default(),
            send_quotas: SendQuotas::default(),
            sms_countries: Countries::default(),
        }
    }
}

impl Default for LoginLimits {
    fn default() -> Self {
        let doubling = Penalty::ExponentialBackoff { base: Duration::from_secs(1), cap: Duration::from_secs(60) };
        Self {
            account: FailureLimit { free_failures: 5, window: QUARTER_HOUR, penalty: doubling },
            address: FailureLimit { free_failures: 100, window: QUARTER_HOUR, penalty: Penalty::BlockUntilWindowEnds },
            app: FailureLimit { free_failures: 1_000, window: QUARTER_HOUR, penalty: Penalty::BlockUntilWindowEnds },
            trusted_origin_ttl: 30 * DAY,
            challenge_after: 5,
        }
    }
}

impl Default for SendQuotas {
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
