//! Imports the tables of other systems from MariaDB by the maps of `docs/import-maps`, and logs their users in.

use std::path::PathBuf;

use serde_json::Value;
use stele_testkit::servers::Mariadb;

use crate::client::{DialectClient, DialectKind, TMS_LOGIN, fresh_timestamp, md5_hex};
use crate::support::{CommandOutput, Installation, eventually};

/// A system whose users are imported.
struct System {
    /// The name of the map, and of the source.
    map: &'static str,
    /// The database and the table of the users.
    database: &'static str,
    table: &'static str,
    /// What `map --guess` proposes for the password.
    guessed: &'static [&'static str],
    /// A user whose password is proved.
    proved: (&'static str, &'static str),
    /// The last line of `check` and `run`.
    outcome: &'static str,
    /// The codes of refused rows.
    refused: &'static [&'static str],
    /// What the users have afterwards, as an export shows it.
    exported: &'static [&'static str],
    /// Identifiers and passwords of users who can log in.
    logins: &'static [(&'static str, &'static str)],
    /// Users who cannot log in: disabled ones, and those without a password.
    rejected: &'static [(&'static str, &'static str)],
}

/// The systems, in the order of their import: TMS and MeFP join users of cloudbox.
const SYSTEMS: [System; 11] = [
    System {
        map: "cloudbox",
        database: "cloudbox",
        table: "users",
        guessed: &["id = \"user_id\"", "username = \"user_name\"", "kind = \"md5\""],
        proved: ("cb_admin", "cloudbox-Pa55"),
        outcome: "added 3 same 0 merged 0 refused 0",
        refused: &[],
        exported: &["5f0e1d2c3b4a59687786958473625140", "6f9619ff-8b86-d011-b42d-00cf4fc964ff", "2018-03-20 14:00:02"],
        logins: &[("cb_admin", "cloudbox-Pa55"), ("13900007002", "cloudbox-Pa55"), ("cb_张三", "cloudbox-Pa55")],
        rejected: &[("cb_locked", "cloudbox-Pa55"), ("cb_gone", "cloudbox-Pa55")],
    },
    System {
        map: "tms",
        database: "tms",
        table: "tms_user",
        guessed: &["id = \"id\"", "kind = \"md5\"", "empty = \"none\""],
        proved: ("tms_driver", "tms-Pa55"),
        outcome: "added 2 same 0 merged 1 refused 0",
        refused: &[],
        exported: &["1521525602"],
        // The person of both tables has both names, and the password of the source that was imported first.
        logins: &[("tms_driver", "tms-Pa55"), ("tms_zhangsan", "cloudbox-Pa55")],
        rejected: &[("tms_zhangsan", "tms-Pa55"), ("tms_new", "tms-Pa55")],
    },
    System {
        map: "portal",
        database: "portal",
        table: "portal_user",
        guessed: &["phone = \"mobile\"", "kind = [\"md5\", \"base64\"]"],
        proved: ("13900009001", "portal-Pa55"),
        outcome: "added 3 same 0 merged 0 refused 0",
        refused: &[],
        exported: &["ORG-1", "备注"],
        logins: &[("13900009001", "portal-Pa55"), ("portal_md5", "portal-Pa55")],
        rejected: &[("portal_locked", "portal-Pa55")],
    },
    System {
        map: "mefp",
        database: "mefp",
        table: "users",
        guessed: &["id = \"uid\"", "phone = \"login_name\"", "column = \"passwd\"", "kind = \"md5\""],
        proved: ("13900010001", "mefp-Pa55"),
        outcome: "added 1 same 0 merged 1 refused 0",
        refused: &[],
        exported: &["小明🎈", "2019-05-06 07:08:09"],
        logins: &[("13900010001", "mefp-Pa55")],
        rejected: &[],
    },
    System {
        map: "jwt",
        database: "jwt",
        table: "sys_user",
        guessed: &["username = \"account\"", "salt = \"pwd_salt\"", "kind = \"sha256ps\""],
        proved: ("jwt_admin", "jwt-Pa55"),
        outcome: "added 2 same 0 merged 0 refused 0",
        refused: &[],
        exported: &["研发部", "孙八", "1234567890123456789"],
        logins: &[("jwt_admin", "jwt-Pa55"), ("jwt@jwt.example", "jwt-Pa55")],
        rejected: &[("jwt_off", "jwt-Pa55")],
    },
    System {
        map: "wordpress",
        database: "wordpress",
        table: "wp_users",
        guessed: &[
            "username = \"user_login\"",
            "email = \"user_email\"",
            "zone = \"Z\"",
            "kind = [\"wordpress\", \"md5\"]",
        ],
        proved: ("wp_quote", "it's \"mine\""),
        outcome: "added 5 same 0 merged 0 refused 2",
        refused: &["identifier_repeated:username", "no_secret"],
        exported: &["站长 👨‍💻", "2024-11-05 08:30:00"],
        logins: &[
            ("wp_admin", "wp-new-Pa55"),
            ("wp_old", "wp-old-Pa55"),
            ("wp_quote", "it's \"mine\""),
            ("sql@wp.example", "wp-md5-Pa55"),
            ("mail@wp.example", "wp-old-Pa55"),
        ],
        rejected: &[("wp_old", "wp-new-Pa55")],
    },
    System {
        map: "discuz",
        database: "discuz",
        table: "pre_ucenter_members",
        guessed: &["id = \"uid\"", "format = \"unix\"", "salt = \"salt\"", "kind = [\"bcrypt\", \"md5ds\"]"],
        proved: ("水手", "Discuz密码"),
        outcome: "added 5 same 0 merged 0 refused 0",
        refused: &[],
        exported: &["李四", "1268000000"],
        logins: &[
            ("dz_admin", "discuz-Pa55"),
            ("13900002002", "Discuz密码"),
            ("dz_x35", "discuz-x35-Pa55"),
            ("uc@dz.example", "discuz-Pa55"),
        ],
        rejected: &[("dz_banned", "discuz-Pa55"), ("dz_x35", "discuz-Pa55")],
    },
    System {
        map: "django",
        database: "django",
        table: "auth_user",
        guessed: &["disabled = { column = \"is_active\", when = [\"0\"]", "kind = \"django\""],
        proved: ("dj_sha1", "django-sha1-Pa55"),
        outcome: "added 6 same 0 merged 0 refused 2",
        refused: &["too_costly", "wrong_secret_kind"],
        exported: &["张三", "2024-01-02 03:04:05"],
        logins: &[
            ("dj_admin", "django-Pa55"),
            ("argon2@dj.example", "django-argon2-Pa55"),
            ("dj_bcrypt", "django-bcrypt-Pa55"),
            ("dj_sha1", "django-sha1-Pa55"),
        ],
        rejected: &[("dj_ldap", "django-Pa55"), ("dj_left", "django-sha1-Pa55"), ("dj_bomb", "django-Pa55")],
    },
    System {
        map: "aspnet-identity",
        database: "identity",
        table: "AspNetUsers",
        guessed: &[
            "id = \"Id\"",
            "uuid = \"Id\"",
            "phone = \"PhoneNumber\"",
            "kind = \"identity\"",
            "empty = \"none\"",
        ],
        proved: ("id_v2", "Identity2-Pa55"),
        outcome: "added 5 same 0 merged 0 refused 0",
        refused: &[],
        exported: &["15a79fd3-4fb8-4ba2-8f6b-f616e86eb2e9"],
        logins: &[
            ("id_admin@id.example", "Identity-Pa55"),
            ("13900004001", "Identity-Pa55"),
            ("id_old", "Identity-old-Pa55"),
            ("id_v2", "Identity2-Pa55"),
        ],
        rejected: &[("id_locked", "Identity2-Pa55"), ("id_google", "Identity2-Pa55")],
    },
    System {
        map: "laravel",
        database: "laravel",
        table: "users",
        guessed: &["email = \"email\"", "kind = \"auto\""],
        proved: ("argon2@laravel.example", "laravel-argon2-Pa55"),
        outcome: "added 2 same 0 merged 0 refused 0",
        refused: &[],
        exported: &["赵六", "2023-03-04 05:06:07"],
        logins: &[("bcrypt@laravel.example", "laravel-Pa55"), ("argon2@laravel.example", "laravel-argon2-Pa55")],
        rejected: &[("deleted@laravel.example", "laravel-Pa55")],
    },
    System {
        map: "fastadmin",
        database: "fastadmin",
        table: "fa_user",
        guessed: &["phone = \"mobile\"", "when = [\"hidden\"]", "kind = \"md5ds\""],
        proved: ("fa_zh", "快速-Pa55"),
        outcome: "added 3 same 0 merged 0 refused 1",
        refused: &["identifier_repeated:phone"],
        exported: &["管理员🙂", "1491635035"],
        logins: &[("fa_admin", "fastadmin-Pa55"), ("13900006002", "快速-Pa55")],
        rejected: &[("fa_hidden", "fastadmin-Pa55")],
    },
];

