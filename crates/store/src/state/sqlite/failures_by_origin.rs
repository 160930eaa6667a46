//! An account's failures by origin, packed into one column: records of origin hash and big-endian count.

use stele_core::rate_limit_key::OriginHash;

/// Bytes of a record: an origin's hash and its number of failures.
const RECORD_LEN: usize = size_of::<OriginHash>() + size_of::<u32>();

/// Number of failures that came from the origin with this hash.
pub(super) fn failures_of(packed: &[u8], origin_hash: &OriginHash) -> u32 {
    let record = packed.chunks_exact(RECORD_LEN).find(|record| record.starts_with(origin_hash));
    let count = record.and_then(|record| record[size_of::<OriginHash>()..].try_into().ok());
    count.map_or(0, u32::from_be_bytes)
}

/// `packed` with the origin's count set to `failures`; 0 removes its record.
pub(super) fn with_failures(packed: &[u8], origin_hash: &OriginHash, failures: u32) -> Vec<u8> {
    let others = packed.chunks_exact(RECORD_LEN).filter(|record| !record.starts_with(origin_hash));
    let mut packed: Vec<u8> = others.flatten().copied().collect();
    if failures > 0 {
        packed.extend_from_slice(origin_hash);
        packed.extend_from_slice(&failures.to_be_bytes());
    }
    packed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_per_origin() {
        let (a, b) = ([1; 8], [2; 8]);
        let both = with_failures(&with_failures(&[], &a, 3), &b, 300);
        assert_eq!((failures_of(&both, &a), failures_of(&both, &b), failures_of(&both, &[3; 8])), (3, 300, 0));
        let changed = with_failures(&both, &a, 4);
        assert_eq!((failures_of(&changed, &a), failures_of(&changed, &b), changed.len()), (4, 300, 24));
        assert_eq!(with_failures(&with_failures(&changed, &a, 0), &b, 0), [0; 0]);
    }
}
