//! CSV files. Lines end with CR LF, LF or CR. Fields are quoted as RFC 4180 says.

mod header;
mod quotes;

use std::io::Read;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use encoding_rs::UTF_8;
use stele_core::import::Refusal;
use zeroize::Zeroize as _;

use self::quotes::{FurtherLines, QuoteTracker};
use super::decode::DecodedFile;
use super::{Source, SourceError, locate_columns};
use crate::map::ImportMap;
use crate::record::{Cell, MAX_RECORD_BYTES, Record};

/// The most columns of a record. Further ones are not read.
const MAX_COLUMNS: usize = 4_096;
/// The size of the input buffer, in bytes.
const BUFFER_BYTES: usize = 64 * 1024;

pub(super) struct CsvSource {
    records: RecordReader,
    /// Where the wanted columns are.
    wanted: Vec<usize>,
    header: Vec<Vec<u8>>,
    position: u64,
}

impl CsvSource {
    pub(super) fn open(path: PathBuf, map: &ImportMap) -> Result<Self, SourceError> {
        let mut records = RecordReader::open(path, map.encoding, map.delimiter)?;
        let header = records.read_header()?;
        let columns = column_names(&header);
        let wanted =
            locate_columns(map, &columns).map_err(|error| header::fault_of(&records.path, map, &columns, error))?;
        Ok(Self { records, wanted, header, position: 0 })
    }

    fn read_record(&mut self) -> Result<Option<Record>, SourceError> {
        let Some((line, is_too_long)) = self.records.read()? else { return Ok(None) };
        self.position += 1;
        if self.records.read_swallowed_lines_again()? {
            let cells = Err(Refusal::UnclosedQuote);
            return Ok(Some(Record { position: self.position, line: Some(line), cells }));
        }
        let fields = self.records.fields();
        let cells = if is_too_long {
            Err(Refusal::RecordTooLong)
        } else if fields.len() != self.header.len() {
            Err(Refusal::WrongFieldCount)
        } else if fields.iter().zip(&self.header).all(|(field, name)| field == name) {
            Err(Refusal::RepeatedHeader)
        } else {
            Ok(self.wanted.iter().map(|&n| Cell::from_utf8(fields[n])).collect())
        };
        Ok(Some(Record { position: self.position, line: Some(line), cells }))
    }
}

#[async_trait]
impl Source for CsvSource {
    async fn next(&mut self, limit: usize) -> Result<Vec<Record>, SourceError> {
        let mut batch = Vec::with_capacity(limit);
        while batch.len() < limit
            && let Some(record) = self.read_record()?
        {
            batch.push(record);
        }
        Ok(batch)
    }

    fn fraction_read(&self) -> Option<f64> {
        Some(self.records.file.fraction_read())
    }
}

/// The delimiter and the header of a CSV file in UTF-8. The delimiter is the one of `,`, `;`, tab and `|` that gives the
/// most columns.
pub(super) fn header_of(path: &Path) -> Result<(u8, Vec<String>), SourceError> {
    let mut best = (b',', Vec::new());
    for delimiter in *b",;\t|" {
        let header = RecordReader::open(path.to_owned(), UTF_8, delimiter)?.read_header()?;
        if header.len() > best.1.len() {
            best = (delimiter, header);
        }
    }
    let (delimiter, header) = best;
    let names = column_names(&header);
    match names.iter().any(|name| header::is_value(name)) {
        true => Err(SourceError::DataInHeader(path.to_owned())),
        false => Ok((delimiter, names)),
    }
}

fn column_names(header: &[Vec<u8>]) -> Vec<String> {
    header.iter().map(|name| String::from_utf8_lossy(name).trim().to_owned()).collect()
}

/// Reads one record at a time into memory of a fixed size.
struct RecordReader {
    path: PathBuf,
    encoding: &'static encoding_rs::Encoding,
    file: DecodedFile,
    parser: Reader,
    input: Vec<u8>,
    /// The part of `input` that is not parsed yet.
    pending: std::ops::Range<usize>,
    is_at_end: bool,
    /// How many decoded bytes are parsed.
    parsed: u64,
    quotes: QuoteTracker,
    lines: LineCounter,
    /// The fields of the current record, one after another, and where each ends.
    output: Vec<u8>,
    ends: Vec<usize>,
    field_count: usize,
}

impl RecordReader {
    fn open(path: PathBuf, encoding: &'static encoding_rs::Encoding, delimiter: u8) -> Result<Self, SourceError> {
        let file = DecodedFile::open(&path, encoding)
            .map_err(|cause| SourceError::Unreadable { path: path.clone(), cause })?;
        let parser = ReaderBuilder::new().delimiter(delimiter).build();
        let (input, output, ends) = (vec![0; BUFFER_BYTES], vec![0; BUFFER_BYTES], vec![0; MAX_COLUMNS]);
        let lines = LineCounter::default();
        let quotes = QuoteTracker::new(delimiter);
        let (pending, is_at_end, parsed, field_count) = (0..0, false, 0, 0);
        Ok(Self {
            path,
            encoding,
            file,
            parser,
            input,
            pending,
            is_at_end,
            parsed,
            quotes,
            lines,
            output,
            ends,
            field_count,
        })
    }

