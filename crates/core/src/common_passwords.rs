//! Common passwords: the built-in list, and the rule for new passwords that are listed.
//!
//! The list is judged on `D = md5(password)`, so it also works for dialects whose clients send only `D`. It has 100,000
//! passwords: `data/README.md` describes its sources and the file's format.

use std::fmt;

use subtle::{Choice, ConstantTimeEq as _};

use crate::password::PasswordDigest;

/// The filter: for each bucket, the offset of its first entry; then the entries.
static LIST: &[u8] = include_bytes!("../data/common-passwords.bin");

/// Bits of a digest that the list stores. The probability that a password which is not on the list appears to be listed
/// is the number of listed passwords / 2^36: 1 in 687,000.
const PREFIX_BITS: u32 = 36;
/// Bits of a prefix within its bucket; the bits before them are the number of the bucket.
const ENTRY_BITS: u32 = 24;
const BUCKETS: usize = 1 << (PREFIX_BITS - ENTRY_BITS);
const ENTRY_SIZE: usize = ENTRY_BITS as usize / 8;
/// Entries that every lookup compares; no bucket has more. The file is padded, so that each window ends inside it.
const WINDOW: usize = 64;

/// What happens to a new password that is on a list of common passwords.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CommonPasswordPolicy {
    /// The password is rejected with [`Error::CommonPassword`](crate::Error::CommonPassword).
    #[default]
    Refuse,
    /// The password is accepted and counted.
    Warn,
    /// Passwords are not looked up.
    Off,
}

impl CommonPasswordPolicy {
    /// Parses the value of a setting.
    ///
    /// # Errors
    /// A sentence that names the valid values.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "refuse" => Ok(Self::Refuse),
            "warn" => Ok(Self::Warn),
            "off" => Ok(Self::Off),
            _ => Err(format!("`{text}` is none of these; write refuse, warn or off")),
        }
    }
}

impl fmt::Display for CommonPasswordPolicy {
    /// Writes the value in the form that [`CommonPasswordPolicy::parse`] accepts.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refuse => "refuse",
            Self::Warn => "warn",
            Self::Off => "off",
        })
    }
}

/// A password in the operator's own list: the first 64 bits of `D`. Passwords that are not listed have the key of a
/// listed one with a probability of the number of listed passwords / 2^64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListedPasswordKey(i64);

impl ListedPasswordKey {
    /// The key of the password with this digest.
    pub fn new(digest: &PasswordDigest) -> Self {
        Self((u128::from_be_bytes(*digest.expose()) >> 64) as i64)
    }

    /// The key that [`ListedPasswordKey::to_i64`] returned.
    pub fn from_i64(key: i64) -> Self {
        Self(key)
    }

    /// The key as a number, for storing it.
    pub fn to_i64(self) -> i64 {
        self.0
    }
}

/// Whether the password with this digest is on the built-in list. Every lookup does the same work without allocating:
/// it compares `WINDOW` entries in constant time, from an address that depends on the digest's first 12 bits.
pub fn is_common(digest: &PasswordDigest) -> bool {
    let prefix = u128::from_be_bytes(*digest.expose()) >> (128 - PREFIX_BITS);
    let bucket = (prefix >> ENTRY_BITS) as usize;
    let entry = (prefix as u32 & ((1 << ENTRY_BITS) - 1)).to_le_bytes();
    let (start, end) = (offset(bucket), offset(bucket + 1));
    let first = (BUCKETS + 1) * size_of::<u32>() + start * ENTRY_SIZE;
    let window = LIST.get(first..first + WINDOW * ENTRY_SIZE).unwrap_or_default();
    let matches = window.chunks_exact(ENTRY_SIZE).zip(0..).map(|(listed, position): (_, u64)| {
        let is_in_bucket = Choice::from(u8::from(position < (end - start) as u64));
        listed.ct_eq(&entry[..ENTRY_SIZE]) & is_in_bucket
    });
    matches.fold(Choice::from(0), |is_listed, is_match| is_listed | is_match).into()
}

