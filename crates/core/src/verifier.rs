//! What is kept to check raw and digest proofs: argon2id of `D`, or of a hash made elsewhere until its first use.
//!
//! Stored forms:
//! - `$argon2id$…`: ours, a PHC string over the 32 hex digits of `D`;
//! - `{phc}$argon2id$…`: an imported PHC string over the password itself, as hard as [`Cost::LEAST`];
//! - `{wrapped}HOW|$argon2id$…`: argon2id over a cheaper hash of the password, and how to compute that one (see
//!   `foreign`);
//! - `{raw}…`: an imported hash as earlier builds stored it, whatever it cost; see [`earlier`].
//!
//! An imported hash verifies once and is then replaced by our own pair.

mod cost;
mod foreign;

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use subtle::ConstantTimeEq as _;

use crate::password::{PasswordDigest, RawPassword};
pub use cost::Cost;
pub use foreign::{Imported, Weak, earlier, import};

/// What a verifier is asked about.
#[derive(Clone, Debug)]
pub enum Secret {
    /// A password.
    Raw(RawPassword),
    /// A `D`; no foreign hash can be checked with it.
    Digest(PasswordDigest),
}

impl Secret {
    /// `D` of this secret.
    pub fn digest(&self) -> PasswordDigest {
        match self {
            Self::Raw(raw) => raw.digest(),
            Self::Digest(digest) => digest.clone(),
        }
    }
}

/// KiB of address space that a [`Memory`] reserves at least. glibc's malloc maps an allocation of more than 32 MiB by
/// itself and unmaps it when it is freed (mallopt(3), `M_MMAP_THRESHOLD`). A smaller one, of 19 MiB, comes from the
/// arena of its thread once the first was freed, and an arena keeps what is freed. What is reserved and not used takes
/// no memory.
const RESERVED: usize = 33 * 1024;

/// The memory that argon2 works in, which may serve one hash after another: a hash of 19 MiB in memory that the system
/// has yet to give takes a tenth longer. Empty until it is first used; given back to the system when dropped.
#[derive(Default)]
pub struct Memory(Vec<Block>);

impl Memory {
    /// How many KiB it has.
    pub fn size(&self) -> usize {
        self.0.len()
    }

    /// So many KiB of it, with whatever they held: argon2 writes each before it reads it.
    fn blocks(&mut self, count: usize) -> &mut [Block] {
        if self.0.capacity() < count {
            // Nothing that is there need be copied.
            self.0 = Vec::new();
            self.0.reserve_exact(count.max(RESERVED));
        }
        if self.0.len() < count {
            self.0.resize(count, Block::new());
        }
        &mut self.0[..count]
    }
}

/// An imported hash as earlier builds stored it.
const RAW: &str = "{raw}";
/// An imported argon2id hash that is strong.
const PHC: &str = "{phc}";
/// argon2id over an imported hash; then how that one is computed.
const WRAPPED: &str = "{wrapped}";

/// A stored verifier, taken apart.
enum Stored<'a> {
    /// argon2id over `D`.
    Own(&'a str),
    /// A hash made elsewhere, over the password.
    Foreign(&'a str),
    /// argon2id over a hash made elsewhere, and how that one is computed.
    Wrapped(&'a str, &'a str),
}

impl<'a> Stored<'a> {
    fn of(stored: &'a str) -> Self {
        if let Some(foreign) = stored.strip_prefix(RAW).or_else(|| stored.strip_prefix(PHC)) {
            return Self::Foreign(foreign);
        }
        match stored.strip_prefix(WRAPPED) {
            Some(wrapped) => wrapped.split_once('|').map_or(Self::Foreign(""), |(how, phc)| Self::Wrapped(how, phc)),
            None => Self::Own(stored),
        }
    }
}

/// argon2id of `D` as a PHC string; `None` if `cost` is out of argon2's range.
pub fn hash(digest: &PasswordDigest, salt: &[u8; 16], cost: Cost, memory: &mut Memory) -> Option<String> {
    argon2id(digest.hex().as_slice(), salt, cost, memory)
}

/// A cheap hash made elsewhere in the form it is stored in: wrapped in argon2id of `cost`. `None` if `cost` is out of
/// argon2's range.
pub fn wrap(weak: &Weak, salt: &[u8; 16], cost: Cost, memory: &mut Memory) -> Option<String> {
    Some(format!("{WRAPPED}{}|{}", weak.how(), argon2id(weak.output(), salt, cost, memory)?))
}

fn argon2id(secret: &[u8], salt: &[u8; 16], cost: Cost, memory: &mut Memory) -> Option<String> {
    let params = cost.params()?;
    let mut output = [0; 32];
    let shape = (Algorithm::Argon2id, Version::V0x13, &params);
    fill(shape, secret, salt, &mut output, memory)?;
    let phc = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&params).ok()?,
        salt: Some(Salt::new(salt).ok()?),
        hash: Some(Output::new(&output).ok()?),
    };
    Some(phc.to_string())
}

