//! What is kept to check raw and digest proofs: argon2id of `D`, or a foreign hash until its first use.
//!
//! Stored forms:
//! - `$argon2id$…`: ours, a PHC string over the 32 hex digits of `D`;
//! - `{raw}$argon2…`: an imported PHC string over the password itself;
//! - `{raw}$2a$…`, `$2b$…`, `$2y$…`: imported bcrypt;
//! - `{raw}$md5ps$SALT$HASH` and `{raw}$md5sp$SALT$HASH`: imported `md5(password + salt)` and `md5(salt + password)`,
//!   salt as hex of its bytes, hash as 32 hex digits.
//!
//! A foreign hash verifies once and is then replaced by our own pair.

mod cost;

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use md5::{Digest as _, Md5};
use subtle::ConstantTimeEq as _;

use crate::hex;
use crate::password::{PasswordDigest, RawPassword};
pub use cost::Cost;

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

/// The memory that argon2 works in, which may serve one hash after another: a hash of 19 MiB in memory that the system
/// has yet to give takes a tenth longer. Empty until it is first used.
#[derive(Default)]
pub struct Memory(Vec<Block>);

impl Memory {
    /// How many KiB it has.
    pub fn size(&self) -> usize {
        self.0.len()
    }

    /// So many KiB of it, with whatever they held: argon2 writes each before it reads it.
    fn blocks(&mut self, count: usize) -> &mut [Block] {
        if self.0.len() < count {
            // Nothing that is there need be copied.
            self.0 = Vec::new();
            self.0 = vec![Block::new(); count];
        }
        &mut self.0[..count]
    }
}

/// The most rounds an imported bcrypt hash may ask for, as the base-2 logarithm.
const MOST_BCRYPT_COST: u32 = 14;
const FOREIGN: &str = "{raw}";

/// argon2id of `D` as a PHC string; `None` if `cost` is out of argon2's range.
pub fn hash(digest: &PasswordDigest, salt: &[u8; 16], cost: Cost, memory: &mut Memory) -> Option<String> {
    let params = cost.params()?;
    let mut output = [0; 32];
    let shape = (Algorithm::Argon2id, Version::V0x13, &params);
    fill(shape, digest.hex().as_slice(), salt, &mut output, memory)?;
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
    argon2_cost(stored).map_or(0, |cost| cost.memory)
}

/// The KiB that [`verify`] writes: see [`Cost::work`]. bcrypt is not measured by it.
pub fn work(stored: &str, secret: &Secret) -> u64 {
    match secret {
        // Not even tried.
        Secret::Digest(_) if is_foreign(stored) => 0,
        _ => argon2_cost(stored).map_or(0, Cost::work),
    }
}

fn own_cost(stored: &str) -> Option<Cost> {
    if is_foreign(stored) { None } else { phc_cost(stored) }
}

/// The cost of an argon2 hash that would be computed, ours or imported.
fn argon2_cost(stored: &str) -> Option<Cost> {
    phc_cost(stored.strip_prefix(FOREIGN).unwrap_or(stored)).filter(|cost| cost.is_bearable())
}

/// Whether `stored` is a hash made elsewhere.
pub fn is_foreign(stored: &str) -> bool {
    stored.starts_with(FOREIGN)
}

/// Whether `secret` is what `stored` was made from. Anything unreadable or too costly matches nothing.
pub fn verify(stored: &str, secret: &Secret, memory: &mut Memory) -> bool {
    match (stored.strip_prefix(FOREIGN), secret) {
        (None, _) => verify_phc(stored, secret.digest().hex().as_slice(), memory),
        (Some(foreign), Secret::Raw(raw)) => verify_foreign(foreign, raw.expose(), memory),
        (Some(_), Secret::Digest(_)) => false,
    }
}

