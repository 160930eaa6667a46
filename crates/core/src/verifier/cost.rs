//! Cost of an argon2 hash: memory, passes, lanes; the minimum and the maximum that are accepted.

use argon2::Params;

/// The parameters of argon2 (RFC 9106).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argon2Cost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Degree of parallelism.
    pub lanes: u32,
}

impl Default for Argon2Cost {
    /// OWASP's first choice for argon2id with 19 MiB.
    fn default() -> Self {
        Self { memory_kib: 19_456, passes: 2, lanes: 1 }
    }
}

impl Argon2Cost {
    /// The maximum for any hash, own or imported: an imported hash must not exhaust this machine.
    pub const MAX: Self = Self { memory_kib: 262_144, passes: 16, lanes: 16 };

    /// The minimums for argon2id of the OWASP Password Storage Cheat Sheet, all equally hard to guess from.
    pub const OWASP_MINIMUMS: [Self; 5] = [
        Self { memory_kib: 47_104, passes: 1, lanes: 1 },
        Self { memory_kib: 19_456, passes: 2, lanes: 1 },
        Self { memory_kib: 12_288, passes: 3, lanes: 1 },
        Self { memory_kib: 9_216, passes: 4, lanes: 1 },
        Self { memory_kib: 7_168, passes: 5, lanes: 1 },
    ];

    /// Whether this is at least as strong as one of [`Argon2Cost::OWASP_MINIMUMS`].
    pub fn is_strong(self) -> bool {
        Self::OWASP_MINIMUMS.iter().any(|minimum| minimum.fits_in(self))
    }

    /// Whether this does not exceed [`Argon2Cost::MAX`]. A hash that does is never computed.
    pub fn is_within_limits(self) -> bool {
        self.fits_in(Self::MAX)
    }

    /// The KiB that all passes write together. A hash's time is proportional to it, whatever its lanes.
    pub fn total_kib_written(self) -> u64 {
        u64::from(self.memory_kib) * u64::from(self.passes)
    }

    /// The cost that is left of this one after `done_kib` KiB were written; `None` if it is less than argon2 accepts.
    pub fn remaining_after(self, done_kib: u64) -> Option<Self> {
        let memory = self.total_kib_written().saturating_sub(done_kib) / u64::from(self.passes.max(1));
        let memory = u32::try_from(memory).ok().filter(|&memory| memory >= 8 * self.lanes)?;
        Some(Self { memory_kib: memory, ..self })
    }

    /// Whether this is at least as strong as `other`, in memory and in work. Lanes do not make a hash stronger.
    pub(super) fn is_at_least(self, other: Self) -> bool {
        self.memory_kib >= other.memory_kib && self.total_kib_written() >= other.total_kib_written()
    }

    /// The least cost that is as strong as both.
    pub(super) fn raise_to(self, other: Self) -> Self {
        let memory = self.memory_kib.max(other.memory_kib);
        let passes = self.total_kib_written().max(other.total_kib_written()).div_ceil(memory.max(1).into());
        Self { memory_kib: memory, passes: passes.try_into().unwrap_or(u32::MAX), ..self }
    }

    fn fits_in(self, max: Self) -> bool {
        self.memory_kib <= max.memory_kib && self.passes <= max.passes && self.lanes <= max.lanes
    }

    pub(super) fn params(self) -> Option<Params> {
        Params::new(self.memory_kib, self.passes, self.lanes, Some(32)).ok()
    }
}
