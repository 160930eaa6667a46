//! Password verification: stored verifiers, which are argon2id of `D`, or an imported hash until its first use.
//!
//! Stored forms:
//! - `$argon2id$…`: our own hash, a PHC string over the 32 hex digits of `D`;
//! - `{phc}$argon2id$…`: an imported PHC string over the password, at least as strong as
//!   [`Argon2Cost::OWASP_MINIMUMS`];
//! - `{wrapped}SPEC|$argon2id$…`: argon2id over a cheaper hash of the password, which `SPEC` describes (see
//!   `imported`);
//! - `{raw}…`: an imported hash of any cost, stored unwrapped by an earlier version (see [`parse_unwrapped`]);
//! - `{pending}SPEC`: an imported hash that is not wrapped yet: its bytes are sealed (see [`PendingHash`]). Without a
//!   `SPEC` they are `D`;
//! - `{none}`: no password yet. It matches nothing.
//!
//! After an imported hash has verified a password once, our own hash replaces it (rehash on login).

mod cost;
mod imported;
mod pending;

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use subtle::ConstantTimeEq as _;

use crate::password::{PasswordDigest, RawPassword};
pub use cost::Argon2Cost;
use imported::InnerHash;
pub use imported::{HashForm, ImportedHash, InvalidHash, WeakHash, parse_imported, parse_unwrapped};
pub use pending::{PendingHash, has_sealed_digest, is_pending};

/// The secret that a client presents for verification.
#[derive(Clone, Debug)]
pub enum PresentedSecret {
    /// The password itself.
    Raw(RawPassword),
    /// `D`, the md5 of the password. It can be verified against an imported hash only if that is computed from `D`.
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

/// The least address space that [`HashMemory`] reserves, in KiB. glibc's malloc maps allocations of more than 32 MiB
/// separately and unmaps them when they are freed (mallopt(3), `M_MMAP_THRESHOLD`). Smaller allocations, such as 19
/// MiB, come from the thread's arena once one of that size was freed, and an arena does not return freed memory to the
/// system. Reserved memory that is not used costs nothing.
const MIN_RESERVED_KIB: usize = 33 * 1024;

/// Memory for argon2 that is reused from hash to hash, because a hash of 19 MiB takes a tenth longer in memory that the
/// system has yet to map. Empty until the first use; returned to the system on drop.
#[derive(Default)]
pub struct HashMemory(Vec<Block>);

impl HashMemory {
    /// The size in KiB: that of the largest hash computed so far.
    pub fn size_kib(&self) -> usize {
        self.0.len()
    }

