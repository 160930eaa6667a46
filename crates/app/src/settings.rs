//! The settings that all services share, and the domain's rules made of them.

use std::time::Duration;

use stele_core::countries::Countries;
use stele_core::policy::{LoginLimits, Policy, SendQuotas};
use stele_core::rate_limit::{Penalty as Wait, Quota};
use stele_service::common_settings::all_common;
use stele_service::config::DIRECTORY_SETTINGS;
use stele_service::cors;
use stele_service::setting::{SettingList, parsed_with_derived_default, with_derived_default};
use stele_service::{ConfigError, Settings};

use crate::{audit_log, password_hashing, stores};

stele_service::settings! {
    /// The domain's rules.
    pub const SETTINGS = "STELE_";
    /// how far a salted proof's timestamp may be off; the log names by how much a user's was; clients that send local
    /// time for UTC need its hours and a few minutes (8h10m); 0: any, and used proofs are kept in the users' database
    /// for 30 days
    TIMESTAMP_SKEW: Duration = with_derived_default(|| Policy::default().max_clock_skew.unwrap_or_default());
    /// how long a salted login may be sent once more, with the same proof from the same address, by a client that
    /// repeats a request whose answer it lost: it is a login of its own; 0: such a login is a replay
    REPEAT_WINDOW: Duration = with_derived_default(|| Policy::default().repeat_window).range(0, 3_600);
    /// how long a session lives after its last use
    SESSION_TTL: Duration = with_derived_default(|| Policy::default().session_ttl).positive();
    /// sessions that one user may have, in all dialects together: a login beyond it ends the oldest
    SESSIONS_PER_USER: u32 = with_derived_default(|| Policy::default().sessions_per_user).range(1, 1_000_000);
    /// fewest characters of a new password
    PASSWORD_MIN: usize = with_derived_default(|| Policy::default().min_password_length).range(1, 128);
    /// keep sealed digests, which cloudbox's and TMS's salted logins need (`stele challenge off` ends them at once)
    SALTED: bool = with_derived_default(|| Policy::default().salted_logins_enabled);
    /// how long a verification code lives
    CODE_TTL: Duration = with_derived_default(|| Policy::default().code_ttl).positive();
    /// how long failures are counted together
    LIMIT_WINDOW: Duration = with_derived_default(|| default_guessing().account.window).positive();
    /// an account's free failures in a window; then the waits begin
    LIMIT_ACCOUNT: u32 = with_derived_default(|| default_guessing().account.free_failures);
    /// the first wait; each further failure doubles it
    LIMIT_WAIT: Duration = with_derived_default(|| default_waits().0).positive();
    /// the longest wait
    LIMIT_WAIT_MAX: Duration = with_derived_default(|| default_waits().1).positive();
    /// an address's failures in a window; IPv6 by /64, and twice as many in its /56, four times as many in its /48
    LIMIT_ADDRESS: u32 = with_derived_default(|| default_guessing().address.free_failures);
    /// a MeFP app's failures in a window
    LIMIT_APP: u32 = with_derived_default(|| default_guessing().app.free_failures);
    /// codes sent to one recipient in an hour, by portal and MeFP together; as many resets by JWT, sent or not
    SEND_RECIPIENT: u32 = with_derived_default(|| default_sending().recipient.max);
    /// codes sent for one address in an hour; IPv6 by /64, and twice as many in its /56, four times as many in its /48
    SEND_ADDRESS: u32 = with_derived_default(|| default_sending().address.max);
    /// codes sent for one MeFP app in an hour
    SEND_APP: u32 = with_derived_default(|| default_sending().app.max);
    /// captchas drawn for one address in an hour, IPv6 as for `STELE_SEND_ADDRESS`
    SEND_CAPTCHA: u32 = with_derived_default(|| default_sending().captcha.max);
    /// codes asked for in an hour, over all addresses and recipients, by portal and MeFP together; as many resets by JWT:
    /// then none is sent until the hour ends, and the log says so; 0: no ceiling
    SEND_TOTAL: u32 = with_derived_default(|| default_sending().total.map_or(0, |quota| quota.max));
    /// calling codes of the countries that short messages are sent to; a code may be narrowed by an area's digits: 1 is all
    /// of North America and the Caribbean, 1604 is Vancouver
    SMS_COUNTRIES: Countries = parsed_with_derived_default(Countries::parse, "codes by commas", Countries::default, Countries::to_string);
}

/// What every service reads.
pub fn shared_settings() -> Vec<SettingList> {
    let mut lists = all_common();
    lists.extend([
        DIRECTORY_SETTINGS,
        cors::SETTINGS,
        stores::SETTINGS,
        stele_delivery::SETTINGS,
        SETTINGS,
        password_hashing::SETTINGS,
        audit_log::SETTINGS,
    ]);
    lists
}

fn default_guessing() -> LoginLimits {
    LoginLimits::default()
}

fn default_sending() -> SendQuotas {
    SendQuotas::default()
}

/// The first wait and the longest.
fn default_waits() -> (Duration, Duration) {
    match default_guessing().account.penalty {
        Wait::ExponentialBackoff { base, cap } => (base, cap),
        Wait::BlockUntilWindowEnds => Default::default(),
    }
}

/// The rules that the settings ask for.
///
/// # Errors
/// The first setting that cannot be used.
pub fn policy(settings: &Settings) -> Result<Policy, ConfigError> {
    let (skew, window) = (settings.get(&TIMESTAMP_SKEW)?, settings.get(&LIMIT_WINDOW)?);
    let mut guessing = default_guessing();
    for schedule in [&mut guessing.account, &mut guessing.address, &mut guessing.app] {
        schedule.window = window;
    }
    guessing.account.free_failures = settings.get(&LIMIT_ACCOUNT)?;
    guessing.challenge_after = guessing.account.free_failures;
    guessing.account.penalty =
        Wait::ExponentialBackoff { base: settings.get(&LIMIT_WAIT)?, cap: settings.get(&LIMIT_WAIT_MAX)? };
    guessing.address.free_failures = settings.get(&LIMIT_ADDRESS)?;
    guessing.app.free_failures = settings.get(&LIMIT_APP)?;
    let mut sending = default_sending();
    sending.recipient.max = settings.get(&SEND_RECIPIENT)?;
    sending.address.max = settings.get(&SEND_ADDRESS)?;
    sending.captcha.max = settings.get(&SEND_CAPTCHA)?;
    sending.app.max = settings.get(&SEND_APP)?;
    let total = settings.get(&SEND_TOTAL)?;
    sending.total = sending.total.filter(|_| total > 0).map(|quota| Quota { max: total, ..quota });
    Ok(Policy {
        max_clock_skew: (!skew.is_zero()).then_some(skew),
        repeat_window: settings.get(&REPEAT_WINDOW)?,
        session_ttl: settings.get(&SESSION_TTL)?,
        sessions_per_user: settings.get(&SESSIONS_PER_USER)?,
        min_password_length: settings.get(&PASSWORD_MIN)?,
        salted_logins_enabled: settings.get(&SALTED)?,
        code_ttl: settings.get(&CODE_TTL)?,
        sms_countries: settings.get(&SMS_COUNTRIES)?,
        login_limits: guessing,
        send_quotas: sending,
        ..Policy::default()
    })
}
