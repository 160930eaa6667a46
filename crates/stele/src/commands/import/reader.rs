//! Reads a source on a thread of its own, so that reading and writing use two cores.

use stele_core::import::SourceRow;
use stele_core::usecase::import::BATCH_SIZE;
use stele_import::{ImportMap, RowReader, open_source};
use tokio::sync::mpsc;

use crate::commands::CommandError;

/// How many batches are read ahead.
const BATCHES_AHEAD: usize = 2;

/// A batch of rows, and how much of the source has been read, from 0 to 1; `None` if its size is not known.
pub(super) type ReadBatch = Result<(Vec<SourceRow>, Option<f64>), CommandError>;

/// Starts reading after the first `skip` records. The channel closes at the end of the source.
pub(super) fn start(map: &ImportMap, from: &str, skip: u64) -> Result<mpsc::Receiver<ReadBatch>, CommandError> {
    let (batch_tx, batch_rx) = mpsc::channel(BATCHES_AHEAD);
    let rows = RowReader::new(map).map_err(|error| super::setup_error(&error))?;
    let (map, from) = (map.clone(), from.to_owned());
    let read = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let read_all = async {
            let mut source = open_source(&map, &from).await.map_err(|error| super::setup_error(&error))?;
            source.skip(skip).await.map_err(|error| super::resumable_error(&error))?;
            loop {
                let records = source.next(BATCH_SIZE).await.map_err(|error| super::resumable_error(&error))?;
                if records.is_empty() {
                    return Ok(());
                }
                let batch = records.into_iter().map(|record| rows.read(record)).collect();
                if batch_tx.send(Ok((batch, source.fraction_read()))).await.is_err() {
                    return Ok(());
                }
            }
        };
        let result = match runtime {
            Ok(runtime) => runtime.block_on(read_all),
            Err(error) => Err(super::resumable_error(&error)),
        };
        if let Err(error) = result {
            // Fails if the import has stopped.
            let _ = batch_tx.blocking_send(Err(error));
        }
    };
    let thread = std::thread::Builder::new().name("stele-import-read".to_owned()).spawn(read);
    thread.map_err(|error| super::resumable_error(&error))?;
    Ok(batch_rx)
}