fn maps_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/import-maps")
}

fn create_tables(mariadb: &Mariadb) {
    for sql in [
        include_str!("import_tables/old_servers.sql"),
        include_str!("import_tables/wordpress.sql"),
        include_str!("import_tables/discuz.sql"),
        include_str!("import_tables/django.sql"),
        include_str!("import_tables/aspnet-identity.sql"),
        include_str!("import_tables/laravel.sql"),
        include_str!("import_tables/fastadmin.sql"),
    ] {
        mariadb.execute(sql);
    }
}

impl System {
    /// Runs `stele import COMMAND` with `map`; the password to prove is on standard input.
    fn import(&self, installation: &Installation, command: &str, map: &str, url: &str) -> CommandOutput {
        let (proved, password) = self.proved;
        let args = ["import", command, "--source", self.map, "--map", map, "--prove", proved, url];
        installation.run_with(&args, &format!("{password}\n"))
    }

    fn assert_outcome(&self, output: &CommandOutput) {
        let code = if self.refused.is_empty() { 0 } else { 3 };
        assert_eq!((output.code, output.stdout.lines().last()), (Some(code), Some(self.outcome)), "{output:?}");
    }
}

#[test]
#[ignore = "needs MariaDB"]
fn a_map_is_proposed_for_the_tables_of_other_systems() {
    let (mariadb, installation) = (Mariadb::start(), Installation::new());
    create_tables(&mariadb);
    installation.run(&["migrate"]).assert_success();
    for system in &SYSTEMS {
        let url = mariadb.url(system.database);
        let guess = ["import", "map", "--guess", &url, "--table", system.table];
        let proposed = installation.run(&guess).assert_success().stdout.clone();
        for line in system.guessed {
            assert!(proposed.contains(line), "{}: {line}: {proposed}", system.map);
        }
        let has_secret = system.logins.iter().any(|(_, password)| proposed.contains(password));
        assert!(!has_secret, "{}: no value of a password is printed: {proposed}", system.map);
        // The order of password and salt cannot be seen.
        std::fs::write(installation.path("guessed.toml"), proposed.replace("sha256ps", "sha256sp")).unwrap();
        let checked = system.import(&installation, "check", "guessed.toml", &url);
        let is_complete = matches!(checked.code, Some(0 | 3)) && checked.stdout.contains("added ");
        assert!(is_complete, "{}: {checked:?} {proposed}", system.map);
    }
}