/// The number of entries before `bucket`.
fn offset(bucket: usize) -> usize {
    let bytes = LIST.get(bucket * size_of::<u32>()..).and_then(|rest| rest.first_chunk());
    bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::password::RawPassword;

    fn is_listed(password: &str) -> bool {
        is_common(&RawPassword::new(password.to_owned()).digest())
    }

    #[test]
    fn the_favourites_are_listed() {
        let listed = "123456 password 12345678 qwerty 111111 letmein iloveyou admin 5201314 woaini1314 a123456 \
                      7758521 1qaz2wsx zhangwei wangjing li123456 Aa123456 Admin@123 19870316 870316 20000229 \
                      woshishui 123123 1 0000 0007 abc123 password1 qazwsx dragon";
        for password in listed.split(' ').chain([""]) {
            assert!(is_listed(password), "{password:?}");
        }
    }

    #[test]
    fn not_checked_passwords_are_not_listed() {
        let others = "hna123 correct-horse 19870231 Aa123457! zhangwei-7 woaini1315 \u{5bc6}\u{7801}-7 00000-a";
        for password in others.split(' ') {
            assert!(!is_listed(password), "{password:?}");
        }
    }

    /// The entries of each bucket are sorted and unique, no bucket is larger than the window, and each entry is found.
    #[test]
    fn every_entry_is_found() {
        let mut found = 0;
        for bucket in 0..BUCKETS {
            let (start, end) = (offset(bucket), offset(bucket + 1));
            assert!(start <= end && end - start <= WINDOW, "bucket {bucket}: {start} to {end}");
            let base = (BUCKETS + 1) * size_of::<u32>();
            let entries: Vec<u32> = LIST[base + start * ENTRY_SIZE..base + end * ENTRY_SIZE]
                .chunks_exact(ENTRY_SIZE)
                .map(|entry| u32::from_le_bytes([entry[0], entry[1], entry[2], 0]))
                .collect();
            assert!(entries.is_sorted_by(|a, b| a < b), "bucket {bucket}");
            for entry in entries {
                let prefix = ((bucket as u128) << ENTRY_BITS) | u128::from(entry);
                let digest =
                    |low: u128| PasswordDigest::from_bytes(((prefix << (128 - PREFIX_BITS)) | low).to_be_bytes());
                assert!(is_common(&digest(0)) && is_common(&digest((1 << (128 - PREFIX_BITS)) - 1)), "{prefix:x}");
                found += 1;
            }
        }
        assert_eq!((found, offset(BUCKETS)), (LISTED, LISTED));
        assert_eq!(LIST.len(), (BUCKETS + 1) * 4 + (LISTED + WINDOW) * ENTRY_SIZE);
    }

    /// Passwords on the list, less those that share a prefix.
    const LISTED: usize = 100_000;

    /// Digests are evenly distributed, so the rate is the number of entries / 2^36. Checks random digests, and those that
    /// differ from a listed one in one bit, which a filter that compares fewer bits would confuse.
    #[test]
    fn unlisted_digests_are_seldom_confused_with_listed_ones() {
        let mut state = 0x5354_454c_4500_u64;
        let mut random = || {
            // SplitMix64 (Steele, Lea, Flood 2014).
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        };
        let random_digest = |n: u64| PasswordDigest::from_bytes((u128::from(n) << 64).to_be_bytes());
        let confused = (0..200_000).filter(|_| is_common(&random_digest(random()))).count();
        assert!(confused <= 3, "{confused} of 200,000; expected 0.3");
        let listed = RawPassword::new("123456".to_owned()).digest();
        for bit in 0..PREFIX_BITS {
            let changed = u128::from_be_bytes(*listed.expose()) ^ (1 << (127 - bit));
            assert!(!is_common(&PasswordDigest::from_bytes(changed.to_be_bytes())), "bit {bit}");
        }
    }

    #[test]
    fn policies_parse_as_they_are_written() {
        for policy in [CommonPasswordPolicy::Refuse, CommonPasswordPolicy::Warn, CommonPasswordPolicy::Off] {
            assert_eq!(CommonPasswordPolicy::parse(&policy.to_string()), Ok(policy));
        }
        assert!(CommonPasswordPolicy::parse("on").unwrap_err().contains("refuse, warn or off"));
    }

    #[test]
    fn keys_are_the_first_64_bits_of_the_digest() {
        let key = ListedPasswordKey::new(&PasswordDigest::from_hex("e10adc3949ba59abbe56e057f20f883e").unwrap());
        assert_eq!(key.to_i64(), 0xe10a_dc39_49ba_59ab_u64 as i64);
    }
}
