//! Signing keys in the key folder: `jwt-eddsa-N.pem` or `jwt-rs256-N.pem`, PKCS#8 in PEM. The highest number signs,
//! all verify, so a key is replaced by adding the next number everywhere and removing the old one a session's
//! lifetime later.

use std::fs;
use std::path::Path;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{DecodingKey, EncodingKey};
use stele_web::keys::{make_once, read_secret};
use stele_web::{ConfigError, Settings};
use zeroize::Zeroizing;

const REMEDY: &str = "`stele migrate` makes missing keys, and all instances must share one set";

/// How tokens are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Ed25519.
    EdDsa,
    /// RSA PKCS#1 v1.5 with SHA-256.
    Rs256,
}

impl Algorithm {
    /// Its name in key ids and file names.
    fn tag(self) -> &'static str {
        match self {
            Self::EdDsa => "eddsa",
            Self::Rs256 => "rs256",
        }
    }

    /// Its name in tokens.
    pub fn jose(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
            Self::Rs256 => jsonwebtoken::Algorithm::RS256,
        }
    }
}

/// `STELE_JWT_ALG`.
///
/// # Errors
/// If it is neither of the two.
pub fn algorithm(settings: &Settings) -> Result<Algorithm, ConfigError> {
    settings.read("STELE_JWT_ALG", Algorithm::EdDsa, |text| match text {
        "EdDSA" => Ok(Algorithm::EdDsa),
        "RS256" => Ok(Algorithm::Rs256),
        _ => Err(format!("`{text}` is not known; write EdDSA or RS256")),
    })
}

/// A key pair.
pub struct Key {
    /// What tokens name it by: `eddsa-1`.
    pub id: String,
    /// The private half.
    pub signing: EncodingKey,
    /// The public half.
    pub verifying: DecodingKey,
}

/// The key pairs of one algorithm.
pub struct Keys {
    /// The algorithm: the keys' own, whatever a token says.
    pub algorithm: Algorithm,
    /// The newest key, which signs.
    pub newest: Key,
    /// The older ones.
    pub older: Vec<Key>,
}

impl Keys {
    /// The key with this id. The id is compared with what was loaded, and with nothing else.
    pub fn find(&self, id: &str) -> Option<&Key> {
        std::iter::once(&self.newest).chain(&self.older).find(|key| key.id == id)
    }
}

/// Reads the keys of `algorithm` in `folder`.
///
/// # Errors
/// One line that names the file, if there is none or one is damaged or unreadable.
pub fn load(folder: &Path, algorithm: Algorithm) -> Result<Keys, ConfigError> {
    let tag = algorithm.tag();
    let mut numbers = numbers(folder, algorithm)?;
    numbers.sort_unstable();
    let mut keys = Vec::new();
    for number in numbers.into_iter().rev() {
        let path = folder.join(format!("jwt-{tag}-{number}.pem"));
        let (signing, verifying) = parse(&read_secret(&path)?, algorithm).ok_or_else(|| {
            ConfigError::new(format!(
                "{}: not a PKCS#8 key for {:?} in PEM, or damaged; put it back from a backup, or remove it and log all in anew",
                path.display(),
                algorithm.jose()
            ))
        })?;
        keys.push(Key { id: format!("{tag}-{number}"), signing, verifying });
    }
    let mut keys = keys.into_iter();
    let none = || ConfigError::new(format!("{}: there is no jwt-{tag}-1.pem; {REMEDY}", folder.display()));
    Ok(Keys { algorithm, newest: keys.next().ok_or_else(none)?, older: keys.collect() })
}

/// Makes a key of the configured algorithm, if there is none.
///
/// # Errors
/// One line, if it cannot be made.
pub fn provision(folder: &Path, settings: &Settings) -> Result<(), ConfigError> {
    let algorithm = algorithm(settings)?;
    if !numbers(folder, algorithm)?.is_empty() {
        return Ok(());
    }
    let pem = generate(algorithm).ok_or_else(|| ConfigError::new("a signing key for JWTs could not be made"))?;
    make_once(&folder.join(format!("jwt-{}-1.pem", algorithm.tag())), || pem)
}

/// The numbers of the keys in `folder`.
fn numbers(folder: &Path, algorithm: Algorithm) -> Result<Vec<u32>, ConfigError> {
    let unreadable =
        |e: std::io::Error| ConfigError::new(format!("{}: cannot read the keys: {e}; {REMEDY}", folder.display()));
    let prefix = format!("jwt-{}-", algorithm.tag());
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        let text = name.to_str().and_then(|name| name.strip_prefix(&prefix)?.strip_suffix(".pem"));
        let number = text.and_then(|text| text.parse::<u32>().ok().filter(|number| number.to_string() == text));
        numbers.extend(number);
    }
    Ok(numbers)
}

