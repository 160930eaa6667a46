//! Reads a source on a thread of its own, so that reading and writing use two cores.

use stele_core::import::SourceRow;
use stele_core::usecase::import::BATCH_SIZE;
use stele_import::{ImportMap, RowReader, Source, open_source};
use tokio::sync::{mpsc, oneshot};

use crate::commands::CommandError;

/// How many batches are read ahead.
const BATCHES_AHEAD: usize = 2;

/// A batch of rows, and how much of the source has been read, from 0 to 1; `None` if its size is not known.
pub(super) type ReadBatch = Result<(Vec<SourceRow>, Option<f64>), CommandError>;

/// A source that is open and has the columns of the map. Its thread waits for the position to start at.
pub(super) struct OpenedSource {
    skip_tx: oneshot::Sender<u64>,
    batch_rx: mpsc::Receiver<ReadBatch>,
}

/// Opens a source. A run is started only then, so that a fault of the map or the source leaves no trace.
pub(super) async fn open(map: &ImportMap, from: &str) -> Result<OpenedSource, CommandError> {
    let (batch_tx, batch_rx) = mpsc::channel(BATCHES_AHEAD);
    let (skip_tx, skip_rx) = oneshot::channel();
    let (opened_tx, opened_rx) = oneshot::channel();
    let rows = RowReader::new(map).map_err(|error| super::setup_error(&error))?;
    let (map, from) = (map.clone(), from.to_owned());
    let read = move || {
        let work = async {
            let source = open_source(&map, &from).await.map_err(|error| super::setup_error(&error));
            let (source, opened) = match source {
                Ok(source) => (Some(source), Ok(())),
                Err(error) => (None, Err(error)),
            };
            // Both fail if the command has ended.
            let (Ok(()), Some(source)) = (opened_tx.send(opened), source) else { return };
            let Ok(skip) = skip_rx.await else { return };
            if let Err(error) = send_batches(source, skip, &rows, &batch_tx).await {
                let _ = batch_tx.send(Err(error)).await;
            }
        };
        if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() {
            runtime.block_on(work);
        }
    };
    let thread = std::thread::Builder::new().name("stele-import-read".to_owned()).spawn(read);
    thread.map_err(|error| super::setup_error(&format!("cannot start a thread: {error}")))?;
    let opened = opened_rx.await.map_err(|_| super::setup_error(&"the source cannot be read: its thread ended"));
    opened??;
    Ok(OpenedSource { skip_tx, batch_rx })
}

async fn send_batches(
    mut source: Box<dyn Source>,
    skip: u64,
    rows: &RowReader,
    batch_tx: &mpsc::Sender<ReadBatch>,
) -> Result<(), CommandError> {
    source.skip(skip).await.map_err(|error| CommandError::Failed(error.to_string()))?;
    loop {
        let records = source.next(BATCH_SIZE).await.map_err(|error| CommandError::Failed(error.to_string()))?;
        if records.is_empty() {
            return batch_tx.send(Ok((Vec::new(), Some(1.0)))).await.or(Ok(()));
        }
        let batch = records.into_iter().map(|record| rows.read(record)).collect();
        if batch_tx.send(Ok((batch, source.fraction_read()))).await.is_err() {
            return Ok(());
        }
    }
}

impl OpenedSource {
    /// Starts reading after the first `skip` records.
    pub(super) fn read(self, skip: u64) -> Batches {
        // Fails if the thread has ended; then there are no batches, not even an empty one.
        let _ = self.skip_tx.send(skip);
        Batches(self.batch_rx)
    }
}

/// The batches of a source.
pub(super) struct Batches(mpsc::Receiver<ReadBatch>);

impl Batches {
    /// The next batch; an empty one at the end of the source. A thread that has ended without one is an error: the rest
    /// of the source is not its end.
    pub(super) async fn next(&mut self) -> ReadBatch {
        let ended = || Err(CommandError::Failed("the source's thread ended before the source".to_owned()));
        self.0.recv().await.unwrap_or_else(ended)
    }
}
