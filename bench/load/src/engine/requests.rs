//! Lists of prepared requests, as bytes.

use std::ops::Range;
use std::time::Instant;

/// Whether requests are sent again after the last one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Reuse {
    #[default]
    Once,
    Repeat,
}

/// A list of prepared requests.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    bytes: Vec<u8>,
    /// The end of each request in `bytes`.
    ends: Vec<usize>,
    next: usize,
    reuse: Reuse,
    /// When the list ran out.
    exhausted_at: Option<Instant>,
}

impl Requests {
    /// An empty list whose requests are sent once.
    pub(crate) fn sent_once() -> Self {
        Self::default()
    }

    /// An empty list whose requests are repeated from the first one after the last.
    pub(crate) fn repeating() -> Self {
        Self { reuse: Reuse::Repeat, ..Self::default() }
    }

    /// Adds the request that `write` appends.
    pub(crate) fn add(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        self.ends.push(self.bytes.len());
    }

    /// The number of remaining requests.
    pub(crate) fn remaining(&self) -> usize {
        match self.reuse {
            Reuse::Repeat => usize::MAX,
            Reuse::Once => self.ends.len() - self.next,
        }
    }

    /// A copy of the next request.
    pub(crate) fn take(&mut self) -> Option<Vec<u8>> {
        let range = self.next()?;
        Some(self.bytes(range).to_vec())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty() || self.remaining() == 0
    }

    /// When the list ran out, if it did.
    pub(super) fn exhausted_at(&self) -> Option<Instant> {
        self.exhausted_at
    }

    /// The range of the next request; `None` if there are no more.
    pub(super) fn next(&mut self) -> Option<Range<usize>> {
        if self.reuse == Reuse::Repeat && self.next == self.ends.len() {
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
        for (mut requests, expected) in
            [(Requests::sent_once(), vec!["a", "bc"]), (Requests::repeating(), vec!["a", "bc", "a", "bc", "a"])]
        {
            requests.add(|bytes| bytes.extend_from_slice(b"a"));
            requests.add(|bytes| bytes.extend_from_slice(b"bc"));
            assert_eq!(take_texts(&mut requests, 5), expected);
        }
    }
}
