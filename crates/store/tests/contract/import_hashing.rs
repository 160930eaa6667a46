//! Hashing of imported passwords in the background.

use stele_core::hasher::Hasher;
use stele_core::import::{ImportRow, MergeRule};
use stele_core::password::RawPassword;
use stele_core::random::OsRandom;
use stele_core::usecase::hash_pending::{HashJob, HashReport, hash_pending};
use stele_core::verifier::{self, Argon2Cost, HashMemory, NO_PASSWORD, PresentedSecret, parse_imported};

use crate::imports::{Keys, SALTED, account, at_positions, numbered_rows, row};
use crate::support::*;

const LOW_COST: Argon2Cost = Argon2Cost { memory_kib: 64, passes: 1, lanes: 1 };

pub(crate) async fn hash_all(backend: &UserBackend, keys: &Keys) -> HashReport {
    let hasher = Hasher::new(LOW_COST, 2, 64, &OsRandom).unwrap();
    let (store, sealer) = (backend.imports.as_ref(), &keys.sealer);
    hash_pending(&HashJob { store, sealer, hasher: &hasher, random: &OsRandom }).await.unwrap()
}

pub(crate) fn verifies(stored: &str, password: &str) -> bool {
    verifier::verify(stored, &PresentedSecret::Raw(RawPassword::new(password.to_owned())), &mut HashMemory::default())
}

#[tokio::test]
async fn hashes_wait_sealed_and_become_argon2id_in_the_background() {
    for backend in user_backends().await {
        let keys = Keys::new();
        let mut rows: Vec<_> = (0..40).map(|n| Ok(row(&format!("d{n}"), &format!("digest{n}"), ""))).collect();
        rows.push(Ok(ImportRow { secret: Some(parse_imported(SALTED).unwrap()), ..row("s", "salted", "") }));
        rows.push(Ok(ImportRow { secret: None, ..row("n", "none", "") }));
        keys.run(&backend, "files", MergeRule::None, at_positions(rows)).await;
        assert_eq!(backend.imports.count_pending_hashes().await.unwrap(), 41, "{}", backend.name);
        let waiting = account(&backend, "digest0").await.credential;
        assert!(waiting.verifier == "{pending}" && waiting.sealed.is_some());
        // Disabling salted logins keeps the only copy of a waiting hash.
        assert_eq!(backend.keys.count_sealed_digests().await.unwrap(), 0);
        assert_eq!(backend.keys.erase_sealed_digests(100).await.unwrap(), 0);
        // A changed password is not overwritten.
        let changed = account(&backend, "digest1").await;
        assert!(backend.users.change_credential(changed.user.id, 0, 5, &credential("new")).await.unwrap());

        assert_eq!(hash_all(&backend, &keys).await, HashReport { rows: 40, unreadable: 0 }, "{}", backend.name);
        assert_eq!(backend.imports.count_pending_hashes().await.unwrap(), 0);
        assert_eq!(account(&backend, "digest1").await.credential, credential("new"));
        let digest = account(&backend, "digest0").await;
        assert!(verifies(&digest.credential.verifier, "correct horse") && !verifies(&digest.credential.verifier, "x"));
        assert_eq!((digest.credential.sealed, digest.epoch), (waiting.sealed, 0), "salted logins go on");
        let salted = account(&backend, "salted").await.credential;
        assert!(verifies(&salted.verifier, "correct horse") && salted.sealed.is_none(), "{}", salted.verifier);
        assert_eq!(account(&backend, "none").await.credential.verifier, NO_PASSWORD);
    }
}

#[tokio::test]
async fn after_salted_logins_are_disabled_hashing_leaves_no_sealed_digest() {
    for backend in user_backends().await {
        let keys = Keys::new();
        keys.run(&backend, "files", MergeRule::None, numbered_rows(1)).await;
        assert!(backend.keys.disable_salted_logins(NOW).await.unwrap());
        // An import goes on while they are disabled.
        keys.run(&backend, "more", MergeRule::None, at_positions(vec![Ok(row("x", "later", ""))])).await;
        assert_eq!(hash_all(&backend, &keys).await.rows, 2, "{}", backend.name);
        for name in ["name1", "later"] {
            let credential = account(&backend, name).await.credential;
            assert!(credential.sealed.is_none() && verifies(&credential.verifier, "correct horse"), "{name}");
        }
    }
}

#[tokio::test]
async fn a_hash_that_cannot_be_unsealed_is_counted_and_left() {
    for backend in user_backends().await {
        let keys = Keys::new();
        keys.run(&backend, "files", MergeRule::None, numbered_rows(2)).await;
        let other = Keys::with_seal_key([8; 32]);
        assert_eq!(hash_all(&backend, &other).await, HashReport { rows: 0, unreadable: 2 }, "{}", backend.name);
        assert_eq!(hash_all(&backend, &keys).await, HashReport { rows: 2, unreadable: 0 });
    }
}

#[tokio::test]
async fn instances_hash_at_the_same_time_and_leave_nothing() {
    for backend in user_backends().await {
        let keys = Keys::new();
        keys.run(&backend, "files", MergeRule::None, numbered_rows(60)).await;
        let (first, second) = tokio::join!(hash_all(&backend, &keys), hash_all(&backend, &keys));
        assert_eq!(first.rows + second.rows, 60, "{}", backend.name);
        assert_eq!(backend.imports.count_pending_hashes().await.unwrap(), 0);
    }
}
