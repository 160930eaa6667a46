//! Legacy ids: each dialect answers and accepts those of its own sources, no two users have one id, and numbers are set
//! by one source.

use stele_core::import::{ImportRow, ImportRules, MergeRule};
use stele_core::ports::UndoneRows;
use stele_core::session::DialectName;
use stele_core::usecase::import::{Importer, RowOrder, undo};
use stele_core::user::{ClientUserId, LegacyIds, UserId};

use crate::imports::{Keys, account, at_positions, report, row, source_name};
use crate::support::*;

/// A UUID as an old system wrote it.
const OLD_UUID: &str = "0B922F14D00B11E7AAFD525400BBAC8E";
const ALIAS: &str = "0b9314d8d00b11e7aafd525400bbac8e";

/// Imports rows of a source of `dialect`, which join users by phone. Returns the outcomes.
async fn import(
    backend: &UserBackend,
    keys: &Keys,
    source: &str,
    dialect: DialectName,
    rows: Vec<ImportRow>,
) -> Vec<String> {
    let rules = ImportRules { merge: MergeRule::Phone, dialect: Some(dialect) };
    let run = keys.run_with(backend, source, rules, at_positions(rows.into_iter().map(Ok).collect())).await;
    let outcome = |row: stele_core::ports::RecordedRow| match row.outcome {
        stele_core::import::RowOutcome::Refuse(refusal) => refusal.code(),
        other => other.as_str().to_owned(),
    };
    report(backend, &run).await.into_iter().map(outcome).collect()
}

/// The id by which `dialect` answers the user with this identifier.
async fn answered(backend: &UserBackend, dialect: DialectName, key: &str) -> Option<LegacyIds> {
    let plain = account(backend, key).await;
    let found = backend.users.find_for_login(dialect, key).await.unwrap().unwrap();
    assert_eq!((&found.user, &found.credential), (&plain.user, &plain.credential), "{}", backend.name);
    found.legacy
}

/// The number of the user whom a client of `dialect` means by `text`.
async fn accepted(backend: &UserBackend, dialect: DialectName, text: &str) -> Option<i64> {
    let id = ClientUserId::parse(text).unwrap();
    backend.users.find_for_client(dialect, &id).await.unwrap().map(|account| account.user.number)
}

fn legacy(id: &str) -> LegacyIds {
    LegacyIds { id: id.to_owned(), ..LegacyIds::default() }
}

#[tokio::test]
async fn each_dialect_answers_and_accepts_the_ids_of_its_own_source() {
    for backend in user_backends().await {
        let (keys, name) = (Keys::new(), backend.name);
        let phone = "13800138000";
        let of = |old_id: &str| row(old_id, "", phone);
        let portal = ImportRow { number: Some(300_007), ..of("7") };
        assert_eq!(import(&backend, &keys, "portal", "portal", vec![portal]).await, ["add"], "{name}");
        let cloudbox = ImportRow { id: Some(user_id(9)), alias_id: Some(ALIAS.to_owned()), ..of(OLD_UUID) };
        for (source, dialect, merged) in
            [("cloudbox", "cloudbox", cloudbox), ("tms", "tms", of("4")), ("net", "jwt", of("{4}"))]
        {
            assert_eq!(import(&backend, &keys, source, dialect, vec![merged]).await, ["merge"], "{name} {dialect}");
        }
        let user = account(&backend, phone).await.user;
        assert_eq!((user.number, account(&backend, phone).await.legacy), (300_007, None));
        let with_alias = LegacyIds { alias_id: Some(ALIAS.to_owned()), ..legacy(OLD_UUID) };
        assert_eq!(answered(&backend, "cloudbox", phone).await, Some(with_alias), "{name}");
        for (dialect, id) in [("portal", "7"), ("tms", "4"), ("jwt", "{4}")] {
            assert_eq!(answered(&backend, dialect, phone).await, Some(legacy(id)), "{name} {dialect}");
        }
        assert_eq!(answered(&backend, "mefp", phone).await, None, "{name}");

        // A UUID in any spelling, the user's own in every dialect, and no id of another dialect.
        let uuid = UserId::parse(OLD_UUID).unwrap().to_string();
        for text in [OLD_UUID, &uuid, &uuid.to_uppercase(), &user.id.to_string()] {
            assert_eq!(accepted(&backend, "cloudbox", text).await, Some(300_007), "{name} {text}");
        }
        for dialect in ["cloudbox", "tms", "portal", "jwt", "mefp"] {
            for (of, text) in [("cloudbox", OLD_UUID), ("portal", "7"), ("tms", "4"), ("jwt", "{4}")] {
                let expected = (of == dialect).then_some(300_007);
                assert_eq!(accepted(&backend, dialect, text).await, expected, "{name} {dialect} {text}");
            }
            assert_eq!(accepted(&backend, dialect, &user.id.to_string()).await, Some(300_007), "{name} {dialect}");
            // Numbers can be counted through; nor is the decoy row an account.
            for text in ["300007", "0", &user_id(9).to_string(), &UserId::from_bytes([0; 16]).to_string()] {
                assert_eq!(accepted(&backend, dialect, text).await, None, "{name} {dialect} {text}");
            }
            assert!(backend.users.find_for_login(dialect, "unknown").await.unwrap().is_none(), "{name}");
        }
        // An authenticated client may use the number, if that is not a legacy id.
        let number = ClientUserId::parse_with_number("300007").unwrap();
        assert_eq!(backend.users.find_for_client("tms", &number).await.unwrap().unwrap().user.id, user.id);

        let run = backend.imports.find_last_run(&source_name("tms")).await.unwrap().unwrap();
        let mut ignore = |_: &UndoneRows| Ok(());
        undo(backend.imports.as_ref(), &ManualClock::at(NOW), &run, &mut ignore).await.unwrap();
        assert_eq!((answered(&backend, "tms", phone).await, accepted(&backend, "tms", "4").await), (None, None));
    }
}

