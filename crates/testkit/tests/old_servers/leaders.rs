//! Which server leads while both run, and two instances at once.

use stele_core::password::{NewPassword, RawPassword};
use stele_core::user::UserRef;
use stele_old_servers::OldServer;
use stele_testkit::TestLab;

use crate::fixture::{Kind, account, add_imported, assert_wrong_password, lab, log_in, logins, raw, salted};

/// A migrated user whose password was then changed at the old server to `changed-there`.
async fn changed_at_the_old_server(kind: Kind, settings: &[(&str, &str)]) -> (OldServer, TestLab) {
    let server = kind.start(&["u0"]);
    let lab = lab(kind, &server, settings).await;
    add_imported(&lab, kind.api(), &["u0"]).await;
    log_in(&lab, "portal", "u0", raw("123456")).await.unwrap();
    server.table().set_password("1", &kind.password("changed-there")).await.unwrap();
    server.clear_log();
    (server, lab)
}

async fn set_password_here(lab: &TestLab, password: &str) {
    let id = account(lab, "u0").await.user.id;
    let new = NewPassword::from_administrator(&RawPassword::new(password.to_owned())).unwrap();
    lab.use_cases().provision_password(UserRef::Id(id), &new).await.unwrap();
}

#[tokio::test]
async fn where_stele_leads_a_migrated_user_is_never_asked_about() {
    let (server, lab) = changed_at_the_old_server(Kind::Portal, &[]).await;
    assert_wrong_password(&log_in(&lab, "portal", "u0", raw("changed-there")).await);
    log_in(&lab, "portal", "u0", raw("123456")).await.unwrap();
    assert_eq!(server.calls().len(), 0);
}

#[tokio::test]
async fn where_the_old_server_leads_a_new_password_there_replaces_the_one_here() {
    let (server, lab) = changed_at_the_old_server(Kind::Portal, &[("STELE_OLD_LEADS", "portal")]).await;
    let session = log_in(&lab, "portal", "u0", raw("123456")).await.unwrap().session;
    assert_eq!(server.calls().len(), 0, "a right password is not asked about");
    let replaced = log_in(&lab, "jwt", "u0", raw("changed-there")).await.unwrap();
    let stored = account(&lab, "u0").await;
    assert!(stored.epoch < 0 && stored.epoch != session.epoch, "sessions under the former password have ended");
    assert_eq!(replaced.session.epoch, stored.epoch, "the session of this login has not");
    log_in(&lab, "cloudbox", "u0", salted(&lab, "changed-there", 0)).await.unwrap();
    assert_eq!(logins(&server), 1);
    assert_wrong_password(&log_in(&lab, "portal", "u0", raw("123456")).await);
    assert_eq!(logins(&server), 2, "the former password is asked about once a login, and counted");
    // A second change there is followed as well.
    server.table().set_password("1", &Kind::Portal.password("changed-again")).await.unwrap();
    log_in(&lab, "portal", "u0", raw("changed-again")).await.unwrap();
    let metrics = lab.context().metrics.render().unwrap();
    let sample = "stele_old_server_logins_total{server=\"portal\",result=\"replaced\"} 2";
    assert!(metrics.contains(sample), "{metrics}");
}

#[tokio::test]
async fn a_password_that_was_changed_here_is_never_replaced() {
    let (server, lab) = changed_at_the_old_server(Kind::Portal, &[("STELE_OLD_LEADS", "portal")]).await;
    set_password_here(&lab, "changed-here").await;
    assert_wrong_password(&log_in(&lab, "portal", "u0", raw("changed-there")).await);
    assert_wrong_password(&log_in(&lab, "portal", "u0", raw("123456")).await);
    assert_eq!(server.calls().len(), 0);
    log_in(&lab, "portal", "u0", raw("changed-here")).await.unwrap();
}

#[tokio::test]
async fn a_relayed_digest_logs_in_and_replaces_nothing() {
    let (server, lab) = changed_at_the_old_server(Kind::Cloudbox, &[("STELE_OLD_LEADS", "cloudbox")]).await;
    let before = account(&lab, "u0").await;
    log_in(&lab, "cloudbox", "u0", salted(&lab, "changed-there", 0)).await.unwrap();
    assert_eq!(account(&lab, "u0").await.credential, before.credential);
    assert_eq!(logins(&server), 1);
    // The old server is asked in the clear once the password comes in a form that teaches it.
    log_in(&lab, "portal", "u0", raw("changed-there")).await.unwrap();
    assert_ne!(account(&lab, "u0").await.credential, before.credential);
}

#[tokio::test]
async fn two_instances_migrate_a_user_at_once() {
    let server = Kind::Jwt.start(&["u0"]);
    let lab = lab(Kind::Jwt, &server, &[("STELE_OLD_LEADS", "jwt")]).await;
    add_imported(&lab, Kind::Jwt.api(), &["u0"]).await;
    let second = lab.second_instance().await;
    for password in ["123456", "changed-there"] {
        server.table().set_password("1", &Kind::Jwt.password(password)).await.unwrap();
        let (one, other) = tokio::join!(
            log_in(&lab, "jwt", "u0", raw(password)),
            log_in(&second, "mefp", "13800138000", raw(password))
        );
        let stored = account(&lab, "u0").await;
        for session in [one.unwrap(), other.unwrap()] {
            assert_eq!(session.session.epoch, stored.epoch, "{password}: both sessions are valid");
        }
        server.clear_log();
        log_in(&lab, "portal", "u0", raw(password)).await.unwrap();
        assert_eq!(server.calls().len(), 0);
    }
    assert_eq!(lab.dependencies().users.list(0, 10).await.unwrap().len(), 1);
}
