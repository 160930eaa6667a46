//! User store: accounts, identifiers, epochs, the decoy row, apps, client tokens and used proofs.

use std::sync::Arc;

use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, SqliteConnection};
use futures_util::future::join_all;
use stele_core::Error;
use stele_core::app::{App, ClientToken};
use stele_core::seal::SealedSecret;
use stele_core::user::{Credential, FIRST_USER_NUMBER, Gender, NewUser, Profile, Role, UserId, UserRef, UserStatus};
use stele_store::{Database, DatabaseUrl};
use stele_testservers as servers;

use crate::support::*;

#[tokio::test]
async fn a_user_is_read_back_unchanged() {
    for UserBackend { name, users, .. } in user_backends().await {
        let field_text = |field: &str| format!("{field} 值");
        let new = NewUser {
            phone: user_with_phone("+8613800138000").phone,
            email: user_with_email("Mark@QQ.com").email,
            registered_with: Some("+8613800138000".to_owned()),
            registered_through: "melink".to_owned(),
            role: Role::Admin,
            profile: Profile {
                real_name: field_text("real_name"),
                gender: Some(Gender::Female),
                nickname: field_text("nickname"),
                avatar_url: field_text("avatar_url"),
                enterprise: field_text("enterprise"),
                group: field_text("group"),
                organization: field_text("organization"),
                department: field_text("department"),
                description: field_text("description"),
                org_id: field_text("org_id"),
                memo: field_text("memo"),
            },
            ..user_named("Mark")
        };
        let user = users.add(&new).await.unwrap().unwrap();
        assert_eq!((user.number, user.id, user.disabled), (FIRST_USER_NUMBER, new.id, false), "{name}");
        assert_eq!(user.name.as_deref(), Some("Mark"));
        assert_eq!(user.phone.as_deref(), Some("+8613800138000"));
        assert_eq!(user.email.as_deref(), Some("Mark@QQ.com"));
        assert_eq!(user.registered_with, new.registered_with);
        assert_eq!(user.registered_through, new.registered_through);
        assert_eq!((user.registered_at, user.role), (new.registered_at, new.role));
        assert_eq!((&user.alias_id, &user.profile), (&new.alias_id, &new.profile));

        for key in ["mark", "13800138000", "mark@qq.com"] {
            let found = users.find_by_identifier(key).await.unwrap().unwrap();
            assert_eq!((found.user, found.credential, found.epoch), (user.clone(), credential("first"), 0));
        }
        for key in ["Mark", "unknown", "", "mark\0", "mark%", "'"] {
            assert!(users.find_by_identifier(key).await.unwrap().is_none(), "{key:?}");
        }
        for by in [UserRef::Id(user.id), UserRef::Number(user.number)] {
            assert_eq!(users.find_by_ref(by).await.unwrap().unwrap().user, user);
        }
        for unknown_ref in [UserRef::Id(random_id()), UserRef::Number(1), UserRef::Number(i64::MAX)] {
            assert!(users.find_by_ref(unknown_ref).await.unwrap().is_none());
        }
        users.ping().await.unwrap();
    }
}

#[tokio::test]
async fn absent_fields_and_unsealed_credentials_are_read_back_absent() {
    for UserBackend { users, .. } in user_backends().await {
        let unsealed = Credential { verifier: "phc".to_owned(), sealed: None };
        let new = NewUser { credential: unsealed.clone(), ..user_with_phone("10086") };
        users.add(&new).await.unwrap().unwrap();
        let found = users.find_by_identifier("10086").await.unwrap().unwrap();
        assert_eq!((found.user.name, found.user.email, found.user.registered_with), (None, None, None));
        assert_eq!((found.credential, found.user.profile), (unsealed, Profile::default()));
    }
}

