//! JSON Lines: one object a line. Numbers and booleans are taken as their text.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use encoding_rs::UTF_8;
use serde_json::{Map, Value};
use stele_core::import::Refusal;
use zeroize::Zeroize as _;

use super::decode::DecodedFile;
use super::{Source, SourceError};
use crate::map::ImportMap;
use crate::record::{Cell, MAX_RECORD_BYTES, Record};

pub(super) struct JsonLinesSource {
    lines: LineReader,
    wanted: Vec<String>,
    position: u64,
}

impl JsonLinesSource {
    pub(super) fn open(path: PathBuf, map: &ImportMap) -> Result<Self, SourceError> {
        let wanted = map.wanted_columns().into_iter().map(str::to_owned).collect();
        Ok(Self { lines: LineReader::open(path, map.encoding)?, wanted, position: 0 })
    }

    /// The cells of the current line. An object without a wanted key has no value for it.
    fn parse_line(&self) -> Result<Vec<Cell>, Refusal> {
        let mut object: Map<String, Value> =
            serde_json::from_slice(&self.lines.line).map_err(|_| Refusal::NotAnObject)?;
        let cells = self.wanted.iter().map(|key| object.get(key).map_or(Cell::Null, cell_of)).collect();
        for value in object.values_mut() {
            if let Value::String(text) = value {
                text.zeroize();
            }
        }
        Ok(cells)
    }
}

fn cell_of(value: &Value) -> Cell {
    match value {
        Value::Null => Cell::Null,
        Value::Bool(value) => Cell::text(value.to_string()),
        Value::Number(number) => Cell::text(number.to_string()),
        Value::String(text) => Cell::from_utf8(text.as_bytes()),
        Value::Array(_) | Value::Object(_) => Cell::NotText,
    }
}

#[async_trait]
impl Source for JsonLinesSource {
    async fn next(&mut self, limit: usize) -> Result<Vec<Record>, SourceError> {
        let mut batch = Vec::with_capacity(limit);
        while batch.len() < limit {
            let Some((line, is_too_long)) = self.lines.read()? else { break };
            self.position += 1;
            let cells = if is_too_long { Err(Refusal::RecordTooLong) } else { self.parse_line() };
            batch.push(Record { position: self.position, line: Some(line), cells });
        }
        Ok(batch)
    }

    fn fraction_read(&self) -> Option<f64> {
        Some(self.lines.file.get_ref().fraction_read())
    }
}

/// The keys of the first object of a file in UTF-8.
pub(super) fn keys_of_first_object(path: &Path) -> Result<Vec<String>, SourceError> {
    let mut lines = LineReader::open(path.to_owned(), UTF_8)?;
    let no_header = || SourceError::NoHeader(path.to_owned());
    let (_, is_too_long) = lines.read()?.ok_or_else(no_header)?;
    let object: Map<String, Value> = serde_json::from_slice(&lines.line).map_err(|_| no_header())?;
    if is_too_long { Err(no_header()) } else { Ok(object.keys().cloned().collect()) }
}

/// Reads one line at a time. Empty lines are passed over.
struct LineReader {
    path: PathBuf,
    file: BufReader<DecodedFile>,
    line: Vec<u8>,
    number: u64,
}

impl LineReader {
    fn open(path: PathBuf, encoding: &'static encoding_rs::Encoding) -> Result<Self, SourceError> {
        let file = DecodedFile::open(&path, encoding)
            .map_err(|cause| SourceError::Unreadable { path: path.clone(), cause })?;
        Ok(Self { path, file: BufReader::with_capacity(64 * 1024, file), line: Vec::new(), number: 0 })
    }

    /// Reads the next line that is not empty; `None` at the end. Returns its number, and whether it is too long, in
    /// which case its text is lost.
    fn read(&mut self) -> Result<Option<(u64, bool)>, SourceError> {
        loop {
            let Some(is_too_long) = self.read_line()? else { return Ok(None) };
            self.number += 1;
            if is_too_long || !self.line.trim_ascii().is_empty() {
                return Ok(Some((self.number, is_too_long)));
            }
        }
    }

    fn read_line(&mut self) -> Result<Option<bool>, SourceError> {
        self.line.zeroize();
        let (mut is_too_long, mut is_empty) = (false, true);
        loop {
            let chunk = self.file.fill_buf();
            let chunk = chunk.map_err(|cause| SourceError::Unreadable { path: self.path.clone(), cause })?;
            if chunk.is_empty() {
                return Ok((!is_empty).then_some(is_too_long));
            }
            is_empty = false;
            let end = chunk.iter().position(|&byte| byte == b'\n');
            let part = &chunk[..end.unwrap_or(chunk.len())];
            if self.line.len() + part.len() > MAX_RECORD_BYTES {
                is_too_long = true;
                self.line.zeroize();
            }
            if !is_too_long {
                self.line.extend_from_slice(part);
            }
            let consumed = end.map_or(chunk.len(), |end| end + 1);
            self.file.consume(consumed);
            if end.is_some() {
                return Ok(Some(is_too_long));
            }
        }
    }
}