#[tokio::test]
async fn a_legacy_id_goes_before_a_number_and_a_user_of_two_sources_keeps_the_first() {
    for backend in user_backends().await {
        let (keys, name) = (Keys::new(), backend.name);
        let other = backend.users.add(&user_named("other")).await.unwrap().unwrap();
        let taken = other.number.to_string();
        assert_eq!(import(&backend, &keys, "tms", "tms", vec![row(&taken, "alice", "13800138000")]).await, ["add"]);
        let by_number = ClientUserId::parse_with_number(&taken).unwrap();
        let found = backend.users.find_for_client("tms", &by_number).await.unwrap().unwrap();
        assert_eq!(found.user.name.as_deref(), Some("alice"), "{name}");
        assert_eq!(found.legacy, Some(legacy(&taken)), "{name}");

        // The second source has the user under another id, the third under the same one.
        assert_eq!(import(&backend, &keys, "tms2", "tms", vec![row("b", "", "13800138000")]).await, ["merge"]);
        assert_eq!(import(&backend, &keys, "tms3", "tms", vec![row(&taken, "", "13800138000")]).await, ["merge"]);
        assert_eq!(answered(&backend, "tms", "alice").await, Some(legacy(&taken)), "{name}");
        assert_eq!(accepted(&backend, "tms", "b").await, accepted(&backend, "tms", &taken).await, "{name}");
        assert!(accepted(&backend, "tms", "b").await.is_some(), "{name}");
    }
}

#[tokio::test]
async fn an_id_that_would_be_ambiguous_in_a_dialect_is_refused() {
    for backend in user_backends().await {
        let (keys, name) = (Keys::new(), backend.name);
        let own = backend.users.add(&user_named("own")).await.unwrap().unwrap();
        let first = vec![row("4", "a", ""), row(OLD_UUID, "b", "13800138001")];
        assert_eq!(import(&backend, &keys, "first", "cloudbox", first).await, ["add", "add"], "{name}");
        let uuid = UserId::parse(OLD_UUID);
        let second = vec![
            row("4", "c", ""),
            row(&OLD_UUID.to_lowercase(), "d", ""),
            row(&own.id.to_string(), "e", ""),
            ImportRow { id: uuid, ..row("5", "f", "") },
            row("6", "g", ""),
            // What unknown ids read in a dialect that has imported ones.
            row("{decoy}", "n", ""),
            // Two spellings of one UUID within the source.
            row("1b922f14d00b11e7aafd525400bbac8e", "h", ""),
            row("1b922f14-d00b-11e7-aafd-525400bbac8e", "i", ""),
            ImportRow { id: UserId::parse("1b922f14d00b11e7aafd525400bbac8e"), ..row("7", "j", "") },
        ];
        let refused =
            ["id_taken", "id_taken", "id_taken", "uuid_taken", "add", "id_taken", "add", "id_taken", "uuid_taken"];
        assert_eq!(import(&backend, &keys, "second", "cloudbox", second).await, refused, "{name}");
        // In another dialect the ids are free, and a user may have an old id that is the user's own UUID.
        let tms = vec![row("4", "k", ""), ImportRow { id: Some(user_id(5)), ..row(&user_id(5).to_string(), "l", "") }];
        assert_eq!(import(&backend, &keys, "third", "tms", tms).await, ["add", "add"], "{name}");
        assert_eq!(accepted(&backend, "cloudbox", "4").await, Some(account(&backend, "a").await.user.number));
        assert_eq!(accepted(&backend, "tms", "4").await, Some(account(&backend, "k").await.user.number));
        // The same rows of the same source under another dialect are not silently kept under the first.
        let other = import(&backend, &keys, "third", "jwt", vec![row("4", "k", "")]).await;
        assert_eq!(other, ["changed"], "{name}");
    }
}