    /// The first `count` blocks of 1 KiB. Their contents are arbitrary, because argon2 writes each block before it
    /// reads it.
    fn blocks(&mut self, count: usize) -> &mut [Block] {
        if self.0.capacity() < count {
            // A new allocation, because growing would copy the old contents.
            self.0 = Vec::new();
            self.0.reserve_exact(count.max(MIN_RESERVED_KIB));
        }
        if self.0.len() < count {
            self.0.resize(count, Block::new());
        }
        &mut self.0[..count]
    }
}

/// Prefix of an imported hash that an earlier version stored unwrapped.
const UNWRAPPED_PREFIX: &str = "{raw}";
/// Prefix of an imported argon2id hash of at least [`Argon2Cost::OWASP_MINIMUMS`].
const PHC_PREFIX: &str = "{phc}";
/// Prefix of argon2id over an imported hash, with the spec of how to compute the imported hash.
const WRAPPED_PREFIX: &str = "{wrapped}";

/// The verifier of a user who has no password yet.
pub const NO_PASSWORD: &str = "{none}";

/// A stored verifier, parsed.
enum StoredVerifier<'a> {
    /// argon2id over `D`.
    Argon2OfDigest(&'a str),
    /// An imported hash of the password, without prefix.
    Imported(&'a str),
    /// argon2id over an imported hash of the password.
    Wrapped { inner_spec: &'a str, argon2id: &'a str },
}

impl<'a> StoredVerifier<'a> {
    fn parse(stored: &'a str) -> Self {
        if let Some(imported) = stored.strip_prefix(UNWRAPPED_PREFIX).or_else(|| stored.strip_prefix(PHC_PREFIX)) {
            return Self::Imported(imported);
        }
        match stored.strip_prefix(WRAPPED_PREFIX) {
            Some(wrapped) => match wrapped.split_once('|') {
                Some((inner_spec, argon2id)) => Self::Wrapped { inner_spec, argon2id },
                None => Self::Imported(""),
            },
            None => Self::Argon2OfDigest(stored),
        }
    }
}

/// Computes our own verifier: argon2id of `D` as a PHC string. `None` if argon2 rejects `cost`.
pub fn hash(digest: &PasswordDigest, salt: &[u8; 16], cost: Argon2Cost, memory: &mut HashMemory) -> Option<String> {
    argon2id(digest.hex().as_slice(), salt, cost, memory)
}

/// Wraps an imported, cheap hash in argon2id of `cost` and returns the verifier to store. `None` if argon2 rejects
/// `cost`.
pub fn wrap(weak: &WeakHash, salt: &[u8; 16], cost: Argon2Cost, memory: &mut HashMemory) -> Option<String> {
    Some(format!("{WRAPPED_PREFIX}{}|{}", weak.inner_spec(), argon2id(weak.output(), salt, cost, memory)?))
}

fn argon2id(secret: &[u8], salt: &[u8; 16], cost: Argon2Cost, memory: &mut HashMemory) -> Option<String> {
    let params = cost.params()?;
    let mut output = [0; 32];
    let algorithm = (Algorithm::Argon2id, Version::V0x13, &params);
    compute_argon2(algorithm, secret, salt, &mut output, memory)?;
    let phc = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&params).ok()?,
        salt: Some(Salt::new(salt).ok()?),
        hash: Some(Output::new(&output).ok()?),
    };
    Some(phc.to_string())
}

/// Fills `output` with a hash; `None` if argon2 rejects the parameters.
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

/// Whether `stored` is our own hash of at least `cost`. Otherwise it should be replaced (rehash on login).
pub fn is_current(stored: &str, cost: Argon2Cost) -> bool {
    cost_of_own_hash(stored).is_some_and(|actual| actual.is_at_least(cost))
}

/// The cost of a hash that replaces `stored` when `cost` is configured: at least `cost`, and at least that of `stored`
/// if it is our own hash.
pub fn replacement_cost(stored: &str, cost: Argon2Cost) -> Argon2Cost {
    cost_of_own_hash(stored).filter(|actual| actual.is_within_limits()).map_or(cost, |actual| cost.raise_to(actual))
}

/// The memory that [`verify`] needs for `stored`, in KiB; 0 if it computes no argon2 hash.
pub fn memory_needed_kib(stored: &str) -> u32 {
    argon2_costs(stored).map(|cost| cost.memory_kib).max().unwrap_or(0)
}

/// The argon2 work of [`verify`] with `secret`, in the unit of [`Argon2Cost::total_kib_written`]; 0 if it computes no
/// argon2 hash.
pub fn verification_work(stored: &str, secret: &PresentedSecret) -> u64 {
    match secret {
        // A digest cannot match most imported hashes, and then nothing is computed.
        PresentedSecret::Digest(_) if !accepts_digest(stored) => 0,
        _ => argon2_costs(stored).map(Argon2Cost::total_kib_written).sum(),
    }
}

/// The cost of `stored` if it is our own hash; `None` for imported hashes.
fn cost_of_own_hash(stored: &str) -> Option<Argon2Cost> {
    match StoredVerifier::parse(stored) {
        StoredVerifier::Argon2OfDigest(phc) => phc_cost(phc),
        StoredVerifier::Imported(_) | StoredVerifier::Wrapped { .. } => None,
    }
}

