//! Which keys are in service, and what is sealed under them.

use std::sync::Arc;

use stele_core::app::App;
use stele_core::ports::{Dropped, SaltedUse};
use stele_core::seal::Sealed;
use stele_core::user::Credential;
use stele_store::{Database, SchemaState, Target};
use stele_testservers as servers;

use crate::files::execute;
use crate::support::*;

type Execute<'a> = &'a dyn Fn(&str);

const NO_KEYS_SQLITE: &str = include_str!("../../migrations/users-sqlite/0002_keys/down.sql");
const NO_KEYS_POSTGRES: &str = include_str!("../../migrations/users-postgres/0002_keys/down.sql");

fn sealed(key_id: u32, byte: u8) -> Sealed {
    Sealed { key_id, bytes: vec![byte; 44] }
}

fn under(key_id: u32, byte: u8) -> Credential {
    Credential { verifier: "v".to_owned(), sealed: Some(sealed(key_id, byte)) }
}

fn app(name: &str, key_id: u32) -> App {
    App { name: name.to_owned(), secret: sealed(key_id, 9), may_token: Vec::new(), created_at: NOW }
}

#[tokio::test]
async fn keys_are_put_in_service_once_and_come_back_as_stored() {
    for UserBackend { keys, .. } in user_backends().await {
        let jwt = key_record("jwt-eddsa-2");
        assert!(keys.add_key(&jwt).await.unwrap());
        let other = stele_core::ports::KeyRecord { probe: None, ..jwt.clone() };
        assert!(!keys.add_key(&other).await.unwrap());
        let bare = stele_core::ports::KeyRecord { probe: None, ..key_record("seal-2") };
        assert!(keys.add_key(&bare).await.unwrap());
        for probe in [[1; 32], [2; 32]] {
            keys.set_probe("seal-2", &probe).await.unwrap();
        }
        keys.set_probe("jwt-eddsa-2", &[3; 32]).await.unwrap();
        let all = keys.keys().await.unwrap();
        assert_eq!(all.len(), 5);
        assert!(all.contains(&jwt), "a probe is set once: {all:?}");
        assert_eq!(all.iter().find(|key| key.name == "seal-2").unwrap().probe, Some(vec![1; 32]));
        assert_eq!(keys.drop_key("jwt-eddsa-2").await.unwrap(), Dropped::Done);
        assert_eq!(keys.drop_key("jwt-eddsa-2").await.unwrap(), Dropped::Unknown);
    }
}

