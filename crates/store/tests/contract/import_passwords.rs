//! Common passwords of an import: counted once for each user who got one, and never refused.

use stele_core::common_passwords::ListedPasswordKey;
use stele_core::import::{ImportRow, MergeRule, PasswordCounts, Refusal, SourceRow};
use stele_core::password::{PasswordDigest, RawPassword};
use stele_core::usecase::import::{RowOrder, undo};
use stele_core::verifier::{ImportedHash, parse_imported};

use crate::imports::{D, Keys, SALTED, at_positions, counts, row, source_name};
use crate::support::*;

fn passwords(checked: u64, common: u64, not_checked: u64) -> PasswordCounts {
    PasswordCounts { checked, common, not_checked }
}

fn with_password(name: &str, password: &str) -> ImportRow {
    let digest = RawPassword::new(password.to_owned()).digest();
    ImportRow { secret: Some(ImportedHash::Digest(digest)), ..row(name, name, "") }
}

fn with_hash(name: &str, hash: &str) -> ImportRow {
    ImportRow { secret: Some(parse_imported(hash).unwrap()), ..row(name, name, "") }
}

/// Five passwords that can be looked up, of which three are listed, a hash, a user without a password, and two refused
/// rows.
fn rows() -> Vec<SourceRow> {
    at_positions(vec![
        Ok(with_password("a", "123456")),
        Ok(with_password("b", "woaini1314")),
        Err(Refusal::NoIdentifier),
        Ok(with_hash("c", D)),
        Ok(with_password("taken", "123456")),
        Ok(with_password("d", "a-harmless-yak")),
        Ok(with_hash("e", SALTED)),
        Ok(ImportRow { secret: None, ..row("f", "f", "") }),
        Ok(with_password("g", "another-yak")),
    ])
}

/// Adds a user whose name a row has, and puts the password of which [`D`] is the digest on the operator's list.
async fn prepare(backend: &UserBackend) {
    backend.users.add(&user_named("taken")).await.unwrap().unwrap();
    let key = ListedPasswordKey::new(&PasswordDigest::from_hex(D).unwrap());
    backend.password_list.add_listed_passwords(&[key]).await.unwrap();
}

#[tokio::test]
async fn common_passwords_are_imported_and_counted_once() {
    for backend in user_backends().await {
        prepare(&backend).await;
        let (keys, source) = (Keys::new(), source_name("tables"));
        let mut importer = keys.start(&backend, "tables", RowOrder::Any).await;
        importer.import(rows().into_iter().take(4).collect()).await.unwrap();
        assert_eq!(importer.run().passwords, passwords(3, 3, 0), "{}", backend.name);
        // Killed here: the source is read again from its start.
        drop(importer);
        let mut importer = keys.start(&backend, "tables", RowOrder::Any).await;
        assert_eq!((importer.run().cursor, importer.run().passwords), (0, passwords(3, 3, 0)));
        for row in rows() {
            importer.import(vec![row]).await.unwrap();
        }
        let run = importer.finish().await.unwrap();
        assert_eq!((run.counts, run.passwords), (counts(7, 0, 0, 2), passwords(5, 3, 1)), "{}", backend.name);
        assert_eq!(backend.imports.find_last_run(&source).await.unwrap().unwrap(), run);
        assert_eq!(backend.imports.count_passwords(&source).await.unwrap(), passwords(5, 3, 1));

        // A second run adds no user, and the passwords of the source stay counted.
        let again = keys.run(&backend, "tables", MergeRule::None, rows()).await;
        assert_eq!((again.counts, again.passwords), (counts(0, 7, 0, 2), passwords(0, 0, 0)), "{}", backend.name);
        assert_eq!(backend.imports.count_passwords(&source).await.unwrap(), passwords(5, 3, 1));
        assert_eq!(backend.imports.count_passwords(&source_name("other")).await.unwrap(), passwords(0, 0, 0));
    }
}

#[tokio::test]
async fn only_passwords_that_users_get_are_counted() {
    for backend in user_backends().await {
        prepare(&backend).await;
        let keys = Keys::new();
        let first = vec![Ok(with_password("a", "a-harmless-yak")), Ok(ImportRow { secret: None, ..row("b", "b", "") })];
        keys.run(&backend, "portal", MergeRule::None, at_positions(first)).await;
        // The first user keeps the password of the first source.
        let second = ["a", "b", "c"].map(|name| Ok(with_password(name, "123456")));
        let run = keys.run(&backend, "tms", MergeRule::Username, at_positions(second.into())).await;
        assert_eq!((run.counts, run.passwords), (counts(1, 0, 2, 0), passwords(2, 2, 0)), "{}", backend.name);
        assert_eq!(backend.imports.count_passwords(&source_name("portal")).await.unwrap(), passwords(1, 0, 0));

        undo(backend.imports.as_ref(), &keys.clock, &run, &mut |_| Ok(())).await.unwrap();
        assert_eq!(backend.imports.count_passwords(&source_name("tms")).await.unwrap(), passwords(0, 0, 0));
    }
}
