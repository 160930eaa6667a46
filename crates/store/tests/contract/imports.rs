//! Imports: every outcome, interruption at any batch, repetition, and concurrent registration.

use std::sync::Arc;

use stele_core::identifier::{Email, Phone, Username};
use stele_core::import::{
    ImportRow, ImportRules, MergeRule, OldId, OutcomeCounts, PasswordCounts, Refusal, RowOutcome, SourceName, SourceRow,
};
use stele_core::mac::MacKey;
use stele_core::ports::{CommitOutcome, ImportBatch, ImportQuery, ImportRun, RecordedRow};
use stele_core::random::OsRandom;
use stele_core::seal::Sealer;
use stele_core::usecase::import::{ImportJob, Importer, RowOrder, undo};
use stele_core::user::{Account, Profile, Role, UserStatus};
use stele_core::verifier::{NO_PASSWORD, parse_imported};

use crate::import_hashing::{hash_all, verifies};
use crate::support::*;

const FINGERPRINT: [u8; 32] = [1; 32];
/// `D` of `correct horse`.
pub(crate) const D: &str = "3cb4e732631f47e6eb961f34554b7cde";
pub(crate) const SALTED: &str = "$md5ps$6162$e00f40f32b5afe2e746fc953bb3f1c7b";

/// The keys of an import, and its clock.
pub(crate) struct Keys {
    pub(crate) sealer: Sealer,
    mac: MacKey,
    pub(crate) clock: ManualClock,
}

impl Keys {
    pub(crate) fn new() -> Self {
        Self::with_seal_key([7; 32])
    }

    pub(crate) fn with_seal_key(key: [u8; 32]) -> Self {
        let sealer = Sealer::new([(7, key.into())]).unwrap();
        Self { sealer, mac: MacKey::new([9; 32].into()), clock: ManualClock::at(NOW) }
    }

    pub(crate) fn job<'a>(&'a self, backend: &'a UserBackend, rules: ImportRules<'a>) -> ImportJob<'a> {
        let Self { sealer, mac, clock } = self;
        let (store, password_list) = (backend.imports.as_ref(), backend.password_list.as_ref());
        ImportJob { store, password_list, sealer, mac, random: &OsRandom, clock, rules }
    }

    pub(crate) async fn start<'a>(&'a self, backend: &'a UserBackend, source: &str, order: RowOrder) -> Importer<'a> {
        Importer::start(self.job(backend, ImportRules::default()), &source_name(source), &FINGERPRINT, order)
            .await
            .unwrap()
    }

    /// Imports rows as one run, in batches of `size`.
    pub(crate) async fn run(
        &self,
        backend: &UserBackend,
        source: &str,
        merge: MergeRule,
        rows: Vec<SourceRow>,
    ) -> ImportRun {
        self.run_with(backend, source, ImportRules { merge, dialect: None }, rows).await
    }

    pub(crate) async fn run_with(
        &self,
        backend: &UserBackend,
        source: &str,
        rules: ImportRules<'_>,
        rows: Vec<SourceRow>,
    ) -> ImportRun {
        let source = source_name(source);
        let started = Importer::start(self.job(backend, rules), &source, &FINGERPRINT, RowOrder::Fixed);
        let mut importer = started.await.unwrap();
        let mut rows = rows.into_iter().peekable();
        while rows.peek().is_some() {
            importer.import(rows.by_ref().take(3).collect()).await.unwrap();
        }
        importer.finish().await.unwrap()
    }
}

pub(crate) fn source_name(name: &str) -> SourceName {
    SourceName::parse(name).unwrap()
}

pub(crate) fn row(old_id: &str, name: &str, phone: &str) -> ImportRow {
    ImportRow {
        old_id: OldId::parse(old_id).unwrap(),
        id: None,
        alias_id: None,
        number: None,
        name: Username::parse(name),
        phone: Phone::parse_provisioned(phone),
        email: None,
        role: Role::User,
        status: UserStatus::Active,
        registered_at: None,
        profile: Profile::default(),
        secret: Some(parse_imported(D).unwrap()),
    }
}

/// Rows at the positions from 1 on.
pub(crate) fn at_positions(rows: Vec<Result<ImportRow, Refusal>>) -> Vec<SourceRow> {
    let to_source_row = |(n, row): (usize, Result<ImportRow, Refusal>)| {
        let old_id = row.as_ref().map_or("", |row| row.old_id.as_str()).to_owned();
        SourceRow { position: n as u64 + 1, line: Some(n as u64 + 2), old_id, row }
    };
    rows.into_iter().enumerate().map(to_source_row).collect()
}

