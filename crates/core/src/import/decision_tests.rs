use super::*;
use crate::identifier::{Email, Phone, Username};
use crate::import::{Field, OldId};
use crate::user::{Profile, Role, UserStatus};

const RUN: RunId = 7;

fn row(old_id: &str, name: &str, phone: &str) -> ImportRow {
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
        secret: None,
    }
}

/// The content of a row is its position here, unless the test gives another.
fn content(n: u8) -> ContentHash {
    ContentHash([n; 16])
}

fn decide_all(rows: &[(ImportRow, u8)], lookup: &ImportLookup, merge: MergeRule) -> Vec<Decision> {
    let rows: Vec<_> = rows.iter().enumerate().map(|(n, (row, c))| (n as u64 + 1, row, content(*c))).collect();
    decide(&rows, lookup, RUN, ImportRules { merge, dialect: None })
}

fn owned(owners: &[(&str, i64, bool)]) -> ImportLookup {
    let owners = owners
        .iter()
        .map(|&(key, number, is_of_source)| {
            let owner = IdentifierOwner { number, id: UserId::from_bytes([9; 16]), has_password: true, is_of_source };
            (key.to_owned(), owner)
        })
        .collect();
    ImportLookup { owners, ..ImportLookup::default() }
}

fn refused(refusal: Refusal) -> Decision {
    Decision::Refuse(refusal)
}

#[test]
fn rows_of_a_batch_collide_with_earlier_rows_in_any_spelling() {
    let rows = [
        (row("1", "alice", "13800138000"), 1),
        (row("2", "bob", "+86 138 0013 8000"), 2),
        (row("3", "ALICE", ""), 3),
        (row("4", "008613800138000", ""), 4),
        (row("1", "alice", "13800138000"), 1),
        (row("1", "carol", ""), 5),
        // The refused row 2 has not taken the name.
        (row("6", "bob", ""), 6),
    ];
    let decisions = decide_all(&rows, &ImportLookup::default(), MergeRule::None);
    assert_eq!(
        decisions,
        [
            Decision::Add,
            refused(Refusal::IdentifierRepeated(Field::Phone)),
            refused(Refusal::IdentifierRepeated(Field::Username)),
            refused(Refusal::IdentifierRepeated(Field::Username)),
            Decision::Same,
            refused(Refusal::OldIdRepeated),
            Decision::Add,
        ]
    );
}

#[test]
fn known_rows_are_the_same_unless_their_content_changed() {
    let known =
        |n, run, position| (n, KnownRow { number: 100_001, content: content(1), run, position, was_merged: false });
    let rows = ["a", "b", "c", "d"].map(str::to_owned);
    let [a, b, c, d] = rows;
    let recounted = known(c.clone(), RUN, 3).1;
    let lookup = ImportLookup {
        rows: [known(a, 6, 1), known(b, 6, 2), known(c, RUN, 3), known(d, RUN, 9)].into(),
        ..ImportLookup::default()
    };
    let read = [(row("a", "a", ""), 1), (row("b", "b", ""), 2), (row("c", "c", ""), 1), (row("d", "d", ""), 1)];
    let decisions = decide_all(&read, &lookup, MergeRule::None);
    assert_eq!(decisions, [Decision::Same, refused(Refusal::Changed), Decision::Recount(recounted), Decision::Same]);
    let changed_in_run = decide_all(&[(row("d", "d", ""), 2)], &lookup, MergeRule::None);
    assert_eq!(changed_in_run, [refused(Refusal::OldIdRepeated)]);
}

#[test]
fn without_a_merge_rule_a_taken_identifier_is_refused() {
    let lookup = owned(&[("13800138000", 100_001, false), ("bob", 100_002, true)]);
    let rows = [(row("1", "alice", "13800138000"), 1), (row("2", "bob", ""), 2), (row("3", "alice", ""), 3)];
    assert_eq!(
        decide_all(&rows, &lookup, MergeRule::None),
        [
            refused(Refusal::IdentifierTaken(Field::Phone)),
            refused(Refusal::IdentifierRepeated(Field::Username)),
            Decision::Add,
        ]
    );
}

#[test]
fn rows_join_users_of_other_sources_by_the_named_identifier_only() {
    let lookup = owned(&[
        ("13800138000", 100_001, false),
        ("carol", 100_001, false),
        ("dave", 100_002, false),
        ("13800138001", 100_003, true),
    ]);
    let joined = |keys: &[&str]| {
        let new_keys = keys.iter().map(|key| (*key).to_owned()).collect();
        Decision::Merge(Merger {
            number: 100_001,
            id: UserId::from_bytes([9; 16]),
            has_password: true,
            new_keys,
            has_old_id: false,
        })
    };
    let decide_one = |row: ImportRow, merge| decide_all(&[(row, 1)], &lookup, merge).remove(0);
    let by_phone = |row| decide_one(row, MergeRule::Phone);
    assert_eq!(by_phone(row("1", "alice", "138-0013-8000")), joined(&["alice"]));
    assert_eq!(by_phone(row("1", "carol", "13800138000")), joined(&[]));
    assert_eq!(by_phone(row("1", "dave", "13800138000")), refused(Refusal::IdentifierTaken(Field::Username)));
    assert_eq!(by_phone(row("1", "carol", "")), refused(Refusal::IdentifierTaken(Field::Username)));
    assert_eq!(by_phone(row("1", "new", "13800138001")), refused(Refusal::IdentifierRepeated(Field::Phone)));
    assert_eq!(decide_one(row("1", "carol", ""), MergeRule::Username), joined(&[]));
    let by_email = ImportRow { email: Email::parse_provisioned("a@b.cn"), ..row("1", "new", "") };
    assert_eq!(decide_one(by_email, MergeRule::Email), Decision::Add);
}

