//! The end of a client's connection.

use std::future::poll_fn;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::client_io::ClientIo;

/// How much of what a client sends in vain is read, and for how long, before its connection is closed: closed with
/// bytes unread it would be reset, and a reset may overtake the answer.
pub(crate) const MAX_LINGERING_BYTES: usize = 256 * 1024;
pub(crate) const LINGERING_TIME: Duration = Duration::from_secs(1);

/// Whether the client may be sending more than was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestInput {
    Consumed,
    Unread,
}

/// Ends the connection without losing the answer that was sent last.
pub(crate) async fn close(mut io: ClientIo, input: RequestInput) {
    if !matches!(timeout(LINGERING_TIME, poll_fn(|cx| io.poll_close_write(cx))).await, Ok(Ok(()))) {
        return;
    }
    match input {
        // Not worth waiting for.
        RequestInput::Consumed => discard_buffered(&io),
        RequestInput::Unread => drop(timeout(LINGERING_TIME, discard_until_closed(&mut io)).await),
    }
}

/// Sends `last`, and ends the connection of a client that may be sending more.
pub(crate) async fn send_and_close(mut io: ClientIo, last: &[u8]) {
    if matches!(timeout(LINGERING_TIME, io.write_all(last)).await, Ok(Ok(()))) {
        close(io, RequestInput::Unread).await;
    }
}

/// Makes the client see that what it was sent is not whole: a connection reset, not closed.
pub(crate) fn reset(io: &ClientIo) {
    // Without it the client sees a close.
    let _ = io.tcp().set_zero_linger();
}

async fn discard_until_closed(io: &mut ClientIo) -> io::Result<()> {
    let mut scratch = [0; 4 * 1024];
    let mut total = 0;
    while total < MAX_LINGERING_BYTES {
        match io.read(&mut scratch).await? {
            0 => break,
            read => total += read,
        }
    }
    Ok(())
}

/// Takes what is there to be read at once.
fn discard_buffered(io: &ClientIo) {
    let mut scratch = [0; 1024];
    for _ in 0..MAX_LINGERING_BYTES / scratch.len() {
        if !matches!(io.tcp().try_read(&mut scratch), Ok(1..)) {
            break;
        }
    }
}
