//! Password hashing configuration: argon2id cost, hashing slots and queue, and the memory that they need.

use std::fmt;

use stele_core::hasher::Hasher;
use stele_core::random::Random;
use stele_core::verifier::Argon2Cost;
use stele_service::setting::{parsed_with_derived_default, with_computed_default, with_default};
use stele_service::{AnySetting as _, ConfigError, Settings};

stele_service::settings! {
    /// Password hashing.
    pub const SETTINGS = "STELE_";
    /// argon2id cost: memory in KiB, passes and lanes, at most 262144,16,16; after an increase, a hash is replaced at
    /// the next login with the password (rehash on login). Less than OWASP's minimum is rejected; for tests:
    /// 64,1,1,weak
    HASH_COST: Argon2Cost = parsed_with_derived_default(
        parse_cost, "three numbers, separated by commas", Argon2Cost::default, format_cost,
    );
    /// hashing slots: the most password hashes computed at once, each with the memory of `STELE_HASH_COST`; more than
    /// one per core brings no gain
    HASH_SLOTS: u32 = with_computed_default(available_cores, "one per core").range(1, MAX_SLOTS as u64);
    /// load shedding: the most password hashes computed or waiting; further logins are rejected with a request to retry
    HASH_QUEUE: usize = with_default("512").range(1, 1_000_000);
}

/// Suffix that permits a cost below OWASP's minimum.
const WEAK_SUFFIX: &str = "weak";
const MAX_SLOTS: u32 = 256;

fn available_cores() -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    u32::try_from(cores).unwrap_or(MAX_SLOTS).min(MAX_SLOTS)
}

/// Formats a cost as users write it.
fn format_cost(cost: &Argon2Cost) -> String {
    format!("{},{},{}", cost.memory_kib, cost.passes, cost.lanes)
}

/// Configuration of password hashing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashingConfig {
    /// The cost of a new hash.
    pub cost: Argon2Cost,
    /// Hashing slots: the most hashes computed at once.
    pub max_concurrent: u32,
    /// The most hashes computed or waiting.
    pub queue_limit: usize,
}

impl HashingConfig {
    /// Reads `STELE_HASH_COST`, `STELE_HASH_SLOTS` and `STELE_HASH_QUEUE`.
    ///
    /// # Errors
    /// The first invalid setting, with the remedy.
    pub fn from_settings(settings: &Settings) -> Result<Self, ConfigError> {
        let (cost, slots) = (settings.get(&HASH_COST)?, settings.get(&HASH_SLOTS)?);
        Ok(Self { cost, max_concurrent: slots, queue_limit: settings.get(&HASH_QUEUE)? })
    }

    /// Starts a hasher with its threads.
    ///
    /// # Errors
    /// If argon2 rejects the cost, or a thread for a slot cannot be started.
    pub fn build_hasher(self, random: &dyn Random) -> Result<Hasher, ConfigError> {
        Hasher::new(self.cost, self.max_concurrent, self.queue_limit, random).ok_or_else(|| {
            ConfigError::new(format!(
                "{}: argon2 rejects this cost; or {}: the threads of so many slots cannot be started; lower it",
                HASH_COST.name(),
                HASH_SLOTS.name()
            ))
        })
    }

    /// Logs the configuration at the start of a program, and warns of a weak cost.
    pub fn log_summary(self) {
        tracing::info!("passwords are hashed by {self}");
        if self.is_weak() {
            tracing::warn!("STELE_HASH_COST: passwords are cheap to guess from a stolen database; for tests only");
        }
    }

    /// The most memory for hashes at one time, in MiB: of all slots, or of one imported hash with the highest cost,
    /// whichever is more.
    pub fn max_memory_mib(self) -> u64 {
        let slots = u64::from(self.max_concurrent) * u64::from(self.cost.memory_kib);
        slots.max(Argon2Cost::MAX.memory_kib.into()).div_ceil(1_024)
    }

    /// Whether the cost is below OWASP's minimum.
    pub fn is_weak(self) -> bool {
        !self.cost.is_strong()
    }
}

impl fmt::Display for HashingConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cost: Argon2Cost { memory_kib: memory, passes, lanes }, max_concurrent: slots, queue_limit } = self;
        let memory_mib = (u64::from(*slots) * u64::from(*memory)).div_ceil(1_024);
        write!(f, "argon2id with {memory} KiB, {passes} passes and {lanes} lanes, {slots} at once: {memory_mib} MiB")?;
        if memory_mib < self.max_memory_mib() {
            write!(f, " ({} MiB while an imported hash needs it)", self.max_memory_mib())?;
        }
        write!(f, ", at most {queue_limit} computed or waiting")
    }
}

