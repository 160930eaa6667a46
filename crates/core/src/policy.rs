//! Policy: every rate limit, quota, lifetime and other rule of the domain that can be configured, with the default
//! values (`docs/RATE-LIMITS.md`, `docs/PROTOCOLS.md`).

use std::time::Duration;

use crate::common_passwords::CommonPasswordPolicy;
use crate::countries::Countries;
use crate::rate_limit::{FailureLimit, Penalty, Quota};
use crate::time::Timestamp;

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
const QUARTER_HOUR: Duration = Duration::from_secs(900);

/// The rules that the use cases apply.
#[derive(Clone, Debug)]
pub struct Policy {
    /// How far a salted proof's timestamp may be from the current time; `None` accepts every timestamp (for clients
    /// with broken clocks).
    pub max_clock_skew: Option<Duration>,
    /// How long a used proof is remembered if `max_clock_skew` is `None` (replay protection).
    pub replay_retention: Duration,
    /// How long a login may be repeated once with the same proof, in the same dialect and from the same origin; zero
    /// for no repetition.
    pub repeat_window: Duration,
    /// How long a session stays valid after its last use.
    pub session_ttl: Duration,
    /// The most sessions of one user, in all dialects together. A further login ends the oldest session.
    pub sessions_per_user: u32,
    /// The minimum length of a password that a user chooses, in characters.
    pub min_password_length: usize,
    /// What happens to a new password that is on a list of common passwords.
    pub common_passwords: CommonPasswordPolicy,
    /// Whether the configuration enables salted logins, for which digests are sealed.
    pub salted_logins_enabled: bool,
    /// How long a code is valid.
    pub code_ttl: Duration,
    /// How many wrong guesses invalidate a code.
    pub max_code_attempts: u32,
    /// How long a reset token is valid (JWT document, 验证手机).
    pub reset_ttl: Duration,
    /// How long a handover ticket between apps is valid (MeFP document, 获取Token).
    pub ticket_ttl: Duration,
    /// How long a captcha is valid.
    pub captcha_ttl: Duration,
    /// How many times the image of a captcha may be requested.
    pub captcha_views: u32,
    /// How long after a login the session may set a new password without the old one (JWT document, 更新密码).
    pub recent_login_max_age: Duration,
    /// Rate limits on guessing passwords and codes.
    pub login_limits: LoginLimits,
    /// Quotas of sent messages and of issued captchas.
    pub send_quotas: SendQuotas,
    /// The countries to which short messages may be sent.
    pub sms_countries: Countries,
}

/// Rate limits on guessing passwords and codes, over all dialects together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoginLimits {
    /// Failures at an account, and separately from each origin that the account trusts (account lockout).
    pub account: FailureLimit,
    /// Failures from a client address.
    pub address: FailureLimit,
    /// Failures of requests that an app makes for its users.
    pub app: FailureLimit,
    /// How long after a login the account trusts the origin of the login.
    pub trusted_origin_ttl: Duration,
    /// From how many failures on a login requires a challenge, counted by the counter that applies to the origin.
    pub challenge_after: u32,
}

impl LoginLimits {
    /// The threshold for renewing a trusted origin: a login at `now` renews the trust only if the trust would expire
    /// before the returned time. Renewing at each login would cost more than storing the session; losing a thousandth
    /// of the lifetime (43 minutes of 30 days) does not matter.
    #[must_use]
    pub fn renew_trusted_origin_before(&self, now: Timestamp) -> Timestamp {
        now.saturating_add(self.trusted_origin_ttl - self.trusted_origin_ttl / 1_000)
    }
}

/// Quotas of messages that are sent (against SMS pumping), and of captchas that are issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendQuotas {
    /// Messages to one recipient, from all dialects together. The reset messages of JWT have a separate quota of this
    /// size, which also counts requests that send nothing.
    pub recipient: Quota,
    /// Messages requested from one client address.
    pub address: Quota,
    /// Messages requested by one app.
    pub app: Quota,
    /// Captchas issued to one client address.
    pub captcha: Quota,
    /// All messages together, which bounds the cost of a flood; `None` for no limit. JWT's reset messages have a
    /// separate quota of this size.
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
            common_passwords: CommonPasswordPolicy::default(),
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
        let backoff = Penalty::ExponentialBackoff { base: Duration::from_secs(1), cap: Duration::from_secs(60) };
        Self {
            account: FailureLimit { free_failures: 5, window: QUARTER_HOUR, penalty: backoff },
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
