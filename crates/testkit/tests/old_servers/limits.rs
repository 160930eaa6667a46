//! Rate limits, disabled users, and changes of password of users who have none here.

use std::time::Duration;

use stele_core::Error;
use stele_core::password::NewPassword;
use stele_core::password::RawPassword;
use stele_core::usecase::RequestInfo;
use stele_core::usecase::change_password::{ChangePasswordRequest, PasswordChangeAuthorization};
use stele_core::user::{ClientUserId, UserStatus};
use stele_old_servers::{Call, Fault};

use crate::fixture::{Kind, account, add_imported, assert_wrong_password, lab, log_in, logins, raw, salted};

#[tokio::test]
async fn a_limited_account_is_not_asked_about() {
    let server = Kind::Cloudbox.start(&["u0"]);
    let lab = lab(Kind::Cloudbox, &server, &[("STELE_LIMIT_ACCOUNT", "2")]).await;
    add_imported(&lab, Kind::Cloudbox.api(), &["u0"]).await;
    for n in 0..3 {
        assert_wrong_password(&log_in(&lab, "cloudbox", "u0", salted(&lab, "wrong!", n)).await);
    }
    assert_eq!(logins(&server), 3);
    // The right password too, in both forms: the limits come first.
    let attempts = [("cloudbox", salted(&lab, "123456", 9)), ("portal", raw("123456"))];
    for (dialect, proof) in attempts {
        let limited = log_in(&lab, dialect, "u0", proof).await;
        assert!(matches!(limited, Err(Error::RateLimited { .. })), "{limited:?}");
    }
    assert_eq!(logins(&server), 3);
}

#[tokio::test]
async fn a_disabled_user_is_not_migrated() {
    let server = Kind::Portal.start(&["u0"]);
    let lab = lab(Kind::Portal, &server, &[]).await;
    add_imported(&lab, Kind::Portal.api(), &["u0"]).await;
    let user = account(&lab, "u0").await.user.id;
    let epoch = lab.dependencies().random.new_epoch();
    lab.dependencies().users.set_status(user, UserStatus::Disabled, epoch).await.unwrap();
    assert_wrong_password(&log_in(&lab, "portal", "u0", raw("wrong!")).await);
    let disabled = log_in(&lab, "portal", "u0", raw("123456")).await;
    assert!(matches!(disabled, Err(Error::Disabled)), "{disabled:?}");
    assert_eq!(account(&lab, "u0").await.credential.verifier, "{none}");
    lab.dependencies().users.set_status(user, UserStatus::Active, epoch + 1).await.unwrap();
    log_in(&lab, "portal", "u0", raw("123456")).await.unwrap();
    assert!(account(&lab, "u0").await.credential.verifier.starts_with("$argon2id$"));
}

#[tokio::test]
async fn a_password_of_the_old_server_can_be_changed_before_the_first_login() {
    let server = Kind::Cloudbox.start(&["u0"]);
    let lab = lab(Kind::Cloudbox, &server, &[]).await;
    add_imported(&lab, Kind::Cloudbox.api(), &["u0"]).await;
    let caller = RequestInfo::from_client("cloudbox", [203, 0, 113, 7].into());
    let id = ClientUserId::from(account(&lab, "u0").await.user.id);
    let change = async |proof| {
        let password = NewPassword::from_digest(RawPassword::new("a-new-password".to_owned()).digest());
        let authorization = PasswordChangeAuthorization::ProofOnly(&id);
        lab.use_cases().change_password(ChangePasswordRequest { authorization, proof, password, caller: &caller }).await
    };
    assert_wrong_password(&change(salted(&lab, "wrong!", 0)).await);
    change(salted(&lab, "123456", 1)).await.unwrap();
    assert_eq!(logins(&server), 2);
    log_in(&lab, "cloudbox", "u0", salted(&lab, "a-new-password", 2)).await.unwrap();
    assert_wrong_password(&log_in(&lab, "cloudbox", "u0", salted(&lab, "123456", 3)).await);
    assert_eq!(logins(&server), 2, "Stele leads from now on");
}

#[tokio::test]
async fn parallel_wrong_passwords_are_asked_about_one_after_the_other_until_the_limit() {
    let server = Kind::Portal.start(&["u0"]);
    let lab = lab(Kind::Portal, &server, &[("STELE_LIMIT_ACCOUNT", "3")]).await;
    add_imported(&lab, Kind::Portal.api(), &["u0"]).await;
    server.set_fault_on(Call::Login, Fault::Slow(Duration::from_millis(20)));
    let attempts = (0..60).map(|_| log_in(&lab, "portal", "u0", raw("wrong!")));
    let results = futures_util::future::join_all(attempts).await;
    assert!(results.iter().all(Result::is_err));
    assert_eq!(server.most_in_flight(), 1);
    // The next login asks when the one before is answered, and may not see yet that it was counted.
    assert!((4..=10).contains(&logins(&server)), "{}", logins(&server));
}
