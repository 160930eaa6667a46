//! Random bits that must not repeat but are no secret: request ids, jitter.

use std::cell::RefCell;

/// Bytes that were not given yet, from `.1` on.
struct RandomBuffer([u8; 1024], usize);

thread_local! {
    static RANDOM_BUFFER: RefCell<RandomBuffer> = const { RefCell::new(RandomBuffer([0; 1024], 1024)) };
}

/// 128 random bits of the operating system's generator, which each thread asks for a kilobyte at a time.
///
/// # Panics
/// If the operating system cannot give random bytes.
pub fn random_u128() -> u128 {
    RANDOM_BUFFER.with_borrow_mut(|RandomBuffer(pool, at)| {
        if *at == pool.len() {
            if let Err(cause) = getrandom::fill(pool) {
                panic!("the operating system gives no random bytes: {cause}");
            }
            *at = 0;
        }
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&pool[*at..*at + 16]);
        *at += 16;
        u128::from_le_bytes(bytes)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn random_values_are_unique_across_threads() {
        let give = || (0..500).map(|_| random_u128()).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(give)).collect();
        let given: HashSet<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(given.len(), 2_000);
    }
}
