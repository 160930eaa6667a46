//! Comparison of imported hashes: with the password of the user whom a row joins, and with a password that the operator
//! names. The user's password stays; the operator is shown where the row's may be another one.

use subtle::ConstantTimeEq as _;

use super::credential::seal_context;
use crate::password::RawPassword;
use crate::seal::Sealer;
use crate::user::{Credential, UserId};
use crate::verifier::{self, HashMemory, ImportedHash, PendingHash, PresentedSecret};

/// Whether the password of a user is known to be that of `secret`: the same hash, or the same `D`. Others would have to be
/// computed by argon2id, which takes hours for a source, or cannot be compared at all.
pub(super) fn is_known_to_be_same(sealer: &Sealer, user: UserId, stored: &Credential, secret: &ImportedHash) -> bool {
    let opened = || sealer.open(&seal_context(user), stored.sealed.as_ref()?).ok();
    match PendingHash::new(secret.clone()) {
        Err(strong) => strong == stored.verifier,
        Ok(pending) => {
            let is_digest = matches!(secret, ImportedHash::Digest(_)) && verifier::has_sealed_digest(&stored.verifier);
            let is_comparable = is_digest || pending.verifier() == stored.verifier;
            is_comparable && opened().is_some_and(|opened| opened.ct_eq(pending.secret()).into())
        }
    }
}

/// Whether a password matches an imported hash: shows that the map names the right kind before anything is written.
pub fn proves(secret: ImportedHash, password: &RawPassword) -> bool {
    let (presented, memory) = (PresentedSecret::Raw(password.clone()), &mut HashMemory::default());
    match PendingHash::new(secret) {
        Ok(pending) => pending.verify(&presented, memory),
        Err(strong) => verifier::verify(&strong, &presented, memory),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::OsRandom;
    use crate::time::Timestamp;
    use crate::verifier::parse_imported;

    const SALTED: &str = "$md5ps$6162$e00f40f32b5afe2e746fc953bb3f1c7b";

    const USER: UserId = UserId::from_bytes([7; 16]);

    fn stored(sealer: &Sealer, verifier: &str, secret: Option<&[u8]>) -> Credential {
        let seal = |secret: &[u8]| sealer.seal(Timestamp::from_micros(0), &seal_context(USER), secret, &OsRandom);
        Credential { verifier: verifier.to_owned(), sealed: secret.map(seal) }
    }

    #[test]
    fn passwords_are_the_same_if_their_hashes_or_digests_are() {
        let sealer = Sealer::new([(7, [7; 32].into())]).unwrap();
        let digest = |password: &str| ImportedHash::Digest(RawPassword::new(password.to_owned()).digest());
        let (d, salted) = (RawPassword::new("correct horse".to_owned()).digest(), parse_imported(SALTED).unwrap());
        let waiting = PendingHash::new(parse_imported(SALTED).unwrap()).unwrap();
        let strong = "$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$rk2Mi3E4dgRMg0fHaYaptWVZRKs";
        for (verifier, sealed, secret, expected) in [
            ("{pending}", Some(&d.expose()[..]), digest("correct horse"), true),
            ("{pending}", Some(&d.expose()[..]), digest("another"), false),
            (strong, Some(&d.expose()[..]), digest("correct horse"), true),
            (strong, Some(&d.expose()[..]), digest("another"), false),
            (strong, None, digest("correct horse"), false),
            (strong, None, ImportedHash::Strong(strong.to_owned()), true),
            ("$argon2id$other", None, ImportedHash::Strong(strong.to_owned()), false),
            (waiting.verifier(), Some(waiting.secret()), parse_imported(SALTED).unwrap(), true),
            (waiting.verifier(), Some(&[0; 16]), parse_imported(SALTED).unwrap(), false),
            (waiting.verifier(), Some(waiting.secret()), digest("correct horse"), false),
            ("{pending}", Some(&d.expose()[..]), salted, false),
        ] {
            let stored = stored(&sealer, verifier, sealed);
            assert_eq!(is_known_to_be_same(&sealer, USER, &stored, &secret), expected, "{verifier}");
        }
    }
}
