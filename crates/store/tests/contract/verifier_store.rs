//! Imported hashes of earlier versions, and their wrapping in argon2id.

use stele_core::hasher::Hasher;
use stele_core::password::RawPassword;
use stele_core::random::OsRandom;
use stele_core::usecase::wrap_hashes::{WrapJob, WrapReport, wrap_hashes};
use stele_core::user::{Credential, NewUser};
use stele_core::verifier::{self, Argon2Cost, HashMemory, PresentedSecret};

use crate::support::*;

const CHEAP_COST: Argon2Cost = Argon2Cost { memory_kib: 64, passes: 1, lanes: 1 };

/// Hashes of `correct horse` by other implementations, as earlier versions stored them.
fn unwrapped_hashes() -> Vec<String> {
    let vectors = include_str!("../../../core/tests/vectors/imported.txt");
    let salted = vectors.lines().filter(|line| !line.starts_with('#'));
    let mut stored: Vec<_> = salted.map(|line| format!("{{raw}}{line}")).collect();
    // `md5ps` with an empty salt: the plain md5 digest of the password.
    stored.push("{raw}$md5ps$$3cb4e732631f47e6eb961f34554b7cde".to_owned());
    stored
}

fn user_with_verifier(name: &str, verifier: &str) -> NewUser {
    NewUser { credential: Credential { verifier: verifier.to_owned(), sealed: None }, ..user_named(name) }
}

fn verifies(stored: &str, password: &str) -> bool {
    verifier::verify(stored, &PresentedSecret::Raw(RawPassword::new(password.to_owned())), &mut HashMemory::default())
}

async fn wrap_all(backend: &UserBackend, concurrency: u32) -> (WrapReport, u64) {
    let (hasher, clock) = (Hasher::new(CHEAP_COST, 2, 64, &OsRandom).unwrap(), ManualClock::at(NOW));
    let verifiers = backend.verifiers.as_ref();
    let work = WrapJob { verifiers, hasher: &hasher, random: &OsRandom, clock: &clock, concurrency };
    let mut seen = 0;
    let report = wrap_hashes(&work, &mut |rows| seen += rows).await.unwrap();
    (report, seen)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn imported_hashes_are_wrapped_and_still_verify() {
    for concurrency in [1, 4] {
        for backend in user_backends().await {
            let (users, verifiers) = (&backend.users, &backend.verifiers);
            let mut rows = 0;
            for (n, verifier) in unwrapped_hashes().iter().enumerate() {
                assert!(verifies(verifier, "correct horse"), "{verifier}");
                users.add(&user_with_verifier(&format!("user{n}"), verifier)).await.unwrap().unwrap();
                users.add(&user_named(&format!("own{n}"))).await.unwrap().unwrap();
                rows += 1;
            }
            users.add(&user_with_verifier("damaged", "{raw}$md5ps$zz$00")).await.unwrap().unwrap();
            assert_eq!(verifiers.count_unwrapped().await.unwrap(), rows + 1, "{}", backend.name);

            assert_eq!(wrap_all(&backend, concurrency).await, (WrapReport { rows, unreadable: 1 }, rows + 1));
            for (n, unwrapped) in unwrapped_hashes().iter().enumerate() {
                let account = users.find_by_identifier(&format!("user{n}")).await.unwrap().unwrap();
                let wrapped = &account.credential.verifier;
                assert!(wrapped != unwrapped && wrapped.contains("$argon2id$v=19$"), "{wrapped}");
                assert!(verifies(wrapped, "correct horse") && !verifies(wrapped, "wrong"), "{wrapped}");
                assert_eq!(account.epoch, 0, "wrapping a hash revokes no session");
                assert_eq!(
                    users.find_by_identifier(&format!("own{n}")).await.unwrap().unwrap().credential,
                    credential("first")
                );
            }
            // Only the unreadable hash is left, and no hash is wrapped twice.
            assert_eq!(verifiers.count_unwrapped().await.unwrap(), 1);
            assert_eq!(wrap_all(&backend, concurrency).await, (WrapReport { rows: 0, unreadable: 1 }, 1));
        }
    }
}

#[tokio::test]
async fn a_verifier_changed_during_wrapping_is_not_overwritten() {
    for UserBackend { users, verifiers, .. } in user_backends().await {
        for (n, verifier) in unwrapped_hashes().iter().take(3).enumerate() {
            users.add(&user_with_verifier(&format!("user{n}"), verifier)).await.unwrap().unwrap();
        }
        let read = verifiers.list_unwrapped(0, 10).await.unwrap();
        assert_eq!(verifiers.list_unwrapped(read[0].number, 1).await.unwrap(), read[1..2]);
        assert!(users.change_credential(read[0].id, 0, 9, &credential("changed")).await.unwrap());
        assert!(users.upgrade_credential(read[1].id, 0, &read[1].verifier, &credential("better")).await.unwrap());
        let changes: Vec<_> = read.into_iter().map(|row| (row, "wrapped".to_owned())).collect();
        assert_eq!(verifiers.replace_verifiers(&changes).await.unwrap(), 1);
        let stored = async |name: &str| users.find_by_identifier(name).await.unwrap().unwrap().credential.verifier;
        assert_eq!(
            [stored("user0").await, stored("user1").await, stored("user2").await],
            ["changed", "better", "wrapped"]
        );
    }
}
