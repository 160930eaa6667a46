//! The check of new passwords against the lists of common passwords. It applies to registration, changes, resets and
//! passwords that an administrator sets, never to logins and imported hashes.

use super::audit_scope::AuditScope;
use crate::common_passwords::{CommonPasswordPolicy, ListedPasswordKey, is_common};
use crate::password::{NewPassword, PasswordDigest};
use crate::ports::UserStore;
use crate::{Dependencies, Error, Result};

/// The list on which a password is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordList {
    /// The list that is part of the program.
    BuiltIn,
    /// The operator's own list, in the user store.
    Operator,
}

/// Checks a new password, before anything that could be used up (a code, a proof, a reset token). The check depends
/// on nothing but the password, so its result says nothing about a user.
///
/// # Errors
/// `CommonPassword` if the policy refuses a listed password; `Unavailable`, `Internal`.
pub(super) async fn check_new_password(
    deps: &Dependencies,
    password: &NewPassword,
    audit: &mut AuditScope<'_>,
) -> Result<()> {
    let policy = deps.policy.common_passwords;
    if policy == CommonPasswordPolicy::Off || find_in_lists(deps.users.as_ref(), password.as_digest()).await?.is_none()
    {
        return Ok(());
    }
    match policy {
        CommonPasswordPolicy::Refuse => Err(Error::CommonPassword),
        CommonPasswordPolicy::Warn | CommonPasswordPolicy::Off => {
            audit.set_common_password();
            Ok(())
        }
    }
}

/// The list on which the password with this digest is; `None` if it is on neither.
pub(super) async fn find_in_lists(users: &dyn UserStore, digest: &PasswordDigest) -> Result<Option<PasswordList>> {
    if is_common(digest) {
        return Ok(Some(PasswordList::BuiltIn));
    }
    let is_listed = users.is_password_listed(ListedPasswordKey::new(digest)).await?;
    Ok(is_listed.then_some(PasswordList::Operator))
}
