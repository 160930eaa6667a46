//! The settings that all services share, and the domain policy made of them: rate limits, account lockout, sessions,
//! codes.

use std::time::Duration;

use stele_core::common_passwords::CommonPasswordPolicy;
use stele_core::countries::Countries;
use stele_core::policy::{LoginLimits, Policy, SendQuotas};
use stele_core::rate_limit::{Penalty, Quota};
use stele_service::common_settings::common_setting_lists;
use stele_service::config::DIRECTORY_SETTINGS;
use stele_service::setting::{SettingList, parsed_with_derived_default, with_derived_default};
use stele_service::{ConfigError, Settings};
use stele_service::{client_list, cors};

use crate::{audit_log, password_hashing, stores, token_settings, use_retention};

stele_service::settings! {
    /// The domain policy.
    pub const SETTINGS = "STELE_";
    /// replay protection: the most that the timestamp of a salted proof may differ from the clock; the log shows a
    /// user's difference; clients that send local time as UTC need the UTC offset plus a few minutes (8h10m); 0: any,
    /// and used proofs are stored in the user store for 30 days
    TIMESTAMP_SKEW: Duration = with_derived_default(|| Policy::default().max_clock_skew.unwrap_or_default());
    /// how long a client that lost a response may repeat a salted login with the same proof from the same address; the
    /// repetition counts as a separate login; 0: it is rejected as a replay
    REPEAT_WINDOW: Duration = with_derived_default(|| Policy::default().repeat_window).range(0, 3_600);
    /// lifetime of a session after its last use
    SESSION_TTL: Duration = with_derived_default(|| Policy::default().session_ttl).positive();
    /// the most sessions of one user, in all dialects together; a further login ends the oldest session
    SESSIONS_PER_USER: u32 = with_derived_default(|| Policy::default().sessions_per_user).range(1, 1_000_000);
    /// minimum length of a new password in characters
    PASSWORD_MIN: usize = with_derived_default(|| Policy::default().min_password_length).range(1, 128);
    /// what happens to a new password that is on the list of common passwords: refuse; warn: accept and count; off: no
    /// check; imported and old passwords are never refused; `stele passwords load` adds a list of the operator
    PASSWORD_LIST: CommonPasswordPolicy = parsed_with_derived_default(
        CommonPasswordPolicy::parse,
        "refuse, warn or off",
        CommonPasswordPolicy::default,
        CommonPasswordPolicy::to_string,
    );
    /// store sealed digests, which the salted logins of cloudbox and TMS need (`stele challenge off` disables them at
    /// once)
    SALTED: bool = with_derived_default(|| Policy::default().salted_logins_enabled);
    /// lifetime of a verification code
    CODE_TTL: Duration = with_derived_default(|| Policy::default().code_ttl).positive();
    /// window of the rate limits for failed logins
    LIMIT_WINDOW: Duration = with_derived_default(|| LoginLimits::default().account.window).positive();
    /// account lockout: failures of an account in a window before the waits begin
    LIMIT_ACCOUNT: u32 = with_derived_default(|| LoginLimits::default().account.free_failures);
    /// account lockout: the first wait; each further failure doubles it
    LIMIT_WAIT: Duration = with_derived_default(|| default_lockout_waits().0).positive();
    /// account lockout: the longest wait
    LIMIT_WAIT_MAX: Duration = with_derived_default(|| default_lockout_waits().1).positive();
    /// rate limit: failures from one address in a window; IPv6 per /64, twice as many per /56, four times per /48
    LIMIT_ADDRESS: u32 = with_derived_default(|| LoginLimits::default().address.free_failures);
    /// rate limit: failures through one MeFP app in a window
    LIMIT_APP: u32 = with_derived_default(|| LoginLimits::default().app.free_failures);
    /// quota: codes to one recipient an hour, by portal and MeFP together; as many password resets by JWT, sent or not
    SEND_RECIPIENT: u32 = with_derived_default(|| SendQuotas::default().recipient.max);
    /// quota: codes requested from one address an hour; IPv6 per /64, twice as many per /56, four times per /48
    SEND_ADDRESS: u32 = with_derived_default(|| SendQuotas::default().address.max);
    /// quota: codes requested through one MeFP app an hour
    SEND_APP: u32 = with_derived_default(|| SendQuotas::default().app.max);
    /// quota: captchas for one address an hour; IPv6 as for `STELE_SEND_ADDRESS`
    SEND_CAPTCHA: u32 = with_derived_default(|| SendQuotas::default().captcha.max);
    /// quota: codes requested an hour in total, by portal and MeFP together; as many password resets by JWT; beyond it,
    /// none is sent until the hour ends, which is logged; 0: unlimited
    SEND_TOTAL: u32 = with_derived_default(|| SendQuotas::default().total.map_or(0, |quota| quota.max));
    /// calling codes of the countries to which short messages are sent; digits of an area may follow: 1 is all of North
    /// America and the Caribbean, 1604 is Vancouver
    SMS_COUNTRIES: Countries = parsed_with_derived_default(
        Countries::parse, "codes, separated by commas", Countries::default, Countries::to_string,
    );
}