#[tokio::test]
async fn nothing_is_sealed_under_a_key_out_of_service_and_none_is_taken_that_is_needed() {
    for UserBackend { name, users, keys, .. } in user_backends().await {
        let id = users.add(&named("alice")).await.unwrap().unwrap().id;
        assert!(users.add_app(&app("melink", 7)).await.unwrap());
        assert_eq!(keys.sealed_under().await.unwrap(), [(7, 1, 1)], "{name}");
        assert_eq!(keys.drop_key("seal-7").await.unwrap(), Dropped::InUse(2));
        for stranger in [2, 8] {
            assert!(users.change_credential(id, 0, 1, &under(stranger, 1)).await.is_err());
            assert!(users.upgrade_credential(id, 0, "first", &under(stranger, 1)).await.is_err());
            assert!(users.add_app(&app("other", stranger)).await.is_err());
            assert!(
                keys.reseal_users(&[(id, credential("first").sealed.unwrap(), sealed(stranger, 1))]).await.is_err()
            );
        }
        assert!(users.change_credential(id, 0, 1, &under(1, 1)).await.unwrap());
        assert_eq!(keys.drop_key("seal-7").await.unwrap(), Dropped::InUse(1));
        assert!(keys.reseal_app("melink", &sealed(7, 9), &sealed(1, 8)).await.unwrap());
        assert_eq!(keys.sealed_under().await.unwrap(), [(1, 1, 1)]);
        assert_eq!(keys.drop_key("seal-7").await.unwrap(), Dropped::Done);
        assert!(users.add(&named("bob")).await.is_err(), "the tests' users are sealed under 7");
        assert!(users.find("bob").await.unwrap().is_none());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_key_is_taken_or_sealed_under_but_not_both() {
    for UserBackend { name, users, keys, .. } in user_backends().await {
        for round in 0..20 {
            let key = format!("seal-{}", 100 + round);
            assert!(keys.add_key(&key_record(&key)).await.unwrap());
            let new = stele_core::user::NewUser { credential: under(100 + round, 1), ..named(&format!("u{round}")) };
            let (adding, taking) = (Arc::clone(&users), Arc::clone(&keys));
            let adding = tokio::spawn(async move { adding.add(&new).await.is_ok_and(|added| added.is_some()) });
            let taken = tokio::spawn(async move { taking.drop_key(&key).await }).await.unwrap();
            let added = adding.await.unwrap();
            // PostgreSQL may break a deadlock by refusing either; never are both done.
            let dropped = taken.is_ok_and(|dropped| dropped == Dropped::Done);
            assert!(!(added && dropped), "{name} {round}");
        }
        let in_service = keys.keys().await.unwrap();
        for (key, ..) in keys.sealed_under().await.unwrap() {
            assert!(in_service.iter().any(|record| record.number("seal") == Some(key)), "{name}: {key}");
        }
    }
}

#[tokio::test]
async fn rows_are_sealed_anew_only_as_they_were_read() {
    for UserBackend { users, keys, .. } in user_backends().await {
        let mut ids = Vec::new();
        for n in 0..5 {
            let id = users.add(&named(&format!("user{n}"))).await.unwrap().unwrap().id;
            assert!(users.upgrade_credential(id, 0, "first", &under(7, n)).await.unwrap());
            ids.push(id);
        }
        let page = keys.sealed_users(7, 0, 3).await.unwrap();
        assert_eq!(
            page.iter().map(|row| (row.id, row.sealed.clone())).collect::<Vec<_>>(),
            [(ids[0], sealed(7, 0)), (ids[1], sealed(7, 1)), (ids[2], sealed(7, 2)),]
        );
        assert_eq!(keys.sealed_users(7, page[2].number, 3).await.unwrap().len(), 2);
        assert_eq!(keys.sealed_users(1, 0, 3).await.unwrap(), []);
        // One changes their password in between, another's is sealed anew already.
        assert!(users.change_credential(ids[1], 0, 1, &under(7, 100)).await.unwrap());
        assert_eq!(keys.reseal_users(&[(ids[2], sealed(7, 2), sealed(1, 50))]).await.unwrap(), 1);
        let changes: Vec<_> =
            page.into_iter().map(|row| (row.id, row.sealed.clone(), Sealed { key_id: 1, ..row.sealed })).collect();
        assert_eq!(keys.reseal_users(&changes).await.unwrap(), 1);
        let stored = async |name: &str| users.find(name).await.unwrap().unwrap();
        assert_eq!(stored("user0").await.credential, under(1, 0));
        assert_eq!((stored("user1").await.credential, stored("user1").await.epoch), (under(7, 100), 1));
        assert_eq!(stored("user2").await.credential, under(1, 50));
        assert_eq!(keys.sealed_under().await.unwrap(), [(1, 2, 0), (7, 3, 0)]);

        assert!(users.add_app(&app("melink", 7)).await.unwrap());
        assert_eq!(keys.sealed_apps(7).await.unwrap(), [app("melink", 7)]);
        assert!(!keys.reseal_app("melink", &sealed(7, 1), &sealed(1, 1)).await.unwrap());
        assert!(!keys.reseal_app("nobody", &sealed(7, 9), &sealed(1, 1)).await.unwrap());
        assert!(keys.reseal_app("melink", &sealed(7, 9), &sealed(1, 1)).await.unwrap());
        assert_eq!(users.app("melink").await.unwrap().unwrap().secret, sealed(1, 1));
    }
}

#[tokio::test]
async fn once_salted_dialects_are_ended_no_digest_is_stored() {
    for UserBackend { users, keys, .. } in user_backends().await {
        let mut ids = Vec::new();
        for n in 0..5 {
            ids.push(users.add(&named(&format!("user{n}"))).await.unwrap().unwrap().id);
        }
        assert!(users.add_app(&app("melink", 7)).await.unwrap());
        assert_eq!((keys.salted_ended().await.unwrap(), keys.count_seals().await.unwrap()), (None, 5));
        assert!(keys.end_salted(NOW).await.unwrap());
        assert!(!keys.end_salted(NOW.after(secs(1))).await.unwrap());
        assert_eq!(keys.salted_ended().await.unwrap(), Some(NOW));
        assert_eq!(keys.erase_seals(3).await.unwrap(), 3);
        assert_eq!(keys.erase_seals(3).await.unwrap(), 2);
        assert_eq!(keys.erase_seals(3).await.unwrap(), 0);
        // Whatever a process believes that has not heard of it.
        users.add(&named("late")).await.unwrap().unwrap();
        assert!(users.change_credential(ids[0], 0, 1, &under(7, 1)).await.unwrap());
        assert!(users.upgrade_credential(ids[1], 0, "first", &under(7, 1)).await.unwrap());
        for name in ["late", "user0", "user1", "user2"] {
            let found = users.find(name).await.unwrap().unwrap();
            assert_eq!(found.credential.sealed, None, "{name}");
        }
        assert_eq!(users.find("user0").await.unwrap().unwrap().credential.verifier, "v");
        assert_eq!((keys.count_seals().await.unwrap(), keys.sealed_under().await.unwrap()), (0, vec![(7, 0, 1)]));
        assert!(keys.allow_salted().await.unwrap());
        assert!(!keys.allow_salted().await.unwrap());
        assert!(users.upgrade_credential(ids[1], 0, "v", &under(7, 1)).await.unwrap());
        assert_eq!(users.find("user1").await.unwrap().unwrap().credential, under(7, 1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn digests_on_their_way_when_salted_dialects_end_are_not_stored_either() {
    for UserBackend { name, users, keys, .. } in user_backends().await {
        let adding: Vec<_> = (0..60)
            .map(|n| {
                let users = Arc::clone(&users);
                tokio::spawn(async move { users.add(&named(&format!("user{n}"))).await.unwrap() })
            })
            .collect();
        keys.end_salted(NOW).await.unwrap();
        while keys.erase_seals(10).await.unwrap() > 0 {}
        for added in adding {
            added.await.unwrap().unwrap();
        }
        assert_eq!(keys.count_seals().await.unwrap(), 0, "{name}");
    }
}

#[tokio::test]
async fn salted_logins_are_noted_and_counted() {
    for UserBackend { users, keys, .. } in user_backends().await {
        assert_eq!(keys.salted_use(NOW).await.unwrap(), SaltedUse::default());
        let mut ids = Vec::new();
        for n in 0..3 {
            ids.push(users.add(&named(&format!("user{n}"))).await.unwrap().unwrap().id);
        }
        let later = NOW.after(secs(60));
        keys.note_salted(&ids[..2], NOW).await.unwrap();
        keys.note_salted(&[ids[1], random_id()], later).await.unwrap();
        keys.note_salted(&[ids[1]], NOW).await.unwrap();
        keys.note_salted(&[], NOW).await.unwrap();
        let at = async |name: &str| users.find(name).await.unwrap().unwrap().salted_at;
        assert_eq!((at("user0").await, at("user1").await, at("user2").await), (Some(NOW), Some(later), None));
        assert_eq!(keys.salted_use(later).await.unwrap(), SaltedUse { users: 2, lately: 1, last: Some(later) });
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn the_keys_that_rows_are_sealed_under_are_in_service_after_a_migration() {
    let dir = tempfile::tempdir().unwrap();
    let (path, url) = (dir.path().join("users.db"), servers::database_url());
    let back: [(_, _, Execute<'_>); 2] = [
        (Target::sqlite(&path), NO_KEYS_SQLITE, &|sql| execute(&path, sql)),
        (Target::parse(&url).unwrap(), NO_KEYS_POSTGRES, &|sql| servers::execute(&url, sql)),
    ];
    for (target, no_keys, execute) in back {
        let database = Database::open(&target).unwrap();
        database.migrate().await.unwrap();
        let UserBackend { users, keys, .. } = backend("any", &database, None).await;
        let id = users.add(&named("alice")).await.unwrap().unwrap().id;
        assert!(users.add_app(&app("melink", 1)).await.unwrap());
        // As the first version left it.
        execute(&format!("{no_keys}; DELETE FROM __diesel_schema_migrations WHERE version = '0002'"));
        assert_eq!(database.schema().await.unwrap(), SchemaState::Older);
        database.migrate().await.unwrap();
        let records = keys.keys().await.unwrap();
        let seen: Vec<_> =
            records.iter().map(|key| (key.name.as_str(), &key.probe, key.works_from.as_secs())).collect();
        assert_eq!(seen, [("seal-1", &None, 0), ("seal-7", &None, 0)], "{target}");
        assert_eq!(keys.sealed_under().await.unwrap(), [(1, 0, 1), (7, 1, 0)]);
        assert_eq!(users.find("alice").await.unwrap().unwrap().credential, credential("first"));
        assert_eq!(users.app("melink").await.unwrap(), Some(app("melink", 1)));
        // And nothing else is: the number that was in service before is not.
        assert!(users.change_credential(id, 0, 1, &under(u32::MAX, 1)).await.is_err());
    }
}
