//! Secrets: the hash of a row, in the form that the map's kind names.

use stele_core::import::{Field, Refusal};
use stele_core::password::RawPassword;
use stele_core::verifier::{ImportedHash, InvalidHash, parse_imported};
use zeroize::Zeroizing;

use crate::map::{EmptySecret, SecretKind, SecretSpec};
use crate::record::Cell;

/// The longest clear password that is read, in bytes. Only its md5 is kept.
const MAX_PASSWORD_BYTES: usize = 64 * 1024;

/// The hash in a row's secret and salt.
///
/// # Errors
/// [`Refusal`] if the secret is missing, damaged or not of the kind of the map.
pub(crate) fn read_secret(spec: &SecretSpec, secret: &Cell, salt: &Cell) -> Result<Option<ImportedHash>, Refusal> {
    if spec.kind == SecretKind::None {
        return Ok(None);
    }
    let text = match secret {
        Cell::NotText => return Err(Refusal::NotText(Field::Secret)),
        Cell::Null => "",
        Cell::Text(text) => text.as_str(),
    };
    if text.is_empty() || (spec.kind != SecretKind::Clear && text.trim().is_empty()) {
        return match spec.empty {
            EmptySecret::Refuse => Err(Refusal::NoSecret),
            EmptySecret::None => Ok(None),
        };
    }
    let hash = parse_secret(spec, text, salt)?;
    if hash.is_of_empty_password() {
        return Err(Refusal::EmptyPassword);
    }
    Ok(Some(hash))
}

fn parse_secret(spec: &SecretSpec, text: &str, salt: &Cell) -> Result<ImportedHash, Refusal> {
    match spec.kind {
        SecretKind::Clear if text.len() > MAX_PASSWORD_BYTES => Err(Refusal::TooLong(Field::Secret)),
        SecretKind::Clear => Ok(ImportedHash::Digest(RawPassword::new(text.to_owned()).digest())),
        SecretKind::Md5 => match parse_imported(text) {
            Ok(hash @ ImportedHash::Digest(_)) => Ok(hash),
            _ => Err(Refusal::WrongSecretKind),
        },
        SecretKind::Md5ps => parse_salted("$md5ps$", spec, text, salt),
        SecretKind::Md5sp => parse_salted("$md5sp$", spec, text, salt),
        SecretKind::Bcrypt => parse_with_prefix("$2", text),
        SecretKind::Argon2 => parse_with_prefix("$argon2", text),
        SecretKind::None => Err(Refusal::WrongSecretKind),
    }
}

/// A salted md5 in two columns, or in one as `$md5ps$SALT$HASH`.
fn parse_salted(prefix: &str, spec: &SecretSpec, text: &str, salt: &Cell) -> Result<ImportedHash, Refusal> {
    if spec.salt.is_none() {
        return parse_with_prefix(prefix, text);
    }
    let salt = match salt {
        Cell::NotText => return Err(Refusal::NotText(Field::Salt)),
        Cell::Null => "",
        Cell::Text(salt) => salt.as_str(),
    };
    // The text of the salt is what was hashed, white space included.
    let hex = stele_core::hex::encode(salt.as_bytes());
    let hash = text.trim();
    if !hash.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(Refusal::WrongSecretKind);
    }
    parse(&Zeroizing::new(format!("{prefix}{hex}${hash}")))
}

fn parse_with_prefix(prefix: &str, text: &str) -> Result<ImportedHash, Refusal> {
    if !text.trim_start().starts_with(prefix) {
        return Err(Refusal::WrongSecretKind);
    }
    parse(text)
}

