//! The credential of a user who has another password at an old server.

use super::{ConfirmedCredential, UnverifiedLogin};
use crate::usecase::credential;
use crate::usecase::proof_verification::match_credential;
use crate::user::Account;
use crate::verifier::PresentedSecret;
use crate::{Dependencies, Error, Result};

/// How often a credential is replaced while other logins of the same user replace it too.
const MAX_REPLACEMENTS: u32 = 5;

/// Replaces the credential of a user whose password an old server has confirmed. Sessions under the former password end, as
/// with every change of a password. Returns the account as it is now; `None` if the password was changed here meanwhile,
/// and the login's is not the new one.
///
/// People with another password at each old server may log in at two of them at the same time. The server's yes is true
/// although the other login has replaced the credential meanwhile, so it is replaced once more.
///
/// # Errors
/// `Unavailable`, also if other logins replace the credential each time; `Busy`, `Internal`.
pub(super) async fn replace_credential(
    deps: &Dependencies,
    login: &UnverifiedLogin<'_>,
    mut account: Account,
    secret: &PresentedSecret,
) -> Result<Option<(Account, ConfirmedCredential)>> {
    let id = account.user.id;
    let new = credential::create(deps, id, &secret.digest()).await?;
    for _ in 0..MAX_REPLACEMENTS {
        let epoch = deps.random.new_epoch_from_old_server();
        if deps.users.change_credential(id, account.epoch, epoch, &new).await? {
            return Ok(Some((Account { epoch, credential: new, ..account }, ConfirmedCredential::Replaced)));
        }
        let Some(current) = deps.users.find_for_client(login.caller.dialect, &id.into()).await? else {
            return Ok(None);
        };
        // Another instance, to which the same login was sent, has replaced it.
        if match_credential(deps, Some(&current), login.proof).await?.is_match() {
            return Ok(Some((current, ConfirmedCredential::MigratedElsewhere)));
        }
        if !current.has_password_of_old_server() {
            return Ok(None);
        }
        account = current;
    }
    Err(Error::unavailable("other logins of the user replace the password at the same time"))
}
