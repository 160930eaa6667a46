//! The settings that all services share, and the domain's rules made of them.

use std::time::Duration;

use stele_core::countries::Countries;
use stele_core::policy::Policy;
use stele_core::rate_limit::{Cost as Wait, Quota};
use stele_service::settings::{ADMIN_HOSTS, BODY_LIMIT, DRAIN, WORKERS};
use stele_service::{ConfigError, Setting, Settings, setting};

use crate::hashing;
use crate::trail::Budgets;

/// What every service reads.
pub const SHARED: &[Setting] = &[
    setting("STELE_LISTEN", "the program's own port on loopback", "address and port to serve on"),
    setting("STELE_ADMIN_LISTEN", "loopback, the port plus 1000", "address and port of health, readiness and metrics"),
    setting("STELE_DATA", "./var", "folder of the embedded store, the keys and the outbox (also --data)"),
    setting(
        "STELE_DATABASE_URL",
        "<data>/users.db",
        "users: postgres://USER:PASSWORD@HOST/NAME, sslmode and sslrootcert as in libpq; without it, SQLite in the data folder",
    ),
    setting(
        "STELE_REDIS_URL",
        "<data>/state.db",
        "short-lived state: redis://[USER:PASSWORD@]HOST[:PORT][/DB], redis+sentinel://HOST:PORT,…/MASTER[/DB] or \
         redis+cluster://HOST:PORT,…, with rediss for TLS; it must have maxmemory-policy noeviction; without it, SQLite in \
         the data folder",
    ),
    setting("STELE_KEYS", "<data>/keys", "folder of the sealing and signing keys; all instances share one set"),
    setting(
        "STELE_DELIVERY",
        "outbox",
        "where codes go: outbox (JSON lines in the data folder, for development); or one URL a channel, by commas: \
         smtps://USER:PASSWORD@HOST?from=SENDER or smtp://… (STARTTLS; tls=none: unencrypted) for mail, \
         webhook+https://… for short messages",
    ),
    setting("STELE_DELIVERY_ENGLISH", "none", "dialects whose codes are sent in English, by commas; others: Chinese"),
    setting(
        "STELE_DELIVERY_TEXTS",
        "built in",
        "TOML file with texts of your own: [zh] and [en], each with any of text, subject, mail and purpose",
    ),
    setting(
        "STELE_WEBHOOK_TEMPLATE",
        stele_delivery::TEMPLATE,
        "JSON for the webhook; in its strings {to}, {code}, {purpose} (register, reset, any) and {text} are filled in",
    ),
    setting(
        "STELE_WEBHOOK_SECRET",
        "none",
        "signs the webhook's requests, 16 characters or more: X-Stele-Signature is t=TIME,v1=HEX, where HEX is the \
         HMAC-SHA-256 of TIME, a dot and the body",
    ),
    setting("STELE_TRUSTED_PROXIES", "none", "whose X-Forwarded-* are believed: addresses and CIDRs, by commas"),
    setting(
        "STELE_TIMESTAMP_SKEW",
        "300s",
        "how far a salted proof's timestamp may be off; 0: any, and used proofs are kept in the users' database for 30 days",
    ),
    setting("STELE_SESSION_TTL", "12h", "how long a session lives after its last use"),
    setting(
        "STELE_SESSIONS_PER_USER",
        "10000",
        "sessions that one user may have, in all dialects together, 1 to 1000000: a login beyond it ends the oldest",
    ),
    setting("STELE_PASSWORD_MIN", "6", "fewest characters of a new password, 1 to 128"),
    setting(
        "STELE_SALTED",
        "true",
        "keep sealed digests, which cloudbox's and TMS's salted logins need (`stele challenge off` ends them at once)",
    ),
    setting("STELE_CODE_TTL", "1h", "how long a verification code lives"),
    setting("STELE_LIMIT_WINDOW", "15m", "how long failures are counted together"),
    setting("STELE_LIMIT_ACCOUNT", "5", "an account's free failures in a window; then the waits begin"),
    setting("STELE_LIMIT_WAIT", "1s", "the first wait; each further failure doubles it"),
    setting("STELE_LIMIT_WAIT_MAX", "60s", "the longest wait"),
    setting(
        "STELE_LIMIT_ADDRESS",
        "100",
        "an address's failures in a window; IPv6 by /64, and twice as many in its /56, four times as many in its /48",
    ),
    setting("STELE_LIMIT_APP", "1000", "a MeFP app's failures in a window"),
    setting(
        "STELE_SEND_RECIPIENT",
        "5",
        "codes sent to one recipient in an hour, by portal and MeFP together; as many resets by JWT, sent or not",
    ),
    setting(
        "STELE_SEND_ADDRESS",
        "30",
        "codes sent for one address in an hour; IPv6 by /64, and twice as many in its /56, four times as many in its /48",
    ),
    setting("STELE_SEND_APP", "1000", "codes sent for one MeFP app in an hour"),
    setting("STELE_SEND_CAPTCHA", "300", "captchas drawn for one address in an hour, IPv6 as for STELE_SEND_ADDRESS"),
    setting(
        "STELE_SEND_TOTAL",
        "10000",
        "codes asked for in an hour, over all addresses, recipients and dialects: then none is sent until the hour ends, and the \
         log says so; 0: no ceiling",
    ),
    setting(
        "STELE_SMS_COUNTRIES",
        "86",
        "calling codes of the countries that short messages are sent to, by commas; a code may be narrowed by an area's digits: 1 \
         is all of North America and the Caribbean, 1604 is Vancouver",
    ),
    setting(
        hashing::COST,
        "19456,2,1",
        "argon2id's memory in KiB, passes and lanes, at most 262144,16,16; once it is raised, each hash is replaced at \
         the next login that shows the password. Less than OWASP's least is refused; for tests: 64,1,1,weak",
    ),
    setting(
        "STELE_HASH_SLOTS",
        "one a core",
        "password hashes computed at once, 1 to 256: each takes the memory of STELE_HASH_COST",
    ),
    setting("STELE_HASH_QUEUE", "512", "password hashes computed or waiting before clients are told to come back"),
    setting(
        "STELE_AUDIT_KEEP",
        "184d",
        "how long the audit trail goes back (`stele audit` reads it), a day or more; 0: what is old is never forgotten",
    ),
    setting(
        "STELE_AUDIT_ORIGIN",
        "240",
        "audit entries an hour, 10 to 100000, for failures from one address or IPv6 /64 (a MeFP app: ten times as many), \
         for guesses and for refusals each; further failures are only counted",
    ),
    setting(
        "STELE_AUDIT_GUESSES",
        "6000",
        "audit entries an hour and process, 10 to 1000000, for wrong passwords and codes of existing accounts",
    ),
    setting("STELE_AUDIT_REFUSALS", "1800", "audit entries an hour and process, 10 to 1000000, for all other failures"),
    BODY_LIMIT,
    WORKERS,
    ADMIN_HOSTS,
    DRAIN,
    setting(
        "STELE_LOG",
        "info",
        "level, or directives such as info,stele_store=debug; of the server library only by name: actix_http=debug",
    ),
    setting("STELE_LOG_FORMAT", "human", "human or json"),
];

