//! Lingering close of client connections: the gateway reads on for a moment before it closes, so that no reset destroys
//! the last response before the client has read it (RFC 9112 §9.6).

use std::future::poll_fn;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::client_io::ClientIo;

/// How many bytes are read and discarded at most before a connection is closed. Closing a socket with unread input
/// resets the connection.
pub(crate) const MAX_LINGERING_BYTES: usize = 256 * 1024;
/// How long a lingering close may take.
pub(crate) const LINGERING_TIME: Duration = Duration::from_secs(1);

/// Whether the request was read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestInput {
    Consumed,
    /// The client may still be sending.
    Unread,
}

/// Closes the connection without losing the last response.
pub(crate) async fn close(mut io: ClientIo, input: RequestInput) {
    if !matches!(timeout(LINGERING_TIME, poll_fn(|cx| io.poll_close_write(cx))).await, Ok(Ok(()))) {
        return;
    }
    match input {
        // Nothing more is expected, so only discard what has already arrived.
        RequestInput::Consumed => discard_buffered(&io),
        RequestInput::Unread => drop(timeout(LINGERING_TIME, discard_until_closed(&mut io)).await),
    }
}

/// Sends `response`, and closes the connection of a client that may still be sending.
pub(crate) async fn send_and_close(mut io: ClientIo, response: &[u8]) {
    if matches!(timeout(LINGERING_TIME, io.write_all(response)).await, Ok(Ok(()))) {
        close(io, RequestInput::Unread).await;
    }
}

/// Makes dropping `io` reset the connection, so that the client detects a truncated response.
pub(crate) fn reset_on_drop(io: &ClientIo) {
    // On an error the client sees a close.
    let _ = io.tcp().set_zero_linger();
}

async fn discard_until_closed(io: &mut ClientIo) -> io::Result<()> {
    let mut scratch = [0; 4 * 1024];
    let mut discarded = 0;
    while discarded < MAX_LINGERING_BYTES {
        match io.read(&mut scratch).await? {
            0 => break,
            read => discarded += read,
        }
    }
    Ok(())
}

/// Reads and discards what is available without waiting.
fn discard_buffered(io: &ClientIo) {
    let mut scratch = [0; 1024];
    for _ in 0..MAX_LINGERING_BYTES / scratch.len() {
        if !matches!(io.tcp().try_read(&mut scratch), Ok(1..)) {
            break;
        }
    }
}
