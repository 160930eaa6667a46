//! The tables in which the five old servers keep their users.

use crate::password::PasswordFormat;
use crate::schema::column::{Field, TimeForm};

pub(crate) mod column;

/// A table of users: its name, its columns, and the form of its passwords.
#[derive(Clone, Copy, Debug)]
pub struct TableSchema {
    /// The name.
    pub table: &'static str,
    /// The form of the passwords.
    pub format: PasswordFormat,
    /// The statement that creates the table in MariaDB.
    pub create: &'static str,
    pub(crate) columns: &'static [(&'static str, Field)],
}

const ACTIVE: Field = Field::Disabled { yes: "0", no: "1" };

impl TableSchema {
    /// cloudbox: ids are UUIDs, passwords md5, times in UTC.
    pub fn cloudbox() -> Self {
        Self {
            table: "cloudbox_user",
            format: PasswordFormat::Md5,
            create: "CREATE TABLE cloudbox_user (
                user_id CHAR(36) NOT NULL PRIMARY KEY,
                user_alias_id CHAR(32) NOT NULL DEFAULT '',
                user_name VARCHAR(64) NOT NULL UNIQUE,
                password CHAR(32) NOT NULL,
                user_phone VARCHAR(20) NULL UNIQUE,
                user_email VARCHAR(128) NULL UNIQUE,
                user_real_name VARCHAR(64) NOT NULL DEFAULT '',
                user_gender VARCHAR(4) NOT NULL DEFAULT '',
                user_nickname VARCHAR(64) NOT NULL DEFAULT '',
                avatar_url VARCHAR(255) NOT NULL DEFAULT '',
                role VARCHAR(16) NOT NULL DEFAULT 'user',
                enterprise CHAR(36) NOT NULL DEFAULT '',
                `group` VARCHAR(32) NOT NULL DEFAULT '',
                status TINYINT NOT NULL DEFAULT 1 COMMENT '1 active, 0 locked',
                register_time DATETIME(6) NOT NULL COMMENT 'UTC'
            ) DEFAULT CHARSET=utf8mb4",
            columns: &[
                ("user_id", Field::Id),
                ("user_alias_id", Field::AliasId),
                ("user_name", Field::Name),
                ("password", Field::Password),
                ("user_phone", Field::Phone),
                ("user_email", Field::Email),
                ("user_real_name", Field::RealName),
                ("user_gender", Field::Gender { male: "男", female: "女" }),
                ("user_nickname", Field::Nickname),
                ("avatar_url", Field::AvatarUrl),
                ("role", Field::Admin { yes: "admin", no: "user" }),
                ("enterprise", Field::Enterprise),
                ("group", Field::Group),
                ("status", ACTIVE),
                ("register_time", Field::RegisteredAt(TimeForm::Utc)),
            ],
        }
    }

    /// TMS: ids are numbers, passwords md5, times at +08:00.
    pub fn tms() -> Self {
        Self {
            table: "tms_user",
            format: PasswordFormat::Md5,
            create: "CREATE TABLE tms_user (
                id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
                username VARCHAR(64) NOT NULL UNIQUE,
                password CHAR(32) NOT NULL,
                phone VARCHAR(20) NULL UNIQUE,
                email VARCHAR(128) NULL UNIQUE,
                real_name VARCHAR(64) NOT NULL DEFAULT '',
                gender TINYINT NOT NULL DEFAULT 0 COMMENT '1 male, 2 female, 0 unknown',
                alias_id CHAR(32) NOT NULL DEFAULT '',
                avatar VARCHAR(255) NOT NULL DEFAULT '',
                role TINYINT NOT NULL DEFAULT 2 COMMENT '1 admin, 2 user',
                status TINYINT NOT NULL DEFAULT 1 COMMENT '1 active, 0 locked',
                created DATETIME(6) NOT NULL COMMENT '+08:00'
            ) DEFAULT CHARSET=utf8mb4",
            columns: &[
                ("id", Field::Id),
                ("username", Field::Name),
                ("password", Field::Password),
                ("phone", Field::Phone),
                ("email", Field::Email),
                ("real_name", Field::RealName),
                ("gender", Field::Gender { male: "1", female: "2" }),
                ("alias_id", Field::AliasId),
                ("avatar", Field::AvatarUrl),
                ("role", Field::Admin { yes: "1", no: "2" }),
                ("status", ACTIVE),
                ("created", Field::RegisteredAt(TimeForm::Shanghai)),
            ],
        }
    }

    /// The portal, in GBK: ids are numbers, times in Unix seconds. The column of the salt is used by salted forms only.
    pub fn portal(format: PasswordFormat) -> Self {
        Self {
            table: "portal_user",
            format,
            create: "CREATE TABLE portal_user (
                id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
                gid VARCHAR(16) NOT NULL DEFAULT '' COMMENT '金桐号',
                user_name VARCHAR(64) NULL,
                mobile VARCHAR(20) NULL UNIQUE,
                email VARCHAR(128) NULL UNIQUE,
                passwd VARCHAR(255) NOT NULL,
                salt VARCHAR(32) NOT NULL DEFAULT '',
                org_id VARCHAR(16) NOT NULL DEFAULT '',
                memo VARCHAR(255) NOT NULL DEFAULT '',
                is_lock TINYINT NOT NULL DEFAULT 0,
                add_time INT UNSIGNED NOT NULL
            ) DEFAULT CHARSET=gbk",
            columns: &[
                ("id", Field::Id),
                ("gid", Field::Gid),
                ("user_name", Field::Name),
                ("mobile", Field::Phone),
                ("email", Field::Email),
                ("passwd", Field::Password),
                ("salt", Field::Salt),
                ("org_id", Field::OrgId),
                ("memo", Field::Memo),
                ("is_lock", Field::Disabled { yes: "1", no: "0" }),
                ("add_time", Field::RegisteredAt(TimeForm::UnixSeconds)),
            ],
        }
    }

    /// MeFP's `users`: the login name is a phone, times are at +08:00.
    pub fn mefp(format: PasswordFormat) -> Self {
        Self {
            table: "users",
            format,
            create: "CREATE TABLE users (
                id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
                login_name CHAR(11) NOT NULL UNIQUE,
                password VARCHAR(255) NOT NULL,
                salt VARCHAR(32) NOT NULL DEFAULT '',
                reg_app VARCHAR(32) NOT NULL DEFAULT '',
                reg_time DATETIME NOT NULL,
                enabled TINYINT NOT NULL DEFAULT 1
            ) DEFAULT CHARSET=utf8mb4",
            columns: &[
                ("id", Field::Id),
                ("login_name", Field::Phone),
                ("password", Field::Password),
                ("salt", Field::Salt),
                ("reg_app", Field::RegisteredApp),
                ("reg_time", Field::RegisteredAt(TimeForm::ShanghaiSeconds)),
                ("enabled", ACTIVE),
            ],
        }
    }

    /// ASP.NET Core Identity's `AspNetUsers` with an `int` key, and the columns of the JWT document.
    pub fn jwt(format: PasswordFormat) -> Self {
        Self {
            table: "AspNetUsers",
            format,
            create: "CREATE TABLE AspNetUsers (
                Id INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
                UserName VARCHAR(256) NOT NULL,
                NormalizedUserName VARCHAR(256) NOT NULL UNIQUE,
                Email VARCHAR(256) NULL,
                PhoneNumber VARCHAR(32) NULL,
                PasswordHash LONGTEXT NOT NULL,
                PasswordSalt VARCHAR(32) NOT NULL DEFAULT '',
                RealName VARCHAR(64) NOT NULL DEFAULT '',
                OrganizationName VARCHAR(128) NOT NULL DEFAULT '',
                DepartmentName VARCHAR(128) NOT NULL DEFAULT '',
                RoleName VARCHAR(64) NOT NULL DEFAULT 'user',
                Description VARCHAR(255) NOT NULL DEFAULT '',
                Avatar VARCHAR(255) NOT NULL DEFAULT '',
                Gender TINYINT(1) NULL COMMENT '1 male, 0 female',
                LockoutEnabled TINYINT(1) NOT NULL DEFAULT 0,
                CreationTime DATETIME(6) NOT NULL
            ) DEFAULT CHARSET=utf8mb4",
            columns: &[
                ("Id", Field::Id),
                ("UserName", Field::Name),
                ("NormalizedUserName", Field::NormalizedName),
                ("Email", Field::Email),
                ("PhoneNumber", Field::Phone),
                ("PasswordHash", Field::Password),
                ("PasswordSalt", Field::Salt),
                ("RealName", Field::RealName),
                ("OrganizationName", Field::Organization),
                ("DepartmentName", Field::Department),
                ("RoleName", Field::Admin { yes: "admin", no: "user" }),
                ("Description", Field::Description),
                ("Avatar", Field::AvatarUrl),
                ("Gender", Field::Gender { male: "1", female: "0" }),
                ("LockoutEnabled", Field::Disabled { yes: "1", no: "0" }),
                ("CreationTime", Field::RegisteredAt(TimeForm::Utc)),
            ],
        }
    }

    /// The name of the column that holds this field.
    pub(crate) fn column(&self, field: Field) -> Option<&'static str> {
        self.columns.iter().find(|(_, found)| *found == field).map(|(name, _)| *name)
    }
}
