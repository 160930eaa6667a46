//! What is kept to check raw and digest proofs: argon2id of `D`, or of a hash made elsewhere until its first use.
//!
//! Stored forms:
//! - `$argon2id$…`: ours, a PHC string over the 32 hex digits of `D`;
//! - `{phc}$argon2id$…`: an imported PHC string over the password itself, as hard as [`Argon2Cost::OWASP_MINIMUMS`];
//! - `{wrapped}HOW|$argon2id$…`: argon2id over a cheaper hash of the password, and how to compute that one (see
//!   `foreign`);
//! - `{raw}…`: an imported hash as earlier builds stored it, whatever it cost; see [`parse_unwrapped`].
//!
//! An imported hash verifies once and is then replaced by our own pair.

mod cost;
mod imported;

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use subtle::ConstantTimeEq as _;

use crate::password::{PasswordDigest, RawPassword};
pub use cost::Argon2Cost;
pub use imported::{ImportedHash, WeakHash, parse_imported, parse_unwrapped};

/// What a verifier is asked about.
#[derive(Clone, Debug)]
pub enum PresentedSecret {
    /// A password.
    Raw(RawPassword),
    /// A `D`; no foreign hash can be checked with it.
    Digest(PasswordDigest),
}

impl PresentedSecret {
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
const MIN_RESERVED_KIB: usize = 33 * 1024;

/// The memory that argon2 works in, which may serve one hash after another: a hash of 19 MiB in memory that the system
/// has yet to give takes a tenth longer. Empty until it is first used; given back to the system when dropped.
#[derive(Default)]
pub struct HashMemory(Vec<Block>);

impl HashMemory {
    /// How many KiB it has.
    pub fn size_kib(&self) -> usize {
        self.0.len()
    }

