//! Batches of an import before they are written: what the stores know about their rows is looked up while the batch
//! before is written.

use std::collections::HashSet;
use std::hash::Hash;

use super::import_passwords::check_passwords;
use crate::Result;
use crate::import::{
    ContentHash, IdClaims, ImportLookup, ImportRow, ImportRules, PasswordCheck, Refusal, RowOutcome, SourceName,
    SourceRow,
};
use crate::mac::MacKey;
use crate::ports::{ImportBatch, ImportQuery, ImportStore, PasswordListStore, RecordedRow};
use crate::random::Random;
use crate::user::UserId;

/// Whether the order of a source's rows is fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowOrder {
    /// A file: an interrupted import continues at its cursor.
    Fixed,
    /// A database, whose rows may have moved: an interrupted import reads them again. Those that it has imported are
    /// recognized.
    Any,
}

/// A row that can be imported.
pub(super) struct Candidate {
    pub(super) position: u64,
    pub(super) row: ImportRow,
    pub(super) content: ContentHash,
    pub(super) id: UserId,
}

/// What the stores know about the rows of a batch.
pub(super) struct FoundRows {
    pub(super) lookup: ImportLookup,
    /// What the lists of common passwords say of each candidate's password; `None` if it has none.
    pub(super) passwords: Vec<Option<PasswordCheck>>,
}

/// Looks batches up: each one after the one before is written, or while it is.
#[derive(Clone)]
pub struct BatchLookup<'a> {
    pub(super) store: &'a dyn ImportStore,
    pub(super) password_list: &'a dyn PasswordListStore,
    pub(super) mac: &'a MacKey,
    pub(super) random: &'a dyn Random,
    pub(super) rules: ImportRules<'a>,
    pub(super) source: SourceName,
}

/// A batch with what the stores know about its rows.
pub struct LookedUpBatch {
    pub(super) candidates: Vec<Candidate>,
    /// All rows. The outcome of a candidate is decided when it is written.
    pub(super) rows: Vec<RecordedRow>,
    pub(super) query: ImportQuery,
    /// `None` if the lookup failed: it is repeated before the batch is written.
    pub(super) found: Option<FoundRows>,
}

impl BatchLookup<'_> {
    /// Looks a batch up.
    pub async fn look_up(&self, source_rows: Vec<SourceRow>) -> LookedUpBatch {
        let (mut candidates, mut rows) = (Vec::with_capacity(source_rows.len()), Vec::with_capacity(source_rows.len()));
        for SourceRow { position, line, old_id, row } in source_rows {
            let outcome = RowOutcome::Refuse(*row.as_ref().err().unwrap_or(&Refusal::Changed));
            rows.push(RecordedRow { position, line, old_id, outcome });
            if let Ok(row) = row {
                let content = row.content_hash(self.mac, self.rules.dialect);
                let id = row.id.unwrap_or_else(|| UserId::from_random(self.random.bits128()));
                candidates.push(Candidate { position, row, content, id });
            }
        }
        let query = query_for(&candidates, self.rules);
        // The write may have the only connection, and for longer than a lookup waits.
        let found = self.find(&candidates, &query).await.ok();
        LookedUpBatch { candidates, rows, query, found }
    }

    pub(super) async fn find(&self, candidates: &[Candidate], query: &ImportQuery) -> Result<FoundRows> {
        let lookup = self.store.lookup(&self.source, query).await?;
        let secrets = candidates.iter().map(|candidate| candidate.row.secret.as_ref());
        let passwords = check_passwords(self.password_list, secrets).await?;
        Ok(FoundRows { lookup, passwords })
    }
}

fn query_for(candidates: &[Candidate], rules: ImportRules<'_>) -> ImportQuery {
    let claims: Vec<_> = candidates.iter().map(|candidate| IdClaims::of(&candidate.row, rules.dialect)).collect();
    let ids = || candidates.iter().filter_map(|candidate| candidate.row.id).chain(claims.iter().filter_map(|c| c.id));
    let keys = claims.iter().filter_map(|claims| claims.legacy_key.clone());
    ImportQuery {
        old_ids: candidates.iter().map(|candidate| candidate.row.old_id.as_str().to_owned()).collect(),
        keys: candidates
            .iter()
            .flat_map(|candidate| candidate.row.identifiers().map(|(_, identifier)| identifier.key().to_owned()))
            .collect(),
        ids: ids().collect(),
        dialect: rules.dialect.map(str::to_owned),
        // A legacy id may be the UUID that a row sets.
        legacy_keys: keys.chain(ids().map(|id| id.to_string())).collect(),
        numbers: claims.iter().filter_map(|claims| claims.number).collect(),
    }
}

/// What the last write may have changed. A lookup at the same time may or may not have seen it.
pub(super) struct WrittenBatch {
    old_ids: HashSet<String>,
    keys: HashSet<String>,
    ids: HashSet<UserId>,
    legacy_keys: HashSet<String>,
    /// The numbers of the users whom rows have joined.
    joined: HashSet<i64>,
    has_new_users: bool,
}

impl WrittenBatch {
    pub(super) fn new(query: ImportQuery, written: &ImportBatch) -> Self {
        let ImportQuery { old_ids, keys, ids, legacy_keys, dialect: _, numbers: _ } = query;
        Self {
            old_ids: old_ids.into_iter().collect(),
            keys: keys.into_iter().collect(),
            ids: ids.into_iter().collect(),
            legacy_keys: legacy_keys.into_iter().collect(),
            joined: written.merged.iter().map(|merged| merged.merger.number).collect(),
            has_new_users: !written.added.is_empty(),
        }
    }

    /// Whether a lookup may have found something else before the write than after it.
    pub(super) fn affects(&self, query: &ImportQuery, found: &ImportLookup) -> bool {
        // New users get the next numbers, which rows may claim.
        !query.numbers.is_empty() && (self.has_new_users || !self.joined.is_empty())
            || has_common(&self.old_ids, &query.old_ids)
            || has_common(&self.keys, &query.keys)
            || has_common(&self.ids, &query.ids)
            || has_common(&self.legacy_keys, &query.legacy_keys)
            || found.owners.values().any(|owner| self.joined.contains(&owner.number))
    }
}

fn has_common<T: Eq + Hash>(written: &HashSet<T>, wanted: &[T]) -> bool {
    wanted.iter().any(|value| written.contains(value))
}
