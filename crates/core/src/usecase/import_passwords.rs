//! Looks the passwords of an import up in the lists of common passwords.

use std::collections::HashSet;

use crate::Result;
use crate::common_passwords::{ListedPasswordKey, is_common};
use crate::import::PasswordCheck;
use crate::ports::PasswordListStore;
use crate::verifier::ImportedHash;

/// What the lists say of each of these passwords, in their order; `None` for a row without a password. One query, whatever
/// the number of passwords.
///
/// # Errors
/// `Unavailable`, `Internal`.
pub(super) async fn check_passwords<'a>(
    list: &dyn PasswordListStore,
    secrets: impl Iterator<Item = Option<&'a ImportedHash>>,
) -> Result<Vec<Option<PasswordCheck>>> {
    let mut keys = Vec::new();
    let built_in: Vec<_> = secrets
        .map(|secret| match secret? {
            ImportedHash::Digest(digest) if is_common(digest) => Some((PasswordCheck::Common, None)),
            ImportedHash::Digest(digest) => {
                let key = ListedPasswordKey::new(digest);
                keys.push(key);
                Some((PasswordCheck::NotListed, Some(key)))
            }
            ImportedHash::Strong(_) | ImportedHash::Weak(_) => Some((PasswordCheck::NotChecked, None)),
        })
        .collect();
    let listed = if keys.is_empty() { HashSet::new() } else { list.find_listed_passwords(&keys).await? };
    let with_own_list = built_in.into_iter().map(|found| {
        let (check, key) = found?;
        Some(if key.is_some_and(|key| listed.contains(&key)) { PasswordCheck::Common } else { check })
    });
    Ok(with_own_list.collect())
}
