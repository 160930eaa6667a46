//! Development outbox: codes as JSON lines in `<data>/outbox.jsonl`, to which all processes append.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use serde::Serialize;
use stele_core::identifier::Recipient;
use stele_core::ports::{CodeMessage, Delivery};
use stele_core::time::Offset;
use stele_core::{Error, Result};
use stele_service::{ConfigError, private_file};

/// The most messages that wait to be written.
const QUEUE_CAPACITY: usize = 1024;

/// Appends codes to a file, on a dedicated thread.
pub struct Outbox {
    queue: SyncSender<CodeMessage>,
}

#[derive(Serialize)]
struct OutboxRecord<'a> {
    at: String,
    channel: &'static str,
    to: &'a str,
    purpose: &'static str,
    code: &'a str,
}

impl Outbox {
    /// Opens the outbox in the folder `data`, or creates it with mode 0600. Rejects a symbolic link and a file that
    /// others may access.
    ///
    /// # Errors
    /// One line that names the file and the remedy.
    pub fn open(data: &Path) -> std::result::Result<Self, ConfigError> {
        let path = data.join("outbox.jsonl");
        let thread_error =
            |e| ConfigError::new(format!("{}: the writer thread cannot be started: {e}", path.display()));
        let file = private_file::open_for_append(&path)?;
        let (queue, messages) = sync_channel(QUEUE_CAPACITY);
        std::thread::Builder::new()
            .name("outbox".into())
            .spawn(move || run_writer(file, &messages))
            .map_err(thread_error)?;
        Ok(Self { queue })
    }
}

fn run_writer(mut file: File, messages: &Receiver<CodeMessage>) {
    let mut previous_write = PreviousWrite::Complete;
    while let Ok(message) = messages.recv() {
        previous_write = match append_record(&mut file, &message, previous_write) {
            Ok(()) => PreviousWrite::Complete,
            Err(cause) => {
                tracing::error!(%cause, "a code could not be written to outbox.jsonl in the data folder");
                PreviousWrite::Partial
            }
        };
    }
}

/// State of the file after the last write. A full disk may leave a partial line, which the next write must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PreviousWrite {
    Complete,
    Partial,
}

fn append_record(file: &mut File, message: &CodeMessage, previous_write: PreviousWrite) -> std::io::Result<()> {
    let record = OutboxRecord {
        at: message.at.to_rfc3339(Offset::UTC),
        channel: match message.to {
            Recipient::Phone(_) => "sms",
            Recipient::Email(_) => "email",
        },
        to: message.to.identifier().text(),
        purpose: message.purpose.as_str(),
        code: message.code.expose(),
    };
    // One write per line, so that appends of several processes do not interleave.
    let line = serde_json::to_string(&record)?;
    let text = match previous_write {
        PreviousWrite::Complete => format!("{line}\n"),
        PreviousWrite::Partial => format!("\n{line}\n"),
    };
    file.write_all(text.as_bytes())
}

impl Delivery for Outbox {
    fn dispatch(&self, message: CodeMessage) -> Result<()> {
        self.queue.try_send(message).map_err(|error| match error {
            TrySendError::Full(_) => Error::unavailable("the outbox's queue is full"),
            TrySendError::Disconnected(_) => Error::unavailable("the outbox's writer has stopped"),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    /// The error of opening the outbox; empty if it was opened.
    fn open_error(data: &Path) -> String {
        Outbox::open(data).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn an_outbox_accessible_to_others_is_rejected() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join("outbox.jsonl");
        assert_eq!(open_error(data.path()), "");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        for mode in [0o640, 0o604, 0o602, 0o620] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let error = open_error(data.path());
            assert!(error.contains("outbox.jsonl") && error.contains("chmod 600"), "{error}");
        }
    }

    #[test]
    fn an_outbox_that_is_a_symlink_or_directory_is_rejected() {
        let (data, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = data.path().join("outbox.jsonl");
        symlink(elsewhere.path().join("stolen"), &path).unwrap();
        assert!(open_error(data.path()).contains("outbox.jsonl: is a symbolic link to"), "{}", open_error(data.path()));
        assert!(!elsewhere.path().join("stolen").exists());
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(open_error(data.path()).contains("outbox.jsonl"));
    }
}
