//! Rows of the users' database and their conversion to and from domain types. An invalid column is an
//! error and never replaced by a default.

use diesel::prelude::*;
use stele_core::app::{App, ClientToken};
use stele_core::identifier::{Email, Phone, Username};
use stele_core::seal::SealedSecret;
use stele_core::time::Timestamp;
use stele_core::user::{Account, Credential, Gender, NewUser, Profile, Role, User, UserId, UserStatus};

use super::schema::{apps, client_tokens, users};
use crate::error::corrupt_column_error;

/// The columns of `users` without number and credential.
#[derive(Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = users)]
pub(super) struct UserRow {
    pub(super) id: Vec<u8>,
    pub(super) name: Option<String>,
    pub(super) phone: Option<String>,
    pub(super) email: Option<String>,
    pub(super) registered_with: Option<String>,
    pub(super) registered_through: String,
    pub(super) registered_at: i64,
    pub(super) alias_id: String,
    pub(super) role: i16,
    pub(super) disabled: bool,
    pub(super) real_name: String,
    pub(super) gender: Option<String>,
    pub(super) nickname: String,
    pub(super) avatar_url: String,
    pub(super) enterprise: String,
    pub(super) group_name: String,
    pub(super) organization: String,
    pub(super) department: String,
    pub(super) description: String,
    pub(super) org_id: String,
    pub(super) memo: String,
}

/// The columns of `users` with the credential, the epoch, and the time of the last login by a salted proof.
#[derive(Queryable, Selectable)]
#[diesel(table_name = users)]
pub(super) struct CredentialRow {
    verifier: String,
    seal_key_id: Option<i64>,
    sealed: Option<Vec<u8>>,
    epoch: i64,
    salted_at: Option<i64>,
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = apps)]
pub(super) struct AppRow {
    name: String,
    seal_key_id: i64,
    sealed: Vec<u8>,
    may_token: String,
    created_at: i64,
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = client_tokens)]
pub(super) struct ClientTokenRow {
    name: String,
    hash: Vec<u8>,
    created_at: i64,
}

const ROLE_ADMIN: i16 = 1;
const ROLE_USER: i16 = 2;

impl UserRow {
    pub(super) fn new(new: &NewUser) -> Self {
        let Profile { real_name, gender, nickname, avatar_url, enterprise, group, organization, .. } = &new.profile;
        let Profile { department, description, org_id, memo, .. } = &new.profile;
        Self {
            id: new.id.as_bytes().to_vec(),
            name: new.name.as_ref().map(Username::text).map(str::to_owned),
            phone: new.phone.as_ref().map(Phone::text).map(str::to_owned),
            email: new.email.as_ref().map(Email::text).map(str::to_owned),
            registered_with: new.registered_with.clone(),
            registered_through: new.registered_through.clone(),
            registered_at: new.registered_at.as_micros(),
            alias_id: new.alias_id.clone(),
            role: match new.role {
                Role::Admin => ROLE_ADMIN,
                Role::User => ROLE_USER,
            },
            disabled: false,
            real_name: real_name.clone(),
            gender: gender.map(|gender| gender.as_str().to_owned()),
            nickname: nickname.clone(),
            avatar_url: avatar_url.clone(),
            enterprise: enterprise.clone(),
            group_name: group.clone(),
            organization: organization.clone(),
            department: department.clone(),
            description: description.clone(),
            org_id: org_id.clone(),
            memo: memo.clone(),
        }
    }

    /// This row with another status.
    pub(super) fn with_status(self, status: UserStatus) -> Self {
        Self { disabled: status == UserStatus::Disabled, ..self }
    }

    /// Whether a text field contains NUL. PostgreSQL rejects NUL. SQLite would accept it, but both backends must behave
    /// alike.
    pub(super) fn has_nul(&self) -> bool {
        let optional = [&self.name, &self.phone, &self.email, &self.registered_with];
        let required = [
            &self.registered_through,
            &self.alias_id,
            &self.real_name,
            &self.nickname,
            &self.avatar_url,
            &self.enterprise,
            &self.group_name,
            &self.organization,
            &self.department,
            &self.description,
            &self.org_id,
            &self.memo,
        ];
        optional.into_iter().flatten().chain(required).any(|text| text.contains('\0'))
    }

