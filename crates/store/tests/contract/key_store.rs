//! Key store: registered keys, key rotation, and disabling salted logins.

use std::sync::Arc;

use stele_core::app::App;
use stele_core::ports::{KeyRetirement, KeyUsage, ResealedUser, SaltedLoginUsage};
use stele_core::seal::{KeyId, SealedSecret};
use stele_core::user::Credential;
use stele_store::{Database, DatabaseUrl, SchemaState};
use stele_testservers as servers;

use crate::opening::execute_sql;
use crate::support::*;

fn key_usage(key: KeyId, users: u64, apps: u64) -> KeyUsage {
    KeyUsage { key, users, apps }
}

type ExecuteSql<'a> = &'a dyn Fn(&str);

const REVERT_KEYS_SQLITE: &str = include_str!("../../migrations/users-sqlite/0002_keys/down.sql");
const REVERT_KEYS_POSTGRES: &str = include_str!("../../migrations/users-postgres/0002_keys/down.sql");

fn sealed(key_id: u32, byte: u8) -> SealedSecret {
    SealedSecret { key_id, bytes: vec![byte; 44] }
}

fn credential_sealed_under(key_id: u32, byte: u8) -> Credential {
    Credential { verifier: "v".to_owned(), sealed: Some(sealed(key_id, byte)) }
}

fn app(name: &str, key_id: u32) -> App {
    App { name: name.to_owned(), secret: sealed(key_id, 9), may_token: Vec::new(), created_at: NOW }
}

#[tokio::test]
async fn a_key_is_added_once_and_read_back_unchanged() {
    for UserBackend { keys, .. } in user_backends().await {
        let jwt = key_record("jwt-eddsa-2");
        assert!(keys.add_key(&jwt).await.unwrap());
        let other = stele_core::ports::KeyRecord { fingerprint: None, ..jwt.clone() };
        assert!(!keys.add_key(&other).await.unwrap());
        let without_fingerprint = stele_core::ports::KeyRecord { fingerprint: None, ..key_record("seal-2") };
        assert!(keys.add_key(&without_fingerprint).await.unwrap());
        for fingerprint in [[1; 32], [2; 32]] {
            keys.set_fingerprint("seal-2", &fingerprint).await.unwrap();
        }
        keys.set_fingerprint("jwt-eddsa-2", &[3; 32]).await.unwrap();
        let all = keys.keys().await.unwrap();
        assert_eq!(all.len(), 5);
        assert!(all.contains(&jwt), "a fingerprint is set once: {all:?}");
        assert_eq!(all.iter().find(|key| key.name == "seal-2").unwrap().fingerprint, Some(vec![1; 32]));
        assert_eq!(keys.retire_key("jwt-eddsa-2").await.unwrap(), KeyRetirement::Retired);
        assert_eq!(keys.retire_key("jwt-eddsa-2").await.unwrap(), KeyRetirement::NotFound);
    }
}

