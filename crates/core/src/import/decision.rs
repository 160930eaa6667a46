//! The outcome of each row of a batch, decided from what the store knows.

use std::collections::{HashMap, HashSet};

use super::{ContentHash, IdClaims, ImportRow, MergeRule, Refusal, RunId};
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
    /// The numbers of the users who have a UUID.
    pub uuid_owners: HashMap<UserId, i64>,
    /// The numbers of the users whom clients of the source's dialect know by a legacy id, by
    /// [key](crate::user::legacy_key).
    pub legacy_owners: HashMap<String, i64>,
    /// The numbers of the users who have a number, by themselves or in the portal.
    pub number_owners: HashMap<i64, i64>,
}

/// The rules of a source.
#[derive(Clone, Copy, Debug, Default)]
pub struct ImportRules<'a> {
    /// By which identifier rows join existing users.
    pub merge: MergeRule,
    /// The dialect whose clients know the old ids; `None` if no client does.
    pub dialect: Option<&'a str>,
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
    /// Whether clients of the source's dialect know the user by the old id already, from another source.
    pub has_old_id: bool,
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
    rules: ImportRules<'_>,
) -> Vec<Decision> {
    let mut batch = Batch::new(lookup, run, rules);
    rows.iter().map(|&(position, row, content)| batch.decide(position, row, content)).collect()
}

/// The batch so far: its earlier rows are known to the later ones.
struct Batch<'a> {
    lookup: &'a ImportLookup,
    run: RunId,
    rules: ImportRules<'a>,
    /// Old ids and contents.
    rows: HashMap<&'a str, ContentHash>,
    /// Canonical keys of identifiers.
    keys: HashSet<&'a str>,
    uuids: HashSet<UserId>,
    legacy_keys: HashSet<String>,
    numbers: HashSet<i64>,
    /// Users whom rows have joined.
    joined: HashSet<i64>,
}

impl<'a> Batch<'a> {
    fn new(lookup: &'a ImportLookup, run: RunId, rules: ImportRules<'a>) -> Self {
        Self {
            lookup,
            run,
            rules,
            rows: HashMap::new(),
            keys: HashSet::new(),
            uuids: HashSet::new(),
            legacy_keys: HashSet::new(),
            numbers: HashSet::new(),
            joined: HashSet::new(),
        }
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
            Ok((decision, claims)) => {
                self.rows.insert(old_id, content);
                self.keys.extend(row.identifiers().map(|(_, identifier)| identifier.key()));
                self.uuids.extend([row.id, claims.id].into_iter().flatten());
                self.legacy_keys.extend(claims.legacy_key);
                self.numbers.extend(claims.number);
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

    fn decide_new(&self, row: &ImportRow) -> Result<(Decision, IdClaims), Refusal> {
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
        let claims = IdClaims::of(row, self.rules.dialect);
        let Some(&IdentifierOwner { number, id, has_password, .. }) = target else {
            if row.id.is_some_and(|id| self.is_uuid_taken(id, None)) {
                return Err(Refusal::UuidTaken);
            }
            self.check_claims(&claims, None)?;
            return Ok((Decision::Add, claims));
        };
        let claims = claims.of_merged(self.rules.dialect);
        self.check_claims(&claims, Some(number))?;
        new_keys.sort_unstable();
        new_keys.dedup();
        let has_old_id = claims.legacy_key.as_ref().is_some_and(|key| self.lookup.legacy_owners.contains_key(key));
        Ok((Decision::Merge(Merger { number, id, has_password, new_keys, has_old_id }), claims))
    }

    /// Refuses a claim of what a user other than `owner` has, or an earlier row claims.
    fn check_claims(&self, claims: &IdClaims, owner: Option<i64>) -> Result<(), Refusal> {
        let lookup = self.lookup;
        let is_other = |found: Option<&i64>| found.is_some_and(|&number| Some(number) != owner);
        let is_key_taken = |key: &String| is_other(lookup.legacy_owners.get(key)) || self.legacy_keys.contains(key);
        let is_number_taken = |number| is_other(lookup.number_owners.get(&number)) || self.numbers.contains(&number);
        let is_id_taken = claims.legacy_key.as_ref().is_some_and(is_key_taken)
            || claims.id.is_some_and(|id| self.is_uuid_taken(id, owner));
        if is_id_taken {
            return Err(Refusal::IdTaken);
        }
        if claims.number.is_some_and(is_number_taken) { Err(Refusal::NumberTaken) } else { Ok(()) }
    }

    fn is_uuid_taken(&self, id: UserId, owner: Option<i64>) -> bool {
        let owners = [self.lookup.uuid_owners.get(&id), self.lookup.legacy_owners.get(&id.to_string())];
        owners.into_iter().flatten().any(|&number| Some(number) != owner) || self.uuids.contains(&id)
    }

    /// The user whom the row joins. Two rows of one source never join one user: the source's dialect could
    /// not answer with the id that each client has stored.
    fn merge_target(&self, row: &ImportRow) -> Option<&'a IdentifierOwner> {
        let field = self.rules.merge.field()?;
        let (_, identifier) = row.identifiers().find(|(of, _)| *of == field)?;
        let owner = self.lookup.owners.get(identifier.key())?;
        (!self.is_of_source(owner)).then_some(owner)
    }

    fn is_of_source(&self, owner: &IdentifierOwner) -> bool {
        owner.is_of_source || self.joined.contains(&owner.number)
    }
}

#[cfg(test)]
#[path = "decision_tests.rs"]
mod tests;