/// The costs of the argon2 hashes that [`verify`] computes.
fn argon2_costs(stored: &str) -> impl Iterator<Item = Argon2Cost> {
    let costs = match StoredVerifier::parse(stored) {
        StoredVerifier::Argon2OfDigest(phc) | StoredVerifier::Imported(phc) => [phc_cost(phc), None],
        StoredVerifier::Wrapped { inner_spec, argon2id } => {
            [phc_cost(argon2id), InnerHash::parse(inner_spec).and_then(|inner| inner.argon2_cost())]
        }
    };
    costs.into_iter().flatten().filter(|cost| cost.is_within_limits())
}

/// Whether `stored` is an imported hash or wraps one.
pub fn is_imported(stored: &str) -> bool {
    !matches!(StoredVerifier::parse(stored), StoredVerifier::Argon2OfDigest(_))
}

/// Whether `D` alone can be verified against `stored`.
fn accepts_digest(stored: &str) -> bool {
    match StoredVerifier::parse(stored) {
        StoredVerifier::Argon2OfDigest(_) => true,
        StoredVerifier::Imported(_) => false,
        StoredVerifier::Wrapped { inner_spec, .. } => {
            InnerHash::parse(inner_spec).is_some_and(|inner| inner.accepts_digest())
        }
    }
}

/// Whether `secret` matches `stored`. An unreadable or too costly verifier matches nothing.
pub fn verify(stored: &str, secret: &PresentedSecret, memory: &mut HashMemory) -> bool {
    match (StoredVerifier::parse(stored), secret) {
        (StoredVerifier::Argon2OfDigest(phc), _) => verify_phc(phc, secret.digest().hex().as_slice(), memory),
        (StoredVerifier::Imported(_), PresentedSecret::Digest(_)) => false,
        (StoredVerifier::Imported(imported_hash), PresentedSecret::Raw(raw))
            if imported_hash.starts_with("$argon2") =>
        {
            verify_phc(imported_hash, raw.expose().as_bytes(), memory)
        }
        (StoredVerifier::Imported(imported_hash), secret) => imported::verify_unwrapped(imported_hash, secret, memory),
        (StoredVerifier::Wrapped { .. }, PresentedSecret::Digest(_)) if !accepts_digest(stored) => false,
        (StoredVerifier::Wrapped { inner_spec, argon2id }, secret) => {
            let inner = InnerHash::parse(inner_spec).and_then(|inner| inner.compute(secret, memory));
            // The outer hash is computed even if the inner hash rejects the password, so that this costs as much
            // (timing side channel).
            let is_match = verify_phc(argon2id, inner.as_ref().map_or(&[][..], |inner| inner), memory);
            is_match && inner.is_some()
        }
    }
}

fn verify_phc(stored: &str, secret: &[u8], memory: &mut HashMemory) -> bool {
    let is_within_limits = phc_cost(stored).is_some_and(Argon2Cost::is_within_limits);
    is_within_limits && PasswordHash::new(stored).is_ok_and(|phc| matches_phc(&phc, secret, memory).unwrap_or(false))
}

/// Whether `secret` has the hash of `phc`; `None` if `phc` has no hash or is not argon2.
fn matches_phc(phc: &PasswordHash, secret: &[u8], memory: &mut HashMemory) -> Option<bool> {
    let expected = phc.hash.as_ref()?;
    let output = phc_output(phc, expected.len(), secret, memory)?;
    Some(output.ct_eq(expected.as_ref()).into())
}

/// Computes a hash of `length` bytes of `secret`, with the algorithm, salt and parameters of `phc`.
fn phc_output(phc: &PasswordHash, length: usize, secret: &[u8], memory: &mut HashMemory) -> Option<Vec<u8>> {
    let algorithm = Algorithm::try_from(phc.algorithm.as_str()).ok()?;
    let version = phc.version.map_or(Some(Version::default()), |version| Version::try_from(version).ok())?;
    let params = Params::try_from(phc).ok()?;
    let mut output = vec![0; length];
    compute_argon2((algorithm, version, &params), secret, phc.salt.as_ref()?, &mut output, memory)?;
    Some(output)
}

/// The cost of an argon2 PHC string; `None` if it is malformed or has no hash.
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
