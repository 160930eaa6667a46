//! How hard passwords are hashed, and how many at once: read from the settings, with what that takes at most.

use std::fmt;

use stele_core::hasher::Hasher;
use stele_core::random::Random;
use stele_core::verifier::Cost;
use stele_service::setting::{made, parsed_or, value};
use stele_service::{ConfigError, Declared as _, Settings};

stele_service::settings! {
    /// How passwords are hashed.
    pub const SETTINGS = "STELE_";
    /// argon2id's memory in KiB, passes and lanes, at most 262144,16,16; once it is raised, each hash is replaced at the
    /// next login that shows the password. Less than OWASP's least is refused; for tests: 64,1,1,weak
    HASH_COST: Cost = parsed_or(cost, "three numbers by commas", Cost::default, written);
    /// password hashes computed at once: each takes the memory of `STELE_HASH_COST`; with more than one a core, threads
    /// wait for cores
    HASH_SLOTS: u32 = made(cores, "one a core").range(1, MOST_SLOTS as u64);
    /// password hashes computed or waiting before clients are asked to come back
    HASH_QUEUE: usize = value("512").range(1, 1_000_000);
}

/// What stands behind a cost that is less than what protects passwords, and is meant.
const WEAK: &str = "weak";
const MOST_SLOTS: u32 = 256;

fn cores() -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    u32::try_from(cores).unwrap_or(MOST_SLOTS).min(MOST_SLOTS)
}

/// A cost as a user writes it.
fn written(cost: &Cost) -> String {
    format!("{},{},{}", cost.memory, cost.passes, cost.lanes)
}

/// Password hashing, as the settings have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hashing {
    /// The cost of a new hash.
    pub cost: Cost,
    /// How many are computed at once.
    pub slots: u32,
    /// How many are computed or wait.
    pub queue: usize,
}

impl Hashing {
    /// Reads `STELE_HASH_COST`, `STELE_HASH_SLOTS` and `STELE_HASH_QUEUE`.
    ///
    /// # Errors
    /// The first that cannot be used, with the remedy.
    pub fn read(settings: &Settings) -> Result<Self, ConfigError> {
        let (cost, slots) = (settings.get(&HASH_COST)?, settings.get(&HASH_SLOTS)?);
        Ok(Self { cost, slots, queue: settings.get(&HASH_QUEUE)? })
    }

    /// A hasher.
    ///
    /// # Errors
    /// If argon2 does not take the cost, or the system gives no thread for each slot.
    pub fn hasher(self, random: &dyn Random) -> Result<Hasher, ConfigError> {
        Hasher::new(self.cost, self.slots, self.queue, random).ok_or_else(|| {
            ConfigError::new(format!(
                "{}: argon2 does not take these numbers; or {}: the system gives no thread for each slot",
                HASH_COST.name(),
                HASH_SLOTS.name()
            ))
        })
    }

    /// Logs what a program that has started works with.
    pub fn log(self) {
        tracing::info!("passwords are hashed by {self}");
        if self.is_weak() {
            tracing::warn!("STELE_HASH_COST: passwords are cheap to guess from a stolen database; for tests only");
        }
    }

    /// The MiB that hashes take at once, at most: the slots', or those of the one imported hash that needs more.
    pub fn memory(self) -> u64 {
        let slots = u64::from(self.slots) * u64::from(self.cost.memory);
        slots.max(Cost::MOST.memory.into()).div_ceil(1_024)
    }

    /// Whether the cost is less than what protects passwords.
    pub fn is_weak(self) -> bool {
        !self.cost.is_strong()
    }
}

impl fmt::Display for Hashing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cost: Cost { memory, passes, lanes }, slots, queue } = self;
        let slots_take = (u64::from(*slots) * u64::from(*memory)).div_ceil(1_024);
        write!(f, "argon2id with {memory} KiB, {passes} passes and {lanes} lanes, {slots} at once: {slots_take} MiB")?;
        if slots_take < self.memory() {
            write!(f, " ({} MiB while an imported hash asks for so much)", self.memory())?;
        }
        write!(f, ", {queue} waiting or at work")
    }
}

