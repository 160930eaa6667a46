//! Whether an old server's answer is about the user who logs in.

use super::UnverifiedLogin;
use crate::old_server::{ExpectedUser, IdentityMismatch, OldApi, OldProfile};
use crate::ports::OldLoginResult;
use crate::{Dependencies, Error, Result};

/// Checks that `answer` is about the expected user.
///
/// # Errors
/// `Unavailable` if it is about another one; `Internal`.
pub(super) async fn check_answered_user(
    deps: &Dependencies,
    login: &UnverifiedLogin<'_>,
    api: OldApi,
    expected: ExpectedUser<'_>,
    answer: &OldProfile,
) -> Result<()> {
    let mismatch = match expected.check(answer) {
        Ok(()) => return Ok(()),
        Err(IdentityMismatch::Name) if is_named_in_another_source(deps, login, answer).await? => return Ok(()),
        Err(mismatch) => mismatch,
    };
    deps.old_servers.record_login(api, OldLoginResult::WrongUser);
    let user = expected.user.map(|user| user.id.to_string());
    tracing::error!(
        server = api.as_str(),
        user,
        ?mismatch,
        "an old server has confirmed a password, but its answer is about another user; compare the user's old id and \
         identifiers with those of the old server"
    );
    Err(Error::unavailable("the old server's answer is about another user"))
}

/// Whether an identifier in the answer belongs to the user although it is not the one that the profile shows: a user who
/// was joined from rows of several sources logs in by the names of all of them, and the profile has the first.
async fn is_named_in_another_source(
    deps: &Dependencies,
    login: &UnverifiedLogin<'_>,
    answer: &OldProfile,
) -> Result<bool> {
    let Some(account) = login.account else { return Ok(false) };
    for identifier in answer.identifiers() {
        let owner = deps.users.find_for_login(login.caller.dialect, identifier.key()).await?;
        if owner.is_some_and(|owner| owner.user.id == account.user.id) {
            return Ok(true);
        }
    }
    Ok(false)
}
