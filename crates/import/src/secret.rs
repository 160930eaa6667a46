//! Secrets: the hash of a row, in the form that the map's kinds name.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use stele_core::import::{Field, Refusal};
use stele_core::password::RawPassword;
use stele_core::verifier::{HashForm, ImportedHash, InvalidHash, parse_imported};
use zeroize::Zeroizing;

use crate::map::{EmptySecret, HexKind, SecretKind, SecretSpec};
use crate::record::Cell;

/// The longest clear password that is read, in bytes. Only its md5 is kept.
const MAX_PASSWORD_BYTES: usize = 64 * 1024;
/// What Django's password of a user without one starts with.
const DJANGO_UNUSABLE: char = '!';

/// The hash in a row's secret and salt; `None` if the user has no password.
///
/// # Errors
/// [`Refusal`] if the secret is missing, damaged or of none of the map's kinds.
pub(crate) fn read_secret(spec: &SecretSpec, secret: &Cell, salt: &Cell) -> Result<Option<ImportedHash>, Refusal> {
    if spec.kind.contains(SecretKind::None) {
        return Ok(None);
    }
    let text = match secret {
        Cell::NotText => return Err(Refusal::NotText(Field::Secret)),
        Cell::Null => "",
        Cell::Text(text) => text.as_str(),
    };
    let is_clear = spec.kind.contains(SecretKind::Clear);
    if text.is_empty() || (!is_clear && text.trim().is_empty()) {
        return match spec.empty {
            EmptySecret::Refuse => Err(Refusal::NoSecret),
            EmptySecret::None => Ok(None),
        };
    }
    let hash = match is_clear {
        true if text.len() > MAX_PASSWORD_BYTES => return Err(Refusal::TooLong(Field::Secret)),
        true => ImportedHash::Digest(RawPassword::new(text.to_owned()).digest()),
        false if is_unusable(spec, text) => return Ok(None),
        false => parse_hash(spec, text.trim(), salt)?,
    };
    if hash.is_of_empty_password() { Err(Refusal::EmptyPassword) } else { Ok(Some(hash)) }
}

fn is_unusable(spec: &SecretSpec, text: &str) -> bool {
    let may_be_django = [SecretKind::Django, SecretKind::Auto].iter().any(|kind| spec.kind.contains(*kind));
    may_be_django && text.starts_with(DJANGO_UNUSABLE)
}

fn parse_hash(spec: &SecretSpec, text: &str, salt: &Cell) -> Result<ImportedHash, Refusal> {
    let form = HashForm::of(text);
    if let Some(kind) = form.and_then(|form| spec.kind.0.iter().find(|kind| kind.takes(form))) {
        return match (kind, text.strip_prefix("$P$")) {
            // phpBB's prefix stands for the algorithm without what WordPress does to the password.
            (SecretKind::Phpass, Some(rest)) => parse(&Zeroizing::new(format!("$H${rest}"))),
            (SecretKind::Phpass, None) if form == Some(HashForm::WordPress) => Err(Refusal::WrongSecretKind),
            _ => parse(text),
        };
    }
    match &spec.salt {
        // Without a column of salts, a salted hash has its salt in Stele's notation.
        None if spec.kind.salted().any(|(_, name)| text.starts_with(&format!("${name}$"))) => parse(text),
        None => parse_hex(spec, text, ""),
        Some(_) => match salt {
            Cell::NotText => Err(Refusal::NotText(Field::Salt)),
            Cell::Null => parse_hex(spec, text, ""),
            Cell::Text(salt) => parse_hex(spec, text, salt),
        },
    }
}

