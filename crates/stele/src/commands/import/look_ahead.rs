//! Reads and looks up the next batch while one is written.

use std::pin::{Pin, pin};

use futures_util::future::{MaybeDone, maybe_done};
use stele_core::usecase::import::{BatchLookup, Importer, LookedUpBatch};

use super::progress::ImportProgress;
use super::reader::Batches;
use super::stop::StopSignal;
use super::{Reasons, RowListing, row_as_json};
use crate::commands::{CommandError, print_listing_line};

/// Reads batches, and looks them up.
pub(super) struct BatchReader<'a> {
    batches: Batches,
    lookup: BatchLookup<'a>,
}

/// A batch, and how much of the source has been read, from 0 to 1.
type NextBatch = Result<Option<(LookedUpBatch, Option<f64>)>, CommandError>;

impl<'a> BatchReader<'a> {
    pub(super) fn new(batches: Batches, lookup: BatchLookup<'a>) -> Self {
        Self { batches, lookup }
    }

    /// The next batch; `None` at the end of the source.
    async fn next(&mut self) -> NextBatch {
        let (rows, fraction) = self.batches.next().await?;
        if rows.is_empty() {
            return Ok(None);
        }
        Ok(Some((self.lookup.look_up(rows).await, fraction)))
    }
}

/// Completes `step`, and polls `ahead` meanwhile.
async fn run_beside<T>(step: impl Future<Output = T>, ahead: Pin<&mut MaybeDone<impl Future>>) -> T {
    let mut step = pin!(step);
    tokio::select! {
        biased;
        done = &mut step => return done,
        () = ahead => {}
    }
    step.await
}

/// Imports to the end of the source: while a batch is written, the next one is read and looked up. Returns how many rows
/// of this reading had each outcome that has a reason.
pub(super) async fn import_batches(
    importer: &mut Importer<'_>,
    mut batches: BatchReader<'_>,
    progress: &mut ImportProgress,
    stop: &mut StopSignal,
    listing: RowListing,
) -> Result<Reasons, CommandError> {
    let mut reasons = Reasons::new();
    let mut next = stop.or(batches.next()).await;
    loop {
        let current = next.ok_or_else(|| CommandError::Failed("stopped by a signal".to_owned()))??;
        let Some((batch, fraction)) = current else { return Ok(reasons) };
        let mut ahead = pin!(maybe_done(batches.next()));
        for row in &stop.after(run_beside(importer.write(batch), ahead.as_mut())).await? {
            if let Some((code, reason)) = row.outcome.code().zip(row.outcome.reason()) {
                reasons.entry((row.outcome.as_str(), code)).or_insert((0, reason)).0 += 1;
            }
            if listing == RowListing::Json {
                print_listing_line(&row_as_json(row))?;
            }
        }
        progress.update(importer.run().counts, fraction);
        let finish_reading = async {
            ahead.as_mut().await;
            ahead.as_mut().take_output()
        };
        next = stop.or(finish_reading).await.flatten();
    }
}