pub(crate) fn numbered_rows(count: u32) -> Vec<SourceRow> {
    at_positions((1..=count).map(|n| Ok(row(&format!("id{n}"), &format!("name{n}"), ""))).collect())
}

pub(crate) async fn account(backend: &UserBackend, key: &str) -> Account {
    backend.users.find_by_identifier(key).await.unwrap().unwrap_or_else(|| panic!("{}: no {key}", backend.name))
}

pub(crate) async fn report(backend: &UserBackend, run: &ImportRun) -> Vec<RecordedRow> {
    backend.imports.list_rows(run.id, 0, 100).await.unwrap()
}

pub(crate) fn counts(added: u64, same: u64, merged: u64, refused: u64) -> OutcomeCounts {
    OutcomeCounts { added, same, merged, refused }
}

#[tokio::test]
async fn every_row_has_one_outcome_and_a_second_run_changes_nothing() {
    for backend in user_backends().await {
        let keys = Keys::new();
        let taken = backend.users.add(&user_named("taken")).await.unwrap().unwrap();
        let admin = ImportRow {
            email: Email::parse_provisioned("A@qq.com"),
            role: Role::Admin,
            status: UserStatus::Disabled,
            registered_at: Some(NOW),
            id: Some(user_id(5)),
            alias_id: Some("ab".repeat(16)),
            profile: Profile { nickname: "小明".to_owned(), ..Profile::default() },
            secret: None,
            ..row("1", "alice", "+86 138 0013 8000")
        };
        let rows = || {
            at_positions(vec![
                Ok(ImportRow { id: admin.id, alias_id: admin.alias_id.clone(), ..clone(&admin) }),
                Ok(row("2", "", "13800138000")),
                Err(Refusal::NoIdentifier),
                Ok(row("4", "taken", "")),
                Ok(row("5", "bob", "")),
                Ok(row("5", "bob", "")),
                Ok(ImportRow { id: Some(user_id(5)), ..row("7", "carol", "") }),
            ])
        };
        let run = keys.run(&backend, "cloudbox", MergeRule::None, rows()).await;
        assert_eq!((run.counts, run.cursor, run.finished_at), (counts(2, 1, 0, 4), 7, Some(NOW)), "{}", backend.name);
        let outcomes: Vec<_> = report(&backend, &run).await.into_iter().map(|row| row.outcome).collect();
        let refuse = |code: &str| RowOutcome::Refuse(Refusal::parse(code).unwrap());
        assert_eq!(
            outcomes,
            [
                RowOutcome::Add,
                refuse("identifier_repeated:phone"),
                refuse("no_identifier"),
                refuse("identifier_taken:username"),
                RowOutcome::Add,
                RowOutcome::Same,
                refuse("uuid_taken"),
            ]
        );
        let alice = account(&backend, "13800138000").await;
        assert_eq!((alice.user.id, alice.user.disabled, alice.user.role), (user_id(5), true, Role::Admin));
        assert_eq!((alice.user.alias_id, alice.user.registered_at), ("ab".repeat(16), NOW));
        assert_eq!((alice.user.profile.nickname.as_str(), alice.credential.verifier.as_str()), ("小明", NO_PASSWORD));
        assert_eq!(account(&backend, "a@qq.com").await.user.id, user_id(5));
        assert!(account(&backend, "bob").await.user.number > taken.number);

        let again = keys.run(&backend, "cloudbox", MergeRule::None, rows()).await;
        assert_eq!((again.counts, again.id != run.id), (counts(0, 3, 0, 4), true), "{}", backend.name);
        let users = backend.users.list(0, 100).await.unwrap();
        assert_eq!(users.len(), 3, "{}", backend.name);
        let changed = at_positions(vec![Ok(row("5", "bobby", ""))]);
        let third = keys.run(&backend, "cloudbox", MergeRule::None, changed).await;
        assert_eq!(report(&backend, &third).await[0].outcome, RowOutcome::Refuse(Refusal::Changed));
    }
}

fn clone(row: &ImportRow) -> ImportRow {
    ImportRow {
        old_id: row.old_id.clone(),
        alias_id: row.alias_id.clone(),
        name: row.name.clone(),
        phone: row.phone.clone(),
        email: row.email.clone(),
        profile: row.profile.clone(),
        secret: row.secret.clone(),
        ..*row
    }
}

