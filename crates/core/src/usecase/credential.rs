//! Credentials: creation with verifier and sealed digest, import of password hashes, rehash on login.

use crate::password::PasswordDigest;
use crate::seal::SealedSecret;
use crate::user::{Account, Credential, UserId};
use crate::verifier::{self, ImportedHash, PendingHash, PresentedSecret};
use crate::{Dependencies, Error, Result};

/// The context for which a user's digest is sealed (additional data).
pub(crate) fn seal_context(user: UserId) -> Vec<u8> {
    [b"user\0", user.as_bytes().as_slice()].concat()
}

/// Creates the credential for `digest`: an argon2id verifier, and the sealed digest if salted logins are enabled.
pub(super) async fn create(deps: &Dependencies, user: UserId, digest: &PasswordDigest) -> Result<Credential> {
    let verifier = deps.hasher.hash(digest.clone(), deps.random.bits128()).await?;
    Ok(Credential { verifier, sealed: seal_digest(deps, user, digest) })
}

/// Creates the credential for an imported hash, which a login replaces. A weak hash is stored only wrapped in argon2id.
pub(super) async fn import(deps: &Dependencies, user: UserId, hash: ImportedHash) -> Result<Credential> {
    let verifier = match hash {
        ImportedHash::Digest(digest) => return create(deps, user, &digest).await,
        ImportedHash::Strong(verifier) => verifier,
        ImportedHash::Weak(weak) => deps.hasher.wrap(weak, deps.random.bits128()).await?,
    };
    Ok(Credential { verifier, sealed: None })
}

/// Unseals the imported hash of an account whose hash is not wrapped in argon2id yet.
///
/// # Errors
/// `Internal` if its key is missing or wrong, or the row is damaged.
pub(super) async fn open_pending(deps: &Dependencies, account: &Account) -> Result<PendingHash> {
    let damaged = || Error::internal("an imported hash that waits for argon2id is damaged");
    let Credential { verifier, sealed } = &account.credential;
    let secret = deps.open(&seal_context(account.user.id), sealed.as_ref().ok_or_else(damaged)?).await?;
    PendingHash::from_stored(verifier, secret).ok_or_else(damaged)
}

/// Rehash on login: replaces an outdated credential of a user who has just proved `secret`. A credential is outdated if
/// its verifier is an imported hash or of a lower cost than the current one, if its digest is not sealed although
/// salted logins are enabled, or if its digest is sealed although they are disabled. A hash is never replaced by a
/// cheaper one. If another process has replaced the credential since `account` was read, nothing changes. Returns whether
/// the credential was replaced.
pub(super) async fn rehash_on_login(deps: &Dependencies, account: &Account, secret: &PresentedSecret) -> Result<bool> {
    let old = &account.credential;
    let is_current = verifier::is_current(&old.verifier, deps.hasher.cost());
    if is_current && old.sealed.is_some() == deps.salted_logins_enabled() {
        return Ok(false);
    }
    let digest = secret.digest();
    let verifier = match is_current {
        true => old.verifier.clone(),
        false => deps.hasher.rehash(&old.verifier, digest.clone(), deps.random.bits128()).await?,
    };
    let new = Credential { verifier, sealed: seal_digest(deps, account.user.id, &digest) };
    deps.users.upgrade_credential(account.user.id, account.epoch, &old.verifier, &new).await
}

/// Seals the digest for the user's row; `None` if salted logins are disabled.
fn seal_digest(deps: &Dependencies, user: UserId, digest: &PasswordDigest) -> Option<SealedSecret> {
    deps.salted_logins_enabled().then(|| deps.seal(&seal_context(user), digest.expose()))
}
