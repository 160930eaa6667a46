//! Random values that must not repeat but are not secret: request ids, jitter.

use std::cell::RefCell;

/// Random bytes of a thread; the bytes from `next` on are unused.
struct RandomBuffer {
    bytes: [u8; 1024],
    next: usize,
}

thread_local! {
    static RANDOM_BUFFER: RefCell<RandomBuffer> = const { RefCell::new(RandomBuffer { bytes: [0; 1024], next: 1024 }) };
}

/// 128 random bits of the operating system's generator, buffered per thread to save system calls.
///
/// # Panics
/// If the operating system provides no random bytes.
pub fn random_u128() -> u128 {
    RANDOM_BUFFER.with_borrow_mut(|RandomBuffer { bytes, next }| {
        if *next == bytes.len() {
            if let Err(cause) = getrandom::fill(bytes) {
                panic!("the operating system provides no random bytes: {cause}");
            }
            *next = 0;
        }
        let mut value = [0; 16];
        value.copy_from_slice(&bytes[*next..*next + 16]);
        *next += 16;
        u128::from_le_bytes(value)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn random_values_are_unique_across_threads() {
        let generate = || (0..500).map(|_| random_u128()).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(generate)).collect();
        let values: HashSet<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(values.len(), 2_000);
    }
}