/// Parses a cost such as `19456,2,1`. For tests, the suffix `weak` permits a cost below OWASP's minimum: `64,1,1,weak`.
fn parse_cost(text: &str) -> Result<Argon2Cost, String> {
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    let (numbers, is_weak_allowed) = match parts.split_last() {
        Some((&WEAK_SUFFIX, numbers)) => (numbers, true),
        _ => (&parts[..], false),
    };
    let numbers: Option<Vec<u32>> = numbers.iter().map(|part| part.parse().ok()).collect();
    let Some(&[memory, passes, lanes]) = numbers.as_deref() else {
        return Err(format!("`{text}` is not memory in KiB, passes and lanes; write for example 19456,2,1"));
    };
    let cost = Argon2Cost { memory_kib: memory, passes, lanes };
    if !cost.is_within_limits() {
        return Err(format!("`{text}` is too much; the maximum is {}", format_cost(&Argon2Cost::MAX)));
    }
    if passes == 0 || lanes == 0 || memory < 8 * lanes {
        return Err(format!("`{text}` is not possible: argon2 needs a pass, a lane, and 8 KiB for each lane"));
    }
    if !cost.is_strong() && !is_weak_allowed {
        let minimums = Argon2Cost::OWASP_MINIMUMS.map(|cost| format_cost(&cost));
        let minimums = minimums.join(" or ");
        return Err(format!(
            "`{text}` makes passwords cheap to guess from a stolen database; write at least {minimums}; or, only for \
             tests, `{text},{WEAK_SUFFIX}`"
        ));
    }
    Ok(cost)
}

#[cfg(test)]
mod tests {
    use stele_core::random::OsRandom;

    use super::*;

    fn read_config(values: &[(&str, &str)]) -> Result<HashingConfig, String> {
        let settings = Settings::default().with_values(values.iter().map(|(name, text)| (*name, (*text).to_owned())));
        HashingConfig::from_settings(&settings).map_err(|error| error.to_string())
    }

    #[test]
    fn hash_cost_is_bounded_below_and_above() {
        for (text, cost) in [
            ("19456,2,1", Argon2Cost::default()),
            (" 65536, 3 ,4", Argon2Cost { memory_kib: 65_536, passes: 3, lanes: 4 }),
            ("7168,5,1", Argon2Cost { memory_kib: 7_168, passes: 5, lanes: 1 }),
            ("262144,16,16", Argon2Cost::MAX),
            ("64,1,1,weak", Argon2Cost { memory_kib: 64, passes: 1, lanes: 1 }),
        ] {
            let hashing = read_config(&[(HASH_COST.name(), text)]).unwrap();
            assert_eq!((hashing.cost, hashing.is_weak()), (cost, text.ends_with(WEAK_SUFFIX)), "{text}");
            if hashing.is_weak() {
                assert!(hashing.build_hasher(&OsRandom).is_ok());
            }
        }
        for (text, part) in [
            ("64,1,1", "at least 47104,1,1 or 19456,2,1 or"),
            ("64,1,1", "`64,1,1,weak`"),
            ("19455,2,1", "at least"),
            ("47104,1", "is not memory"),
            ("a,b,c", "is not memory"),
            ("weak", "is not memory"),
            ("1,1,1,1", "is not memory"),
            ("262145,1,1", "the maximum is 262144,16,16"),
            ("19456,17,1,weak", "the maximum"),
            ("4294967296,1,1", "is not memory"),
            ("19456,0,1", "needs a pass"),
            ("19456,2,0", "needs a pass"),
            ("7,1,1,weak", "8 KiB"),
        ] {
            let error = read_config(&[(HASH_COST.name(), text)]).unwrap_err();
            assert!(error.starts_with("STELE_HASH_COST: `") && error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn hash_slots_and_queue_are_bounded() {
        for (name, max) in [("STELE_HASH_SLOTS", "256"), ("STELE_HASH_QUEUE", "1000000")] {
            for bad in ["0", "-1", "many", "18446744073709551615"] {
                let error = read_config(&[(name, bad)]).unwrap_err();
                assert!(error.starts_with(&format!("{name}: `{bad}`")) && error.contains(max), "{error}");
            }
            assert!(read_config(&[(name, max)]).is_ok());
        }
    }

    #[test]
    fn the_summary_states_the_maximum_memory() {
        let hashing = read_config(&[("STELE_HASH_SLOTS", "4")]).unwrap();
        assert_eq!(hashing.max_memory_mib(), 256, "one imported hash may need more than four slots");
        let text = hashing.to_string();
        assert!(text.contains("4 at once: 76 MiB (256 MiB while an imported hash"), "{text}");
        let hashing = read_config(&[("STELE_HASH_SLOTS", "16"), (HASH_COST.name(), "65536,2,1")]).unwrap();
        assert_eq!(hashing.max_memory_mib(), 1_024);
        let text = hashing.to_string();
        assert!(text.contains("16 at once: 1024 MiB, at most 512 computed"), "{text}");
    }
}