#[tokio::test]
async fn rows_need_a_registered_key_and_a_key_in_use_cannot_be_retired() {
    for UserBackend { name, users, keys, .. } in user_backends().await {
        let id = users.add(&user_named("alice")).await.unwrap().unwrap().id;
        assert!(users.add_app(&app("melink", 7)).await.unwrap());
        assert_eq!(keys.count_rows_by_key().await.unwrap(), [key_usage(7, 1, 1)], "{name}");
        assert_eq!(keys.retire_key("seal-7").await.unwrap(), KeyRetirement::InUse(2));
        for unknown_key in [2, 8] {
            assert!(users.change_credential(id, 0, 1, &credential_sealed_under(unknown_key, 1)).await.is_err());
            assert!(users.upgrade_credential(id, 0, "first", &credential_sealed_under(unknown_key, 1)).await.is_err());
            assert!(users.add_app(&app("other", unknown_key)).await.is_err());
            assert!(
                keys.reseal_users(&[ResealedUser {
                    id,
                    old: credential("first").sealed.unwrap(),
                    new: sealed(unknown_key, 1)
                }])
                .await
                .is_err()
            );
        }
        assert!(users.change_credential(id, 0, 1, &credential_sealed_under(1, 1)).await.unwrap());
        assert_eq!(keys.retire_key("seal-7").await.unwrap(), KeyRetirement::InUse(1));
        assert!(keys.reseal_app("melink", &sealed(7, 9), &sealed(1, 8)).await.unwrap());
        assert_eq!(keys.count_rows_by_key().await.unwrap(), [key_usage(1, 1, 1)]);
        assert_eq!(keys.retire_key("seal-7").await.unwrap(), KeyRetirement::Retired);
        assert!(users.add(&user_named("bob")).await.is_err(), "the credentials of the tests are sealed under key 7");
        assert!(users.find_by_identifier("bob").await.unwrap().is_none());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_key_is_never_retired_while_a_row_is_sealed_under_it() {
    for UserBackend { name, users, keys, .. } in user_backends().await {
        for round in 0..20 {
            let key = format!("seal-{}", 100 + round);
            assert!(keys.add_key(&key_record(&key)).await.unwrap());
            let new = stele_core::user::NewUser {
                credential: credential_sealed_under(100 + round, 1),
                ..user_named(&format!("u{round}"))
            };
            let (users, keys) = (Arc::clone(&users), Arc::clone(&keys));
            let adding = tokio::spawn(async move { users.add(&new).await.is_ok_and(|added| added.is_some()) });
            let retirement = tokio::spawn(async move { keys.retire_key(&key).await }).await.unwrap();
            let added = adding.await.unwrap();
            // PostgreSQL may abort one of the two to break a deadlock, but they never both succeed.
            let retired = retirement.is_ok_and(|retirement| retirement == KeyRetirement::Retired);
            assert!(!(added && retired), "{name} {round}");
        }
        let registered = keys.keys().await.unwrap();
        for KeyUsage { key, .. } in keys.count_rows_by_key().await.unwrap() {
            assert!(registered.iter().any(|record| record.number("seal") == Some(key)), "{name}: {key}");
        }
    }
}

#[tokio::test]
async fn rows_changed_since_they_were_read_are_not_resealed() {
    for UserBackend { users, keys, .. } in user_backends().await {
        let mut ids = Vec::new();
        for n in 0..5 {
            let id = users.add(&user_named(&format!("user{n}"))).await.unwrap().unwrap().id;
            assert!(users.upgrade_credential(id, 0, "first", &credential_sealed_under(7, n)).await.unwrap());
            ids.push(id);
        }
        let page = keys.sealed_users(7, 0, 3).await.unwrap();
        assert_eq!(
            page.iter().map(|row| (row.id, row.sealed.clone())).collect::<Vec<_>>(),
            [(ids[0], sealed(7, 0)), (ids[1], sealed(7, 1)), (ids[2], sealed(7, 2)),]
        );
        assert_eq!(keys.sealed_users(7, page[2].number, 3).await.unwrap().len(), 2);
        assert_eq!(keys.sealed_users(1, 0, 3).await.unwrap(), []);
        // After the read, one user changes the password, and another row is resealed.
        assert!(users.change_credential(ids[1], 0, 1, &credential_sealed_under(7, 100)).await.unwrap());
        assert_eq!(
            keys.reseal_users(&[ResealedUser { id: ids[2], old: sealed(7, 2), new: sealed(1, 50) }]).await.unwrap(),
            1
        );
        let changes: Vec<_> = page
            .into_iter()
            .map(|row| ResealedUser {
                id: row.id,
                old: row.sealed.clone(),
                new: SealedSecret { key_id: 1, ..row.sealed },
            })
            .collect();
        assert_eq!(keys.reseal_users(&changes).await.unwrap(), 1);
        let stored = async |name: &str| users.find_by_identifier(name).await.unwrap().unwrap();
        assert_eq!(stored("user0").await.credential, credential_sealed_under(1, 0));
        assert_eq!(
            (stored("user1").await.credential, stored("user1").await.epoch),
            (credential_sealed_under(7, 100), 1)
        );
        assert_eq!(stored("user2").await.credential, credential_sealed_under(1, 50));
        assert_eq!(keys.count_rows_by_key().await.unwrap(), [key_usage(1, 2, 0), key_usage(7, 3, 0)]);

        assert!(users.add_app(&app("melink", 7)).await.unwrap());
        assert_eq!(keys.sealed_apps(7).await.unwrap(), [app("melink", 7)]);
        assert!(!keys.reseal_app("melink", &sealed(7, 1), &sealed(1, 1)).await.unwrap());
        assert!(!keys.reseal_app("unknown", &sealed(7, 9), &sealed(1, 1)).await.unwrap());
        assert!(keys.reseal_app("melink", &sealed(7, 9), &sealed(1, 1)).await.unwrap());
        assert_eq!(users.find_app("melink").await.unwrap().unwrap().secret, sealed(1, 1));
    }
}

#[tokio::test]
async fn no_sealed_digest_is_stored_after_salted_logins_are_disabled() {
    for UserBackend { users, keys, .. } in user_backends().await {
        let mut ids = Vec::new();
        for n in 0..5 {
            ids.push(users.add(&user_named(&format!("user{n}"))).await.unwrap().unwrap().id);
        }
        assert!(users.add_app(&app("melink", 7)).await.unwrap());
        assert_eq!(
            (keys.salted_logins_disabled_at().await.unwrap(), keys.count_sealed_digests().await.unwrap()),
            (None, 5)
        );
        assert!(keys.disable_salted_logins(NOW).await.unwrap());
        assert!(!keys.disable_salted_logins(NOW.saturating_add(secs(1))).await.unwrap());
        assert_eq!(keys.salted_logins_disabled_at().await.unwrap(), Some(NOW));
        assert_eq!(keys.erase_sealed_digests(3).await.unwrap(), 3);
        assert_eq!(keys.erase_sealed_digests(3).await.unwrap(), 2);
        assert_eq!(keys.erase_sealed_digests(3).await.unwrap(), 0);
        // Also from a process that still considers salted logins enabled.
        users.add(&user_named("late")).await.unwrap().unwrap();
        assert!(users.change_credential(ids[0], 0, 1, &credential_sealed_under(7, 1)).await.unwrap());
        assert!(users.upgrade_credential(ids[1], 0, "first", &credential_sealed_under(7, 1)).await.unwrap());
        for name in ["late", "user0", "user1", "user2"] {
            let found = users.find_by_identifier(name).await.unwrap().unwrap();
            assert_eq!(found.credential.sealed, None, "{name}");
        }
        assert_eq!(users.find_by_identifier("user0").await.unwrap().unwrap().credential.verifier, "v");
        assert_eq!(
            (keys.count_sealed_digests().await.unwrap(), keys.count_rows_by_key().await.unwrap()),
            (0, vec![key_usage(7, 0, 1)])
        );
        assert!(keys.enable_salted_logins().await.unwrap());
        assert!(!keys.enable_salted_logins().await.unwrap());
        assert!(users.upgrade_credential(ids[1], 0, "v", &credential_sealed_under(7, 1)).await.unwrap());
        assert_eq!(users.find_by_identifier("user1").await.unwrap().unwrap().credential, credential_sealed_under(7, 1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sealed_digests_in_flight_when_salted_logins_are_disabled_are_not_stored() {
    for UserBackend { name, users, keys, .. } in user_backends().await {
        let adding: Vec<_> = (0..60)
            .map(|n| {
                let users = Arc::clone(&users);
                tokio::spawn(async move { users.add(&user_named(&format!("user{n}"))).await.unwrap() })
            })
            .collect();
        keys.disable_salted_logins(NOW).await.unwrap();
        while keys.erase_sealed_digests(10).await.unwrap() > 0 {}
        for added in adding {
            added.await.unwrap().unwrap();
        }
        assert_eq!(keys.count_sealed_digests().await.unwrap(), 0, "{name}");
    }
}

#[tokio::test]
async fn salted_logins_are_recorded_and_counted() {
    for UserBackend { users, keys, .. } in user_backends().await {
        assert_eq!(keys.salted_login_usage(NOW).await.unwrap(), SaltedLoginUsage::default());
        let mut ids = Vec::new();
        for n in 0..3 {
            ids.push(users.add(&user_named(&format!("user{n}"))).await.unwrap().unwrap().id);
        }
        let later = NOW.saturating_add(secs(60));
        keys.record_salted_logins(&ids[..2], NOW).await.unwrap();
        keys.record_salted_logins(&[ids[1], random_id()], later).await.unwrap();
        keys.record_salted_logins(&[ids[1]], NOW).await.unwrap();
        keys.record_salted_logins(&[], NOW).await.unwrap();
        let at = async |name: &str| users.find_by_identifier(name).await.unwrap().unwrap().salted_at;
        assert_eq!((at("user0").await, at("user1").await, at("user2").await), (Some(NOW), Some(later), None));
        assert_eq!(
            keys.salted_login_usage(later).await.unwrap(),
            SaltedLoginUsage { users: 2, recent_users: 1, last_login: Some(later) }
        );
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn the_key_migration_registers_every_sealing_key_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let (path, url) = (dir.path().join("users.db"), servers::database_url());
    let databases: [(_, _, ExecuteSql<'_>); 2] = [
        (DatabaseUrl::sqlite(&path), REVERT_KEYS_SQLITE, &|sql| execute_sql(&path, sql)),
        (DatabaseUrl::parse(&url).unwrap(), REVERT_KEYS_POSTGRES, &|sql| servers::execute(&url, sql)),
    ];
    for (database_url, revert_keys, execute) in databases {
        let database = Database::open(&database_url).unwrap();
        database.migrate().await.unwrap();
        let UserBackend { users, keys, .. } = user_backend("any", &database, None).await;
        let id = users.add(&user_named("alice")).await.unwrap().unwrap().id;
        assert!(users.add_app(&app("melink", 1)).await.unwrap());
        // Restores the database to the state in which the first version left it.
        execute(&format!("{revert_keys}; DELETE FROM __diesel_schema_migrations WHERE version = '0002'"));
        assert_eq!(database.schema_state().await.unwrap(), SchemaState::Older);
        database.migrate().await.unwrap();
        let records = keys.keys().await.unwrap();
        let summary: Vec<_> =
            records.iter().map(|key| (key.name.as_str(), &key.fingerprint, key.active_from.as_secs())).collect();
        assert_eq!(summary, [("seal-1", &None, 0), ("seal-7", &None, 0)], "{database_url}");
        assert_eq!(keys.count_rows_by_key().await.unwrap(), [key_usage(1, 0, 1), key_usage(7, 1, 0)]);
        assert_eq!(users.find_by_identifier("alice").await.unwrap().unwrap().credential, credential("first"));
        assert_eq!(users.find_app("melink").await.unwrap(), Some(app("melink", 1)));
        // No other key is registered, so no row can be sealed under it.
        assert!(users.change_credential(id, 0, 1, &credential_sealed_under(u32::MAX, 1)).await.is_err());
    }
}
