//! Whose an account's failures are: how many came from each origin, packed into one column.

use stele_core::limit_key::OriginTag;

/// An origin's tag and its failures.
const RECORD: usize = size_of::<OriginTag>() + size_of::<u32>();

/// How many failures came from the origin with `tag`.
pub(super) fn of(packed: &[u8], tag: &OriginTag) -> u32 {
    let record = packed.chunks_exact(RECORD).find(|record| record.starts_with(tag));
    let count = record.and_then(|record| record[size_of::<OriginTag>()..].try_into().ok());
    count.map_or(0, u32::from_be_bytes)
}

/// `packed` with `failures` from the origin with `tag`; 0 removes it.
pub(super) fn with(packed: &[u8], tag: &OriginTag, failures: u32) -> Vec<u8> {
    let others = packed.chunks_exact(RECORD).filter(|record| !record.starts_with(tag));
    let mut packed: Vec<u8> = others.flatten().copied().collect();
    if failures > 0 {
        packed.extend_from_slice(tag);
        packed.extend_from_slice(&failures.to_be_bytes());
    }
    packed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_origin_has_a_count_of_its_own() {
        let (a, b) = ([1; 8], [2; 8]);
        let both = with(&with(&[], &a, 3), &b, 300);
        assert_eq!((of(&both, &a), of(&both, &b), of(&both, &[3; 8])), (3, 300, 0));
        let changed = with(&both, &a, 4);
        assert_eq!((of(&changed, &a), of(&changed, &b), changed.len()), (4, 300, 24));
        assert_eq!(with(&with(&changed, &a, 0), &b, 0), [0; 0]);
    }
}
