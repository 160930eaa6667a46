//! The settings that all services share, and the domain's rules made of them.

use std::time::Duration;

use stele_core::countries::Countries;
use stele_core::policy::{Guessing, Policy, Sending};
use stele_core::rate_limit::{Cost as Wait, Quota};
use stele_service::config::FOLDERS;
use stele_service::origins;
use stele_service::setting::{List, derived, parsed_or};
use stele_service::settings::common;
use stele_service::{ConfigError, Settings};

use crate::{hashing, stores, trail};

stele_service::settings! {
    /// The domain's rules.
    pub const SETTINGS = "STELE_";
    /// how far a salted proof's timestamp may be off; the log names by how much a user's was; clients that send local
    /// time for UTC need its hours and a few minutes (8h10m); 0: any, and used proofs are kept in the users' database
    /// for 30 days
    TIMESTAMP_SKEW: Duration = derived(|| Policy::default().skew.unwrap_or_default());
    /// how long a salted login may be sent once more, with the same proof from the same address, by a client that
    /// repeats a request whose answer it lost: it is a login of its own; 0: such a login is a replay
    REPEAT_WINDOW: Duration = derived(|| Policy::default().repeat_window).range(0, 3_600);
    /// how long a session lives after its last use
    SESSION_TTL: Duration = derived(|| Policy::default().session_ttl).positive();
    /// sessions that one user may have, in all dialects together: a login beyond it ends the oldest
    SESSIONS_PER_USER: u32 = derived(|| Policy::default().sessions_per_user).range(1, 1_000_000);
    /// fewest characters of a new password
    PASSWORD_MIN: usize = derived(|| Policy::default().password_min).range(1, 128);
    /// keep sealed digests, which cloudbox's and TMS's salted logins need (`stele challenge off` ends them at once)
    SALTED: bool = derived(|| Policy::default().salted);
    /// how long a verification code lives
    CODE_TTL: Duration = derived(|| Policy::default().code_ttl).positive();
    /// how long failures are counted together
    LIMIT_WINDOW: Duration = derived(|| guessing().account.window).positive();
    /// an account's free failures in a window; then the waits begin
    LIMIT_ACCOUNT: u32 = derived(|| guessing().account.free);
    /// the first wait; each further failure doubles it
    LIMIT_WAIT: Duration = derived(|| waits().0).positive();
    /// the longest wait
    LIMIT_WAIT_MAX: Duration = derived(|| waits().1).positive();
    /// an address's failures in a window; IPv6 by /64, and twice as many in its /56, four times as many in its /48
    LIMIT_ADDRESS: u32 = derived(|| guessing().address.free);
    /// a MeFP app's failures in a window
    LIMIT_APP: u32 = derived(|| guessing().app.free);
    /// codes sent to one recipient in an hour, by portal and MeFP together; as many resets by JWT, sent or not
    SEND_RECIPIENT: u32 = derived(|| sending().recipient.max);
    /// codes sent for one address in an hour; IPv6 by /64, and twice as many in its /56, four times as many in its /48
    SEND_ADDRESS: u32 = derived(|| sending().address.max);
    /// codes sent for one MeFP app in an hour
    SEND_APP: u32 = derived(|| sending().app.max);
    /// captchas drawn for one address in an hour, IPv6 as for `STELE_SEND_ADDRESS`
    SEND_CAPTCHA: u32 = derived(|| sending().captcha.max);
    /// codes asked for in an hour, over all addresses and recipients, by portal and MeFP together; as many resets by JWT:
    /// then none is sent until the hour ends, and the log says so; 0: no ceiling
    SEND_TOTAL: u32 = derived(|| sending().total.map_or(0, |quota| quota.max));
    /// calling codes of the countries that short messages are sent to; a code may be narrowed by an area's digits: 1 is all
    /// of North America and the Caribbean, 1604 is Vancouver
    SMS_COUNTRIES: Countries = parsed_or(Countries::parse, "codes by commas", Countries::default, Countries::to_string);
}

/// What every service reads.
pub fn shared() -> Vec<List> {
    let mut lists = common();
    lists.extend([
        FOLDERS,
        origins::SETTINGS,
        stores::SETTINGS,
        stele_delivery::SETTINGS,
        SETTINGS,
        hashing::SETTINGS,
        trail::SETTINGS,
    ]);
    lists
}

fn guessing() -> Guessing {
    Guessing::default()
}

fn sending() -> Sending {
    Sending::default()
}

/// The first wait and the longest.
fn waits() -> (Duration, Duration) {
    match guessing().account.cost {
        Wait::Doubling { base, cap } => (base, cap),
        Wait::RestOfWindow => Default::default(),
    }
}

/// The rules that the settings ask for.
///
/// # Errors
/// The first setting that cannot be used.
pub fn policy(settings: &Settings) -> Result<Policy, ConfigError> {
    let (skew, window) = (settings.get(&TIMESTAMP_SKEW)?, settings.get(&LIMIT_WINDOW)?);
    let mut guessing = guessing();
    for schedule in [&mut guessing.account, &mut guessing.address, &mut guessing.app] {
        schedule.window = window;
    }
    guessing.account.free = settings.get(&LIMIT_ACCOUNT)?;
    guessing.challenge_after = guessing.account.free;
    guessing.account.cost = Wait::Doubling { base: settings.get(&LIMIT_WAIT)?, cap: settings.get(&LIMIT_WAIT_MAX)? };
    guessing.address.free = settings.get(&LIMIT_ADDRESS)?;
    guessing.app.free = settings.get(&LIMIT_APP)?;
    let mut sending = sending();
    sending.recipient.max = settings.get(&SEND_RECIPIENT)?;
    sending.address.max = settings.get(&SEND_ADDRESS)?;
    sending.captcha.max = settings.get(&SEND_CAPTCHA)?;
    sending.app.max = settings.get(&SEND_APP)?;
    let total = settings.get(&SEND_TOTAL)?;
    sending.total = sending.total.filter(|_| total > 0).map(|quota| Quota { max: total, ..quota });
    Ok(Policy {
        skew: (!skew.is_zero()).then_some(skew),
        repeat_window: settings.get(&REPEAT_WINDOW)?,
        session_ttl: settings.get(&SESSION_TTL)?,
        sessions_per_user: settings.get(&SESSIONS_PER_USER)?,
        password_min: settings.get(&PASSWORD_MIN)?,
        salted: settings.get(&SALTED)?,
        code_ttl: settings.get(&CODE_TTL)?,
        sms_countries: settings.get(&SMS_COUNTRIES)?,
        guessing,
        sending,
        ..Policy::default()
    })
}