#[tokio::test]
#[ignore = "needs MariaDB"]
async fn users_of_other_systems_log_in_with_their_passwords() {
    let (mariadb, installation) = (Mariadb::start(), Installation::new());
    create_tables(&mariadb);
    installation.run(&["migrate"]).assert_success();
    for system in &SYSTEMS {
        let url = mariadb.url(system.database);
        let map = maps_folder().join(format!("{}.toml", system.map));
        let map = map.to_str().unwrap();
        system.assert_outcome(&system.import(&installation, "check", map, &url));
        system.assert_outcome(&system.import(&installation, "run", map, &url));
        let report = ["import", "report", "--source", system.map, "--json"];
        let report = installation.run(&report).assert_success().stdout.clone();
        let rows: Vec<Value> = report.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let refused = rows.iter().filter(|row| row["outcome"] == "refuse");
        let refused: Vec<_> = refused.filter_map(|row| row["code"].as_str()).collect();
        assert_eq!(refused, system.refused, "{}", system.map);
        let exported =
            installation.run(&["export", "--source", system.map, "--map", map]).assert_success().stdout.clone();
        for value in system.exported {
            assert!(exported.contains(value), "{}: {value}: {exported}", system.map);
        }
    }
    let server = installation.start_up();
    let client = DialectClient::register(&installation, &server);
    for system in &SYSTEMS {
        for &(identifier, password) in system.logins {
            client.login_as(DialectKind::Jwt, identifier, password).await.assert_success();
            // Now the salted dialects know the password as well.
            client.login_as(DialectKind::Cloudbox, identifier, password).await.assert_success();
        }
        for &(identifier, password) in system.rejected {
            let rejected = client.login_as(DialectKind::Jwt, identifier, password).await;
            assert!(!rejected.is_success(), "{}: {identifier}: {rejected:?}", system.map);
        }
    }
    let waiting = || installation.run(&["import", "status", "--source", "django"]).stdout;
    eventually("background hashing", || waiting().contains("wait for argon2id: 0\n").then_some(()));
    client.login_as(DialectKind::Jwt, "dz_admin", "discuz-Pa55").await.assert_success();
}

