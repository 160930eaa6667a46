//! `[secret]`: the kinds of hash that a source has.

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use stele_core::verifier::HashForm;

use super::MapError;

/// The kind of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecretKind {
    /// The password. Only its md5 digest leaves the row reader.
    Clear,
    /// base64 of the password, which hides nothing.
    Base64,
    /// `md5(password)` in hex: `D`.
    Md5,
    /// `md5(password + salt)` in hex.
    Md5ps,
    /// `md5(salt + password)` in hex.
    Md5sp,
    /// `md5(md5(password) + salt)` in hex, as Discuz, FastAdmin and many systems in PHP.
    Md5ds,
    /// `sha1(password)` in hex.
    Sha1,
    /// `sha1(password + salt)` in hex.
    Sha1ps,
    /// `sha1(salt + password)` in hex.
    Sha1sp,
    /// `sha256(password)` in hex.
    Sha256,
    /// `sha256(password + salt)` in hex.
    Sha256ps,
    /// `sha256(salt + password)` in hex.
    Sha256sp,
    /// bcrypt, as Laravel, RuoYi and Spring Security.
    Bcrypt,
    /// argon2, as a PHC string.
    Argon2,
    /// phpass over the password as it is, `$H$…` or `$P$…`, as phpBB.
    Phpass,
    /// WordPress: `$P$…`, and from 6.8 `$wp$2y$…`.
    Wordpress,
    /// Django.
    Django,
    /// ASP.NET Identity, versions 2 and 3.
    Identity,
    /// Each value by its own form: any of the kinds from `bcrypt` to `identity`.
    Auto,
    /// No secret: the user has no password yet.
    None,
}

/// What a kind in hex digits is computed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HexKind {
    /// The password alone.
    Plain,
    /// The password and a salt, with the name of the kind in [`stele_core::verifier::parse_imported`].
    Salted(&'static str),
}

impl SecretKind {
    /// For a hash in hex digits: how many digits, and what it is computed from.
    pub(crate) fn as_hex(self) -> Option<(usize, HexKind)> {
        Some(match self {
            Self::Md5 => (32, HexKind::Plain),
            Self::Md5ps => (32, HexKind::Salted("md5ps")),
            Self::Md5sp => (32, HexKind::Salted("md5sp")),
            Self::Md5ds => (32, HexKind::Salted("md5ds")),
            Self::Sha1 => (40, HexKind::Plain),
            Self::Sha1ps => (40, HexKind::Salted("sha1ps")),
            Self::Sha1sp => (40, HexKind::Salted("sha1sp")),
            Self::Sha256 => (64, HexKind::Plain),
            Self::Sha256ps => (64, HexKind::Salted("sha256ps")),
            Self::Sha256sp => (64, HexKind::Salted("sha256sp")),
            _ => return None,
        })
    }

    /// Whether a hash of this form may be of this kind.
    pub(crate) fn takes(self, form: HashForm) -> bool {
        match self {
            Self::Bcrypt => form == HashForm::Bcrypt,
            Self::Argon2 => form == HashForm::Argon2,
            Self::Phpass => matches!(form, HashForm::Phpass | HashForm::WordPress),
            Self::Wordpress => form == HashForm::WordPress,
            Self::Django => form == HashForm::Django,
            Self::Identity => form == HashForm::Identity,
            Self::Auto => !matches!(form, HashForm::Md5 | HashForm::Salted),
            _ => false,
        }
    }
}

/// What an empty secret means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EmptySecret {
    /// The row is refused.
    #[default]
    Refuse,
    /// The user has no password yet.
    None,
}

/// The kinds of a column: one, or several if the table has hashes of different forms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SecretKinds(pub(crate) Vec<SecretKind>);

impl From<Vec<SecretKind>> for SecretKinds {
    fn from(kinds: Vec<SecretKind>) -> Self {
        Self(kinds)
    }
}

impl SecretKinds {
    pub(crate) fn contains(&self, kind: SecretKind) -> bool {
        self.0.contains(&kind)
    }

    /// The names of the kinds that are computed with a salt, in the notation of Stele.
    pub(crate) fn salted(&self) -> impl Iterator<Item = (usize, &'static str)> {
        self.0.iter().filter_map(|kind| match kind.as_hex()? {
            (digits, HexKind::Salted(name)) => Some((digits, name)),
            (_, HexKind::Plain) => None,
        })
    }

    fn check(&self) -> Result<(), &'static str> {
        let is_alone = |kind| self.contains(kind) && self.0.len() > 1;
        let mut digits: Vec<_> = self.salted().map(|(digits, _)| digits).collect();
        digits.sort_unstable();
        digits.dedup();
        match &self.0[..] {
            [] => Err("is empty; name at least one kind"),
            _ if is_alone(SecretKind::Clear) || is_alone(SecretKind::None) => {
                Err("cannot have \"clear\" or \"none\" beside another kind; remove one of the two")
            }
            _ if digits.len() < self.salted().count() => Err(
                "has two salted kinds whose hashes look the same; name one, and import the other rows with a map of their own",
            ),
            _ => Ok(()),
        }
    }
}

impl<'de> Deserialize<'de> for SecretKinds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KindsVisitor;
        impl<'de> Visitor<'de> for KindsVisitor {
            type Value = SecretKinds;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a kind, or a list of kinds")
            }

            fn visit_str<E: serde::de::Error>(self, kind: &str) -> Result<SecretKinds, E> {
                SecretKind::deserialize(StrDeserializer::new(kind)).map(|kind| vec![kind].into())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<SecretKinds, A::Error> {
                let mut kinds = Vec::new();
                while let Some(kind) = seq.next_element()? {
                    kinds.push(kind);
                }
                let kinds = SecretKinds(kinds);
                kinds.check().map_err(|fault| A::Error::custom(format!("kind {fault}")))?;
                Ok(kinds)
            }
        }
        deserializer.deserialize_any(KindsVisitor)
    }
}

/// `[secret]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SecretSpec {
    pub(crate) column: Option<String>,
    pub(crate) kind: SecretKinds,
    pub(crate) salt: Option<String>,
    #[serde(default)]
    pub(crate) empty: EmptySecret,
}

impl SecretSpec {
    /// A map without `[secret]`: no user has a password.
    pub(super) fn absent() -> Self {
        Self { column: None, kind: vec![SecretKind::None].into(), salt: None, empty: EmptySecret::None }
    }

    pub(super) fn check(&self) -> Result<(), MapError> {
        let has_secrets = !self.kind.contains(SecretKind::None);
        match (has_secrets, &self.column, &self.salt) {
            (false, Some(_), _) => {
                Err(MapError::new("secret.column", "is set, but secret.kind is \"none\"; remove one of the two"))
            }
            (false, None, Some(_)) => Err(MapError::new("secret.salt", "is set without a secret; remove it")),
            (false, None, None) => Ok(()),
            (true, None, _) => Err(MapError::new("secret.column", "is missing; name the column of the password")),
            (true, Some(_), Some(_)) if self.kind.salted().next().is_none() => Err(MapError::new(
                "secret.salt",
                "is only for the kinds md5ps, md5sp, md5ds, sha1ps, sha1sp, sha256ps and sha256sp; correct secret.kind",
            )),
            (true, Some(_), _) => Ok(()),
        }
    }
}
