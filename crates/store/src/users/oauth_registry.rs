//! Registry of OAuth clients and resource servers.

use async_trait::async_trait;
use diesel::result::{DatabaseErrorKind, Error as DbError};
use diesel::{ExpressionMethods, QueryDsl, QueryResult, SelectableHelper};
use stele_core::oauth::{Audience, ClientId, OAuthClient, Resource, ResourceName, Secrets};
use stele_core::ports::{ClientAddition, OAuthRegistry, ResourceAddition, ResourceRemoval};
use stele_core::{Error, Result};

use super::oauth_rows::{ClientRow, ResourceRow, SecretColumns};
use super::pool::{change, found_change, query, read, transaction};
use super::schema::{oauth_client_resources, oauth_clients, oauth_resources};
use super::user_store::SqlStore;
use crate::error::{is_unique_violation, map_database_error};

/// The most clients that [`ResourceRemoval::InUse`] names.
const MAX_NAMED_CLIENTS: i64 = 100;

fn is_foreign_key_violation(error: &DbError) -> bool {
    matches!(error, DbError::DatabaseError(DatabaseErrorKind::ForeignKeyViolation, _))
}

fn decode_client(row: Option<ClientRow>) -> Result<Option<OAuthClient>> {
    row.map(ClientRow::into_client).transpose().map_err(map_database_error)
}

fn decode_resource(row: Option<ResourceRow>) -> Result<Option<Resource>> {
    row.map(ResourceRow::into_resource).transpose().map_err(map_database_error)
}

/// Sets the columns of the secrets `$new` in the row `$key` of `$table` if its newest secret is still `$old`.
macro_rules! replace_secrets {
    ($db:expr, $operation:literal, $table:ident, $key:expr, $old:expr, $new:expr) => {{
        let (key, old, new) = ($key.to_string(), $old.current.0, SecretColumns::new($new));
        let (found_key, found_secret) = (key.clone(), new.secret.clone());
        let replaced: QueryResult<usize> = change!(
            $db,
            $operation,
            $key,
            Statement,
            |conn| {
                diesel::update($table::table.find(&key).filter($table::secret.eq(old.as_slice())))
                    .set((
                        $table::secret.eq(&new.secret),
                        $table::secret_created_at.eq(new.secret_created_at),
                        $table::previous_secret.eq(&new.previous_secret),
                        $table::previous_created_at.eq(new.previous_created_at),
                        $table::previous_expires_at.eq(new.previous_expires_at),
                    ))
                    .execute(conn)
                    .await
            },
            $table::table
                .find(&found_key)
                .filter($table::secret.eq(&found_secret))
                .select(found_change!($table::created_at)),
            |_| 1
        );
        Ok(replaced.map_err(map_database_error)? > 0)
    }};
}

#[async_trait]
impl OAuthRegistry for SqlStore {
    async fn find_client(&self, id: &ClientId) -> Result<Option<OAuthClient>> {
        let id = id.to_string();
        decode_client(read!(self.db, ClientRow, oauth_clients::table.find(&id).select(ClientRow::as_select()))?)
    }

    async fn find_resource(&self, name: &ResourceName) -> Result<Option<Resource>> {
        let name = name.to_string();
        decode_resource(read!(
            self.db,
            ResourceRow,
            oauth_resources::table.find(&name).select(ResourceRow::as_select())
        )?)
    }

    async fn find_resource_by_audience(&self, audience: &Audience) -> Result<Option<Resource>> {
        let audience = audience.to_string();
        decode_resource(read!(
            self.db,
            ResourceRow,
            oauth_resources::table.filter(oauth_resources::audience.eq(&audience)).select(ResourceRow::as_select())
        )?)
    }

    async fn list_clients(&self, after: Option<&ClientId>, limit: u32) -> Result<Vec<OAuthClient>> {
        // Every id is after the empty text.
        let after = after.map(ToString::to_string).unwrap_or_default();
        let rows = query!(self.db, Read, |conn| {
            let later = oauth_clients::table.filter(oauth_clients::id.gt(&after)).order(oauth_clients::id);
            later.limit(limit.into()).select(ClientRow::as_select()).load(conn).await
        });
        let clients = rows.map_err(map_database_error)?.into_iter().map(ClientRow::into_client);
        clients.collect::<QueryResult<_>>().map_err(map_database_error)
    }

    async fn list_resources(&self, after: Option<&ResourceName>, limit: u32) -> Result<Vec<Resource>> {
        let after = after.map(ToString::to_string).unwrap_or_default();
        let rows = query!(self.db, Read, |conn| {
            let later = oauth_resources::table.filter(oauth_resources::name.gt(&after)).order(oauth_resources::name);
            later.limit(limit.into()).select(ResourceRow::as_select()).load(conn).await
        });
        let resources = rows.map_err(map_database_error)?.into_iter().map(ResourceRow::into_resource);
        resources.collect::<QueryResult<_>>().map_err(map_database_error)
    }