#[tokio::test]
#[ignore = "needs MariaDB"]
async fn a_discuz_user_logs_in_with_the_md5_of_the_password_and_not_with_a_salted_proof() {
    let (mariadb, installation) = (Mariadb::start(), Installation::new());
    create_tables(&mariadb);
    installation.run(&["migrate"]).assert_success();
    let discuz = SYSTEMS.iter().find(|system| system.map == "discuz").unwrap();
    let map = maps_folder().join("discuz.toml");
    discuz.assert_outcome(&discuz.import(&installation, "run", map.to_str().unwrap(), &mariadb.url("discuz")));
    let server = installation.start_up();
    let client = DialectClient::register(&installation, &server);
    let login_by_digest = async |name: &str, password: &str| {
        let (password, timestamp) = (md5_hex(password), fresh_timestamp());
        let body = serde_json::json!({ "username": name, "password": password, "timestamp": timestamp });
        client.post_json(TMS_LOGIN, &[("authorization", &client.client_token)], &body).await
    };
    for (name, password) in [("dz_admin", "discuz-Pa55"), ("水手", "Discuz密码")] {
        assert!(!client.login_as(DialectKind::Cloudbox, name, password).await.is_success(), "{name}");
        assert!(!login_by_digest(name, "wrong").await.is_success(), "{name}");
        login_by_digest(name, password).await.assert_success();
        client.login_as(DialectKind::Cloudbox, name, password).await.assert_success();
    }
    // bcrypt cannot be computed from the md5.
    assert!(!login_by_digest("dz_x35", "discuz-x35-Pa55").await.is_success());
}

#[test]
fn every_map_of_the_documentation_is_tested() {
    let names =
        std::fs::read_dir(maps_folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut maps: Vec<_> = names.filter_map(|name| name.strip_suffix(".toml").map(str::to_owned)).collect();
    maps.sort();
    let mut tested: Vec<_> = SYSTEMS.iter().map(|system| system.map).collect();
    tested.sort_unstable();
    assert_eq!(maps, tested);
}