#[tokio::test]
async fn an_interrupted_run_continues_after_any_batch() {
    for backend in user_backends().await {
        let keys = Keys::new();
        let fresh = |n: u64| numbered_rows(10).into_iter().skip(usize::try_from(n).unwrap()).take(3).collect();
        let mut id = None;
        // Each importer writes one batch and is dropped, as by a kill.
        while let importer = keys.start(&backend, "files", RowOrder::Fixed).await
            && importer.run().cursor < 10
        {
            let mut importer = importer;
            assert_eq!(*id.get_or_insert(importer.run().id), importer.run().id, "the same run");
            let cursor = importer.run().cursor;
            importer.import(fresh(cursor)).await.unwrap();
        }
        let run = keys.start(&backend, "files", RowOrder::Fixed).await.finish().await.unwrap();
        assert_eq!((run.counts, run.cursor), (counts(10, 0, 0, 0), 10), "{}", backend.name);
        assert_eq!(report(&backend, &run).await.len(), 10);
        assert_eq!(backend.users.list(0, 100).await.unwrap().len(), 10);
        // A finished run is not continued.
        assert_ne!(keys.start(&backend, "files", RowOrder::Fixed).await.run().id, run.id);
    }
}

#[tokio::test]
async fn an_interrupted_reading_of_a_database_counts_its_rows_once() {
    for backend in user_backends().await {
        let keys = Keys::new();
        let mut importer = keys.start(&backend, "tables", RowOrder::Any).await;
        let refused = || Err(Refusal::NoIdentifier);
        let rows = || at_positions(vec![Ok(row("a", "alice", "")), refused(), Ok(row("b", "bob", "")), refused()]);
        importer.import(rows().into_iter().take(3).collect()).await.unwrap();
        let id = importer.run().id;
        drop(importer);
        // Read again: one row shorter, and in the same order.
        let mut importer = keys.start(&backend, "tables", RowOrder::Any).await;
        assert_eq!((importer.run().id, importer.run().cursor), (id, 0));
        importer.import(rows().into_iter().take(2).collect()).await.unwrap();
        let run = importer.finish().await.unwrap();
        assert_eq!(run.counts, counts(1, 0, 0, 1), "{}", backend.name);
        assert_eq!(report(&backend, &run).await.len(), 2, "rows beyond the end are forgotten");
        assert_eq!(backend.users.list(0, 100).await.unwrap().len(), 2);
    }
}

#[tokio::test]
async fn one_process_at_a_time_imports_from_a_source_or_takes_an_import_back() {
    for backend in user_backends().await {
        let keys = Keys::new();
        let mut first = keys.start(&backend, "files", RowOrder::Fixed).await;
        first.import(numbered_rows(2)).await.unwrap();
        let start = async || {
            let job = keys.job(&backend, ImportRules::default());
            Importer::start(job, &source_name("files"), &FINGERPRINT, RowOrder::Fixed).await
        };
        let undone = undo(backend.imports.as_ref(), &keys.clock, first.run(), &mut |_| Ok(())).await;
        for error in [start().await.err(), undone.err()] {
            let error = error.unwrap().to_string();
            assert!(error.contains("another process imports from files"), "{}: {error}", backend.name);
        }
        drop(keys.start(&backend, "another", RowOrder::Fixed).await);
        let run = first.run().id;
        drop(first);
        assert_eq!(start().await.unwrap().run().id, run, "{}", backend.name);
    }
}

#[tokio::test]
async fn an_identifier_taken_between_lookup_and_write_is_a_conflict_that_writes_nothing() {
    for backend in user_backends().await {
        let keys = Keys::new();
        let importer = keys.start(&backend, "files", RowOrder::Fixed).await;
        let run = importer.run().clone();
        backend.users.add(&user_named("second")).await.unwrap().unwrap();
        let added = |old_id: &str, name: &str| stele_core::ports::AddedRow {
            user: user_named(name),
            status: UserStatus::Active,
            number: None,
            lookup: None,
            old_id: old_id.to_owned(),
            content: stele_core::import::ContentHash([0; 16]),
            position: 1,
        };
        let batch = ImportBatch {
            run: run.id,
            source: run.source.clone(),
            cursor: 0,
            next_cursor: 2,
            now: NOW,
            reserved_number: None,
            added: vec![added("1", "first"), added("2", "second")],
            merged: Vec::new(),
            rows: Vec::new(),
            counts: counts(2, 0, 0, 0),
            passwords: PasswordCounts { checked: 2, common: 1, not_checked: 0 },
        };
        assert_eq!(backend.imports.write_batch(&batch).await.unwrap(), CommitOutcome::Conflict, "{}", backend.name);
        assert!(backend.users.find_by_identifier("first").await.unwrap().is_none(), "{}", backend.name);
        let unchanged = backend.imports.find_last_run(&run.source).await.unwrap().unwrap();
        assert_eq!((unchanged.cursor, unchanged.passwords), (0, PasswordCounts::default()));
        // The engine looks the batch up again.
        let mut importer = importer;
        let rows = at_positions(vec![Ok(row("1", "first", "")), Ok(row("2", "second", ""))]);
        let recorded = importer.import(rows).await.unwrap();
        assert_eq!(recorded[1].outcome.as_str(), "refuse");
        assert!(backend.users.find_by_identifier("first").await.unwrap().is_some());
    }
}

