//! The development outbox: codes as JSON lines in `<data>/outbox.jsonl`, appended by every process.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use serde::Serialize;
use stele_core::identifier::Recipient;
use stele_core::ports::{Delivery, Message};
use stele_core::time::Offset;
use stele_core::{Error, Result};

use crate::config::ConfigError;

/// How many messages may wait to be written.
const QUEUE: usize = 1024;

/// Appends codes to a file, on a thread of its own.
pub struct Outbox {
    queue: SyncSender<Message>,
}

#[derive(Serialize)]
struct Line<'a> {
    at: String,
    channel: &'static str,
    to: &'a str,
    purpose: &'static str,
    code: &'a str,
}

impl Outbox {
    /// Opens (or makes, with mode 0600) the outbox in `data`.
    ///
    /// # Errors
    /// One line that names the file.
    pub fn open(data: &Path) -> std::result::Result<Self, ConfigError> {
        let path = data.join("outbox.jsonl");
        let failed = |e| ConfigError::new(format!("{}: the outbox cannot be written: {e}", path.display()));
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path).map_err(failed)?;
        let (queue, messages) = sync_channel(QUEUE);
        std::thread::Builder::new().name("outbox".into()).spawn(move || write_all(file, &messages)).map_err(failed)?;
        Ok(Self { queue })
    }
}

fn write_all(mut file: File, messages: &Receiver<Message>) {
    let mut torn = false;
    while let Ok(message) = messages.recv() {
        let written = write(&mut file, &message, torn);
        // A full disk may have taken half a line: the next one must not be its other half.
        torn = written.is_err();
        if let Err(cause) = written {
            tracing::error!(%cause, "a code could not be written to the outbox");
        }
    }
}

fn write(file: &mut File, message: &Message, torn: bool) -> std::io::Result<()> {
    let line = Line {
        at: message.at.rfc3339(Offset::UTC),
        channel: match message.to {
            Recipient::Phone(_) => "sms",
            Recipient::Email(_) => "email",
        },
        to: message.to.identifier().text(),
        purpose: message.purpose.as_str(),
        code: message.code.expose(),
    };
    // One write a line: appends of several processes do not mix.
    let line = serde_json::to_string(&line)?;
    let text = if torn { format!("\n{line}\n") } else { format!("{line}\n") };
    file.write_all(text.as_bytes())
}

impl Delivery for Outbox {
    fn dispatch(&self, message: Message) -> Result<()> {
        self.queue.try_send(message).map_err(|error| match error {
            TrySendError::Full(_) => Error::unavailable("the outbox's queue is full"),
            TrySendError::Disconnected(_) => Error::unavailable("the outbox's writer has ended"),
        })
    }
}
