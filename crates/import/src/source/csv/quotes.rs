//! Quoted fields that go on over the end of a line. If such a record is malformed, a quote before it was not closed, and
//! the record may have swallowed whole rows: they are read again, so that each has an outcome of its own.

use zeroize::Zeroize as _;

use super::LineCounter;
use crate::record::MAX_RECORD_BYTES;

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    FieldStart,
    Unquoted,
    Quoted,
    /// After a quote in a quoted field: it closes the field, or is the first half of a doubled one.
    QuoteInQuoted,
}

/// The part of a record after its first line.
pub(super) struct FurtherLines {
    /// Where it starts, in decoded bytes from the start of the file.
    pub(super) offset: u64,
    /// The lines before it.
    pub(super) lines: LineCounter,
    /// Its bytes; `None` if they are too many to be held.
    pub(super) bytes: Option<Vec<u8>>,
}

impl Drop for FurtherLines {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

/// Follows the quotes of one record.
pub(super) struct QuoteTracker {
    delimiter: u8,
    state: State,
    /// Text follows a closing quote. The parser takes it as part of the field.
    has_text_after_quote: bool,
    further_lines: Option<FurtherLines>,
}

impl QuoteTracker {
    pub(super) fn new(delimiter: u8) -> Self {
        Self { delimiter, state: State::FieldStart, has_text_after_quote: false, further_lines: None }
    }

    /// Starts the next record.
    pub(super) fn reset(&mut self) {
        *self = Self::new(self.delimiter);
    }

    /// Follows the bytes that the parser has consumed, the first of which is at `offset`, on the line of `lines`.
    pub(super) fn follow(&mut self, bytes: &[u8], offset: u64, lines: &LineCounter) {
        for (n, &byte) in bytes.iter().enumerate() {
            let is_line_end = matches!(byte, b'\r' | b'\n');
            self.state = match (self.state, byte) {
                (State::FieldStart, b'"') | (State::QuoteInQuoted, b'"') => State::Quoted,
                (State::Quoted, b'"') => State::QuoteInQuoted,
                (State::Quoted, _) => State::Quoted,
                (_, byte) if byte == self.delimiter || is_line_end => State::FieldStart,
                (state, _) => {
                    self.has_text_after_quote |= state == State::QuoteInQuoted;
                    State::Unquoted
                }
            };
            if let Some(further) = &mut self.further_lines {
                hold(&mut further.bytes, byte);
            } else if self.state == State::Quoted && is_line_end {
                let mut lines = lines.clone();
                lines.count(&bytes[..=n]);
                self.further_lines =
                    Some(FurtherLines { offset: offset + n as u64 + 1, lines, bytes: Some(Vec::new()) });
            }
        }
    }

    /// The further lines of a record that is malformed. Those of a well-formed one are text that a user may have entered,
    /// and are never read as rows, whatever else is wrong with the record.
    pub(super) fn take_malformed(&mut self) -> Option<FurtherLines> {
        let is_malformed = self.state == State::Quoted || self.has_text_after_quote;
        self.further_lines.take_if(|_| is_malformed)
    }
}

fn hold(held: &mut Option<Vec<u8>>, byte: u8) {
    match held {
        Some(bytes) if bytes.len() < MAX_RECORD_BYTES => bytes.push(byte),
        Some(bytes) => {
            bytes.zeroize();
            *held = None;
        }
        None => {}
    }
}