    pub(super) fn into_user(self, number: i64) -> QueryResult<User> {
        Ok(User {
            id: UserId::from_bytes(self.id.try_into().map_err(|_| corrupt_column_error("users.id"))?),
            number,
            name: self.name,
            phone: self.phone,
            email: self.email,
            registered_with: self.registered_with,
            registered_through: self.registered_through,
            registered_at: Timestamp::from_micros(self.registered_at),
            alias_id: self.alias_id,
            role: match self.role {
                ROLE_ADMIN => Role::Admin,
                ROLE_USER => Role::User,
                _ => return Err(corrupt_column_error("users.role")),
            },
            disabled: self.disabled,
            profile: Profile {
                real_name: self.real_name,
                gender: match self.gender {
                    None => None,
                    Some(text) => Some(Gender::parse(&text).ok_or_else(|| corrupt_column_error("users.gender"))?),
                },
                nickname: self.nickname,
                avatar_url: self.avatar_url,
                enterprise: self.enterprise,
                group: self.group_name,
                organization: self.organization,
                department: self.department,
                description: self.description,
                org_id: self.org_id,
                memo: self.memo,
            },
        })
    }
}

impl CredentialRow {
    pub(super) fn into_account(self, user: User) -> QueryResult<Account> {
        let sealed = match (self.seal_key_id, self.sealed) {
            (None, None) => None,
            (Some(key_id), Some(bytes)) => Some(decode_sealed_secret(key_id, bytes, "users.seal_key_id")?),
            _ => return Err(corrupt_column_error("users.sealed")),
        };
        let credential = Credential { verifier: self.verifier, sealed };
        let salted_at = self.salted_at.map(Timestamp::from_micros);
        Ok(Account { user, credential, epoch: self.epoch, salted_at, legacy: None })
    }
}

/// The values of the columns `seal_key_id` and `sealed`.
pub(super) fn encode_sealed_digest(credential: &Credential) -> (Option<i64>, Option<Vec<u8>>) {
    credential.sealed.as_ref().map(|sealed| (i64::from(sealed.key_id), sealed.bytes.clone())).unzip()
}

pub(super) fn decode_sealed_secret(key_id: i64, bytes: Vec<u8>, column: &'static str) -> QueryResult<SealedSecret> {
    Ok(SealedSecret { key_id: key_id.try_into().map_err(|_| corrupt_column_error(column))?, bytes })
}

impl AppRow {
    pub(super) fn new(app: &App) -> Self {
        Self {
            name: app.name.clone(),
            seal_key_id: app.secret.key_id.into(),
            sealed: app.secret.bytes.clone(),
            // `App::is_valid_name` rejects commas.
            may_token: app.may_token.join(","),
            created_at: app.created_at.as_micros(),
        }
    }

    pub(super) fn into_app(self) -> QueryResult<App> {
        Ok(App {
            secret: decode_sealed_secret(self.seal_key_id, self.sealed, "apps.seal_key_id")?,
            may_token: self.may_token.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
            created_at: Timestamp::from_micros(self.created_at),
            name: self.name,
        })
    }
}

impl ClientTokenRow {
    pub(super) fn new(token: &ClientToken) -> Self {
        Self { name: token.name.clone(), hash: token.hash.to_vec(), created_at: token.created_at.as_micros() }
    }

    pub(super) fn into_client_token(self) -> QueryResult<ClientToken> {
        Ok(ClientToken {
            hash: self.hash.try_into().map_err(|_| corrupt_column_error("client_tokens.hash"))?,
            created_at: Timestamp::from_micros(self.created_at),
            name: self.name,
        })
    }
}