/// Reads a hash made elsewhere and gives the form it is stored in, or says why it cannot be taken.
///
/// # Errors
/// A sentence for the administrator: an unknown form, or one that is too costly to verify.
pub fn import(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    let costly = "this hash asks for more memory or time than is allowed";
    if text.starts_with("$argon2") {
        let cost = phc_cost(text).ok_or("this argon2 hash cannot be read")?;
        return if cost.is_bearable() { Ok(format!("{FOREIGN}{text}")) } else { Err(costly) };
    }
    if let Some(cost) = bcrypt_cost(text) {
        return if cost <= MOST_BCRYPT_COST { Ok(format!("{FOREIGN}{text}")) } else { Err(costly) };
    }
    match SaltedMd5::parse(text) {
        Some(_) => Ok(format!("{FOREIGN}{text}")),
        None => Err("not a hash that can be imported: argon2 (PHC), bcrypt, $md5ps$SALT$HASH or $md5sp$SALT$HASH"),
    }
}

fn verify_foreign(stored: &str, password: &str, memory: &mut Memory) -> bool {
    if let Some(cost) = bcrypt_cost(stored) {
        // bcrypt reads 72 bytes and stops at a NUL; a longer password would match its own beginning.
        let whole = !password.contains('\0') && password.len() <= 72;
        return whole && cost <= MOST_BCRYPT_COST && bcrypt::verify(password, stored).unwrap_or(false);
    }
    match SaltedMd5::parse(stored) {
        Some(md5) => md5.matches(password),
        None => verify_phc(stored, password.as_bytes(), memory),
    }
}

fn verify_phc(stored: &str, secret: &[u8], memory: &mut Memory) -> bool {
    let bounded = phc_cost(stored).is_some_and(Cost::is_bearable);
    bounded && PasswordHash::new(stored).is_ok_and(|phc| matches_phc(&phc, secret, memory).unwrap_or(false))
}

/// `None` if `phc` is not whole, or no argon2.
fn matches_phc(phc: &PasswordHash, secret: &[u8], memory: &mut Memory) -> Option<bool> {
    let (salt, expected) = (phc.salt.as_ref()?, phc.hash.as_ref()?);
    let algorithm = Algorithm::try_from(phc.algorithm.as_str()).ok()?;
    let version = phc.version.map_or(Some(Version::default()), |version| Version::try_from(version).ok())?;
    let params = Params::try_from(phc).ok()?;
    let mut output = [0; Output::MAX_LENGTH];
    let output = output.get_mut(..expected.len())?;
    fill((algorithm, version, &params), secret, salt, output, memory)?;
    Some(output.ct_eq(expected.as_ref()).into())
}

fn phc_cost(stored: &str) -> Option<Cost> {
    let phc = PasswordHash::new(stored).ok()?;
    phc.hash?;
    let params = Params::try_from(&phc).ok()?;
    Some(Cost { memory: params.m_cost(), passes: params.t_cost(), lanes: params.p_cost() })
}

fn bcrypt_cost(stored: &str) -> Option<u32> {
    let rest = ["$2a$", "$2b$", "$2y$"].iter().find_map(|prefix| stored.strip_prefix(prefix))?;
    let (cost, hash) = rest.split_once('$')?;
    (hash.len() == 53).then(|| cost.parse().ok())?
}

struct SaltedMd5 {
    salt_first: bool,
    salt: Vec<u8>,
    hash: [u8; 16],
}