#[tokio::test]
async fn a_source_sets_numbers_and_later_users_count_up_beyond_them() {
    for backend in user_backends().await {
        let (keys, name) = (Keys::new(), backend.name);
        let first = backend.users.add(&user_named("first")).await.unwrap().unwrap();
        assert_eq!(first.number, 100_001, "{name}");
        let numbered = |old_id: &str, name: &str, number| ImportRow { number: Some(number), ..row(old_id, name, "") };
        let rows = vec![
            row("9", "unnumbered", ""),
            numbered("2", "a", 100_005),
            numbered("3", "b", 100_001),
            numbered("4", "c", 100_005),
            numbered("5", "d", 7),
            // What the portal would answer to the first user.
            numbered("1", "e", 100_009),
        ];
        let outcomes = ["add", "add", "number_taken", "number_taken", "add", "add"];
        assert_eq!(import(&backend, &keys, "portal", "portal", rows).await, outcomes, "{name}");
        let number = async |key: &str| account(&backend, key).await.user.number;
        assert_eq!((number("a").await, number("d").await), (100_005, 7), "{name}");
        // Above every number, and above every number from which one of the ids would follow.
        let highest = number("unnumbered").await;
        assert!(highest > 100_009, "{name}: {highest}");
        let next = backend.users.add(&user_named("next")).await.unwrap().unwrap().number;
        assert!(next > highest, "{name}: {next}");

        // Other dialects may set numbers too.
        let tms = vec![numbered("t1", "f", 500_000), numbered("t2", "g", 100_002), numbered("t3", "h", 7)];
        let outcomes = ["add", "add", "number_taken"];
        assert_eq!(import(&backend, &keys, "tms", "tms", tms).await, outcomes, "{name}");
        // The portal answers no id twice: users without an old one give way.
        assert_eq!(answered(&backend, "portal", "e").await, Some(legacy("1")), "{name}");
        for (key, id) in
            [("first", Some("2000100001")), ("g", Some("2000100002")), ("f", None), ("unnumbered", Some("9"))]
        {
            assert_eq!(answered(&backend, "portal", key).await, id.map(legacy), "{name} {key}");
        }
        assert_eq!(answered(&backend, "tms", "first").await, None, "{name}");
        assert_eq!(backend.users.add(&user_named("later")).await.unwrap().unwrap().number, 500_001, "{name}");
        let far = vec![numbered("t4", "i", 999_999_999_999)];
        assert_eq!(import(&backend, &keys, "far", "tms", far).await, ["add"], "{name}");
        assert_eq!(backend.users.add(&user_named("last")).await.unwrap().unwrap().number, 1_000_000_000_000, "{name}");
    }
}

#[tokio::test]
async fn a_joined_user_keeps_the_number_and_the_portal_answers_its_own() {
    for backend in user_backends().await {
        let (keys, name) = (Keys::new(), backend.name);
        let cloudbox = vec![row("a", "", "13800138000"), row("b", "", "13800138001")];
        assert_eq!(import(&backend, &keys, "cloudbox", "cloudbox", cloudbox).await, ["add", "add"], "{name}");
        let number = account(&backend, "13800138000").await.user.number;
        let portal = |old_id: &str, phone: &str, gid| ImportRow { number: Some(gid), ..row(old_id, "", phone) };
        let rows = vec![portal("900001", "13800138000", 800_000), portal("900002", "13800138001", number)];
        assert_eq!(import(&backend, &keys, "portal", "portal", rows).await, ["merge", "number_taken"], "{name}");
        assert_eq!(account(&backend, "13800138000").await.user.number, number, "{name}");
        let answer = LegacyIds { number: Some(800_000), ..legacy("900001") };
        assert_eq!(answered(&backend, "portal", "13800138000").await, Some(answer), "{name}");
        // No other user gets what the portal answers.
        let taken = vec![ImportRow { number: Some(800_000), ..row("x", "x", "") }];
        assert_eq!(import(&backend, &keys, "other", "tms", taken).await, ["number_taken"], "{name}");
        let next = backend.users.add(&user_named("next")).await.unwrap().unwrap().number;
        assert!(next > 1_000_001, "{name}: {next}");
    }
}

#[tokio::test]
async fn registrations_go_on_while_numbers_are_set() {
    for backend in user_backends().await {
        let keys = Keys::new();
        let rules = ImportRules { merge: MergeRule::None, dialect: Some("portal") };
        let source = source_name("portal");
        let mut importer =
            Importer::start(keys.job(&backend, rules), &source, &[1; 32], RowOrder::Fixed).await.unwrap();
        let rows = (1..=60).map(|n: i64| {
            let (old_id, name) = ((1_000_000 + n).to_string(), format!("row{n}"));
            Ok(ImportRow { number: Some(100_000 + 40 * n), ..row(&old_id, &name, "") })
        });
        let mut rows = at_positions(rows.collect()).into_iter().peekable();
        let register = async {
            for n in 0..60 {
                // A number that the import takes at the same moment is a fault, never a taken name.
                if let Ok(added) = backend.users.add(&user_named(&format!("new{n}"))).await {
                    assert!(added.is_some(), "{}: new{n}", backend.name);
                }
            }
        };
        let import = async {
            while rows.peek().is_some() {
                importer.import(rows.by_ref().take(5).collect()).await.unwrap();
            }
        };
        tokio::join!(register, import);
        let users = backend.users.list(0, 1_000).await.unwrap();
        let mut numbers: Vec<_> = users.iter().map(|user| user.number).collect();
        numbers.dedup();
        assert_eq!(numbers.len(), users.len(), "{}", backend.name);
    }
}
