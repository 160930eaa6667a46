//! Each proof of a dialect at each kind of old server.

use stele_core::old_server::OldApi;
use stele_core::proof::Proof;
use stele_old_servers::Call;
use stele_testkit::TestLab;

use crate::fixture::{
    Kind, account, add_imported, assert_wrong_password, digest, eventually, lab, log_in, logins, raw, salted,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// The server cannot be asked.
    NotAsked,
    /// Logged in, and asked about again.
    NotMigrated,
    Migrated,
}

const NAMES: [&str; 6] = ["u0", "u1", "u2", "u3", "u4", "u5"];

fn proof(lab: &TestLab, row: usize, password: &str, seconds: u64) -> (&'static str, Proof) {
    match row {
        0 => ("cloudbox", salted(lab, password, seconds)),
        1 => ("tms", salted(lab, password, seconds)),
        2 => ("tms", digest(password)),
        3 => ("portal", raw(password)),
        4 => ("jwt", raw(password)),
        _ => ("mefp", raw(password)),
    }
}

fn expected(row: usize, kind: Kind) -> Expected {
    let checks_salted = matches!(kind, Kind::Cloudbox | Kind::TmsSalted);
    match row {
        0 | 1 if checks_salted => Expected::NotMigrated,
        0 | 1 => Expected::NotAsked,
        2 if checks_salted || kind == Kind::TmsDigest => Expected::Migrated,
        2 => Expected::NotAsked,
        _ => Expected::Migrated,
    }
}

async fn run_column(kind: Kind) {
    let server = kind.start(&NAMES);
    let lab = lab(kind, &server, &[]).await;
    add_imported(&lab, kind.api(), &NAMES).await;
    for (row, name) in NAMES.into_iter().enumerate() {
        let case = format!("{kind:?}, row {row}");
        let is_phone = matches!(kind, Kind::Portal | Kind::Mefp);
        let expected = expected(row, kind);
        server.clear_log();
        let (dialect, wrong) = proof(&lab, row, "wrong!", 0);
        assert_wrong_password(&log_in(&lab, dialect, name, wrong).await);
        assert_eq!(logins(&server), usize::from(expected != Expected::NotAsked), "{case}");
        let (_, right) = proof(&lab, row, "123456", 1);
        let result = log_in(&lab, dialect, name, right).await;
        let stored = account(&lab, name).await;
        if expected == Expected::NotAsked {
            assert_wrong_password(&result);
            assert_eq!(logins(&server), 0, "{case}");
            continue;
        }
        let session = result.unwrap_or_else(|e| panic!("{case}: {e}"));
        assert_eq!(session.user.name.as_deref(), Some(name));
        assert_eq!(logins(&server), 2, "{case}: one question a login");
        let asked_as = if is_phone { stored.user.phone.clone().unwrap() } else { name.to_owned() };
        assert!(server.calls().iter().all(|call| call.identifier == asked_as || call.call != Call::Login), "{case}");
        let is_migrated = stored.credential.verifier.starts_with("$argon2id$");
        assert_eq!(is_migrated, expected == Expected::Migrated, "{case}");
        assert_eq!((stored.credential.sealed.is_some(), stored.epoch), (is_migrated, 0), "{case}");
        let filled = match kind {
            Kind::Portal => stored.user.profile.memo == format!("memo of {name}"),
            Kind::Mefp => stored.user.profile == session.user.profile,
            Kind::Jwt => stored.user.profile.organization == format!("org of {name}"),
            _ => stored.user.profile.real_name == format!("real {name}"),
        };
        assert!(filled && stored.user == session.user, "{case}: {:?}", stored.user.profile);
        // The documents of TMS and MeFP have no logout.
        let has_logout = matches!(kind, Kind::Cloudbox | Kind::Portal | Kind::Jwt);
        eventually(&case, || !has_logout || server.sessions().is_empty()).await;
        // A migrated user logs in through every dialect, and is never asked about again.
        server.clear_log();
        let others = [(0, 2), (3, 0), (4, 0), (5, 0)].map(|(row, seconds)| proof(&lab, row, "123456", seconds));
        for (dialect, proof) in others.into_iter().filter(|_| is_migrated) {
            log_in(&lab, dialect, name, proof).await.unwrap_or_else(|e| panic!("{case}, then {dialect}: {e}"));
        }
        assert_eq!(server.calls().len(), 0, "{case}");
    }
}

#[tokio::test]
async fn every_proof_at_an_old_cloudbox() {
    run_column(Kind::Cloudbox).await;
}

#[tokio::test]
async fn every_proof_at_an_old_tms_that_checks_salted_digests() {
    run_column(Kind::TmsSalted).await;
}

#[tokio::test]
async fn every_proof_at_an_old_tms_that_checks_digests() {
    run_column(Kind::TmsDigest).await;
}

#[tokio::test]
async fn every_proof_at_an_old_portal() {
    run_column(Kind::Portal).await;
}

#[tokio::test]
async fn every_proof_at_an_old_mefp() {
    run_column(Kind::Mefp).await;
}

#[tokio::test]
async fn every_proof_at_an_old_jwt_server() {
    run_column(Kind::Jwt).await;
}

#[tokio::test]
async fn only_users_of_a_source_are_asked_about_and_only_where_they_come_from() {
    let server = Kind::Portal.start(&NAMES);
    let lab = lab(Kind::Portal, &server, &[]).await;
    // From another source; with a password; unknown.
    add_imported(&lab, OldApi::Jwt, &NAMES[..1]).await;
    lab.user("mark").phone("13900139000").password("other-password").add().await;
    for identifier in [NAMES[0], "mark", "13800138005", "unknown"] {
        assert!(log_in(&lab, "portal", identifier, raw("123456")).await.is_err(), "{identifier}");
    }
    assert_eq!(server.calls().len(), 0);
    // An unknown user costs what it costs without old servers.
    let plain = TestLab::new().await;
    let (_, with_servers) = lab.measure_cost(log_in(&lab, "portal", "nosuch", raw("x"))).await;
    let (_, without) = plain.measure_cost(log_in(&plain, "portal", "nosuch", raw("x"))).await;
    assert_eq!(with_servers, without);
}
