//! A table in memory.

use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::password::{PasswordFormat, StoredPassword};
use crate::user::{Lookup, OldUser, TableError, UserTable};

/// Users in memory.
#[derive(Debug)]
pub struct MemoryTable {
    format: PasswordFormat,
    users: Mutex<Vec<OldUser>>,
}

impl MemoryTable {
    /// A table that keeps passwords in the form `format`.
    ///
    /// # Panics
    /// If a user's password is in another form.
    pub fn new(format: PasswordFormat, users: impl IntoIterator<Item = OldUser>) -> Self {
        let users: Vec<_> = users.into_iter().collect();
        for user in &users {
            assert_eq!(user.password.format, format, "the password of {}", user.name);
        }
        Self { format, users: Mutex::new(users) }
    }

    fn users(&self) -> MutexGuard<'_, Vec<OldUser>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn matches(user: &OldUser, lookup: Lookup<'_>) -> bool {
    let value = lookup.value();
    let is = |column: &str| !value.is_empty() && column.eq_ignore_ascii_case(value);
    match lookup {
        Lookup::Id(_) => is(&user.id),
        Lookup::Name(_) => is(&user.name),
        Lookup::Phone(_) => is(&user.phone),
        Lookup::Contact(_) => is(&user.phone) || is(&user.email),
        Lookup::Login(_) => is(&user.name) || is(&user.phone) || is(&user.email),
    }
}

#[async_trait]
impl UserTable for MemoryTable {
    fn password_format(&self) -> PasswordFormat {
        self.format
    }

    async fn find(&self, lookup: Lookup<'_>) -> Result<Option<OldUser>, TableError> {
        Ok(self.users().iter().find(|user| matches(user, lookup)).cloned())
    }

    async fn set_password(&self, id: &str, password: &StoredPassword) -> Result<(), TableError> {
        if password.format != self.format {
            return Err(TableError(format!("the table keeps {:?}, not {:?}", self.format, password.format)));
        }
        let mut users = self.users();
        let user = users.iter_mut().find(|user| user.id == id);
        user.ok_or_else(|| TableError(format!("there is no user {id}")))?.password = password.clone();
        Ok(())
    }

    async fn add(&self, user: &OldUser) -> Result<String, TableError> {
        let mut users = self.users();
        let identifiers = [&user.name, &user.phone, &user.email];
        if identifiers.iter().any(|value| users.iter().any(|other| matches(other, Lookup::Login(value)))) {
            return Err(TableError(format!("{} is taken", user.name)));
        }
        let mut user = user.clone();
        if user.id.is_empty() {
            let last = users.iter().filter_map(|user| user.id.parse::<u64>().ok()).max().unwrap_or(0);
            user.id = (last + 1).to_string();
        }
        let id = user.id.clone();
        users.push(user);
        Ok(id)
    }
}