/// Reads `19456,2,1`; or, for tests, what is weaker, as `64,1,1,weak`.
fn cost(text: &str) -> Result<Cost, String> {
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    let (numbers, meant) = match parts.split_last() {
        Some((&WEAK, numbers)) => (numbers, true),
        _ => (&parts[..], false),
    };
    let numbers: Option<Vec<u32>> = numbers.iter().map(|part| part.parse().ok()).collect();
    let Some(&[memory, passes, lanes]) = numbers.as_deref() else {
        return Err(format!("`{text}` is not memory in KiB, passes and lanes; write for example 19456,2,1"));
    };
    let cost = Cost { memory, passes, lanes };
    if !cost.is_bearable() {
        return Err(format!("`{text}` asks for too much; at most {} is computed", written(&Cost::MOST)));
    }
    if passes == 0 || lanes == 0 || memory < 8 * lanes {
        return Err(format!("`{text}` is not for argon2: it needs a pass, a lane, and 8 KiB for each lane"));
    }
    if !cost.is_strong() && !meant {
        let least = Cost::LEAST.map(|cost| written(&cost));
        let least = least.join(" or ");
        return Err(format!(
            "`{text}` makes passwords cheap to guess from a stolen database; write at least {least}; or, where no one's \
             password is at stake, as in tests, `{text},{WEAK}`"
        ));
    }
    Ok(cost)
}

#[cfg(test)]
mod tests {
    use stele_core::random::OsRandom;

    use super::*;

    fn read(values: &[(&str, &str)]) -> Result<Hashing, String> {
        let settings = Settings::default().with(values.iter().map(|(name, text)| (*name, (*text).to_owned())));
        Hashing::read(&settings).map_err(|error| error.to_string())
    }

    #[test]
    fn a_cost_is_between_what_protects_and_what_is_computed() {
        for (text, cost) in [
            ("19456,2,1", Cost::default()),
            (" 65536, 3 ,4", Cost { memory: 65_536, passes: 3, lanes: 4 }),
            ("7168,5,1", Cost { memory: 7_168, passes: 5, lanes: 1 }),
            ("262144,16,16", Cost::MOST),
            ("64,1,1,weak", Cost { memory: 64, passes: 1, lanes: 1 }),
        ] {
            let hashing = read(&[(HASH_COST.name(), text)]).unwrap();
            assert_eq!((hashing.cost, hashing.is_weak()), (cost, text.ends_with(WEAK)), "{text}");
            if hashing.is_weak() {
                assert!(hashing.hasher(&OsRandom).is_ok());
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
            ("262145,1,1", "at most 262144,16,16"),
            ("19456,17,1,weak", "at most"),
            ("4294967296,1,1", "is not memory"),
            ("19456,0,1", "needs a pass"),
            ("19456,2,0", "needs a pass"),
            ("7,1,1,weak", "8 KiB"),
        ] {
            let error = read(&[(HASH_COST.name(), text)]).unwrap_err();
            assert!(error.starts_with("STELE_HASH_COST: `") && error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn slots_and_places_are_bounded() {
        for (name, most) in [("STELE_HASH_SLOTS", "256"), ("STELE_HASH_QUEUE", "1000000")] {
            for bad in ["0", "-1", "many", "18446744073709551615"] {
                let error = read(&[(name, bad)]).unwrap_err();
                assert!(error.starts_with(&format!("{name}: `{bad}`")) && error.contains(most), "{error}");
            }
            assert!(read(&[(name, most)]).is_ok());
        }
    }

    #[test]
    fn the_memory_is_stated() {
        let hashing = read(&[("STELE_HASH_SLOTS", "4")]).unwrap();
        assert_eq!(hashing.memory(), 256, "one imported hash may need more than four slots have");
        let text = hashing.to_string();
        assert!(text.contains("4 at once: 76 MiB (256 MiB while an imported hash"), "{text}");
        let hashing = read(&[("STELE_HASH_SLOTS", "16"), (HASH_COST.name(), "65536,2,1")]).unwrap();
        assert_eq!(hashing.memory(), 1_024);
        let text = hashing.to_string();
        assert!(text.contains("16 at once: 1024 MiB, 512 waiting"), "{text}");
    }
}
