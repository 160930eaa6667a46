//! Imports: a batch that is looked up while the one before is written.

use std::sync::Arc;

use stele_core::identifier::Phone;
use stele_core::import::{ImportRules, MergeRule, SourceName, SourceRow};
use stele_core::mac::MacKey;
use stele_core::ports::RecordedRow;
use stele_core::random::OsRandom;
use stele_core::seal::Sealer;
use stele_core::usecase::import::{ImportDependencies, Imports, RowOrder};
use stele_core::user::NewUser;

use crate::support::*;

fn imports(backend: &UserBackend) -> Imports {
    Imports::new(ImportDependencies {
        store: Arc::clone(&backend.imports),
        password_list: Arc::clone(&backend.password_list),
        sealer: Arc::new(Sealer::new([(7, [7; 32].into())]).unwrap()),
        mac: Arc::new(MacKey::new([9; 32].into())),
        random: Arc::new(OsRandom),
        clock: Arc::new(ManualClock::at(NOW)),
    })
}

/// Rows with an old id, a name and a phone each.
fn rows(first: u64, rows: &[(&str, &str, &str)]) -> Vec<SourceRow> {
    let to_source_row = |(position, (old_id, name, phone)): (u64, &(&str, &str, &str))| {
        let row = crate::imports::row(old_id, name, phone);
        SourceRow { position, line: None, old_id: (*old_id).to_owned(), row: Ok(row) }
    };
    (first..).zip(rows).map(to_source_row).collect()
}

fn outcomes(recorded: &[RecordedRow]) -> Vec<String> {
    let outcome = |row: &RecordedRow| match row.outcome {
        stele_core::import::RowOutcome::Refuse(refusal) => refusal.code(),
        other => other.as_str().to_owned(),
    };
    recorded.iter().map(outcome).collect()
}

fn rules(merge: MergeRule) -> ImportRules<'static> {
    ImportRules { merge, ..ImportRules::default() }
}

const FIRST: [(&str, &str, &str); 2] = [("1", "alice", "13800138001"), ("2", "dana", "")];

/// Imports [`FIRST`], and the rows of `second`, which are looked up before the first ones are written.
async fn import_second(backend: &UserBackend, second: &[(&str, &str, &str)]) -> Vec<String> {
    let dana = NewUser { phone: Phone::parse_provisioned("13800138000"), ..user_named("dana") };
    backend.users.add(&dana).await.unwrap().unwrap();
    let imports = imports(backend);
    let source = SourceName::parse("files").unwrap();
    let mut importer = imports.start(&source, rules(MergeRule::Username), &[1; 32], RowOrder::Fixed).await.unwrap();
    let lookup = importer.lookup();
    let first_batch = lookup.look_up(rows(1, &FIRST)).await;
    let second_batch = lookup.look_up(rows(3, second)).await;
    let first = importer.write(first_batch).await.unwrap();
    assert_eq!(outcomes(&first), ["add", "merge"], "{}", backend.name);
    let second = importer.write(second_batch).await.unwrap();
    assert_eq!(importer.run().cursor, 2 + second.len() as u64);
    outcomes(&second)
}

#[tokio::test]
async fn a_row_is_known_although_it_was_looked_up_before_it_was_written() {
    for backend in user_backends().await {
        assert_eq!(import_second(&backend, &[FIRST[0], ("3", "carol", "")]).await, ["same", "add"], "{}", backend.name);
    }
}

#[tokio::test]
async fn an_identifier_is_repeated_although_it_was_looked_up_before_it_was_written() {
    for backend in user_backends().await {
        let second = import_second(&backend, &[("3", "carol", "13800138001"), ("4", "erin", "")]).await;
        assert_eq!(second, ["identifier_repeated:phone", "add"], "{}", backend.name);
    }
}

#[tokio::test]
async fn a_user_is_of_the_source_although_the_user_was_looked_up_before_a_row_joined() {
    for backend in user_backends().await {
        // The phone is the user's, but in none of the rows that were written.
        let second = import_second(&backend, &[("3", "carol", "13800138000"), ("4", "erin", "")]).await;
        assert_eq!(second, ["identifier_repeated:phone", "add"], "{}", backend.name);
    }
    for backend in user_backends().await {
        let second = import_second(&backend, &[("3", "dana", "")]).await;
        assert_eq!(second, ["identifier_repeated:username"], "{}: a second row joined the user", backend.name);
    }
}

#[tokio::test]
async fn an_identifier_taken_after_the_lookup_is_looked_up_again() {
    for backend in user_backends().await {
        let imports = imports(&backend);
        let source = SourceName::parse("files").unwrap();
        let mut importer = imports.start(&source, rules(MergeRule::None), &[1; 32], RowOrder::Fixed).await.unwrap();
        let batch = importer.lookup().look_up(rows(1, &[("1", "alice", ""), ("2", "bob", "")])).await;
        backend.users.add(&user_named("bob")).await.unwrap().unwrap();
        let recorded = importer.write(batch).await.unwrap();
        assert_eq!(outcomes(&recorded), ["add", "identifier_taken:username"], "{}", backend.name);
    }
}
