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
    again: bool,
    /// When the last was taken.
    ended: Option<Instant>,
}

impl Requests {
    /// Requests that are sent once each.
    pub(crate) fn once() -> Self {
        Self::default()
    }

    /// Requests that may be sent any number of times, one after the other and then from the first on.
    pub(crate) fn again() -> Self {
        Self { again: true, ..Self::default() }
    }

    /// Adds one, which is what `write` appends.
    pub(crate) fn add(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        self.ends.push(self.bytes.len());
    }

    /// How many are left.
    pub(crate) fn left(&self) -> usize {
        if self.again { usize::MAX } else { self.ends.len() - self.next }
    }

    /// The next one, by itself.
    pub(crate) fn take(&mut self) -> Option<Vec<u8>> {
        let range = self.next()?;
        Some(self.bytes(range).to_vec())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty() || self.left() == 0
    }

    /// When the last was taken, if it was.
    pub(super) fn ended(&self) -> Option<Instant> {
        self.ended
    }

    /// Where the next one is; `None` if there are no more.
    pub(super) fn next(&mut self) -> Option<Range<usize>> {
        if self.again && self.next == self.ends.len() {
            self.next = 0;
        }
        let Some(&end) = self.ends.get(self.next) else {
            self.ended.get_or_insert_with(Instant::now);
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

    fn taken(requests: &mut Requests, times: usize) -> Vec<String> {
        let mut texts = Vec::new();
        for _ in 0..times {
            let Some(range) = requests.next() else { break };
            texts.push(String::from_utf8_lossy(requests.bytes(range)).into_owned());
        }
        texts
    }

    #[test]
    fn each_is_sent_once_or_again_and_again() {
        for (mut requests, wanted) in
            [(Requests::once(), vec!["a", "bc"]), (Requests::again(), vec!["a", "bc", "a", "bc", "a"])]
        {
            requests.add(|bytes| bytes.extend_from_slice(b"a"));
            requests.add(|bytes| bytes.extend_from_slice(b"bc"));
            assert_eq!(taken(&mut requests, 5), wanted);
        }
    }
}
