//! What a hash costs to compute, and what it may.

use argon2::Params;

/// How hard a hash is to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// KiB of memory.
    pub memory: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl Default for Cost {
    /// OWASP's first choice for argon2id with 19 MiB.
    fn default() -> Self {
        Self { memory: 19_456, passes: 2, lanes: 1 }
    }
}

impl Cost {
    /// The most that any hash may ask for, ours or imported: a hash from outside must not exhaust this machine.
    pub const MOST: Self = Self { memory: 262_144, passes: 16, lanes: 16 };

    /// The least that protects passwords: each as hard to guess as the others (OWASP Password Storage Cheat Sheet,
    /// argon2id).
    pub const LEAST: [Self; 5] = [
        Self { memory: 47_104, passes: 1, lanes: 1 },
        Self { memory: 19_456, passes: 2, lanes: 1 },
        Self { memory: 12_288, passes: 3, lanes: 1 },
        Self { memory: 9_216, passes: 4, lanes: 1 },
        Self { memory: 7_168, passes: 5, lanes: 1 },
    ];

    /// Whether it is as hard as one of [`Cost::LEAST`].
    pub fn is_strong(self) -> bool {
        Self::LEAST.iter().any(|least| least.within(self))
    }

    /// Whether it asks for no more than [`Cost::MOST`]; what asks for more is never verified.
    pub fn is_bearable(self) -> bool {
        self.within(Self::MOST)
    }

    /// The KiB that are written, all passes together: what a hash's time goes by, whatever its lanes.
    pub fn work(self) -> u64 {
        u64::from(self.memory) * u64::from(self.passes)
    }

    /// What is left to compute of this cost when `done` KiB were written already; `None` if it is less than argon2 can.
    pub fn rest(self, done: u64) -> Option<Self> {
        let memory = self.work().saturating_sub(done) / u64::from(self.passes.max(1));
        let memory = u32::try_from(memory).ok().filter(|&memory| memory >= 8 * self.lanes)?;
        Some(Self { memory, ..self })
    }

    /// Whether it is as hard as `other`: in memory and in work. Lanes make a hash no harder.
    pub(super) fn is_as_hard_as(self, other: Self) -> bool {
        self.memory >= other.memory && self.work() >= other.work()
    }

    /// The least cost that is as hard as both.
    pub(super) fn raised_to(self, other: Self) -> Self {
        let memory = self.memory.max(other.memory);
        let passes = self.work().max(other.work()).div_ceil(memory.max(1).into());
        Self { memory, passes: passes.try_into().unwrap_or(u32::MAX), ..self }
    }

    fn within(self, most: Self) -> bool {
        self.memory <= most.memory && self.passes <= most.passes && self.lanes <= most.lanes
    }

    pub(super) fn params(self) -> Option<Params> {
        Params::new(self.memory, self.passes, self.lanes, Some(32)).ok()
    }
}