/// Computes a hash of the length of `output`; `None` if argon2 refuses what it is given.
fn fill(
    (algorithm, version, params): (Algorithm, Version, &Params),
    secret: &[u8],
    salt: &[u8],
    output: &mut [u8],
    memory: &mut Memory,
) -> Option<()> {
    let blocks = memory.blocks(params.block_count());
    let argon2 = Argon2::new(algorithm, version, params.clone());
    argon2.hash_password_into_with_memory(secret, salt, output, blocks).ok()
}

/// Whether `stored` is one of ours and as hard as `cost` asks, or should be replaced at the next chance.
pub fn is_current(stored: &str, cost: Cost) -> bool {
    own_cost(stored).is_some_and(|actual| actual.is_as_hard_as(cost))
}

/// What a hash that takes the place of `stored` is to cost where `cost` is asked for: no less than what was there.
pub fn replacement(stored: &str, cost: Cost) -> Cost {
    own_cost(stored).filter(|actual| actual.is_bearable()).map_or(cost, |actual| cost.raised_to(actual))
}

/// The KiB of memory that [`verify`] needs for `stored`: nothing worth counting for what is no argon2.
pub fn memory(stored: &str) -> u32 {
    argon2_costs(stored).map(|cost| cost.memory).max().unwrap_or(0)
}

/// The KiB that [`verify`] writes: see [`Cost::work`]. bcrypt is not measured by it.
pub fn work(stored: &str, secret: &Secret) -> u64 {
    match secret {
        // Not even tried.
        Secret::Digest(_) if is_foreign(stored) => 0,
        _ => argon2_costs(stored).map(Cost::work).sum(),
    }
}

fn own_cost(stored: &str) -> Option<Cost> {
    match Stored::of(stored) {
        Stored::Own(phc) => phc_cost(phc),
        Stored::Foreign(_) | Stored::Wrapped(..) => None,
    }
}

/// The costs of the argon2 hashes that would be computed, ours or imported.
fn argon2_costs(stored: &str) -> impl Iterator<Item = Cost> {
    let costs = match Stored::of(stored) {
        Stored::Own(phc) | Stored::Foreign(phc) => [phc_cost(phc), None],
        Stored::Wrapped(how, phc) => [phc_cost(phc), foreign::argon2_cost(how)],
    };
    costs.into_iter().flatten().filter(|cost| cost.is_bearable())
}

/// Whether `stored` is, or is over, a hash made elsewhere.
pub fn is_foreign(stored: &str) -> bool {
    !matches!(Stored::of(stored), Stored::Own(_))
}

/// Whether `secret` is what `stored` was made from. Anything unreadable or too costly matches nothing.
pub fn verify(stored: &str, secret: &Secret, memory: &mut Memory) -> bool {
    match (Stored::of(stored), secret) {
        (Stored::Own(phc), _) => verify_phc(phc, secret.digest().hex().as_slice(), memory),
        (_, Secret::Digest(_)) => false,
        (Stored::Foreign(foreign), Secret::Raw(raw)) if foreign.starts_with("$argon2") => {
            verify_phc(foreign, raw.expose().as_bytes(), memory)
        }
        (Stored::Foreign(foreign), Secret::Raw(raw)) => foreign::verify(foreign, raw.expose()),
        (Stored::Wrapped(how, phc), Secret::Raw(raw)) => {
            let inner = foreign::compute(how, raw.expose(), memory);
            // Computed all the same, so that a password that the inner hash does not take costs as much.
            let right = verify_phc(phc, inner.as_ref().map_or(&[][..], |inner| inner), memory);
            right && inner.is_some()
        }
    }
}

fn verify_phc(stored: &str, secret: &[u8], memory: &mut Memory) -> bool {
    let bounded = phc_cost(stored).is_some_and(Cost::is_bearable);
    bounded && PasswordHash::new(stored).is_ok_and(|phc| matches_phc(&phc, secret, memory).unwrap_or(false))
}

/// `None` if `phc` is not whole, or no argon2.
fn matches_phc(phc: &PasswordHash, secret: &[u8], memory: &mut Memory) -> Option<bool> {
    let expected = phc.hash.as_ref()?;
    let output = phc_output(phc, expected.len(), secret, memory)?;
    Some(output.ct_eq(expected.as_ref()).into())
}

/// The hash of `length` bytes that the salt and the parameters of `phc` give for `secret`.
fn phc_output(phc: &PasswordHash, length: usize, secret: &[u8], memory: &mut Memory) -> Option<Vec<u8>> {
    let algorithm = Algorithm::try_from(phc.algorithm.as_str()).ok()?;
    let version = phc.version.map_or(Some(Version::default()), |version| Version::try_from(version).ok())?;
    let params = Params::try_from(phc).ok()?;
    let mut output = vec![0; length];
    fill((algorithm, version, &params), secret, phc.salt.as_ref()?, &mut output, memory)?;
    Some(output)
}

/// The cost of a PHC string that holds a hash.
fn phc_cost(stored: &str) -> Option<Cost> {
    let phc = PasswordHash::new(stored).ok()?;
    phc.hash?;
    params_cost(&phc)
}

fn params_cost(phc: &PasswordHash) -> Option<Cost> {
    let params = Params::try_from(phc).ok()?;
    Some(Cost { memory: params.m_cost(), passes: params.t_cost(), lanes: params.p_cost() })
}

#[cfg(test)]
#[path = "verifier_tests.rs"]
mod tests;
