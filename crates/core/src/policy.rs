//! Policy: every limit and lifetime of the domain that can be configured, with its default (`docs/RATE-LIMITS.md`,
//! `docs/PROTOCOLS.md`).

use std::time::Duration;

use crate::countries::Countries;
use crate::rate_limit::{FailureLimit, Penalty, Quota};
use crate::time::Timestamp;

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
const QUARTER_HOUR: Duration = Duration::from_secs(900);

/// The rules that the use cases apply.
#[derive(Clone, Debug)]
pub struct Policy {
    /// How far a salted proof's timestamp may be from now; `None` to accept any (clients with broken clocks).
    pub max_clock_skew: Option<Duration>,
    /// How long a proof is remembered where `max_clock_skew` is `None` (replay protection).
    pub replay_retention: Duration,
    /// How long a login may be repeated with the same proof from the same address; zero for not at all.
    pub repeat_window: Duration,
    /// How long a session lives after its last use.
    pub session_ttl: Duration,
    /// How many sessions a user may have in all dialects together. A login beyond it ends the oldest.
    pub sessions_per_user: u32,
    /// The minimum length of a password that a user chooses, in characters.
    pub min_password_length: usize,
    /// Whether digests are sealed, which salted logins need.
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
    /// How many times a captcha's image may be requested.
    pub captcha_views: u32,
    /// How long after a login the password may be changed without the old one (JWT document, 更新密码).
    pub recent_login_max_age: Duration,
    /// Rate limits on guessing passwords and codes.
    pub login_limits: LoginLimits,
    /// Quotas of messages and captchas.
    pub send_quotas: SendQuotas,
    /// The countries that short messages may be sent to.
    pub sms_countries: Countries,
}

/// Rate limits on guessing passwords and codes, over all dialects together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoginLimits {
    /// Failures of an account, and separately of each origin that it trusts (account lockout).
    pub account: FailureLimit,
    /// Failures from an address.
    pub address: FailureLimit,
    /// Failures through an app.
    pub app: FailureLimit,
    /// How long after a login the account trusts its origin.
    pub trusted_origin_ttl: Duration,
    /// After how many failures, on the counter that applies to the origin, a login requires a challenge.
    pub challenge_after: u32,
}

impl LoginLimits {
    /// A login at `now` renews the trust in its origin only if that would expire before the returned time. Renewing at
    /// each login would cost more than the session; a thousandth of the lifetime (43 minutes of 30 days) is not missed.
    #[must_use]
    pub fn renew_trusted_origin_before(&self, now: Timestamp) -> Timestamp {
        now.saturating_add(self.trusted_origin_ttl - self.trusted_origin_ttl / 1_000)
    }
}

/// Quotas of messages that are sent, and of captchas that are issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendQuotas {
    /// To one recipient: all dialects together, except for JWT, which has a separate quota of this size.
    pub recipient: Quota,
    /// From one address.
    pub address: Quota,
    /// From one app.
    pub app: Quota,
    /// Captchas issued to one address.
    pub captcha: Quota,
    /// All messages together; `None` for no limit. Bounds what a flood can cost.
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
