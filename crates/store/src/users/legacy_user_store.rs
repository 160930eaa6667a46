//! Users as the old servers know them: their ids there, and the users whom a confirmed login adds.

use async_trait::async_trait;
use diesel::dsl::{case_when, exists, not};
use diesel::sql_types::Text;
use diesel::{ExpressionMethods, IntoSql, QueryDsl};
use stele_core::old_server::{LegacyId, OldApi};
use stele_core::ports::LegacyUserStore;
use stele_core::user::{Gender, NewUser, Profile, User, UserId};
use stele_core::{Error, Result};

use super::pool::query;
use super::schema::{legacy_ids, users};
use super::user_store::{SqlStore, first_text};
use crate::error::map_database_error;

/// The run of an id that no import has brought.
pub(super) const NO_RUN: i64 = 0;

/// A text of the profile that is set only where the user has none.
macro_rules! if_empty {
    ($profile:expr, $($column:ident = $field:ident),*) => {
        ($(users::$column.eq(
            case_when(users::$column.eq(""), $profile.$field.as_str().into_sql::<Text>()).otherwise(users::$column)
        ),)*)
    };
}

pub(super) use if_empty;

#[async_trait]
impl LegacyUserStore for SqlStore {
    async fn list_legacy_ids(&self, user_number: i64) -> Result<Vec<LegacyId>> {
        let rows = query!(self.db, Read, |conn| {
            legacy_ids::table
                .filter(legacy_ids::number.eq(user_number))
                .order((legacy_ids::source, legacy_ids::id))
                .select((legacy_ids::source, legacy_ids::dialect, legacy_ids::id))
                .load::<(String, Option<String>, String)>(conn)
                .await
        });
        let rows = rows.map_err(map_database_error)?.into_iter();
        // The rows of a source without old ids have no dialect; its name is that of the old server.
        let to_legacy_id = |(source, dialect, id): (String, Option<String>, String)| {
            Some(LegacyId { api: OldApi::parse(dialect.as_ref().unwrap_or(&source))?, id })
        };
        Ok(rows.filter_map(to_legacy_id).collect())
    }

    async fn was_added_by_import(&self, user_number: i64) -> Result<bool> {
        let added = query!(self.db, Read, |conn| {
            let rows = legacy_ids::table.filter(legacy_ids::number.eq(user_number)).filter(not(legacy_ids::merged));
            diesel::select(exists(rows)).get_result(conn).await
        });
        added.map_err(map_database_error)
    }

    async fn add_with_legacy_id(&self, new: &NewUser, legacy_id: &LegacyId) -> Result<Option<User>> {
        self.insert_user(new, Some(legacy_id)).await
    }

    async fn fill_profile(&self, user: UserId, profile: &Profile) -> Result<()> {
        let (profile, id) = (profile.clone(), user.as_bytes().to_vec());
        let gender = profile.gender.map(Gender::as_str);
        let texts = [
            &profile.real_name,
            &profile.nickname,
            &profile.avatar_url,
            &profile.enterprise,
            &profile.group,
            &profile.organization,
            &profile.department,
            &profile.description,
            &profile.org_id,
            &profile.memo,
        ];
        // PostgreSQL rejects NUL.
        if texts.into_iter().any(|text| text.contains('\0')) {
            return Err(Error::Invalid("profile"));
        }
        let filled = query!(self.db, Write, |conn| {
            diesel::update(users::table.filter(users::id.eq(&id)))
                .set((
                    users::gender.eq(first_text(users::gender, gender)),
                    if_empty!(
                        profile,
                        real_name = real_name,
                        nickname = nickname,
                        avatar_url = avatar_url,
                        enterprise = enterprise,
                        group_name = group,
                        organization = organization,
                        department = department,
                        description = description,
                        org_id = org_id,
                        memo = memo
                    ),
                ))
                .execute(conn)
                .await
        });
        filled.map(drop).map_err(map_database_error)
    }
}
