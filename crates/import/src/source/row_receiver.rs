//! A source whose rows a thread or a task reads ahead.

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::{Source, SourceError};
use crate::record::{Cell, Record};

/// How many rows are read ahead.
pub(super) const ROWS_AHEAD: usize = 1_000;

pub(super) type ReadRow = Result<Vec<Cell>, SourceError>;

pub(super) struct RowReceiver {
    row_rx: mpsc::Receiver<ReadRow>,
    position: u64,
}

impl RowReceiver {
    pub(super) fn new(row_rx: mpsc::Receiver<ReadRow>) -> Self {
        Self { row_rx, position: 0 }
    }
}

#[async_trait]
impl Source for RowReceiver {
    async fn next(&mut self, limit: usize) -> Result<Vec<Record>, SourceError> {
        let mut batch = Vec::with_capacity(limit);
        while batch.len() < limit
            && let Some(cells) = self.row_rx.recv().await
        {
            self.position += 1;
            batch.push(Record { position: self.position, line: None, cells: Ok(cells?) });
        }
        Ok(batch)
    }
}
