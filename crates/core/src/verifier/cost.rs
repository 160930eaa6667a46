//! What a hash costs to compute, and what it may.

use argon2::Params;

/// How hard a hash is to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argon2Cost {
    /// KiB of memory.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl Default for Argon2Cost {
    /// OWASP's first choice for argon2id with 19 MiB.
    fn default() -> Self {
        Self { memory_kib: 19_456, passes: 2, lanes: 1 }
    }
}

impl Argon2Cost {
    /// The most that any hash may ask for, ours or imported: a hash from outside must not exhaust this machine.
    pub const MAX: Self = Self { memory_kib: 262_144, passes: 16, lanes: 16 };

    /// The least that protects passwords: each as hard to guess as the others (OWASP Password Storage Cheat Sheet,
    /// argon2id).
    pub const OWASP_MINIMUMS: [Self; 5] = [
        Self { memory_kib: 47_104, passes: 1, lanes: 1 },
        Self { memory_kib: 19_456, passes: 2, lanes: 1 },
        Self { memory_kib: 12_288, passes: 3, lanes: 1 },
        Self { memory_kib: 9_216, passes: 4, lanes: 1 },
        Self { memory_kib: 7_168, passes: 5, lanes: 1 },
    ];

    /// Whether it is as hard as one of [`Argon2Cost::OWASP_MINIMUMS`].
    pub fn is_strong(self) -> bool {
        Self::OWASP_MINIMUMS.iter().any(|least| least.fits_in(self))
    }

    /// Whether it asks for no more than [`Argon2Cost::MAX`]; what asks for more is never verified.
    pub fn is_within_limits(self) -> bool {
        self.fits_in(Self::MAX)
    }

    /// The KiB that are written, all passes together: what a hash's time goes by, whatever its lanes.
    pub fn total_kib_written(self) -> u64 {
        u64::from(self.memory_kib) * u64::from(self.passes)
    }

    /// What is left to compute of this cost when `done` KiB were written already; `None` if it is less than argon2 can.
    pub fn remaining_after(self, done: u64) -> Option<Self> {
        let memory = self.total_kib_written().saturating_sub(done) / u64::from(self.passes.max(1));
        let memory = u32::try_from(memory).ok().filter(|&memory| memory >= 8 * self.lanes)?;
        Some(Self { memory_kib: memory, ..self })
    }

    /// Whether it is as hard as `other`: in memory and in work. Lanes make a hash no harder.
    pub(super) fn is_at_least(self, other: Self) -> bool {
        self.memory_kib >= other.memory_kib && self.total_kib_written() >= other.total_kib_written()
    }

    /// The least cost that is as hard as both.
    pub(super) fn raise_to(self, other: Self) -> Self {
        let memory = self.memory_kib.max(other.memory_kib);
        let passes = self.total_kib_written().max(other.total_kib_written()).div_ceil(memory.max(1).into());
        Self { memory_kib: memory, passes: passes.try_into().unwrap_or(u32::MAX), ..self }
    }

    fn fits_in(self, most: Self) -> bool {
        self.memory_kib <= most.memory_kib && self.passes <= most.passes && self.lanes <= most.lanes
    }

    pub(super) fn params(self) -> Option<Params> {
        Params::new(self.memory_kib, self.passes, self.lanes, Some(32)).ok()
    }
}
