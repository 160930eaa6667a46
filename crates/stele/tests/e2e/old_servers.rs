//! Lazy migration through the five services: users imported without a password log in with that of their old server.

use std::fmt::Write as _;

use stele_old_servers::{
    Call, Fault, OldCloudbox, OldJwt, OldMefp, OldPortal, OldServer, OldTms, OldUser, PasswordFormat, StoredPassword,
};

use crate::client::{DialectClient, DialectKind};
use crate::support::{Installation, eventually};

const MEFP_SECRET: &str = "0123456789abcdef0123456789abcdef";
const APP_SECRET: &str = "fedcba9876543210";

/// The users of the old server of each dialect: two, with the password `123456`.
fn old_users(dialect: DialectKind) -> Vec<OldUser> {
    let format = match dialect {
        DialectKind::Cloudbox | DialectKind::Tms => PasswordFormat::Md5,
        DialectKind::Portal => PasswordFormat::Base64,
        DialectKind::Mefp => PasswordFormat::Clear,
        DialectKind::Jwt => PasswordFormat::IdentityV3,
    };
    (0..2)
        .map(|n| {
            let mut user = OldUser::new(&(n + 1).to_string(), &name(dialect, n), StoredPassword::new(format, "123456"));
            user.phone = phone(dialect, n);
            user
        })
        .collect()
}

fn start(dialect: DialectKind) -> OldServer {
    let users = old_users(dialect);
    match dialect {
        DialectKind::Cloudbox => OldCloudbox::start(users),
        DialectKind::Tms => OldTms::start(users),
        DialectKind::Portal => OldPortal::start(users),
        DialectKind::Mefp => OldMefp::start(MEFP_SECRET, &[("old", APP_SECRET)], users),
        DialectKind::Jwt => OldJwt::start(users),
    }
}

fn source(dialect: DialectKind) -> String {
    format!("{dialect:?}").to_lowercase()
}

fn name(dialect: DialectKind, n: u32) -> String {
    format!("{}{n}", source(dialect))
}

fn phone(dialect: DialectKind, n: u32) -> String {
    format!("1380013{}{n}00", dialect as usize)
}

/// What the clients of the dialect send: a phone where the document has one.
fn identifier(dialect: DialectKind, of: DialectKind, n: u32) -> String {
    match dialect {
        DialectKind::Portal | DialectKind::Mefp => phone(of, n),
        DialectKind::Cloudbox | DialectKind::Tms | DialectKind::Jwt => name(of, n),
    }
}

fn import_without_passwords(installation: &Installation, dialect: DialectKind) {
    let source = source(dialect);
    let map = format!(
        "format = \"csv\"\ndialect = \"{source}\"\n[columns]\nid = \"id\"\nusername = \"name\"\nphone = \"phone\"\n\
         [secret]\nkind = \"none\"\n"
    );
    let mut rows = "id,name,phone\n".to_owned();
    for n in 0..2 {
        writeln!(rows, "{},{},{}", n + 1, name(dialect, n), phone(dialect, n)).unwrap();
    }
    std::fs::write(installation.path("map.toml"), map).unwrap();
    std::fs::write(installation.path("users.csv"), rows).unwrap();
    let args = ["import", "run", "--source", &source, "--map", "map.toml", "users.csv"];
    let output = installation.run(&args);
    assert_eq!((output.code, output.stdout.lines().last()), (Some(0), Some("added 2 same 0 merged 0 refused 0")));
}

