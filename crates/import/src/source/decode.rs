//! Files as UTF-8: decoding of the declared encoding as the file is read.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use encoding_rs::{Decoder, Encoding, UTF_8};

/// The size of the buffers, in bytes.
const BUFFER_BYTES: usize = 64 * 1024;

/// A file that is read as UTF-8. A byte order mark takes precedence over the declared encoding, and is removed.
/// Undecodable bytes become U+FFFD, except in UTF-8 files, whose bytes are passed as they are.
pub(super) struct DecodedFile {
    file: File,
    length: u64,
    bytes_read: u64,
    /// `None` for UTF-8.
    decoder: Option<Decoder>,
    raw: Vec<u8>,
    /// The part of `raw` that is not decoded yet.
    pending: std::ops::Range<usize>,
    is_at_end: bool,
    is_finished: bool,
}

impl DecodedFile {
    pub(super) fn open(path: &Path, declared: &'static Encoding) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut start = [0; 3];
        let read = read_fully(&mut file, &mut start)?;
        let (encoding, mark_length) = Encoding::for_bom(&start[..read]).unwrap_or((declared, 0));
        file.seek(SeekFrom::Start(mark_length as u64))?;
        let decoder = (encoding != UTF_8).then(|| encoding.new_decoder_without_bom_handling());
        let bytes_read = mark_length as u64;
        let raw = vec![0; if decoder.is_some() { BUFFER_BYTES } else { 0 }];
        Ok(Self { file, length, bytes_read, decoder, raw, pending: 0..0, is_at_end: false, is_finished: false })
    }

    /// How much of the file has been read, from 0 to 1.
    pub(super) fn fraction_read(&self) -> f64 {
        if self.length == 0 { 1.0 } else { (self.bytes_read as f64 / self.length as f64).min(1.0) }
    }
}

impl Read for DecodedFile {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let Some(decoder) = &mut self.decoder else {
            let read = self.file.read(out)?;
            self.bytes_read += read as u64;
            return Ok(read);
        };
        // A decoder may need 4 bytes for one character.
        debug_assert!(out.len() >= 4, "the callers read into buffers");
        loop {
            if self.is_finished {
                return Ok(0);
            }
            if self.pending.is_empty() && !self.is_at_end {
                let read = self.file.read(&mut self.raw)?;
                self.bytes_read += read as u64;
                self.pending = 0..read;
                self.is_at_end = read == 0;
            }
            let raw = &self.raw[self.pending.clone()];
            let (result, consumed, written, _) = decoder.decode_to_utf8(raw, out, self.is_at_end);
            self.pending.start += consumed;
            self.is_finished = self.is_at_end && result == encoding_rs::CoderResult::InputEmpty;
            if written > 0 {
                return Ok(written);
            }
        }
    }
}

/// Fills `buffer` as far as the file goes.
fn read_fully(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match file.read(&mut buffer[read..])? {
            0 => break,
            count => read += count,
        }
    }
    Ok(read)
}

/// The length of a file with its first and its last bytes: a sample that differs between files in practice.
pub(super) fn sample_of_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut sample = length.to_be_bytes().to_vec();
    let mut buffer = vec![0; BUFFER_BYTES];
    for start in [0, length.saturating_sub(BUFFER_BYTES as u64)] {
        file.seek(SeekFrom::Start(start))?;
        let read = read_fully(&mut file, &mut buffer)?;
        sample.extend_from_slice(&buffer[..read]);
    }
    Ok(sample)
}