/// The rules that the settings ask for.
///
/// # Errors
/// The first setting that cannot be used.
pub fn policy(settings: &Settings) -> Result<Policy, ConfigError> {
    let mut policy = Policy::default();
    let skew = settings.span("STELE_TIMESTAMP_SKEW", Duration::from_secs(300))?;
    policy.skew = (!skew.is_zero()).then_some(skew);
    policy.session_ttl = positive(settings, "STELE_SESSION_TTL", policy.session_ttl)?;
    policy.sessions_per_user = settings.read("STELE_SESSIONS_PER_USER", policy.sessions_per_user, |text| {
        text.parse()
            .ok()
            .filter(|n| (1..=1_000_000).contains(n))
            .ok_or_else(|| format!("`{text}` is not a number from 1 to 1000000"))
    })?;
    policy.code_ttl = positive(settings, "STELE_CODE_TTL", policy.code_ttl)?;
    policy.salted = settings.flag("STELE_SALTED", true)?;
    policy.password_min = settings.read("STELE_PASSWORD_MIN", policy.password_min, |text| {
        text.parse()
            .ok()
            .filter(|n| (1..=128).contains(n))
            .ok_or_else(|| format!("`{text}` is not a number from 1 to 128"))
    })?;
    let guessing = &mut policy.guessing;
    let window = positive(settings, "STELE_LIMIT_WINDOW", guessing.account.window)?;
    for schedule in [&mut guessing.account, &mut guessing.address, &mut guessing.app] {
        schedule.window = window;
    }
    guessing.account.free = settings.number("STELE_LIMIT_ACCOUNT", guessing.account.free)?;
    guessing.challenge_after = guessing.account.free;
    guessing.account.cost = Wait::Doubling {
        base: positive(settings, "STELE_LIMIT_WAIT", Duration::from_secs(1))?,
        cap: positive(settings, "STELE_LIMIT_WAIT_MAX", Duration::from_secs(60))?,
    };
    guessing.address.free = settings.number("STELE_LIMIT_ADDRESS", guessing.address.free)?;
    guessing.app.free = settings.number("STELE_LIMIT_APP", guessing.app.free)?;
    policy.sending.recipient.max = settings.number("STELE_SEND_RECIPIENT", policy.sending.recipient.max)?;
    policy.sending.address.max = settings.number("STELE_SEND_ADDRESS", policy.sending.address.max)?;
    policy.sending.captcha.max = settings.number("STELE_SEND_CAPTCHA", policy.sending.captcha.max)?;
    policy.sending.app.max = settings.number("STELE_SEND_APP", policy.sending.app.max)?;
    policy.sending.total =
        match settings.number("STELE_SEND_TOTAL", policy.sending.total.map_or(0, |quota| quota.max))? {
            0 => None,
            max => policy.sending.total.map(|quota| Quota { max, ..quota }),
        };
    policy.sms_countries = settings.read("STELE_SMS_COUNTRIES", policy.sms_countries, Countries::parse)?;
    Ok(policy)
}

