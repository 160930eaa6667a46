//! Cost of an argon2 hash: memory, passes and lanes, OWASP's minimums, and the maximum that is computed.

use argon2::Params;

/// The cost parameters of argon2 (RFC 9106).
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
    /// The configuration of the OWASP Password Storage Cheat Sheet for argon2id with 19 MiB.
    fn default() -> Self {
        Self { memory_kib: 19_456, passes: 2, lanes: 1 }
    }
}

impl Argon2Cost {
    /// The maximum for any hash, so that verifying an imported hash cannot exhaust the machine (denial of service).
    pub const MAX: Self = Self { memory_kib: 262_144, passes: 16, lanes: 16 };

    /// The minimums of the OWASP Password Storage Cheat Sheet for argon2id, which resist brute force equally.
    pub const OWASP_MINIMUMS: [Self; 5] = [
        Self { memory_kib: 47_104, passes: 1, lanes: 1 },
        Self { memory_kib: 19_456, passes: 2, lanes: 1 },
        Self { memory_kib: 12_288, passes: 3, lanes: 1 },
        Self { memory_kib: 9_216, passes: 4, lanes: 1 },
        Self { memory_kib: 7_168, passes: 5, lanes: 1 },
    ];

    /// Whether this cost is at least one of [`Argon2Cost::OWASP_MINIMUMS`].
    pub fn is_strong(self) -> bool {
        Self::OWASP_MINIMUMS.iter().any(|minimum| minimum.fits_in(self))
    }

    /// Whether this cost does not exceed [`Argon2Cost::MAX`]. A hash of a higher cost is never computed.
    pub fn is_within_limits(self) -> bool {
        self.fits_in(Self::MAX)
    }

    /// The KiB that all passes write together. The time of a hash is proportional to this number and does not depend on
    /// the lanes.
    pub fn total_kib_written(self) -> u64 {
        u64::from(self.memory_kib) * u64::from(self.passes)
    }

    /// The cost of the work that remains after `done_kib` KiB of this cost were written; `None` if that is less than
    /// argon2 accepts.
    pub fn remaining_after(self, done_kib: u64) -> Option<Self> {
        let memory = self.total_kib_written().saturating_sub(done_kib) / u64::from(self.passes.max(1));
        let memory = u32::try_from(memory).ok().filter(|&memory| memory >= 8 * self.lanes)?;
        Some(Self { memory_kib: memory, ..self })
    }

    /// Whether this cost is at least that of `other`, in memory and in total work. Lanes do not make a hash stronger.
    pub(super) fn is_at_least(self, other: Self) -> bool {
        self.memory_kib >= other.memory_kib && self.total_kib_written() >= other.total_kib_written()
    }

    /// The lowest cost with the lanes of `self` that is at least that of both.
    pub(super) fn raise_to(self, other: Self) -> Self {
        let memory = self.memory_kib.max(other.memory_kib);
        let passes = self.total_kib_written().max(other.total_kib_written()).div_ceil(memory.max(1).into());
        Self { memory_kib: memory, passes: passes.try_into().unwrap_or(u32::MAX), ..self }
    }

    /// Whether no parameter exceeds that of `max`.
    fn fits_in(self, max: Self) -> bool {
        self.memory_kib <= max.memory_kib && self.passes <= max.passes && self.lanes <= max.lanes
    }

    /// The parameters for a hash of 32 bytes; `None` if argon2 rejects them.
    pub(super) fn params(self) -> Option<Params> {
        Params::new(self.memory_kib, self.passes, self.lanes, Some(32)).ok()
    }
}