#[test]
fn two_rows_of_a_batch_do_not_join_the_same_user() {
    let lookup = owned(&[("13800138000", 100_001, false), ("carol", 100_001, false)]);
    let rows = [(row("1", "alice", "13800138000"), 1), (row("2", "carol", ""), 2)];
    let decisions = decide_all(&rows, &lookup, MergeRule::Phone);
    assert_eq!(decisions[1], refused(Refusal::IdentifierRepeated(Field::Username)));
    let decisions = decide_all(&rows, &lookup, MergeRule::Username);
    assert_eq!(decisions[0], refused(Refusal::IdentifierTaken(Field::Phone)));
    assert!(matches!(decisions[1], Decision::Merge(_)));
}

#[test]
fn a_uuid_is_given_to_one_user_only() {
    let with_id = |old_id, name, n| ImportRow { id: Some(UserId::from_bytes([n; 16])), ..row(old_id, name, "") };
    let uuid_owners = [(UserId::from_bytes([9; 16]), 100_001)].into();
    let lookup = ImportLookup { uuid_owners, ..ImportLookup::default() };
    let rows = [(with_id("1", "a", 1), 1), (with_id("2", "b", 1), 2), (with_id("3", "c", 9), 3)];
    assert_eq!(
        decide_all(&rows, &lookup, MergeRule::None),
        [Decision::Add, refused(Refusal::UuidTaken), refused(Refusal::UuidTaken)]
    );
}

fn decide_for(dialect: &str, rows: &[ImportRow], lookup: &ImportLookup) -> Vec<Decision> {
    let rows: Vec<_> = rows.iter().enumerate().map(|(n, row)| (n as u64 + 1, row, content(1))).collect();
    decide(&rows, lookup, RUN, ImportRules { merge: MergeRule::Phone, dialect: Some(dialect) })
}

#[test]
fn a_row_may_claim_what_the_user_whom_it_joins_has() {
    let own = UserId::from_bytes([9; 16]);
    let mut lookup = owned(&[("13800138000", 100_001, false)]);
    lookup.uuid_owners = [(own, 100_001)].into();
    lookup.legacy_owners = [("4".to_owned(), 100_001)].into();
    lookup.number_owners = [(100_001, 100_001)].into();
    let decide_one = |dialect: &str, old_id: &str, phone: &str| {
        let row = ImportRow { number: Some(100_001), ..row(old_id, "", phone) };
        let row = ImportRow { name: Username::parse(if phone.is_empty() { "alice" } else { "" }), ..row };
        decide_for(dialect, &[row], &lookup).remove(0)
    };
    for (dialect, old_id, has_old_id) in
        [("tms", "4", true), ("tms", "5", false), ("tms", &own.to_string(), false), ("portal", "1", false)]
    {
        let Decision::Merge(merger) = decide_one(dialect, old_id, "13800138000") else { panic!("{dialect} {old_id}") };
        assert_eq!((merger.number, merger.has_old_id), (100_001, has_old_id), "{dialect} {old_id}");
        let is_id_free = matches!(old_id, "5" | "1");
        let expected = if is_id_free { Refusal::NumberTaken } else { Refusal::IdTaken };
        assert_eq!(decide_one(dialect, old_id, ""), refused(expected), "{dialect} {old_id}");
    }
}

#[test]
fn numbers_are_reserved_for_what_the_portal_answers() {
    let reserved = |dialect: Option<&str>, old_id: &str, number| {
        IdClaims::of(&ImportRow { number, ..row(old_id, "alice", "") }, dialect).reserved_number()
    };
    assert_eq!(reserved(Some("portal"), "7", None), Some(100_007));
    assert_eq!(reserved(Some("portal"), "7", Some(300_007)), Some(300_007));
    assert_eq!(reserved(Some("portal"), "400000", Some(300_007)), Some(500_000));
    // Not reached by counting.
    assert_eq!(reserved(Some("portal"), "13800138000", None), None);
    assert_eq!(reserved(Some("portal"), "007", None), None);
    assert_eq!(reserved(Some("tms"), "7", None), None);
    assert_eq!((reserved(Some("tms"), "7", Some(9)), reserved(None, "7", Some(9))), (Some(9), Some(9)));
}