fn positive(settings: &Settings, name: &str, default: Duration) -> Result<Duration, ConfigError> {
    let span = settings.span(name, default)?;
    if span.is_zero() { Err(ConfigError::new(format!("{name}: must be longer than 0"))) } else { Ok(span) }
}

/// `STELE_AUDIT_KEEP`; `None` is for good. By default half a year, which some laws ask for.
///
/// # Errors
/// If it is no span of time, or so short that nobody could look.
pub fn audit_keep(settings: &Settings) -> Result<Option<Duration>, ConfigError> {
    const DAY: Duration = Duration::from_secs(86_400);
    let keep = settings.span("STELE_AUDIT_KEEP", 184 * DAY)?;
    match keep {
        Duration::ZERO => Ok(None),
        short if short < DAY => Err(ConfigError::new("STELE_AUDIT_KEEP: must be a day or more, or 0: for good")),
        keep => Ok(Some(keep)),
    }
}

/// How many entries of the audit trail failures may take in an hour.
///
/// # Errors
/// If one is no number in its range.
pub fn audit_budgets(settings: &Settings) -> Result<Budgets, ConfigError> {
    let within = |name: &str, default: u32, most: u32| {
        settings.read(name, default, |text| {
            let number = text.parse().ok().filter(|number| (10..=most).contains(number));
            number.ok_or_else(|| format!("`{text}` is not a number from 10 to {most}"))
        })
    };
    let Budgets { origin, guesses, refusals } = Budgets::default();
    Ok(Budgets {
        origin: within("STELE_AUDIT_ORIGIN", origin, 100_000)?,
        guesses: within("STELE_AUDIT_GUESSES", guesses, 1_000_000)?,
        refusals: within("STELE_AUDIT_REFUSALS", refusals, 1_000_000)?,
    })
}
