//! Two instances of Stele on PostgreSQL and Redis, and the import of the five tables.

use std::fs;

use serde_json::Value;
use stele_testservers::store_settings;

use crate::client::DialectKind;
use crate::old_world::{APP, APP_SECRET, MEFP_SECRET, OldWorld, source};
use crate::support::{CommandOutput, Installation, Server, eventually};

/// The sources in the order of their import. The portal is first, because ids that follow from user numbers would
/// otherwise be taken; then those whose digests serve every dialect, then the salted ones.
pub(crate) const IMPORT_ORDER: [DialectKind; 5] =
    [DialectKind::Portal, DialectKind::Cloudbox, DialectKind::Tms, DialectKind::Mefp, DialectKind::Jwt];

pub(crate) struct Stele {
    /// With the old servers as leaders, for the time in which both run.
    pub(crate) overlap: Installation,
    /// Without them, for afterwards.
    after: Installation,
}

impl Stele {
    pub(crate) fn new(old: &OldWorld) -> Self {
        let (mut overlap, mut after) = (Installation::new(), Installation::new());
        let stores = store_settings();
        let shared = [
            ("STELE_TRUSTED_PROXIES", "127.0.0.1"),
            ("STELE_TMS_REQUIRE_TOKEN", "false"),
            ("STELE_MEFP_SECRET", MEFP_SECRET),
        ];
        for (name, value) in stores.iter().map(|(name, value)| (*name, value.as_str())).chain(shared) {
            overlap.set(name, value);
            after.set(name, value);
        }
        after.set("STELE_KEYS", &overlap.data().join("keys").display().to_string());
        for dialect in DialectKind::ALL {
            let name = format!("STELE_OLD_{}_URL", source(dialect).to_uppercase());
            overlap.set(&name, &old.server(dialect).url());
        }
        for (name, value) in [
            ("STELE_OLD_LEADS", "cloudbox,tms,portal,mefp,jwt"),
            ("STELE_OLD_MEFP_APP", APP),
            ("STELE_OLD_MEFP_SECRET", MEFP_SECRET),
            ("STELE_OLD_MEFP_APP_SECRET", APP_SECRET),
        ] {
            overlap.set(name, value);
        }
        let stele = Self { overlap, after };
        stele.write_maps();
        stele.overlap.run(&["migrate"]).assert_success();
        let app = ["app", "add", APP, "--may-token", APP, "--secret-stdin"];
        stele.overlap.run_with(&app, APP_SECRET).assert_success();
        stele
    }

    pub(crate) fn start_overlap(&self) -> Server {
        self.overlap.start_up()
    }

    /// Starts an instance that does not ask old servers.
    pub(crate) fn start_after(&self) -> Server {
        self.after.start_up()
    }

    /// `stele import check` or `run`: returns the output, whose last line must be `expected`.
    #[track_caller]
    pub(crate) fn import(&self, action: &str, dialect: DialectKind, old: &OldWorld, expected: &str) -> CommandOutput {
        let (name, url) = (source(dialect), old.database_url(dialect));
        let map = format!("{name}.toml");
        let output = self.overlap.run(&["import", action, "--source", name, "--map", &map, &url]);
        let code = if expected.ends_with("refused 0") { 0 } else { 3 };
        assert_eq!((output.code, output.stdout.lines().last()), (Some(code), Some(expected)), "{name}: {output:?}");
        output
    }

    /// Writes the passwords that `count` people of cloudbox have changed in Stele to the old table.
    pub(crate) fn bring_back_passwords(&self, old: &OldWorld, count: usize) {
        let args = ["export", "--source", "cloudbox", "--map", "cloudbox.toml", "--changed", "--with-digests"];
        let output = self.overlap.run_with(&[&args[..], &["--format", "jsonl"]].concat(), "yes\n");
        let rows: Vec<Value> =
            output.assert_success().stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(rows.len(), count, "{output:?}");
        for row in rows {
            let text = |name: &str| row[name].as_str().unwrap().to_owned();
            let (id, password) = (text("user_id"), text("password"));
            let update = format!("UPDATE cloudbox_user SET password = '{password}' WHERE user_id = '{id}'");
            old.database.execute(&format!("USE cloudbox; {update}"));
        }
    }

    /// How many imported hashes wait for argon2id.
    pub(crate) fn waiting_hashes(&self) -> u64 {
        let output = self.overlap.run(&["import", "status", "--source", "portal"]).assert_success().stdout.clone();
        let line = output.lines().find_map(|line| line.strip_prefix("hashes that wait for argon2id: "));
        line.expect(&output).parse().unwrap()
    }

    pub(crate) fn wait_for_hashing(&self) {
        eventually("the background hashing", || (self.waiting_hashes() == 0).then_some(()));
    }

    fn write_maps(&self) {
        for dialect in DialectKind::ALL {
            fs::write(self.overlap.path(&format!("{}.toml", source(dialect))), MAPS[dialect as usize]).unwrap();
        }
    }
}

/// In the order of [`DialectKind`]. The portal's passwords are base64 of the password.
const MAPS: [&str; 5] = [
    r#"format = "mysql"
dialect = "cloudbox"
merge = "phone"
query = "SELECT * FROM cloudbox_user ORDER BY register_time, user_id"
[columns]
id = "user_id"
uuid = "user_id"
username = "user_name"
phone = "user_phone"
email = "user_email"
role = { column = "role", admin = ["admin"] }
disabled = { column = "status", when = ["0"] }
registered_at = { column = "register_time", format = "%Y-%m-%d %H:%M:%S", zone = "Z" }
[secret]
column = "password"
kind = "md5"
"#,
    r#"format = "mysql"
dialect = "tms"
merge = "phone"
query = "SELECT * FROM tms_user ORDER BY id"
[columns]
id = "id"
username = "username"
phone = "phone"
email = "email"
disabled = { column = "status", when = ["0"] }
registered_at = { column = "created", format = "%Y-%m-%d %H:%M:%S", zone = "+08:00" }
[secret]
column = "password"
kind = "md5"
"#,
    r#"format = "mysql"
dialect = "portal"
query = """SELECT id, NULLIF(gid, '') AS gid, mobile, email, is_lock, add_time,
    CONVERT(FROM_BASE64(passwd) USING utf8mb4) AS passwd FROM portal_user ORDER BY id"""
[columns]
id = "id"
number = "gid"
phone = "mobile"
email = "email"
disabled = { column = "is_lock", when = ["1"] }
registered_at = { column = "add_time", format = "unix" }
[secret]
column = "passwd"
kind = "clear"
"#,
    r#"format = "mysql"
dialect = "mefp"
merge = "phone"
query = "SELECT * FROM users ORDER BY id"
[columns]
id = "id"
phone = "login_name"
disabled = { column = "enabled", when = ["0"] }
registered_at = { column = "reg_time", format = "%Y-%m-%d %H:%M:%S", zone = "+08:00" }
[secret]
column = "password"
kind = "md5ps"
salt = "salt"
"#,
    r#"format = "mysql"
dialect = "jwt"
merge = "phone"
query = "SELECT * FROM AspNetUsers ORDER BY Id"
[columns]
id = "Id"
username = "UserName"
phone = "PhoneNumber"
email = "Email"
disabled = { column = "LockoutEnabled", when = ["1"] }
registered_at = { column = "CreationTime", format = "%Y-%m-%d %H:%M:%S", zone = "Z" }
[secret]
column = "PasswordHash"
kind = "identity"
"#,
];