#[tokio::test]
async fn users_without_a_password_log_in_through_their_own_service_with_that_of_the_old_server() {
    let old_servers = DialectKind::ALL.map(start);
    let mut installation = Installation::with_settings(&[
        ("STELE_HASH_COST", "64,1,1,weak"),
        ("STELE_OLD_MEFP_APP", "old"),
        ("STELE_OLD_MEFP_SECRET", MEFP_SECRET),
        ("STELE_OLD_MEFP_APP_SECRET", APP_SECRET),
    ]);
    for (dialect, server) in DialectKind::ALL.into_iter().zip(&old_servers) {
        installation.set(&format!("STELE_OLD_{}_URL", source(dialect).to_uppercase()), &server.url());
    }
    installation.run(&["migrate"]).assert_success();
    for dialect in DialectKind::ALL {
        import_without_passwords(&installation, dialect);
    }
    let server = installation.start_up();
    let client = DialectClient::register(&installation, &server);
    for (dialect, old_server) in DialectKind::ALL.into_iter().zip(&old_servers) {
        let own = |n| identifier(dialect, dialect, n);
        let wrong = client.login_as(dialect, &own(0), "wrong!").await;
        assert!(!wrong.is_success() && wrong.status != 503, "{dialect:?}: {wrong:?}");
        old_server.set_fault(Fault::Status(500));
        let unavailable = client.login_as(dialect, &own(0), "123456").await;
        assert_eq!(unavailable.status, 503, "{dialect:?}: {unavailable:?}");
        old_server.set_fault(Fault::None);
        client.login_as(dialect, &own(0), "123456").await.assert_success();
        assert_eq!(old_server.count(Call::Login), 3, "{dialect:?}");
        // A salted digest has not migrated the user; the password does, through any service.
        client.login_as(DialectKind::Jwt, &identifier(DialectKind::Jwt, dialect, 0), "123456").await.assert_success();
        let is_salted = matches!(dialect, DialectKind::Cloudbox | DialectKind::Tms);
        assert_eq!(old_server.count(Call::Login), if is_salted { 4 } else { 3 }, "{dialect:?}");
        old_server.clear_log();
        for through in DialectKind::ALL {
            let identifier = identifier(through, dialect, 0);
            client.login_as(through, &identifier, "123456").await.assert_success();
        }
        assert_eq!(old_server.calls().len(), 0, "{dialect:?}: a migrated user is not asked about");
    }
    // The audit log is written in batches.
    eventually("the audit log has each migration", || {
        let audit = installation.run(&["audit", "--act", "migrate_password", "--json"]).assert_success().stdout.clone();
        (audit.lines().count() == DialectKind::ALL.len()).then_some(())
    });
}

#[test]
fn check_names_what_is_asked_where() {
    let installation = Installation::with_settings(&[
        ("STELE_OLD_JWT_URL", "http://127.0.0.1:9/base"),
        ("STELE_OLD_JWT_OPEN", "true"),
        ("STELE_OLD_TMS_URL", "http://127.0.0.1:9"),
        ("STELE_OLD_TMS_TOKEN", "hunter2-token"),
        ("STELE_OLD_LEADS", "jwt"),
    ]);
    installation.run(&["migrate"]).assert_success();
    let stdout = installation.run(&["check"]).stdout;
    for line in [
        "ok: the old tms server at http://127.0.0.1:9/ is asked about imported users alone; Stele leads",
        "ok: the old jwt server at http://127.0.0.1:9/base is asked also about unknown users; the old server leads",
    ] {
        assert!(stdout.contains(line), "{line} in {stdout}");
    }
    assert!(!stdout.contains("hunter2-token"), "{stdout}");
}

#[test]
fn a_service_does_not_start_with_a_missing_or_invalid_setting() {
    for (name, value, expected) in [
        ("STELE_OLD_MEFP_URL", "http://127.0.0.1:9", "STELE_OLD_MEFP_APP"),
        ("STELE_OLD_LEADS", "portal", "STELE_OLD_LEADS"),
        ("STELE_OLD_PORTAL_URL", "http://a:hunter2@127.0.0.1:9", "STELE_OLD_PORTAL_URL"),
    ] {
        let installation = Installation::with_settings(&[(name, value)]);
        let output = installation.run(&["check"]);
        assert!(output.code != Some(0) && output.stderr.contains(expected), "{output:?}");
        assert!(!output.stderr.contains("hunter2") && !output.stdout.contains("hunter2"), "{output:?}");
    }
}
