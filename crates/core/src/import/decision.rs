//! The outcome of each row of a batch, decided from what the store knows.

use std::collections::{HashMap, HashSet};

use super::{ContentHash, ImportRow, MergeRule, Refusal, RunId};
use crate::user::UserId;

/// A row that was imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownRow {
    /// The number of the row's user.
    pub number: i64,
    /// The row's content.
    pub content: ContentHash,
    /// The run that imported it.
    pub run: RunId,
    /// Its position in that run.
    pub position: u64,
    /// Whether the row was joined to an existing user.
    pub was_merged: bool,
}

/// A user who has an identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdentifierOwner {
    /// The user's number.
    pub number: i64,
    /// The user.
    pub id: UserId,
    /// Whether the user has a password.
    pub has_password: bool,
    /// Whether a row of the same source has this user.
    pub is_of_source: bool,
}

/// What the store knows about the rows of a batch.
#[derive(Clone, Debug, Default)]
pub struct ImportLookup {
    /// The rows of this source that were imported, by old id.
    pub rows: HashMap<String, KnownRow>,
    /// The owners of identifiers, by canonical key.
    pub owners: HashMap<String, IdentifierOwner>,
    /// The UUIDs that users have.
    pub taken_ids: HashSet<UserId>,
}

/// A row of a batch that is joined to an existing user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merger {
    /// The user's number.
    pub number: i64,
    /// The user.
    pub id: UserId,
    /// Whether the user has a password, which stays. Otherwise the user gets that of the row.
    pub has_password: bool,
    /// The canonical keys that the user gets in addition.
    pub new_keys: Vec<String>,
}

/// What to do with a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Add a user.
    Add,
    /// Join the row to an existing user.
    Merge(Merger),
    /// Nothing: the row was imported before.
    Same,
    /// Nothing: this run has imported the row, and reads it again because it was interrupted.
    Recount(KnownRow),
    /// Refuse the row.
    Refuse(Refusal),
}

/// Decides on the rows of a batch, in order; the numbers are their positions in the source. Returns one decision a row.
pub fn decide(
    rows: &[(u64, &ImportRow, ContentHash)],
    lookup: &ImportLookup,
    run: RunId,
    merge: MergeRule,
) -> Vec<Decision> {
    let mut batch = Batch::new(lookup, run, merge);
    rows.iter().map(|&(position, row, content)| batch.decide(position, row, content)).collect()
}

/// The batch so far: its earlier rows are known to the later ones.
struct Batch<'a> {
    lookup: &'a ImportLookup,
    run: RunId,
    merge: MergeRule,
    /// Old ids and contents.
    rows: HashMap<&'a str, ContentHash>,
    /// Canonical keys of identifiers.
    keys: HashSet<&'a str>,
    ids: HashSet<UserId>,
    /// Users whom rows have joined.
    joined: HashSet<i64>,
}

impl<'a> Batch<'a> {
    fn new(lookup: &'a ImportLookup, run: RunId, merge: MergeRule) -> Self {
        let (rows, keys) = (HashMap::new(), HashSet::new());
        Self { lookup, run, merge, rows, keys, ids: HashSet::new(), joined: HashSet::new() }
    }

    fn decide(&mut self, position: u64, row: &'a ImportRow, content: ContentHash) -> Decision {
        let old_id = row.old_id.as_str();
        if let Some(known) = self.lookup.rows.get(old_id) {
            return self.decide_known(position, known, content);
        }
        if let Some(earlier) = self.rows.get(old_id) {
            let is_same = *earlier == content;
            return if is_same { Decision::Same } else { Decision::Refuse(Refusal::OldIdRepeated) };
        }
        match self.decide_new(row) {
            Ok(decision) => {
                self.rows.insert(old_id, content);
                self.keys.extend(row.identifiers().map(|(_, identifier)| identifier.key()));
                self.ids.extend(row.id);
                if let Decision::Merge(merger) = &decision {
                    self.joined.insert(merger.number);
                }
                decision
            }
            Err(refusal) => Decision::Refuse(refusal),
        }
    }

    fn decide_known(&self, position: u64, known: &KnownRow, content: ContentHash) -> Decision {
        match (known.content == content, known.run == self.run) {
            (true, true) if known.position == position => Decision::Recount(*known),
            (true, _) => Decision::Same,
            (false, true) => Decision::Refuse(Refusal::OldIdRepeated),
            (false, false) => Decision::Refuse(Refusal::Changed),
        }
    }

    fn decide_new(&self, row: &ImportRow) -> Result<Decision, Refusal> {
        let target = self.merge_target(row);
        let mut new_keys = Vec::new();
        for (field, identifier) in row.identifiers() {
            let key = identifier.key();
            match self.lookup.owners.get(key) {
                _ if self.keys.contains(key) => return Err(Refusal::IdentifierRepeated(field)),
                Some(owner) if target.is_some_and(|target| target.number == owner.number) => {}
                Some(owner) if self.is_of_source(owner) => return Err(Refusal::IdentifierRepeated(field)),
                Some(_) => return Err(Refusal::IdentifierTaken(field)),
                None => new_keys.push(key.to_owned()),
            }
        }
        if let Some(&IdentifierOwner { number, id, has_password, .. }) = target {
            new_keys.sort_unstable();
            new_keys.dedup();
            return Ok(Decision::Merge(Merger { number, id, has_password, new_keys }));
        }
        let is_uuid_taken = row.id.is_some_and(|id| self.lookup.taken_ids.contains(&id) || self.ids.contains(&id));
        if is_uuid_taken { Err(Refusal::UuidTaken) } else { Ok(Decision::Add) }
    }

    /// The user whom the row joins. Two rows of one source never join one user: the source's dialect could
    /// not answer with the id that each client has stored.
    fn merge_target(&self, row: &ImportRow) -> Option<&'a IdentifierOwner> {
        let field = self.merge.field()?;
        let (_, identifier) = row.identifiers().find(|(of, _)| *of == field)?;
        let owner = self.lookup.owners.get(identifier.key())?;
        (!self.is_of_source(owner)).then_some(owner)
    }

    fn is_of_source(&self, owner: &IdentifierOwner) -> bool {
        owner.is_of_source || self.joined.contains(&owner.number)
    }
}

#[cfg(test)]
mod tests {
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
        decide(&rows, lookup, RUN, merge)
    }

    fn owned(owners: &[(&str, i64, bool)]) -> ImportLookup {
        let owners = owners
            .iter()
            .map(|&(key, number, is_of_source)| {
                let owner =
                    IdentifierOwner { number, id: UserId::from_bytes([9; 16]), has_password: true, is_of_source };
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
        assert_eq!(
            decisions,
            [Decision::Same, refused(Refusal::Changed), Decision::Recount(recounted), Decision::Same]
        );
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
            Decision::Merge(Merger { number: 100_001, id: UserId::from_bytes([9; 16]), has_password: true, new_keys })
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
        let taken_ids = [UserId::from_bytes([9; 16])].into();
        let lookup = ImportLookup { taken_ids, ..ImportLookup::default() };
        let rows = [(with_id("1", "a", 1), 1), (with_id("2", "b", 1), 2), (with_id("3", "c", 9), 3)];
        assert_eq!(
            decide_all(&rows, &lookup, MergeRule::None),
            [Decision::Add, refused(Refusal::UuidTaken), refused(Refusal::UuidTaken)]
        );
    }
}