/// The settings that every service reads.
pub fn shared_settings() -> Vec<SettingList> {
    let mut lists = common_setting_lists();
    lists.extend([
        DIRECTORY_SETTINGS,
        cors::SETTINGS,
        client_list::SETTINGS,
        stores::SETTINGS,
        stele_delivery::SETTINGS,
        stele_old_login::SETTINGS,
        SETTINGS,
        password_hashing::SETTINGS,
        token_settings::SETTINGS,
        audit_log::SETTINGS,
        use_retention::SETTINGS,
    ]);
    lists
}

/// The first and the longest wait of the account lockout.
fn default_lockout_waits() -> (Duration, Duration) {
    match LoginLimits::default().account.penalty {
        Penalty::ExponentialBackoff { base, cap } => (base, cap),
        Penalty::BlockUntilWindowEnds => Default::default(),
    }
}

/// Builds the domain policy from the settings.
///
/// # Errors
/// The first invalid setting.
pub fn build_policy(settings: &Settings) -> Result<Policy, ConfigError> {
    let (skew, window) = (settings.get(&TIMESTAMP_SKEW)?, settings.get(&LIMIT_WINDOW)?);
    let mut login_limits = LoginLimits::default();
    for limit in [&mut login_limits.account, &mut login_limits.address, &mut login_limits.app] {
        limit.window = window;
    }
    login_limits.account.free_failures = settings.get(&LIMIT_ACCOUNT)?;
    login_limits.challenge_after = login_limits.account.free_failures;
    login_limits.account.penalty =
        Penalty::ExponentialBackoff { base: settings.get(&LIMIT_WAIT)?, cap: settings.get(&LIMIT_WAIT_MAX)? };
    login_limits.address.free_failures = settings.get(&LIMIT_ADDRESS)?;
    login_limits.app.free_failures = settings.get(&LIMIT_APP)?;
    let mut send_quotas = SendQuotas::default();
    send_quotas.recipient.max = settings.get(&SEND_RECIPIENT)?;
    send_quotas.address.max = settings.get(&SEND_ADDRESS)?;
    send_quotas.captcha.max = settings.get(&SEND_CAPTCHA)?;
    send_quotas.app.max = settings.get(&SEND_APP)?;
    let total = settings.get(&SEND_TOTAL)?;
    send_quotas.total = send_quotas.total.filter(|_| total > 0).map(|quota| Quota { max: total, ..quota });
    Ok(Policy {
        max_clock_skew: (!skew.is_zero()).then_some(skew),
        repeat_window: settings.get(&REPEAT_WINDOW)?,
        session_ttl: settings.get(&SESSION_TTL)?,
        sessions_per_user: settings.get(&SESSIONS_PER_USER)?,
        min_password_length: settings.get(&PASSWORD_MIN)?,
        common_passwords: settings.get(&PASSWORD_LIST)?,
        salted_logins_enabled: settings.get(&SALTED)?,
        code_ttl: settings.get(&CODE_TTL)?,
        sms_countries: settings.get(&SMS_COUNTRIES)?,
        login_limits,
        send_quotas,
        ..Policy::default()
    })
}
