//! Requests as bytes, written before the clock starts.

use std::ops::Range;
use std::time::Instant;

/// Requests, each to be sent once, or one that is sent again and again.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    bytes: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
    next: usize,
    repeats: bool,
    /// When the last was taken.
    exhausted_at: Option<Instant>,
}

impl Requests {
    /// Requests that are sent once each.
    pub(crate) fn sent_once() -> Self {
        Self::default()
    }

    /// Requests that may be sent any number of times, one after the other and then from the first on.
    pub(crate) fn repeating() -> Self {
        Self { repeats: true, ..Self::default() }
    }

    /// Adds one, which is what `write` appends.
    pub(crate) fn add(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        self.ends.push(self.bytes.len());
    }

    /// How many are left.
    pub(crate) fn remaining(&self) -> usize {
        if self.repeats { usize::MAX } else { self.ends.len() - self.next }
    }

    /// The next one, by itself.
    pub(crate) fn take(&mut self) -> Option<Vec<u8>> {
        let range = self.next()?;
        Some(self.bytes(range).to_vec())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty() || self.remaining() == 0
    }

    /// When the last was taken, if it was.
    pub(super) fn exhausted_at(&self) -> Option<Instant> {
        self.exhausted_at
    }

    /// Where the next one is; `None` if there are no more.
    pub(super) fn next(&mut self) -> Option<Range<usize>> {
        if self.repeats && self.next == self.ends.len() {
            self.next = 0;
        }
        let Some(&end) = self.ends.get(self.next) else {
            self.exhausted_at.get_or_insert_with(Instant::now);
            return None;
        };
        let start = self.next.checked_sub(1).map_or(0, |before| self.ends[before]);
        self.next += 1;
        Some(start..end)
    }

    pub(super) fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.bytes[range]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take_texts(requests: &mut Requests, times: usize) -> Vec<String> {
        let mut texts = Vec::new();
        for _ in 0..times {
            let Some(range) = requests.next() else { break };
            texts.push(String::from_utf8_lossy(requests.bytes(range)).into_owned());
        }
        texts
    }

    #[test]
    fn requests_are_sent_once_or_repeatedly() {
        for (mut requests, wanted) in
            [(Requests::sent_once(), vec!["a", "bc"]), (Requests::repeating(), vec!["a", "bc", "a", "bc", "a"])]
        {
            requests.add(|bytes| bytes.extend_from_slice(b"a"));
            requests.add(|bytes| bytes.extend_from_slice(b"bc"));
            assert_eq!(take_texts(&mut requests, 5), wanted);
        }
    }
}