    /// So many KiB of it, with whatever they held: argon2 writes each before it reads it.
    fn blocks(&mut self, count: usize) -> &mut [Block] {
        if self.0.capacity() < count {
            // Nothing that is there need be copied.
            self.0 = Vec::new();
            self.0.reserve_exact(count.max(MIN_RESERVED_KIB));
        }
        if self.0.len() < count {
            self.0.resize(count, Block::new());
        }
        &mut self.0[..count]
    }
}

/// An imported hash as earlier builds stored it.
const UNWRAPPED_PREFIX: &str = "{raw}";
/// An imported argon2id hash that is strong.
const PHC_PREFIX: &str = "{phc}";
/// argon2id over an imported hash; then how that one is computed.
const WRAPPED_PREFIX: &str = "{wrapped}";

/// A stored verifier, taken apart.
enum StoredVerifier<'a> {
    /// argon2id over `D`.
    Argon2OfDigest(&'a str),
    /// A hash made elsewhere, over the password.
    Imported(&'a str),
    /// argon2id over a hash made elsewhere, and how that one is computed.
    Wrapped(&'a str, &'a str),
}

impl<'a> StoredVerifier<'a> {
    fn parse(stored: &'a str) -> Self {
        if let Some(foreign) = stored.strip_prefix(UNWRAPPED_PREFIX).or_else(|| stored.strip_prefix(PHC_PREFIX)) {
            return Self::Imported(foreign);
        }
        match stored.strip_prefix(WRAPPED_PREFIX) {
            Some(wrapped) => wrapped.split_once('|').map_or(Self::Imported(""), |(how, phc)| Self::Wrapped(how, phc)),
            None => Self::Argon2OfDigest(stored),
        }
    }
}

/// argon2id of `D` as a PHC string; `None` if `cost` is out of argon2's range.
pub fn hash(digest: &PasswordDigest, salt: &[u8; 16], cost: Argon2Cost, memory: &mut HashMemory) -> Option<String> {
    argon2id(digest.hex().as_slice(), salt, cost, memory)
}

/// A cheap hash made elsewhere in the form it is stored in: wrapped in argon2id of `cost`. `None` if `cost` is out of
/// argon2's range.
pub fn wrap(weak: &WeakHash, salt: &[u8; 16], cost: Argon2Cost, memory: &mut HashMemory) -> Option<String> {
    Some(format!("{WRAPPED_PREFIX}{}|{}", weak.inner_spec(), argon2id(weak.output(), salt, cost, memory)?))
}

fn argon2id(secret: &[u8], salt: &[u8; 16], cost: Argon2Cost, memory: &mut HashMemory) -> Option<String> {
    let params = cost.params()?;
    let mut output = [0; 32];
    let shape = (Algorithm::Argon2id, Version::V0x13, &params);
    compute_argon2(shape, secret, salt, &mut output, memory)?;
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
fn compute_argon2(
    (algorithm, version, params): (Algorithm, Version, &Params),
    secret: &[u8],
    salt: &[u8],
    output: &mut [u8],
    memory: &mut HashMemory,
) -> Option<()> {
    let blocks = memory.blocks(params.block_count());
    let argon2 = Argon2::new(algorithm, version, params.clone());
    argon2.hash_password_into_with_memory(secret, salt, output, blocks).ok()
}

/// Whether `stored` is one of ours and as hard as `cost` asks, or should be replaced at the next chance.
pub fn is_current(stored: &str, cost: Argon2Cost) -> bool {
    cost_of_own_hash(stored).is_some_and(|actual| actual.is_at_least(cost))
}

/// What a hash that takes the place of `stored` is to cost where `cost` is asked for: no less than what was there.
pub fn replacement_cost(stored: &str, cost: Argon2Cost) -> Argon2Cost {
    cost_of_own_hash(stored).filter(|actual| actual.is_within_limits()).map_or(cost, |actual| cost.raise_to(actual))
}

/// The KiB of memory that [`verify`] needs for `stored`: nothing worth counting for what is no argon2.
pub fn memory_needed_kib(stored: &str) -> u32 {
    argon2_costs(stored).map(|cost| cost.memory_kib).max().unwrap_or(0)
}

/// The KiB that [`verify`] writes: see [`Argon2Cost::total_kib_written`]. bcrypt is not measured by it.
pub fn verification_work(stored: &str, secret: &PresentedSecret) -> u64 {
    match secret {
        // Not even tried.
        PresentedSecret::Digest(_) if is_imported(stored) => 0,
        _ => argon2_costs(stored).map(Argon2Cost::total_kib_written).sum(),
    }
}

fn cost_of_own_hash(stored: &str) -> Option<Argon2Cost> {
    match StoredVerifier::parse(stored) {
        StoredVerifier::Argon2OfDigest(phc) => phc_cost(phc),
        StoredVerifier::Imported(_) | StoredVerifier::Wrapped(..) => None,
    }
}

/// The costs of the argon2 hashes that would be computed, ours or imported.
fn argon2_costs(stored: &str) -> impl Iterator<Item = Argon2Cost> {
    let costs = match StoredVerifier::parse(stored) {
        StoredVerifier::Argon2OfDigest(phc) | StoredVerifier::Imported(phc) => [phc_cost(phc), None],
        StoredVerifier::Wrapped(how, phc) => [phc_cost(phc), imported::argon2_cost(how)],
    };
    costs.into_iter().flatten().filter(|cost| cost.is_within_limits())
}

/// Whether `stored` is, or is over, a hash made elsewhere.
pub fn is_imported(stored: &str) -> bool {
    !matches!(StoredVerifier::parse(stored), StoredVerifier::Argon2OfDigest(_))
}

/// Whether `secret` is what `stored` was made from. Anything unreadable or too costly matches nothing.
pub fn verify(stored: &str, secret: &PresentedSecret, memory: &mut HashMemory) -> bool {
    match (StoredVerifier::parse(stored), secret) {
        (StoredVerifier::Argon2OfDigest(phc), _) => verify_phc(phc, secret.digest().hex().as_slice(), memory),
        (_, PresentedSecret::Digest(_)) => false,
        (StoredVerifier::Imported(foreign), PresentedSecret::Raw(raw)) if foreign.starts_with("$argon2") => {
            verify_phc(foreign, raw.expose().as_bytes(), memory)
        }
        (StoredVerifier::Imported(foreign), PresentedSecret::Raw(raw)) => imported::verify(foreign, raw.expose()),
        (StoredVerifier::Wrapped(how, phc), PresentedSecret::Raw(raw)) => {
            let inner = imported::compute_inner_hash(how, raw.expose(), memory);
            // Computed all the same, so that a password that the inner hash does not take costs as much.
            let right = verify_phc(phc, inner.as_ref().map_or(&[][..], |inner| inner), memory);
            right && inner.is_some()
        }
    }
}

fn verify_phc(stored: &str, secret: &[u8], memory: &mut HashMemory) -> bool {
    let bounded = phc_cost(stored).is_some_and(Argon2Cost::is_within_limits);
    bounded && PasswordHash::new(stored).is_ok_and(|phc| matches_phc(&phc, secret, memory).unwrap_or(false))
}

/// `None` if `phc` is not whole, or no argon2.
fn matches_phc(phc: &PasswordHash, secret: &[u8], memory: &mut HashMemory) -> Option<bool> {
    let expected = phc.hash.as_ref()?;
    let output = phc_output(phc, expected.len(), secret, memory)?;
    Some(output.ct_eq(expected.as_ref()).into())
}

/// The hash of `length` bytes that the salt and the parameters of `phc` give for `secret`.
fn phc_output(phc: &PasswordHash, length: usize, secret: &[u8], memory: &mut HashMemory) -> Option<Vec<u8>> {
    let algorithm = Algorithm::try_from(phc.algorithm.as_str()).ok()?;
    let version = phc.version.map_or(Some(Version::default()), |version| Version::try_from(version).ok())?;
    let params = Params::try_from(phc).ok()?;
    let mut output = vec![0; length];
    compute_argon2((algorithm, version, &params), secret, phc.salt.as_ref()?, &mut output, memory)?;
    Some(output)
}

/// The cost of a PHC string that holds a hash.
fn phc_cost(stored: &str) -> Option<Argon2Cost> {
    let phc = PasswordHash::new(stored).ok()?;
    phc.hash?;
    params_cost(&phc)
}

fn params_cost(phc: &PasswordHash) -> Option<Argon2Cost> {
    let params = Params::try_from(phc).ok()?;
    Some(Argon2Cost { memory_kib: params.m_cost(), passes: params.t_cost(), lanes: params.p_cost() })
}

#[cfg(test)]
#[path = "verifier_tests.rs"]
mod tests;
