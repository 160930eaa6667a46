//! `STELE_OLD_…_OPEN`: users whom no import has brought.

use stele_core::mac::sha256;
use stele_core::old_server::{LegacyId, OldApi};
use stele_core::ports::UsedProof;
use stele_core::proof::Proof;
use stele_core::user::Role;
use stele_old_servers::{Fault, OldCloudbox, StoredPassword};

use crate::fixture::{
    Kind, account, add_imported, assert_unavailable, lab, log_in, logins, old_user, phone, raw, salted,
};

#[tokio::test]
async fn an_accepted_unknown_user_is_added_with_what_the_answer_says() {
    let server = Kind::Jwt.start(&["u0"]);
    let lab = lab(Kind::Jwt, &server, &[("STELE_OLD_JWT_OPEN", "true")]).await;
    let unknown = log_in(&lab, "jwt", "u0", raw("wrong!")).await;
    assert!(matches!(unknown, Err(stele_core::Error::UnknownUser)), "{unknown:?}");
    let session = log_in(&lab, "jwt", "U0", raw("123456")).await.unwrap();
    let stored = account(&lab, "u0").await;
    assert_eq!((&session.user, session.user.name.as_deref()), (&stored.user, Some("u0")));
    assert_eq!((stored.user.role, stored.user.profile.organization.as_str()), (Role::User, "org of u0"));
    let ids = lab.dependencies().legacy_users.list_legacy_ids(stored.user.number).await.unwrap();
    assert_eq!(ids.len(), 1);
    assert_eq!(ids[0].api, OldApi::Jwt);
    server.clear_log();
    for (dialect, proof) in [("jwt", raw("123456")), ("cloudbox", salted(&lab, "123456", 0))] {
        log_in(&lab, dialect, "u0", proof).await.unwrap();
    }
    assert_eq!(server.calls().len(), 0);
}

#[tokio::test]
async fn a_user_added_by_a_relayed_digest_is_migrated_by_a_password() {
    let server = Kind::Cloudbox.start(&["u0"]);
    let lab = lab(Kind::Cloudbox, &server, &[("STELE_OLD_CLOUDBOX_OPEN", "true")]).await;
    let proof = salted(&lab, "123456", 0);
    log_in(&lab, "cloudbox", "u0", proof.clone()).await.unwrap();
    let stored = account(&lab, "u0").await;
    assert_eq!(stored.credential.verifier, "{none}");
    assert_eq!(stored.user.phone.as_deref(), Some(phone(0).as_str()));
    let ids = lab.dependencies().legacy_users.list_legacy_ids(stored.user.number).await.unwrap();
    assert_eq!(ids, [LegacyId { api: OldApi::Cloudbox, id: "1".to_owned() }]);
    let replayed = log_in(&lab, "cloudbox", "u0", proof).await;
    assert!(matches!(replayed, Err(stele_core::Error::Replayed)), "{replayed:?}");
    log_in(&lab, "portal", &phone(0), raw("123456")).await.unwrap();
    assert!(account(&lab, "u0").await.credential.verifier.starts_with("$argon2id$"));
    assert_eq!(lab.dependencies().users.list(0, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn mefp_users_have_the_phone_that_was_sent() {
    let server = Kind::Mefp.start(&["u0"]);
    let lab = lab(Kind::Mefp, &server, &[("STELE_OLD_MEFP_OPEN", "true")]).await;
    log_in(&lab, "mefp", "+86 138-0013-8000", raw("123456")).await.unwrap();
    let stored = account(&lab, "13800138000").await;
    assert!(stored.user.phone.is_some() && stored.user.name.is_none());
    // MeFP knows no names.
    assert!(log_in(&lab, "mefp", "u0", raw("123456")).await.is_err());
    assert_eq!(logins(&server), 1);
}

#[tokio::test]
async fn an_identifier_of_another_user_is_left_to_that_user() {
    let server = Kind::Cloudbox.start(&["u0"]);
    let lab = lab(Kind::Cloudbox, &server, &[("STELE_OLD_CLOUDBOX_OPEN", "true")]).await;
    lab.user("owner").phone(&phone(0)).add().await;
    log_in(&lab, "portal", "u0", raw("123456")).await.unwrap();
    assert_eq!(account(&lab, "u0").await.user.phone, None);
    assert_eq!(account(&lab, &phone(0)).await.user.name.as_deref(), Some("owner"));
}

#[tokio::test]
async fn an_old_id_that_belongs_to_another_user_adds_none() {
    let server = Kind::Cloudbox.start(&["u0"]);
    let lab = lab(Kind::Cloudbox, &server, &[("STELE_OLD_CLOUDBOX_OPEN", "true")]).await;
    // The user with the id 1 was imported under another name and phone.
    add_imported(&lab, OldApi::Cloudbox, &["other"]).await;
    let user = log_in(&lab, "cloudbox", "u0", salted(&lab, "123456", 0)).await;
    assert_unavailable(&user);
    assert_eq!(lab.dependencies().users.list(0, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_answer_about_another_user_adds_none() {
    let server = Kind::Cloudbox.start(&["u0"]);
    let lab = lab(Kind::Cloudbox, &server, &[("STELE_OLD_CLOUDBOX_OPEN", "true")]).await;
    server.set_fault(Fault::OtherName);
    assert_unavailable(&log_in(&lab, "jwt", "u0", raw("123456")).await);
    assert_eq!(lab.dependencies().users.list(0, 10).await.unwrap().len(), 0);
}

#[tokio::test]
async fn two_instances_add_one_user() {
    let server = Kind::Portal.start(&["u0"]);
    let lab = lab(Kind::Portal, &server, &[("STELE_OLD_PORTAL_OPEN", "true")]).await;
    let second = lab.second_instance().await;
    for round in 0..5 {
        let phone = phone(0);
        let (one, other) = tokio::join!(
            log_in(&lab, "portal", &phone, raw("123456")),
            log_in(&second, "portal", &phone, raw("123456"))
        );
        assert_eq!(one.unwrap().user.id, other.unwrap().user.id, "{round}");
    }
    assert_eq!(lab.dependencies().users.list(0, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_unknown_user_is_no_administrator_and_a_digest_stays_used_under_the_id() {
    let mut admin = old_user(0, "u0", StoredPassword::md5("123456"));
    admin.is_admin = true;
    let server = OldCloudbox::start([admin]);
    let lab = lab(Kind::Cloudbox, &server, &[("STELE_OLD_CLOUDBOX_OPEN", "true")]).await;
    let proof = salted(&lab, "123456", 0);
    log_in(&lab, "cloudbox", "u0", proof.clone()).await.unwrap();
    let user = account(&lab, "u0").await.user;
    assert_eq!(user.role, Role::User);
    // The state store may lose its record of the proof; the user store has it under the id of the user who was added.
    let Proof::Salted(proof) = proof else { unreachable!() };
    let mut key = [0; 32];
    key[..8].copy_from_slice(&proof.made_at().as_secs().to_be_bytes());
    key[8..].copy_from_slice(&sha256(&[user.id.as_bytes().as_slice(), &proof.digest].concat())[..24]);
    let used = UsedProof { key, expires: lab.dependencies().now() };
    assert!(!lab.dependencies().users.mark_proof_used(&used).await.unwrap());
}