#[tokio::test]
async fn identifiers_share_one_namespace() {
    for UserBackend { users, .. } in user_backends().await {
        // One user may have a name that is equal to the phone number.
        let both = NewUser { phone: user_with_phone("13800138000").phone, ..user_named("13800138000") };
        assert!(users.add(&both).await.unwrap().is_some());
        assert!(users.add(&user_named("13800138000")).await.unwrap().is_none());
        assert!(users.add(&user_with_phone("+8613800138000")).await.unwrap().is_none());
        // A user rejected for one of two keys leaves no row.
        let half_taken = NewUser { phone: user_with_phone("13800138000").phone, ..user_named("half") };
        assert!(users.add(&half_taken).await.unwrap().is_none());
        assert!(users.find_by_identifier("half").await.unwrap().is_none());
        assert!(users.add(&user_named("half")).await.unwrap().is_some());
        // An id is unique as well.
        assert!(users.add(&NewUser { id: both.id, ..user_named("third") }).await.unwrap().is_none());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_registrations_of_one_identifier_succeed_once() {
    for UserBackend { name, users, .. } in user_backends().await {
        let registrations = (0..32).map(|n| {
            let users = Arc::clone(&users);
            let new = if n % 2 == 0 { user_named("13800138000") } else { user_with_phone("13800138000") };
            async move { users.add(&new).await.unwrap().is_some() }
        });
        let registered = all_at_once(registrations).await;
        assert_eq!(registered.into_iter().filter(|&registered| registered).count(), 1, "{name}");
        assert_eq!(users.list(0, 100).await.unwrap().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn user_numbers_are_consecutive_despite_rejected_registrations() {
    for UserBackend { name, users, .. } in user_backends().await {
        for n in 0..3 {
            users.add(&user_named(&format!("first{n}"))).await.unwrap().unwrap();
            assert!(users.add(&user_named("first0")).await.unwrap().is_none());
        }
        let adding = (0..20).map(|n| {
            let users = Arc::clone(&users);
            async move { users.add(&user_named(&format!("second{n}"))).await.unwrap().unwrap().number }
        });
        let mut numbers = all_at_once(adding).await;
        numbers.sort_unstable();
        assert_eq!(numbers, (FIRST_USER_NUMBER + 3..FIRST_USER_NUMBER + 23).collect::<Vec<_>>(), "{name}");

        let numbers_of = |users: Vec<stele_core::user::User>| users.iter().map(|u| u.number).collect::<Vec<_>>();
        assert_eq!(numbers_of(users.list(0, 2).await.unwrap()), [FIRST_USER_NUMBER, FIRST_USER_NUMBER + 1]);
        assert_eq!(
            numbers_of(users.list(FIRST_USER_NUMBER + 1, 2).await.unwrap()),
            [FIRST_USER_NUMBER + 2, FIRST_USER_NUMBER + 3]
        );
        assert_eq!(users.list(FIRST_USER_NUMBER + 22, 2).await.unwrap(), []);
    }
}

#[tokio::test]
async fn a_credential_change_requires_the_current_epoch() {
    for UserBackend { users, .. } in user_backends().await {
        let id = users.add(&user_named("alice")).await.unwrap().unwrap().id;
        let next = Credential { verifier: "next".to_owned(), sealed: None };
        assert!(users.change_credential(id, 0, i64::MAX, &next).await.unwrap());
        assert!(!users.change_credential(id, 0, 2, &credential("stale")).await.unwrap());
        assert!(!users.upgrade_credential(id, 0, "next", &credential("stale")).await.unwrap());
        let found = users.find_by_identifier("alice").await.unwrap().unwrap();
        assert_eq!((found.credential, found.epoch), (next, i64::MAX));

        assert!(!users.upgrade_credential(id, i64::MAX, "first", &credential("stale")).await.unwrap());
        assert!(users.upgrade_credential(id, i64::MAX, "next", &credential("better")).await.unwrap());
        let found = users.find_by_identifier("alice").await.unwrap().unwrap();
        assert_eq!((found.credential, found.epoch), (credential("better"), i64::MAX));

        assert!(!users.change_credential(random_id(), 0, 2, &credential("x")).await.unwrap());
        assert!(!users.upgrade_credential(random_id(), 0, "first", &credential("x")).await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_changes_from_one_epoch_succeed_once() {
    for UserBackend { users, .. } in user_backends().await {
        let id = users.add(&user_named("alice")).await.unwrap().unwrap().id;
        let changing = (1..=16).map(|n| {
            let users = Arc::clone(&users);
            async move { users.change_credential(id, 0, n, &credential(&n.to_string())).await.unwrap().then_some(n) }
        });
        let epochs: Vec<_> = all_at_once(changing).await.into_iter().flatten().collect();
        assert_eq!(epochs, [users.find_by_identifier("alice").await.unwrap().unwrap().epoch]);
    }
}

#[tokio::test]
async fn disabling_and_enabling_a_user_sets_a_new_epoch() {
    for UserBackend { users, .. } in user_backends().await {
        let id = users.add(&user_named("alice")).await.unwrap().unwrap().id;
        assert!(users.set_status(id, UserStatus::Disabled, 9).await.unwrap());
        let found = users.find_by_identifier("alice").await.unwrap().unwrap();
        assert_eq!((found.user.disabled, found.epoch), (true, 9));
        assert!(users.set_status(id, UserStatus::Active, 4).await.unwrap());
        let found = users.find_by_identifier("alice").await.unwrap().unwrap();
        assert_eq!((found.user.disabled, found.epoch), (false, 4));
        assert!(!users.set_status(random_id(), UserStatus::Disabled, 9).await.unwrap());
    }
}

#[tokio::test]
async fn an_epoch_is_set_and_never_incremented() {
    for UserBackend { users, .. } in user_backends().await {
        let id = users.add(&user_named("alice")).await.unwrap().unwrap().id;
        let mut before = 0;
        // Includes the ends of the range, where an increment would overflow.
        for next in [i64::MAX, 1, i64::MAX - 1, 7] {
            assert!(users.change_credential(id, before, next, &credential("x")).await.unwrap());
            assert!(!users.change_credential(id, before, 3, &credential("stale")).await.unwrap());
            assert_eq!(users.find_by_identifier("alice").await.unwrap().unwrap().epoch, next);
            before = next;
        }
    }
}

#[tokio::test]
async fn the_decoy_row_is_never_returned() {
    for UserBackend { users, .. } in user_backends().await {
        for by in [UserRef::Id(UserId::from_bytes([0; 16])), UserRef::Number(0)] {
            assert!(users.find_by_ref(by).await.unwrap().is_none());
        }
        for key in ["decoy", "", "no-such-user"] {
            assert!(users.find_by_identifier(key).await.unwrap().is_none(), "{key}");
        }
        assert_eq!(users.list(i64::MIN, 10).await.unwrap(), []);
        let user = users.add(&user_named("decoy")).await.unwrap().unwrap();
        assert_eq!(user.number, FIRST_USER_NUMBER);
        assert_eq!(users.find_by_identifier("decoy").await.unwrap().unwrap().user, user);
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn an_unknown_identifier_decodes_the_decoy_row() {
    let (dir, url) = (tempfile::tempdir().unwrap(), servers::database_url());
    for parsed_url in [DatabaseUrl::sqlite(dir.path().join("users.db")), DatabaseUrl::parse(&url).unwrap()] {
        let database = Database::open(&parsed_url).unwrap();
        database.migrate().await.unwrap();
        let users = database.users();
        assert!(users.find_by_identifier("no-such-user").await.unwrap().is_none());
        // An invalid role, so that decoding the row fails.
        let damage = "UPDATE users SET role = 9 WHERE number = 0";
        match &parsed_url {
            DatabaseUrl::Sqlite(path) => {
                let mut conn = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
                conn.batch_execute(damage).unwrap();
            }
            DatabaseUrl::Postgres(url) => servers::execute(url, damage),
        }
        assert!(matches!(users.find_by_identifier("no-such-user").await, Err(Error::Internal(_))), "{parsed_url}");
    }
}

#[tokio::test]
async fn sql_in_text_fields_is_stored_as_data() {
    for UserBackend { users, .. } in user_backends().await {
        let odd = NewUser { registered_through: "'; DROP TABLE users; --".to_owned(), ..user_named("ro\"b'); --") };
        assert_eq!(users.add(&odd).await.unwrap().unwrap().registered_through, odd.registered_through);
        assert!(users.find_by_identifier("ro\"b'); --").await.unwrap().is_some());
        let nul = NewUser { registered_through: "a\0b".to_owned(), ..user_named("nul") };
        assert!(matches!(users.add(&nul).await, Err(Error::Invalid(_))));
    }
}

#[tokio::test]
async fn apps_are_stored_once_and_found_by_name() {
    for UserBackend { users, .. } in user_backends().await {
        let build_app = |name: &str, may_token: &[&str]| App {
            name: name.to_owned(),
            secret: SealedSecret { key_id: u32::MAX, bytes: vec![0, 1, 255] },
            may_token: may_token.iter().map(|&name| name.to_owned()).collect(),
            created_at: NOW,
        };
        for new in [build_app("melink", &["portal", "not-yet"]), build_app("alone", &[])] {
            assert!(users.add_app(&new).await.unwrap());
            assert_eq!(users.find_app(&new.name).await.unwrap(), Some(new));
        }
        assert!(!users.add_app(&build_app("melink", &[])).await.unwrap());
        assert_eq!(users.find_app("melink").await.unwrap().unwrap().may_token, ["portal", "not-yet"]);
        for unknown in ["Melink", "unknown", "", "mel\0ink"] {
            assert_eq!(users.find_app(unknown).await.unwrap(), None);
        }
        assert!(matches!(users.add_app(&build_app("a,b", &[])).await, Err(Error::Invalid(_))));
        assert!(matches!(users.add_app(&build_app("a", &["b,c"])).await, Err(Error::Invalid(_))));
    }
}

#[tokio::test]
async fn client_tokens_are_stored_once_and_found_by_hash() {
    for UserBackend { users, .. } in user_backends().await {
        let kiosk = ClientToken { name: "kiosk 一".to_owned(), hash: [1; 32], created_at: NOW };
        assert!(users.add_client_token(&kiosk).await.unwrap());
        assert!(!users.add_client_token(&ClientToken { hash: [2; 32], ..kiosk.clone() }).await.unwrap());
        assert_eq!(users.find_client_token(&[1; 32]).await.unwrap(), Some(kiosk));
        assert_eq!(users.find_client_token(&[2; 32]).await.unwrap(), None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cancelled_calls_neither_block_nor_corrupt_the_store() {
    for UserBackend { name, users, .. } in user_backends().await {
        // Cancels more calls than the pool has connections, at varying points.
        for n in 0..40 {
            let new = user_named(&format!("cancelled{n}"));
            let cancelled_after = std::time::Duration::from_micros(50 * n);
            let _ = tokio::time::timeout(cancelled_after, users.add(&new)).await;
            poll_once_and_drop(users.find_by_identifier("cancelled0"));
        }
        let after = join_all((0..8).map(|n| user_named(&format!("after{n}"))).map(|new| {
            let users = Arc::clone(&users);
            async move { users.add(&new).await.map(|user| user.is_some()) }
        }));
        for added in after.await {
            assert!(added.unwrap(), "{name}");
        }
    }
}

#[tokio::test]
async fn a_used_proof_is_rejected_until_released_or_expired() {
    for UserBackend { name, users, .. } in user_backends().await {
        let used_proof = |n: u8, expires| one_time_success(n, expires).used_proof.unwrap();
        let proof = used_proof(1, NOW);
        let attempts = join_all((0..8).map(|_| users.mark_proof_used(&proof))).await;
        assert_eq!(attempts.into_iter().filter(|used| *used.as_ref().unwrap()).count(), 1, "{name}");
        // A proof is identified by its key, whatever its expiry.
        assert!(!users.mark_proof_used(&used_proof(1, NOW.saturating_add(secs(9)))).await.unwrap());
        assert!(users.mark_proof_used(&used_proof(2, NOW)).await.unwrap());
        users.unmark_proof_used(&proof).await.unwrap();
        users.unmark_proof_used(&proof).await.unwrap();
        assert!(users.mark_proof_used(&proof).await.unwrap());
        assert!(!users.mark_proof_used(&used_proof(2, NOW)).await.unwrap());

        for n in 3..10 {
            assert!(users.mark_proof_used(&used_proof(n, NOW.saturating_add(secs(n.into())))).await.unwrap());
        }
        assert_eq!(users.delete_expired_proofs(NOW.saturating_sub(secs(1)), 100).await.unwrap(), 0);
        assert_eq!(users.delete_expired_proofs(NOW.saturating_add(secs(5)), 4).await.unwrap(), 4, "{name}: the limit");
        assert_eq!(users.delete_expired_proofs(NOW.saturating_add(secs(5)), 4).await.unwrap(), 1);
        assert!(users.mark_proof_used(&proof).await.unwrap());
        assert!(!users.mark_proof_used(&used_proof(6, NOW)).await.unwrap(), "{name}: it has not expired");
    }
}
