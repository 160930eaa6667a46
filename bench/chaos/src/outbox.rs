//! Codes that the services have sent: reads what the outbox delivery appends to its file.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The longest that a client waits for a code.
const CODE_TIMEOUT: Duration = Duration::from_secs(5);

/// The outbox file of all instances. Clients share one value.
pub(crate) struct Outbox {
    path: PathBuf,
    state: Mutex<OutboxState>,
}

#[derive(Default)]
struct OutboxState {
    offset: u64,
    /// The last code of each recipient, by the digits of its number.
    codes: HashMap<String, String>,
}

impl Outbox {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, state: Mutex::default() }
    }

    /// Waits for a code to `phone`, and removes it.
    pub(crate) async fn take_code(&self, phone: &str) -> Option<String> {
        let deadline = Instant::now() + CODE_TIMEOUT;
        while Instant::now() < deadline {
            if let Some(code) = self.read(phone) {
                return Some(code);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        None
    }

    fn read(&self, phone: &str) -> Option<String> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(code) = state.codes.remove(phone) {
            return Some(code);
        }
        let mut file = File::open(&self.path).ok()?;
        file.seek(SeekFrom::Start(state.offset)).ok()?;
        let mut text = String::new();
        file.read_to_string(&mut text).ok()?;
        // The last line may be incomplete.
        let complete = text.rfind('\n').map_or("", |end| &text[..=end]);
        state.offset += complete.len() as u64;
        for message in complete.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            if let (Some(to), Some(code)) = (message["to"].as_str(), message["code"].as_str()) {
                state.codes.insert(national_number(to).to_owned(), code.to_owned());
            }
        }
        state.codes.remove(phone)
    }
}

/// A mainland mobile number as its 11 digits.
fn national_number(recipient: &str) -> &str {
    recipient.strip_prefix("+86").unwrap_or(recipient)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_complete_lines_are_read_and_each_code_is_taken_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("outbox.jsonl");
        std::fs::write(&path, "{\"to\":\"+8613800000001\",\"code\":\"123456\"}\n{\"to\":\"138").unwrap();
        let outbox = Outbox::new(path.clone());
        assert_eq!(outbox.read("13800000002"), None);
        assert_eq!(outbox.read("13800000001").as_deref(), Some("123456"));
        assert_eq!(outbox.read("13800000001"), None);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text + "00000002\",\"code\":\"654321\"}\n").unwrap();
        assert_eq!(outbox.read("13800000002").as_deref(), Some("654321"));
    }
}
