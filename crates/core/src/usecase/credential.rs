//! Making the pair that a password is kept as.

use crate::password::PasswordDigest;
use crate::seal::SealedSecret;
use crate::user::{Account, Credential, UserId};
use crate::verifier::{self, ImportedHash, PresentedSecret};
use crate::{Dependencies, Result};

/// What a user's sealed digest is bound to.
pub(crate) fn seal_context(user: UserId) -> Vec<u8> {
    [b"user\0", user.as_bytes().as_slice()].concat()
}

/// The pair for `digest`: argon2id, and sealed while salted dialects are on.
pub(super) async fn create(deps: &Dependencies, user: UserId, digest: &PasswordDigest) -> Result<Credential> {
    let verifier = deps.hasher.hash(digest.clone(), deps.random.bits128()).await?;
    Ok(Credential { verifier, sealed: seal_digest(deps, user, digest) })
}

/// What is kept of a hash made elsewhere until its first use. Nothing cheaper than argon2id.
pub(super) async fn import(deps: &Dependencies, user: UserId, hash: ImportedHash) -> Result<Credential> {
    let verifier = match hash {
        ImportedHash::Digest(digest) => return create(deps, user, &digest).await,
        ImportedHash::Strong(verifier) => verifier,
        ImportedHash::Weak(weak) => deps.hasher.wrap(weak, deps.random.bits128()).await?,
    };
    Ok(Credential { verifier, sealed: None })
}

/// Replaces what is outdated about the credential of someone who has just proved `secret`: an imported hash, weaker
/// parameters, a digest that is not sealed, or is although salted dialects are off. Nothing is made cheaper: not a hash
/// that is dearer than today's, nor one that another process has replaced since `account` was read.
pub(super) async fn rehash_on_login(deps: &Dependencies, account: &Account, secret: &PresentedSecret) -> Result<()> {
    let old = &account.credential;
    let current = verifier::is_current(&old.verifier, deps.hasher.cost());
    if current && old.sealed.is_some() == deps.salted_logins_enabled() {
        return Ok(());
    }
    let digest = secret.digest();
    let verifier = match current {
        true => old.verifier.clone(),
        false => deps.hasher.rehash(&old.verifier, digest.clone(), deps.random.bits128()).await?,
    };
    let new = Credential { verifier, sealed: seal_digest(deps, account.user.id, &digest) };
    deps.users.upgrade_credential(account.user.id, account.epoch, &old.verifier, &new).await?;
    Ok(())
}

/// `digest` sealed for its user's row, while salted dialects are on.
fn seal_digest(deps: &Dependencies, user: UserId, digest: &PasswordDigest) -> Option<SealedSecret> {
    deps.salted_logins_enabled().then(|| deps.seal(&seal_context(user), digest.expose()))
}
