//! The five servers on tables in MariaDB.

use std::sync::Arc;

use mysql_async::prelude::Queryable as _;
use serde_json::{Value, json};
use stele_old_servers::{
    Lookup, MariadbTable, OldCloudbox, OldJwt, OldPortal, OldTms, OldUser, PasswordFormat, StoredPassword, TableSchema,
    UserTable,
};
use stele_testservers::Mariadb;
use time::macros::datetime;

use crate::mefp;
use crate::support::{base64, json, md5, post_form, post_json, salted};

const TIMESTAMP: u64 = 1_511_839_692;
const FORMATS: [PasswordFormat; 5] = [
    PasswordFormat::Clear,
    PasswordFormat::Base64,
    PasswordFormat::Md5,
    PasswordFormat::Md5PasswordSalt,
    PasswordFormat::IdentityV3,
];

/// A database, which stops when dropped.
struct Database(Mariadb);

impl Database {
    fn start() -> Self {
        let server = Mariadb::start();
        server.execute("CREATE DATABASE old");
        Self(server)
    }

    /// The table with these users.
    async fn table(&self, schema: TableSchema, users: &[OldUser]) -> Arc<MariadbTable> {
        let table = MariadbTable::new(&self.0.url("old"), schema).unwrap();
        table.create().await.unwrap();
        table.add_all(users).await.unwrap();
        Arc::new(table)
    }

    /// The first value of a statement's first row.
    async fn value(&self, statement: &str) -> String {
        let mut conn = mysql_async::Conn::from_url(self.0.url("old")).await.unwrap();
        let value: Option<String> = conn.query_first(statement).await.unwrap();
        conn.disconnect().await.unwrap();
        value.unwrap()
    }
}

fn users(format: PasswordFormat) -> Vec<OldUser> {
    let anna = OldUser {
        phone: "13800138000".into(),
        email: "Anna@example.cn".into(),
        gender: "女".into(),
        is_admin: true,
        registered_at: datetime!(2018-03-20 14:00:02 +8),
        ..OldUser::new("4", "anna", StoredPassword::new(format, "hna123"))
    };
    let lei = OldUser {
        phone: "13800138001".into(),
        is_disabled: true,
        registered_at: datetime!(2018-03-20 14:00:03 +8),
        ..OldUser::new("5", "李雷", StoredPassword::new(format, "hna123"))
    };
    vec![anna, lei]
}

/// The fields of a user that a table of this schema has.
fn without_foreign_fields(schema: TableSchema, user: &OldUser) -> OldUser {
    let user = user.clone();
    match schema.table {
        "users" => {
            OldUser { name: String::new(), email: String::new(), gender: String::new(), is_admin: false, ..user }
        }
        "portal_user" => OldUser { gender: String::new(), is_admin: false, ..user },
        _ => user,
    }
}

#[tokio::test]
#[ignore = "needs MariaDB"]
async fn users_are_read_as_they_were_written() {
    let database = Database::start();
    let mut schemas = vec![TableSchema::cloudbox(), TableSchema::tms()];
    schemas.extend([TableSchema::portal, TableSchema::mefp, TableSchema::jwt].map(|schema| schema(FORMATS[3])));
    for schema in schemas {
        let users: Vec<_> = users(schema.format).iter().map(|user| without_foreign_fields(schema, user)).collect();
        let table = database.table(schema, &users).await;
        for user in users {
            let lookups = [Lookup::Id(&user.id), Lookup::Phone(&user.phone), Lookup::Login(&user.phone)];
            for lookup in lookups {
                assert_eq!(table.find(lookup).await.unwrap().as_ref(), Some(&user), "{lookup:?} in {}", schema.table);
            }
        }
        for unknown in [Lookup::Id("4a"), Lookup::Id(""), Lookup::Name("x"), Lookup::Contact("' OR 1=1 -- ")] {
            assert_eq!(table.find(unknown).await.unwrap(), None, "{unknown:?} in {}", schema.table);
        }
    }
    assert_eq!(
        database.value("SELECT register_time FROM cloudbox_user WHERE user_id = '4'").await,
        "2018-03-20 06:00:02.000000"
    );
    assert_eq!(database.value("SELECT created FROM tms_user WHERE id = 4").await, "2018-03-20 14:00:02.000000");
    assert_eq!(database.value("SELECT add_time FROM portal_user WHERE id = 4").await, "1521525602");
    assert_eq!(database.value("SELECT reg_time FROM users WHERE id = 4").await, "2018-03-20 14:00:02");
    assert_eq!(database.value("SELECT NormalizedUserName FROM AspNetUsers WHERE Id = 4").await, "ANNA");
    assert_eq!(database.value("SELECT Gender FROM AspNetUsers WHERE Id = 4").await, "0");
    // In GBK.
    assert_eq!(
        database.value("SELECT HEX(CONVERT(user_name USING binary)) FROM portal_user WHERE id = 5").await,
        "C0EEC0D7"
    );
}