/// A hash in hex digits. With a plain kind and a salted one, a row without salt is of the plain one.
fn parse_hex(spec: &SecretSpec, text: &str, salt: &str) -> Result<ImportedHash, Refusal> {
    let digits = if stele_core::password::PasswordDigest::from_hex(text).is_some() { 32 } else { text.len() };
    let is_hex = digits == 32 || text.bytes().all(|b| b.is_ascii_hexdigit());
    let salted = spec.kind.salted().find(|(length, _)| *length == digits).filter(|_| spec.salt.is_some());
    let plain = spec.kind.0.iter().find(|kind| kind.as_hex() == Some((digits, HexKind::Plain)));
    // The text of the salt is what was hashed, white space included.
    let hex = stele_core::hex::encode(salt.as_bytes());
    match (salted, plain) {
        (None, None) if spec.kind.contains(SecretKind::Base64) => parse_base64(text),
        _ if !is_hex && spec.kind.contains(SecretKind::Base64) => parse_base64(text),
        _ if !is_hex => Err(Refusal::WrongSecretKind),
        (Some((_, name)), plain) if plain.is_none() || !salt.is_empty() => {
            parse(&Zeroizing::new(format!("${name}${hex}${text}")))
        }
        (_, Some(SecretKind::Md5)) => parse(text),
        (_, Some(SecretKind::Sha1)) => parse(&Zeroizing::new(format!("$sha1ps$${text}"))),
        (_, Some(_)) => parse(&Zeroizing::new(format!("$sha256ps$${text}"))),
        (_, None) if spec.salt.is_some() => Err(Refusal::DamagedSecret),
        (_, None) => Err(Refusal::WrongSecretKind),
    }
}

/// base64 of a clear password.
fn parse_base64(text: &str) -> Result<ImportedHash, Refusal> {
    let bytes = STANDARD.decode(text).map_err(|_| Refusal::WrongSecretKind)?;
    let password = String::from_utf8(bytes).map_err(|_| Refusal::NotText(Field::Secret))?;
    Ok(ImportedHash::Digest(RawPassword::new(password).digest()))
}