impl SaltedMd5 {
    fn parse(stored: &str) -> Option<Self> {
        let (salt_first, rest) = match stored.split_at_checked(7)? {
            ("$md5ps$", rest) => (false, rest),
            ("$md5sp$", rest) => (true, rest),
            _ => return None,
        };
        let (salt, hash) = rest.split_once('$')?;
        let pairs = salt.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok().and_then(hex::decode::<1>));
        let salt = pairs.map(|byte| byte.map(|[b]| b)).collect::<Option<Vec<u8>>>()?;
        (salt.len() <= 256).then_some(Self { salt_first, salt, hash: hex::decode(hash)? })
    }

    fn matches(&self, password: &str) -> bool {
        let (first, second) =
            if self.salt_first { (&self.salt[..], password.as_bytes()) } else { (password.as_bytes(), &self.salt[..]) };
        let actual: [u8; 16] = Md5::new().chain_update(first).chain_update(second).finalize().into();
        actual.ct_eq(&self.hash).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: Cost = Cost { memory: 64, passes: 1, lanes: 1 };

    fn hash(digest: &PasswordDigest, salt: &[u8; 16], cost: Cost) -> Option<String> {
        super::hash(digest, salt, cost, &mut Memory::default())
    }

    fn verify(stored: &str, secret: &Secret) -> bool {
        super::verify(stored, secret, &mut Memory::default())
    }

    fn raw(text: &str) -> Secret {
        Secret::Raw(RawPassword::new(text.to_owned()))
    }

    #[test]
    fn ours_takes_the_password_and_its_digest() {
        let stored = hash(&raw("123456").digest(), &[7; 16], CHEAP).unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{stored}");
        assert!(verify(&stored, &raw("123456")));
        assert!(verify(&stored, &Secret::Digest(raw("123456").digest())));
        assert!(!verify(&stored, &raw("1234567")));
        assert!(!verify(&stored, &raw("e10adc3949ba59abbe56e057f20f883e")), "D is not a password");
        assert!(is_current(&stored, CHEAP) && !is_current(&stored, Cost::default()));
    }

    #[test]
    fn what_was_in_the_memory_does_not_matter() {
        let mut memory = Memory::default();
        for cost in [CHEAP, Cost { memory: 32, passes: 3, lanes: 4 }, Cost { memory: 256, passes: 2, lanes: 1 }, CHEAP]
        {
            let used = super::hash(&raw("123456").digest(), &[7; 16], cost, &mut memory).unwrap();
            assert_eq!(Some(&used), hash(&raw("123456").digest(), &[7; 16], cost).as_ref(), "{cost:?}");
            assert!(super::verify(&used, &raw("123456"), &mut memory));
            assert!(!super::verify(&used, &raw("wrong"), &mut memory));
        }
        assert_eq!(memory.size(), 256, "as much as the largest took");
    }

    #[test]
    fn a_hash_is_replaced_by_one_that_is_as_hard_or_harder() {
        let of = |memory, passes| Cost { memory, passes, lanes: 1 };
        let stored = |cost| hash(&raw("123456").digest(), &[7; 16], cost).unwrap();
        // What is stored, what is asked for, and what it is replaced by, if it is.
        for (before, asked, after) in [
            (of(64, 2), of(64, 2), None),
            (of(64, 2), of(64, 1), None),
            (of(128, 1), of(64, 2), None),
            (of(64, 2), of(64, 3), Some(of(64, 3))),
            (of(64, 2), of(128, 1), Some(of(128, 1))),
            (of(64, 4), of(128, 1), Some(of(128, 2))),
            (of(128, 1), of(64, 5), Some(of(128, 3))),
        ] {
            let stored = stored(before);
            assert_eq!(is_current(&stored, asked), after.is_none(), "{before:?} {asked:?}");
            let replacement = replacement(&stored, asked);
            assert!(replacement.is_as_hard_as(before) && replacement.is_as_hard_as(asked));
            if let Some(after) = after {
                assert_eq!(replacement, after, "{before:?} {asked:?}");
            }
        }
        let lanes = Cost { lanes: 4, ..CHEAP };
        assert!(is_current(&stored(CHEAP), lanes) && is_current(&stored(lanes), CHEAP));
        // A hash from elsewhere says nothing about what ours should cost.
        let foreign = format!("{FOREIGN}{}", stored(of(256, 2)));
        assert_eq!(replacement(&foreign, CHEAP), CHEAP);
    }

    #[test]
    fn the_least_is_what_owasp_says() {
        let of = |memory, passes, lanes| Cost { memory, passes, lanes };
        assert!(Cost::default().is_strong() && Cost::MOST.is_strong() && Cost::MOST.is_bearable());
        for strong in [of(47_104, 1, 1), of(65_536, 1, 4), of(12_288, 3, 1), of(7_168, 16, 1)] {
            assert!(strong.is_strong(), "{strong:?}");
        }
        for weak in [of(47_103, 1, 1), of(19_455, 2, 1), of(7_167, 16, 1), of(7_168, 4, 1), of(0, 0, 0)] {
            assert!(!weak.is_strong(), "{weak:?}");
        }
        for unbearable in [of(262_145, 1, 1), of(19_456, 17, 1), of(19_456, 2, 17)] {
            assert!(!unbearable.is_bearable(), "{unbearable:?}");
        }
    }

    #[test]
    fn what_is_not_computed_yet_makes_up_the_whole() {
        let cost = Cost { memory: 47_104, passes: 3, lanes: 1 };
        for done in [0, 64, 38_912, 100_000] {
            let rest = cost.rest(done).unwrap();
            assert!(rest.memory <= cost.memory && rest.work() + done <= cost.work());
            assert!(rest.work() + done > cost.work() - u64::from(cost.passes), "{done}");
        }
        assert_eq!(cost.rest(0), Some(cost));
        assert_eq!((cost.rest(cost.work()), cost.rest(u64::MAX)), (None, None));
    }

    #[test]
    fn work_is_counted_only_where_it_is_done() {
        let ours = hash(&raw("123456").digest(), &[7; 16], CHEAP).unwrap();
        let (imported, digest) = (format!("{FOREIGN}{ours}"), Secret::Digest(raw("123456").digest()));
        assert_eq!((work(&ours, &digest), work(&ours, &raw("x"))), (64, 64));
        assert_eq!((work(&imported, &digest), work(&imported, &raw("x"))), (0, 64));
        let costly = ours.replace("m=64", "m=4194304");
        for stored in [costly.as_str(), "{raw}$md5ps$00$5f4dcc3b5aa765d61d8327deb882cf99", ""] {
            assert_eq!((work(stored, &raw("x")), memory(stored)), (0, 0), "{stored}");
        }
        assert_eq!((memory(&ours), memory(&imported)), (64, 64));
    }

    #[test]
    fn foreign_hashes_verify_the_password_only() {
        // Each made by another implementation: see tests/vectors/README.md.
        let vectors = include_str!("../tests/vectors/foreign.txt");
        for line in vectors.lines().filter(|line| !line.starts_with('#')) {
            let stored = import(line).unwrap();
            assert!(verify(&stored, &raw("correct horse")), "{line}");
            assert!(!verify(&stored, &raw("wrong")), "{line}");
            assert!(!verify(&stored, &Secret::Digest(raw("correct horse").digest())), "{line}");
            assert!(is_foreign(&stored) && !is_current(&stored, CHEAP));
        }
    }

    #[test]
    fn what_would_exhaust_the_machine_is_refused() {
        for bad in [
            "$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            "$2b$31$abcdefghijklmnopqrstuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu",
            "5f4dcc3b5aa765d61d8327deb882cf99",
            "$md5ps$zz$5f4dcc3b5aa765d61d8327deb882cf99",
            "",
        ] {
            assert!(import(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn bcrypt_neither_truncates_nor_stops_at_nul() {
        let long = "x".repeat(73);
        let stored = format!("{FOREIGN}{}", bcrypt::hash(&long[..72], 4).unwrap());
        assert!(verify(&stored, &raw(&long[..72])));
        assert!(!verify(&stored, &raw(&long)));
        let stored = format!("{FOREIGN}{}", bcrypt::hash("ab", 4).unwrap());
        assert!(!verify(&stored, &raw("ab\0c")));
    }
}