    async fn add_client(&self, client: &OAuthClient) -> Result<ClientAddition> {
        let row = ClientRow::new(client);
        let resources: Vec<_> = client.resources.iter().map(ToString::to_string).collect();
        let id = client.id.to_string();
        let (found_id, found_secret) = (id.clone(), client.secrets.current.0);
        let added: QueryResult<()> = change!(
            self.db,
            "add_client",
            client.id,
            Transaction,
            |conn| {
                diesel::insert_into(oauth_clients::table).values(&row).execute(conn).await?;
                for resource in &resources {
                    let link = (oauth_client_resources::resource.eq(resource), oauth_client_resources::client.eq(&id));
                    diesel::insert_into(oauth_client_resources::table).values(link).execute(conn).await?;
                }
                Ok(())
            },
            oauth_clients::table
                .find(&found_id)
                .filter(oauth_clients::secret.eq(found_secret.as_slice()))
                .select(found_change!(oauth_clients::created_at)),
            |_| ()
        );
        match added {
            Ok(()) => Ok(ClientAddition::Added),
            Err(error) if is_unique_violation(&error) => Ok(ClientAddition::IdTaken),
            Err(error) if is_foreign_key_violation(&error) => Ok(ClientAddition::UnknownResource),
            Err(error) => Err(map_database_error(error)),
        }
    }

    async fn add_resource(&self, resource: &Resource) -> Result<ResourceAddition> {
        let row = ResourceRow::new(resource);
        let (name, secret) = (resource.name.to_string(), resource.secrets.current.0);
        let added: QueryResult<usize> = change!(
            self.db,
            "add_resource",
            resource.name,
            Statement,
            |conn| diesel::insert_into(oauth_resources::table).values(&row).execute(conn).await,
            oauth_resources::table
                .find(&name)
                .filter(oauth_resources::secret.eq(secret.as_slice()))
                .select(found_change!(oauth_resources::created_at)),
            |_| 1
        );
        match added {
            Ok(_) => Ok(ResourceAddition::Added),
            Err(error) if is_unique_violation(&error) => match self.find_resource(&resource.name).await? {
                Some(_) => Ok(ResourceAddition::NameTaken),
                None => Ok(ResourceAddition::AudienceTaken),
            },
            Err(error) => Err(map_database_error(error)),
        }
    }

    async fn replace_client_secrets(&self, id: &ClientId, old: &Secrets, new: &Secrets) -> Result<bool> {
        replace_secrets!(self.db, "replace_client_secrets", oauth_clients, id, old, new)
    }

    async fn replace_resource_secrets(&self, name: &ResourceName, old: &Secrets, new: &Secrets) -> Result<bool> {
        replace_secrets!(self.db, "replace_resource_secrets", oauth_resources, name, old, new)
    }

    async fn remove_client(&self, id: &ClientId) -> Result<bool> {
        let id = id.to_string();
        let removed: QueryResult<usize> = change!(self.db, "remove_client", |conn| {
            diesel::delete(oauth_clients::table.find(&id)).execute(conn).await
        });
        Ok(removed.map_err(map_database_error)? > 0)
    }

    async fn remove_resource(&self, name: &ResourceName) -> Result<ResourceRemoval> {
        let name = name.to_string();
        let outcome: QueryResult<(Vec<String>, usize)> = transaction!(self.db, |conn| {
            let named = oauth_client_resources::table.filter(oauth_client_resources::resource.eq(&name));
            let named = named.order(oauth_client_resources::client).limit(MAX_NAMED_CLIENTS);
            let clients = named.select(oauth_client_resources::client).load::<String>(conn).await?;
            let by_name = oauth_resources::table.find(&name);
            let removed = if clients.is_empty() { diesel::delete(by_name).execute(conn).await? } else { 0 };
            Ok((clients, removed))
        });
        match outcome {
            Ok((clients, 0)) if clients.is_empty() => Ok(ResourceRemoval::NotFound),
            Ok((_, 1..)) => Ok(ResourceRemoval::Removed),
            Ok((clients, 0)) => {
                Ok(ResourceRemoval::InUse(clients.iter().filter_map(|id| ClientId::parse(id)).collect()))
            }
            // PostgreSQL: a concurrent transaction added a client.
            Err(error) if is_foreign_key_violation(&error) => {
                Err(Error::unavailable("a client that uses the resource server has just been added; try again"))
            }
            Err(error) => Err(map_database_error(error)),
        }
    }
}