    fn read_header(&mut self) -> Result<Vec<Vec<u8>>, SourceError> {
        match self.read()? {
            Some((_, false)) => Ok(self.fields().into_iter().map(<[u8]>::to_vec).collect()),
            _ => Err(SourceError::NoHeader(self.path.clone())),
        }
    }

    /// Reads the next record; `None` at the end. Returns the line on which it starts, and whether it is too long, in
    /// which case its fields are lost.
    fn read(&mut self) -> Result<Option<(u64, bool)>, SourceError> {
        let (mut written, mut ended, mut is_too_long) = (0, 0, false);
        let line = self.lines.current();
        self.quotes.reset();
        loop {
            if self.pending.is_empty() && !self.is_at_end {
                self.fill_input()?;
            }
            let input = &self.input[self.pending.clone()];
            let (result, consumed, out, ends) =
                self.parser.read_record(input, &mut self.output[written..], &mut self.ends[ended..]);
            self.quotes.follow(&input[..consumed], self.parsed, &self.lines);
            self.lines.count(&input[..consumed]);
            self.parsed += consumed as u64;
            self.pending.start += consumed;
            written += out;
            ended += ends;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull if self.output.len() < MAX_RECORD_BYTES => {
                    self.grow_output();
                }
                // The rest of the record is passed over.
                ReadRecordResult::OutputFull => (written, is_too_long) = (0, true),
                ReadRecordResult::OutputEndsFull => (ended, is_too_long) = (0, true),
                ReadRecordResult::Record => {
                    self.field_count = if is_too_long { 0 } else { ended };
                    return Ok(Some((line, is_too_long)));
                }
                ReadRecordResult::End => return Ok(None),
            }
        }
    }

    fn fill_input(&mut self) -> Result<(), SourceError> {
        let read = self.file.read(&mut self.input);
        let read = read.map_err(|cause| SourceError::Unreadable { path: self.path.clone(), cause })?;
        (self.pending, self.is_at_end) = (0..read, read == 0);
        Ok(())
    }

    /// If the last record goes on over several lines and is malformed, goes back to its second line. Returns whether it
    /// is.
    fn read_swallowed_lines_again(&mut self) -> Result<bool, SourceError> {
        let Some(mut further) = self.quotes.take_malformed() else { return Ok(false) };
        match further.bytes.take() {
            Some(mut bytes) => {
                bytes.extend_from_slice(&self.input[self.pending.clone()]);
                self.pending = 0..bytes.len();
                bytes.resize(bytes.len().max(BUFFER_BYTES), 0);
                self.input.zeroize();
                self.input = bytes;
            }
            None => self.seek(&further)?,
        }
        (self.parsed, self.lines) = (further.offset, further.lines.clone());
        self.parser.reset();
        Ok(true)
    }

    /// Reads the file again up to the start of `further`.
    fn seek(&mut self, further: &FurtherLines) -> Result<(), SourceError> {
        let opened = DecodedFile::open(&self.path, self.encoding);
        self.file = opened.map_err(|cause| SourceError::Unreadable { path: self.path.clone(), cause })?;
        let mut left = further.offset;
        loop {
            self.fill_input()?;
            let read = self.pending.len() as u64;
            if left <= read || self.is_at_end {
                self.pending.start = usize::try_from(left.min(read)).unwrap_or(self.pending.end);
                return Ok(());
            }
            left -= read;
        }
    }

    fn grow_output(&mut self) {
        let mut larger = vec![0; (2 * self.output.len()).min(MAX_RECORD_BYTES)];
        larger[..self.output.len()].copy_from_slice(&self.output);
        self.output.zeroize();
        self.output = larger;
    }

    fn fields(&self) -> Vec<&[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends[..self.field_count]).map(|(start, &end)| &self.output[start..end]).collect()
    }
}

/// Counts lines that end with CR LF, LF or CR. The parser counts only LF, and that of a CR LF to the next record.
#[derive(Clone, Default)]
struct LineCounter {
    ended: u64,
    is_after_cr: bool,
}

impl LineCounter {
    /// The number of the line that starts or continues here, from 1.
    fn current(&self) -> u64 {
        1 + self.ended + u64::from(self.is_after_cr)
    }

    fn count(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.ended += u64::from(byte == b'\n' || self.is_after_cr);
            self.is_after_cr = byte == b'\r';
        }
    }
}

impl Drop for RecordReader {
    fn drop(&mut self) {
        self.output.zeroize();
        self.input.zeroize();
    }
}