fn parse(pem: &str, algorithm: Algorithm) -> Option<(EncodingKey, DecodingKey)> {
    match algorithm {
        Algorithm::EdDsa => {
            let signing = EncodingKey::from_ed_pem(pem.as_bytes()).ok()?;
            let pair = Ed25519KeyPair::from_pkcs8(signing.as_bytes()).ok()?;
            Some((signing, DecodingKey::from_ed_der(pair.public_key().as_ref())))
        }
        Algorithm::Rs256 => {
            let signing = EncodingKey::from_rsa_pem(pem.as_bytes()).ok()?;
            let pair = RsaKeyPair::from_der(signing.as_bytes()).ok()?;
            Some((signing, DecodingKey::from_rsa_der(pair.public_key().as_ref())))
        }
    }
}

/// A new key pair in PEM.
fn generate(algorithm: Algorithm) -> Option<Zeroizing<String>> {
    let der: Pkcs8V1Der<'_> = match algorithm {
        Algorithm::EdDsa => Ed25519KeyPair::generate().ok()?.as_der().ok()?,
        Algorithm::Rs256 => RsaKeyPair::generate(KeySize::Rsa3072).ok()?.as_der().ok()?,
    };
    let text = Zeroizing::new(STANDARD.encode(der.as_ref()));
    let mut pem = Zeroizing::new(String::with_capacity(text.len() + text.len() / 64 + 64));
    *pem += "-----BEGIN PRIVATE KEY-----\n";
    // Base64 is ASCII, so any index is between characters.
    for start in (0..text.len()).step_by(64) {
        *pem += &text[start..text.len().min(start + 64)];
        *pem += "\n";
    }
    *pem += "-----END PRIVATE KEY-----\n";
    Some(pem)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(algorithm: &str) -> Settings {
        Settings::default().with([("STELE_JWT_ALG", algorithm.to_owned())])
    }

    #[test]
    fn the_highest_number_signs_and_all_verify() {
        let folder = tempfile::tempdir().unwrap();
        provision(folder.path(), &settings("EdDSA")).unwrap();
        let first = fs::read_to_string(folder.path().join("jwt-eddsa-1.pem")).unwrap();
        for (name, pem) in
            [("jwt-eddsa-10.pem", generate(Algorithm::EdDsa).unwrap()), ("jwt-eddsa-2.pem", first.into())]
        {
            fs::write(folder.path().join(name), &*pem).unwrap();
        }
        for strange in ["jwt-eddsa-01.pem", "jwt-eddsa-x.pem", "jwt-eddsa-99.draft-1", "jwt-rs256-1.pem"] {
            fs::write(folder.path().join(strange), "not read").unwrap();
        }
        let keys = load(folder.path(), Algorithm::EdDsa).unwrap();
        assert_eq!(keys.newest.id, "eddsa-10");
        assert_eq!(keys.older.len(), 2);
        assert!(keys.find("eddsa-1").is_some() && keys.find("eddsa-2").is_some() && keys.find("eddsa-10").is_some());
        for hostile in ["", "eddsa-3", "eddsa-01", "EDDSA-1", "../keys/jwt-eddsa-1.pem", "eddsa-1\0"] {
            assert!(keys.find(hostile).is_none(), "{hostile}");
        }
    }

    #[test]
    fn a_key_is_made_once_and_only_if_there_is_none() {
        let folder = tempfile::tempdir().unwrap();
        assert!(load(folder.path(), Algorithm::EdDsa).err().unwrap().to_string().contains("jwt-eddsa-1.pem"));
        fs::write(folder.path().join("jwt-eddsa-2.pem"), &*generate(Algorithm::EdDsa).unwrap()).unwrap();
        provision(folder.path(), &settings("EdDSA")).unwrap();
        assert!(!folder.path().join("jwt-eddsa-1.pem").exists());
        provision(folder.path(), &settings("RS256")).unwrap();
        let made = fs::read_to_string(folder.path().join("jwt-rs256-1.pem")).unwrap();
        provision(folder.path(), &settings("RS256")).unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("jwt-rs256-1.pem")).unwrap(), made);
        assert_eq!(load(folder.path(), Algorithm::Rs256).unwrap().newest.id, "rs256-1");
    }

    #[test]
    fn a_damaged_or_foreign_key_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jwt-eddsa-1.pem");
        let good = generate(Algorithm::EdDsa).unwrap();
        let rsa = generate(Algorithm::Rs256).unwrap();
        let cut = good.replacen("MC", "", 1);
        for bad in ["", "garbage", &good[..60], &cut, &rsa] {
            fs::write(&path, bad).unwrap();
            let error = load(folder.path(), Algorithm::EdDsa).err().unwrap().to_string();
            assert!(error.contains("jwt-eddsa-1.pem"), "{error}");
        }
        fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(load(folder.path(), Algorithm::EdDsa).err().unwrap().to_string().contains("jwt-eddsa-1.pem"));
    }

    #[test]
    fn an_unknown_algorithm_is_named() {
        for bad in ["none", "HS256", "eddsa"] {
            let error = algorithm(&settings(bad)).unwrap_err().to_string();
            assert!(error.contains("STELE_JWT_ALG") && error.contains(bad), "{error}");
        }
    }
}
