//! Adds a user: the row, the identifiers, and the id at an old server, in one transaction.

use diesel::dsl::{case_when, exists, not};
use diesel::result::{DatabaseErrorKind, Error as DbError};
use diesel::sql_types::{BigInt, Binary, Nullable};
use diesel::{ExpressionMethods, IntoSql, QueryDsl, QueryResult};
use stele_core::import::derived_number;
use stele_core::old_server::LegacyId;
use stele_core::user::{NewUser, User, legacy_key};
use stele_core::{Error, Result};

use super::legacy_user_store::NO_RUN;
use super::pool::{change, found_change};
use super::rows::{UserRow, encode_sealed_digest};
use super::schema::{facts, identifiers, legacy_ids, users};
use super::user_store::{SALTED_LOGINS_DISABLED, SqlStore, unless_salted_logins_disabled};
use crate::error::{is_unique_violation, map_database_error};

impl SqlStore {
    /// Stores a user under the next number, with the id that an old server has answered, if there is one; `None` if an
    /// identifier or the id is taken.
    pub(super) async fn insert_user(&self, new: &NewUser, legacy_id: Option<&LegacyId>) -> Result<Option<User>> {
        let user = UserRow::new(new);
        if user.has_nul() {
            return Err(Error::Invalid("profile"));
        }
        let (row, verifier) = (user.clone(), new.credential.verifier.clone());
        let (seal_key_id, sealed) = encode_sealed_digest(&new.credential);
        let keys: Vec<_> = new.identifier_keys().into_iter().map(str::to_owned).collect();
        let id = user.id.clone();
        let legacy_id = legacy_id.map(|legacy| (legacy.api.as_str(), legacy.id.clone()));
        if legacy_id.as_ref().is_some_and(|(_, id)| id.contains('\0')) {
            return Err(Error::Invalid("id"));
        }
        let added: QueryResult<Option<i64>> = change!(
            self.db,
            "add",
            new.id.0,
            Transaction,
            |conn| {
                // Checked before the insert: in PostgreSQL a failed insert consumes a user number.
                let taken =
                    identifiers::table.filter(identifiers::key.eq_any(&keys)).count().get_result::<i64>(conn).await?;
                if taken > 0 {
                    return Ok(None);
                }
                let sealed_digest = (
                    users::seal_key_id.eq(unless_salted_logins_disabled!(seal_key_id.into_sql::<Nullable<BigInt>>())),
                    users::sealed.eq(unless_salted_logins_disabled!(sealed.clone().into_sql::<Nullable<Binary>>())),
                );
                let credential = (users::verifier.eq(&verifier), users::epoch.eq(0), sealed_digest);
                let insert = diesel::insert_into(users::table).values((&row, credential));
                let number = insert.returning(users::number).get_result::<i64>(conn).await?;
                // Inserted one by one in a fixed order, so that two registrations of the same keys do not deadlock.
                for key in &keys {
                    let row = (identifiers::key.eq(key), identifiers::number.eq(number));
                    diesel::insert_into(identifiers::table).values(row).execute(conn).await?;
                }
                if let Some((source, id)) = &legacy_id {
                    // A server that answers no id has an identifier in its place, which no client knows as a user id.
                    let is_id = !keys.contains(id);
                    let row = (
                        legacy_ids::source.eq(*source),
                        legacy_ids::id.eq(id),
                        legacy_ids::number.eq(number),
                        legacy_ids::run.eq(NO_RUN),
                        legacy_ids::position.eq(0),
                        legacy_ids::content.eq([0_u8; 16].as_slice()),
                        legacy_ids::merged.eq(false),
                        legacy_ids::dialect.eq(Some(*source).filter(|_| is_id)),
                        legacy_ids::key.eq(Some(legacy_key(id)).filter(|_| is_id)),
                        legacy_ids::derived_number.eq(derived_number(source, id).filter(|_| is_id)),
                    );
                    diesel::insert_into(legacy_ids::table).values(row).execute(conn).await?;
                }
                Ok(Some(number))
            },
            users::table.filter(users::id.eq(&id)).select(found_change!(users::number)),
            |number| Some(number)
        );
        match added {
            Ok(Some(number)) => user.into_user(number).map(Some).map_err(map_database_error),
            Ok(None) => Ok(None),
            // An import has set the number that the sequence gave: the name is not taken.
            Err(DbError::DatabaseError(DatabaseErrorKind::UniqueViolation, detail))
                if detail.constraint_name() == Some("users_pkey") =>
            {
                Err(Error::unavailable("an import has just used the user number; try again"))
            }
            Err(error) if is_unique_violation(&error) => Ok(None),
            Err(error) => Err(map_database_error(error)),
        }
    }
}