#[tokio::test]
async fn rows_of_a_second_source_join_users_and_fill_in_what_they_lack() {
    for backend in user_backends().await {
        let keys = Keys::new();
        let first = ImportRow { secret: None, ..row("1", "alice", "13800138000") };
        keys.run(
            &backend,
            "portal",
            MergeRule::None,
            at_positions(vec![Ok(first), Ok(row("2", "bob", "13800138001"))]),
        )
        .await;
        let second = |name: &str, phone: &str| ImportRow {
            email: Email::parse_provisioned(&format!("{name}@qq.com")),
            profile: Profile { nickname: "nick".to_owned(), ..Profile::default() },
            secret: Some(parse_imported(SALTED).unwrap()),
            ..row(name, name, phone)
        };
        let rows = vec![
            Ok(second("alice2", "86-13800138000")),
            Ok(second("bob2", "13800138001")),
            Ok(second("bob", "13800138000")),
            Ok(second("carol", "13800138002")),
        ];
        let run = keys.run(&backend, "tms", MergeRule::Phone, at_positions(rows)).await;
        assert_eq!(run.counts, counts(1, 0, 2, 1), "{}", backend.name);
        let alice = account(&backend, "alice2").await;
        assert_eq!(alice.user.name.as_deref(), Some("alice"), "the shown name stays");
        assert_eq!(account(&backend, "alice2@qq.com").await.user.id, alice.user.id);
        assert_eq!(
            (alice.user.email.as_deref(), alice.user.profile.nickname.as_str()),
            (Some("alice2@qq.com"), "nick")
        );
        assert!(alice.credential.verifier.starts_with("{pending}$md5ps$"), "{}", alice.credential.verifier);
        // It is sealed for the user that the row has joined.
        assert_eq!(hash_all(&backend, &keys).await.unreadable, 0);
        assert!(verifies(&account(&backend, "alice").await.credential.verifier, "correct horse"));
        let bob = account(&backend, "bob2").await;
        assert!(verifies(&bob.credential.verifier, "correct horse"), "the password of the first source stays");
        let listed = backend.imports.list_users(&source_name("tms"), "", 10).await.unwrap();
        let ids: Vec<_> = listed.iter().map(|user| (user.old_id.as_str(), user.account.user.id)).collect();
        assert_eq!(
            ids,
            [("alice2", alice.user.id), ("bob2", bob.user.id), ("carol", account(&backend, "carol").await.user.id)]
        );
        assert_eq!(backend.imports.list_users(&source_name("tms"), "bob2", 10).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_lookup_of_nothing_and_texts_with_nul_are_no_faults() {
    for backend in user_backends().await {
        let keys = Keys::new();
        let lookup = backend.imports.lookup(&source_name("x"), &ImportQuery::default()).await.unwrap();
        assert!(lookup.rows.is_empty() && lookup.owners.is_empty() && lookup.uuid_owners.is_empty());
        let mut importer = keys.start(&backend, "x", RowOrder::Fixed).await;
        assert_eq!(importer.import(Vec::new()).await.unwrap(), []);
        let with_nul = SourceRow { position: 1, line: None, old_id: "a\0".to_owned(), row: Err(Refusal::NoIdentifier) };
        importer.import(vec![with_nul]).await.unwrap();
        let run = importer.run().clone();
        assert_eq!(report(&backend, &run).await[0].old_id, "a\u{fffd}", "{}", backend.name);
        assert!(backend.imports.find_last_run(&source_name("y")).await.unwrap().is_none());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_imports_with_the_same_identifiers_add_each_user_once() {
    for backend in user_backends().await {
        let (backend, keys) = (Arc::new(backend), Arc::new(Keys::new()));
        let import = |source: &'static str| {
            let (backend, keys) = (Arc::clone(&backend), Arc::clone(&keys));
            async move { keys.run(&backend, source, MergeRule::None, numbered_rows(60)).await.counts }
        };
        let results = all_at_once([import("first"), import("second")]).await;
        let added: u64 = results.iter().map(|counts| counts.added).sum();
        let refused: u64 = results.iter().map(|counts| counts.refused).sum();
        assert_eq!((added, refused), (60, 60), "{}: {results:?}", backend.name);
        assert_eq!(backend.users.list(0, 100).await.unwrap().len(), 60);
    }
}