fn parse(text: &str) -> Result<ImportedHash, Refusal> {
    parse_imported(text).map_err(|fault| match fault {
        InvalidHash::EmptySalt => Refusal::EmptySalt,
        InvalidHash::TooCostly => Refusal::TooCostly,
        InvalidHash::UnknownBcrypt | InvalidHash::UnknownForm => Refusal::WrongSecretKind,
        InvalidHash::DamagedArgon2
        | InvalidHash::DamagedBcrypt
        | InvalidHash::DamagedPbkdf2
        | InvalidHash::DamagedPhpass
        | InvalidHash::DamagedSalted => Refusal::DamagedSecret,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(kind: SecretKind, salt: bool) -> SecretSpec {
        let salt = salt.then(|| "salt".to_owned());
        SecretSpec { column: Some("secret".to_owned()), kind: vec![kind].into(), salt, empty: EmptySecret::Refuse }
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
            (SecretKind::Md5, "0123456789abcdef", "wrong_secret_kind"),
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

    /// A column with several kinds.
    fn mixed(kinds: &[SecretKind], salt: bool) -> SecretSpec {
        SecretSpec { kind: kinds.to_vec().into(), ..spec(SecretKind::Auto, salt) }
    }

    const SHA1: &str = "2f9e53523b62abc141a2b4d6019d23cba835dbd0";
    const SHA256: &str = "4104d36f8da2c254349f85836793ebe029e0c957063a34c91c2e9203187b5631";
    const PHPASS: &str = "BxoYe5ex8FfjUrowb.lEo8OAOBbCw7/";
    const WORDPRESS: &str = "$wp$2y$05$E8MsYkr1KQ3WTwu2aYgcPeKEnmr/qYQrH7qkgCtgUkj46r59lal.2";
    const DJANGO: &str = "pbkdf2_sha256$1000$Seasalt0$wh65H6onkqu9sa2e5dfhv6UZrII4GppYHMk6NELcGZw=";
    const IDENTITY: &str = "AQAAAAIAAAAyAAAAEOMwvh3+FZxqkdMBz2ekgGhwQ4B6pZWND6zgESBuWiHw";

    #[test]
    fn self_describing_hashes_are_taken_by_their_kind_and_by_auto() {
        let (p, h) = (format!("$P${PHPASS}"), format!("$H${PHPASS}"));
        let spring = format!("{{bcrypt}}{BCRYPT}");
        let forms = [BCRYPT, spring.as_str(), ARGON2, &h, &p, WORDPRESS, DJANGO, IDENTITY, D, SHA1, "123456", "!x"];
        for (kind, taken) in [
            (SecretKind::Bcrypt, &[0, 1][..]),
            (SecretKind::Argon2, &[2]),
            (SecretKind::Phpass, &[3, 4]),
            (SecretKind::Wordpress, &[4, 5]),
            (SecretKind::Django, &[6]),
            (SecretKind::Identity, &[7]),
            (SecretKind::Auto, &[0, 1, 2, 3, 4, 5, 6, 7]),
            (SecretKind::Md5, &[8]),
            (SecretKind::Sha1, &[9]),
        ] {
            for (n, form) in forms.iter().enumerate() {
                let expected = match (n, form) {
                    (11, _) if matches!(kind, SecretKind::Django | SecretKind::Auto) => "none",
                    _ if !taken.contains(&n) => "wrong_secret_kind",
                    (_, &ARGON2) => "strong",
                    (_, &D) => "digest",
                    _ => "weak",
                };
                assert_eq!(read(&spec(kind, false), form, ""), expected, "{kind:?} {form}");
            }
        }
        for (costly, expected) in [
            (DJANGO.replacen("1000", "1000000000", 1), "too_costly"),
            (BCRYPT.replacen("$04$", "$31$", 1), "too_costly"),
            (DJANGO[..60].to_owned(), "damaged_secret"),
            (p[..30].to_owned(), "damaged_secret"),
            (IDENTITY[..40].to_owned(), "damaged_secret"),
        ] {
            assert_eq!(read(&spec(SecretKind::Auto, false), &costly, ""), expected, "{costly}");
        }
    }

    #[test]
    fn hex_digits_are_classified_by_their_number_and_salt() {
        let verifier = |spec: &SecretSpec, text: &str, salt: &str| -> String {
            let hash = read_secret(spec, &Cell::text(text), &Cell::text(salt)).unwrap().unwrap();
            stele_core::verifier::PendingHash::new(hash).unwrap().verifier().to_owned()
        };
        let all = mixed(&[SecretKind::Md5, SecretKind::Md5ds, SecretKind::Sha1ps, SecretKind::Sha256], true);
        for (text, salt, expected) in [
            (D, "", "{pending}"),
            (D, "ab", "{pending}$md5ds$6162"),
            (SHA1, "ab", "{pending}$sha1ps$6162"),
            (SHA1, "", "{pending}$sha1ps$"),
            (SHA256, "ab", "{pending}$sha256ps$"),
        ] {
            assert_eq!(verifier(&all, text, salt), expected, "{text} {salt}");
        }
        assert_eq!(verifier(&spec(SecretKind::Md5ds, true), D, ""), "{pending}$md5ds$");
        assert_eq!(verifier(&spec(SecretKind::Sha256sp, true), SHA256, "ab"), "{pending}$sha256sp$6162");
        assert_eq!(read(&all, &SHA1[..39], "ab"), "damaged_secret");
        assert_eq!(read(&all, BCRYPT, ""), "wrong_secret_kind");
        assert_eq!(read_secret(&all, &Cell::text(D), &Cell::NotText).err(), Some(Refusal::NotText(Field::Salt)));
        // Discuz from X3.5: bcrypt without salt beside the older hashes.
        let discuz = mixed(&[SecretKind::Auto, SecretKind::Md5ds], true);
        assert_eq!(read(&discuz, BCRYPT, ""), "weak");
        assert_eq!(verifier(&discuz, D, "abcdef"), "{pending}$md5ds$616263646566");
    }

    #[test]
    fn phpass_as_a_kind_hashes_the_password_as_it_is() {
        let text = format!("$P${PHPASS}");
        for (kind, expected) in
            [(SecretKind::Phpass, "{pending}$H$BxoYe5ex8"), (SecretKind::Auto, "{pending}$P$BxoYe5ex8")]
        {
            let hash = read_secret(&spec(kind, false), &Cell::text(text.as_str()), &Cell::Null).unwrap().unwrap();
            assert_eq!(stele_core::verifier::PendingHash::new(hash).unwrap().verifier(), expected);
        }
    }

    #[test]
    fn base64_is_the_clear_password_beside_md5_or_alone() {
        let both = mixed(&[SecretKind::Md5, SecretKind::Base64], false);
        for (text, expected) in [
            ("MTIzNDU2", "digest"),
            (D, "digest"),
            ("123456", "wrong_secret_kind"),
            ("/w==", "not_text:secret"),
            (BCRYPT, "wrong_secret_kind"),
        ] {
            assert_eq!(read(&both, text, ""), expected, "{text}");
        }
        let spec = spec(SecretKind::Base64, false);
        let Ok(Some(ImportedHash::Digest(digest))) = read_secret(&spec, &Cell::text(" MTIzNDU2\n"), &Cell::Null) else {
            panic!("base64 of a password is its digest")
        };
        assert_eq!(digest.hex().as_slice(), D.as_bytes());
        assert_eq!(read(&spec, D, ""), "not_text:secret");
    }
}
