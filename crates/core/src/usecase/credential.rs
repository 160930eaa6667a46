//! Making the pair that a password is kept as.

use crate::password::PasswordDigest;
use crate::user::{Account, Credential, UserId};
use crate::verifier::{self, Secret};
use crate::{Deps, Result};

/// What a user's sealed digest is bound to.
pub(crate) fn seal_context(user: UserId) -> Vec<u8> {
    [b"user\0", user.as_bytes().as_slice()].concat()
}

/// The pair for `digest`: argon2id, and sealed while salted dialects are on.
pub(super) async fn make(deps: &Deps, user: UserId, digest: &PasswordDigest) -> Result<Credential> {
    let verifier = deps.hasher.hash(digest.clone(), deps.random.bits128()).await?;
    let seal = || deps.seal(&seal_context(user), digest.expose());
    Ok(Credential { verifier, sealed: deps.salted().then(seal) })
}

/// Replaces what is outdated about the credential of someone who has just proved `secret`: an imported hash, weaker
/// parameters, a digest that is not sealed, or is although salted dialects are off.
pub(super) async fn upgrade(deps: &Deps, account: &Account, secret: &Secret) -> Result<()> {
    let current = verifier::is_current(&account.credential.verifier, deps.hasher.cost());
    if current && account.credential.sealed.is_some() == deps.salted() {
        return Ok(());
    }
    let new = make(deps, account.user.id, &secret.digest()).await?;
    deps.users.upgrade_credential(account.user.id, account.epoch, &new).await?;
    Ok(())
}
