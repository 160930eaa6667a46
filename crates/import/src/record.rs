//! A record of a source: one row of a table, one line of a file.

use stele_core::import::Refusal;
use zeroize::Zeroizing;

/// The longest record of a file, in bytes. A longer one is refused, and takes no more memory than this.
pub(crate) const MAX_RECORD_BYTES: usize = 1 << 20;

/// The value of a column. It may be a password, so it is zeroized on drop and never printed.
#[derive(Clone, PartialEq, Eq)]
pub enum Cell {
    /// The source has no value.
    Null,
    /// The value as text.
    Text(Zeroizing<String>),
    /// Bytes that are not text in the source's encoding, or a value that has no text, such as an array.
    NotText,
}

impl std::fmt::Debug for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Null => "Null",
            Self::Text(_) => "Text(…)",
            Self::NotText => "NotText",
        })
    }
}

impl Cell {
    /// A cell with this text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(Zeroizing::new(text.into()))
    }

    /// A cell with the text of these bytes, if they are UTF-8. U+FFFD stands for bytes that could not be decoded.
    pub(crate) fn from_utf8(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) if !text.contains('\u{fffd}') => Self::text(text),
            _ => Self::NotText,
        }
    }
}

/// A record of a source.
#[derive(Debug)]
pub struct Record {
    /// The record's number in the source, from 1.
    pub position: u64,
    /// The line of the file on which the record starts, from 1; `None` for a database.
    pub line: Option<u64>,
    /// The wanted columns, in the order in which they were wanted; or why the record cannot be read.
    pub cells: Result<Vec<Cell>, Refusal>,
}