#[tokio::test]
#[ignore = "needs MariaDB"]
async fn a_password_changed_at_the_server_is_changed_in_the_table() {
    let database = Database::start();
    let table = database.table(TableSchema::cloudbox(), &users(PasswordFormat::Md5)).await;
    let server = OldCloudbox::default().serve(table);
    let login = async |password: &str| {
        let body = json!({ "username": "ANNA", "password": salted(password, TIMESTAMP), "timestamp": TIMESTAMP });
        json(post_json(&server, "/api/v1/cloudbox/smarttms/auth/authsalt", &body).await).await["code"].clone()
    };
    assert_eq!(login("hna123").await, "0000");
    let body = json!({
        "user_id": "4",
        "orig_password": salted("hna123", TIMESTAMP),
        "new_password": md5("new456"),
        "timestamp": TIMESTAMP,
    });
    assert_eq!(json(post_json(&server, "/api/v1/cloudbox/auth/pwdreset", &body).await).await["code"], "0000");
    assert_eq!(database.value("SELECT password FROM cloudbox_user WHERE user_name = 'anna'").await, md5("new456"));
    // A change behind the server's back is seen, too.
    database.0.execute(&format!("UPDATE old.cloudbox_user SET password = '{}'", md5("third")));
    assert_eq!([login("new456").await, login("third").await], ["1002", "0000"]);
    database.0.kill();
    let body = json!({ "username": "anna", "password": "x", "timestamp": TIMESTAMP });
    assert_eq!(post_json(&server, "/api/v1/cloudbox/smarttms/auth/authsalt", &body).await.status(), 500);
}

#[tokio::test]
#[ignore = "needs MariaDB"]
async fn the_other_servers_log_in_from_their_tables() {
    let database = Database::start();
    let tms = OldTms::default().serve(database.table(TableSchema::tms(), &users(PasswordFormat::Md5)).await);
    let body = json!({ "username": "anna", "password": salted("hna123", TIMESTAMP), "timestamp": TIMESTAMP });
    let answer: Value = json(post_json(&tms, "/container/api/v1/cloudbox/tms/auth/adminauthsalt", &body).await).await;
    assert_eq!((&answer["data"]["user_id"], &answer["data"]["role"]), (&"4".into(), &"1".into()));

    for format in FORMATS {
        let portal = OldPortal::default().serve(database.table(TableSchema::portal(format), &users(format)).await);
        let form = [("username", "anna@example.cn"), ("password", &*base64("hna123"))];
        assert_eq!(json(post_form(&portal, "/i/login", &form).await).await["content"]["id"], "4");

        let jwt = OldJwt::default().serve(database.table(TableSchema::jwt(format), &users(format)).await);
        for (password, code) in [("hna123", 0), ("hna124", -1)] {
            let form = [("account", "anna"), ("password", password)];
            assert_eq!(json(post_form(&jwt, "/api/v1/Auth/Login", &form).await).await["code"], code);
        }
        database.0.execute("DROP TABLE old.portal_user, old.AspNetUsers");
    }
}

#[tokio::test]
#[ignore = "needs MariaDB"]
async fn registrations_are_rows_with_the_next_number() {
    let database = Database::start();
    let format = PasswordFormat::Md5SaltPassword;
    let portal = OldPortal::default().serve(database.table(TableSchema::portal(format), &users(format)).await);
    post_form(&portal, "/code/send", &[("username", "13800138002")]).await;
    let code = base64(&portal.code("13800138002").unwrap());
    let form = [("username", "13800138002"), ("password", &*base64("密码")), ("code", &code)];
    assert_eq!(json(post_form(&portal, "/i/register", &form).await).await["status"]["status_code"], "200");
    assert_eq!(json(post_form(&portal, "/i/login", &form).await).await["content"]["id"], "6");
    let salt = database.value("SELECT salt FROM portal_user WHERE id = 6").await;
    let stored = database.value("SELECT passwd FROM portal_user WHERE mobile = '13800138002'").await;
    assert_eq!(stored, md5(&format!("{salt}密码")));

    let mefp = mefp::config().serve(database.table(TableSchema::mefp(format), &users(format)).await);
    let name = json!({ "login_name": "13800138002", "usage": 1 });
    mefp::call(&mefp, "/auth/captcha", &name).await;
    let code = mefp.code("13800138002");
    let user = json!({ "login_name": "13800138002", "password": "密码", "captcha": code });
    for path in ["/auth/register", "/auth/login"] {
        assert_eq!(mefp::call(&mefp, path, &user).await, r#"{"result":1}"#);
    }
    assert_eq!(database.value("SELECT reg_app FROM users WHERE id = 6").await, "melink");
    // The other user's row is locked.
    let locked = json!({ "login_name": "13800138001", "password": "hna123" });
    assert!(mefp::call(&mefp, "/auth/login", &locked).await.contains("40003"));
}
