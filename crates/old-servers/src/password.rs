//! Passwords as old servers keep them.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use md5::{Digest as _, Md5};
use uuid::Uuid;

mod identity;

/// In which form a table keeps passwords.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordFormat {
    /// The password itself.
    Clear,
    /// The base64 text that the portal's clients send.
    Base64,
    /// `md5(password)`, lower-case hex.
    Md5,
    /// `md5(password + salt)`, lower-case hex, with the salt in a column.
    Md5PasswordSalt,
    /// `md5(salt + password)`, lower-case hex, with the salt in a column.
    Md5SaltPassword,
    /// ASP.NET Core Identity's version 3: base64 of a header, a salt and PBKDF2 with HMAC-SHA-256 (10,000 rounds).
    IdentityV3,
}

/// A password in a table's form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPassword {
    /// The form.
    pub format: PasswordFormat,
    /// The column of the password.
    pub value: String,
    /// The column of the salt; empty in forms without one.
    pub salt: String,
}

impl StoredPassword {
    /// The form in which a table of this format keeps `password`, with a fresh salt where the format has one.
    pub fn new(format: PasswordFormat, password: &str) -> Self {
        let salt = match format {
            PasswordFormat::Md5PasswordSalt | PasswordFormat::Md5SaltPassword => random_salt(),
            PasswordFormat::Clear | PasswordFormat::Base64 | PasswordFormat::Md5 | PasswordFormat::IdentityV3 => {
                String::new()
            }
        };
        let value = match format {
            PasswordFormat::IdentityV3 => identity::hash(password),
            _ => encode(format, password, &salt),
        };
        Self { format, value, salt }
    }

    /// `md5(password)` as cloudbox and TMS keep it.
    pub fn md5(password: &str) -> Self {
        Self::new(PasswordFormat::Md5, password)
    }

    /// The password whose md5 is `digest`, 32 hex digits.
    pub fn from_digest(digest: &str) -> Self {
        Self { format: PasswordFormat::Md5, value: digest.to_ascii_lowercase(), salt: String::new() }
    }

    /// Whether `password` is the right one.
    pub fn verify(&self, password: &str) -> bool {
        match self.format {
            PasswordFormat::IdentityV3 => identity::verify(&self.value, password),
            format => self.value == encode(format, password, &self.salt),
        }
    }

    /// `md5(password)` in lower-case hex, if the form allows computing it.
    pub fn digest(&self) -> Option<String> {
        match self.format {
            PasswordFormat::Clear => Some(md5_hex(self.value.as_bytes())),
            PasswordFormat::Base64 => BASE64_STANDARD.decode(&self.value).ok().map(|password| md5_hex(&password)),
            PasswordFormat::Md5 => Some(self.value.to_ascii_lowercase()),
            PasswordFormat::Md5PasswordSalt | PasswordFormat::Md5SaltPassword | PasswordFormat::IdentityV3 => None,
        }
    }
}

/// The column for `password` in a format without random parts.
fn encode(format: PasswordFormat, password: &str, salt: &str) -> String {
    match format {
        PasswordFormat::Clear => password.to_owned(),
        PasswordFormat::Base64 => BASE64_STANDARD.encode(password),
        PasswordFormat::Md5 => md5_hex(password.as_bytes()),
        PasswordFormat::Md5PasswordSalt => md5_hex(format!("{password}{salt}").as_bytes()),
        PasswordFormat::Md5SaltPassword => md5_hex(format!("{salt}{password}").as_bytes()),
        PasswordFormat::IdentityV3 => unreachable!("has a random salt"),
    }
}

/// Six hexadecimal digits, as Discuz and its relatives use.
fn random_salt() -> String {
    Uuid::new_v4().simple().to_string()[..6].to_owned()
}

pub(crate) fn md5_hex(bytes: &[u8]) -> String {
    Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMATS: [PasswordFormat; 6] = [
        PasswordFormat::Clear,
        PasswordFormat::Base64,
        PasswordFormat::Md5,
        PasswordFormat::Md5PasswordSalt,
        PasswordFormat::Md5SaltPassword,
        PasswordFormat::IdentityV3,
    ];

    #[test]
    fn every_format_verifies_its_password_alone() {
        for format in FORMATS {
            let stored = StoredPassword::new(format, "密码 hna123");
            assert!(stored.verify("密码 hna123"), "{format:?}");
            assert!(!stored.verify("密码 hna124"), "{format:?}");
            assert!(!stored.verify(""), "{format:?}");
        }
    }

    /// RFC 1321, appendix A.5.
    #[test]
    fn the_digest_is_rfc_1321s() {
        for format in [PasswordFormat::Clear, PasswordFormat::Base64, PasswordFormat::Md5] {
            let digest = StoredPassword::new(format, "message digest").digest();
            assert_eq!(digest.as_deref(), Some("f96b697d7cb7938d525a2f31aaf161d0"), "{format:?}");
        }
        assert_eq!(StoredPassword::new(PasswordFormat::IdentityV3, "a").digest(), None);
    }
}