fn parse(text: &str) -> Result<ImportedHash, Refusal> {
    parse_imported(text).map_err(|fault| match fault {
        InvalidHash::EmptySalt => Refusal::EmptySalt,
        InvalidHash::TooCostly => Refusal::TooCostly,
        InvalidHash::UnknownBcrypt => Refusal::WrongSecretKind,
        InvalidHash::UnknownForm | InvalidHash::DamagedArgon2 | InvalidHash::DamagedBcrypt => Refusal::DamagedSecret,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(kind: SecretKind, salt: bool) -> SecretSpec {
        let salt = salt.then(|| "salt".to_owned());
        SecretSpec { column: Some("secret".to_owned()), kind, salt, empty: EmptySecret::Refuse }
    }

    /// `digest`, `strong`, `weak` or `none`, or the code of the refusal.
    fn read(spec: &SecretSpec, secret: &str, salt: &str) -> String {
        match read_secret(spec, &Cell::text(secret), &Cell::text(salt)) {
            Ok(None) => "none".to_owned(),
            Ok(Some(ImportedHash::Digest(_))) => "digest".to_owned(),
            Ok(Some(ImportedHash::Strong(_))) => "strong".to_owned(),
            Ok(Some(ImportedHash::Weak(_))) => "weak".to_owned(),
            Err(refusal) => refusal.code(),
        }
    }

    const D: &str = "e10adc3949ba59abbe56e057f20f883e";
    const BCRYPT: &str = "$2b$04$abcdefghijklmnopqrstuuGkd/u1Xn9XQTH5fLOF2cGm4L4MSxFDe";
    const ARGON2: &str = "$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$\
                          C0GfzDEKTGvCqpJqBBCz0wYbvbWBdOoK6rHbFPfSsoY";

    #[test]
    fn each_kind_takes_its_own_hashes_only() {
        let long = "p".repeat(5_000);
        let costly = BCRYPT.replacen("$04$", "$31$", 1);
        for (kind, secret, expected) in [
            (SecretKind::Clear, "123456", "digest"),
            (SecretKind::Clear, long.as_str(), "digest"),
            (SecretKind::Clear, " ", "digest"),
            (SecretKind::Clear, "", "no_secret"),
            (SecretKind::Md5, D, "digest"),
            (SecretKind::Md5, "E10ADC3949BA59ABBE56E057F20F883E ", "digest"),
            (SecretKind::Md5, "e10adc3949ba59ab", "wrong_secret_kind"),
            (SecretKind::Md5, BCRYPT, "wrong_secret_kind"),
            (SecretKind::Md5, "123456", "wrong_secret_kind"),
            (SecretKind::Md5, "  ", "no_secret"),
            (SecretKind::Md5, "d41d8cd98f00b204e9800998ecf8427e", "empty_password"),
            (SecretKind::Bcrypt, BCRYPT, "weak"),
            (SecretKind::Bcrypt, &costly, "too_costly"),
            (SecretKind::Bcrypt, &BCRYPT[..59], "damaged_secret"),
            (SecretKind::Bcrypt, D, "wrong_secret_kind"),
            (SecretKind::Argon2, ARGON2, "strong"),
            (SecretKind::Argon2, "$argon2id$v=19$m=19456", "damaged_secret"),
            (SecretKind::Argon2, BCRYPT, "wrong_secret_kind"),
            (SecretKind::Md5ps, "$md5ps$6162$defe12aad396f90e6b179c239de260d4", "weak"),
            (SecretKind::Md5ps, "$md5ps$$defe12aad396f90e6b179c239de260d4", "empty_salt"),
            (SecretKind::Md5sp, "$md5ps$6162$defe12aad396f90e6b179c239de260d4", "wrong_secret_kind"),
            (SecretKind::None, D, "none"),
        ] {
            assert_eq!(read(&spec(kind, false), secret, ""), expected, "{kind:?} {secret}");
        }
    }

    #[test]
    fn a_salted_md5_in_two_columns_is_read_with_the_salt_as_text() {
        for (kind, prefix) in [(SecretKind::Md5ps, "$md5ps$"), (SecretKind::Md5sp, "$md5sp$")] {
            let hash = read_secret(&spec(kind, true), &Cell::text(D), &Cell::text("ab ")).unwrap().unwrap();
            let expected = parse_imported(&format!("{prefix}616220${D}")).unwrap();
            let pending = |hash| stele_core::verifier::PendingHash::new(hash).unwrap();
            let (hash, expected) = (pending(hash), pending(expected));
            assert_eq!((hash.verifier(), hash.secret()), (expected.verifier(), expected.secret()));
            assert_eq!(read(&spec(kind, true), D, ""), "empty_salt");
            assert_eq!(read(&spec(kind, true), &D[..31], "ab"), "damaged_secret");
            assert_eq!(read(&spec(kind, true), BCRYPT, "ab"), "wrong_secret_kind");
            let long_salt = "s".repeat(300);
            assert_eq!(read(&spec(kind, true), D, &long_salt), "damaged_secret");
        }
    }

    #[test]
    fn an_empty_secret_is_refused_unless_the_map_accepts_it() {
        let refusing = spec(SecretKind::Md5, false);
        assert_eq!(read_secret(&refusing, &Cell::Null, &Cell::Null).err(), Some(Refusal::NoSecret));
        let accepting = SecretSpec { empty: EmptySecret::None, ..refusing };
        assert_eq!(read(&accepting, "", ""), "none");
        assert!(read_secret(&accepting, &Cell::Null, &Cell::Null).unwrap().is_none());
        assert_eq!(read_secret(&accepting, &Cell::NotText, &Cell::Null).err(), Some(Refusal::NotText(Field::Secret)));
        // The hash of the empty password is a password, and no login accepts it.
        assert_eq!(read(&accepting, "d41d8cd98f00b204e9800998ecf8427e", ""), "empty_password");
    }
}
