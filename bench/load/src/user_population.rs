//! The users of the databases, numbered from 0: identifiers, rows, and login requests.
//!
//! Every column is valid: the digest is sealed for its row under the installation's key, and the verifier is argon2id
//! of that digest. Users share [`PASSWORDS`] passwords and hashes, since a million hashes would take hours and a shared
//! one costs the same to verify.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use md5::{Digest as _, Md5};
use stele_bench_kit::{BenchError, Result};
use stele_core::hex;
use stele_core::password::PasswordDigest;
use stele_core::random::{OsRandom, Random as _};
use stele_core::seal::Sealer;
use stele_core::time::Timestamp;
use stele_core::user::UserId;
use stele_core::verifier::{self, Argon2Cost, HashMemory};

use crate::engine::Requests;

/// The number of different passwords.
const PASSWORDS: usize = 64;
/// The first user's number in the product.
pub(crate) const FIRST_NUMBER: u64 = 100_001;
/// The first user's phone, which every dialect accepts.
pub(crate) const FIRST_PHONE: u64 = 13_000_000_000;
/// Step between users of consecutive logins, modulo the number of users, so that consecutive logins read different
/// pages.
const STRIDE: u64 = 7_368_787;
/// How far the timestamp of a new cycle is ahead of the clock, in seconds. An emptied state store rejects proofs from
/// before the end of the second of its first login.
const LEAD_SECONDS: u64 = 5;
/// How far a timestamp may be ahead of the clock, in seconds (the service accepts 300).
const MAX_AHEAD_SECONDS: u64 = 240;

/// Registration time of all users, 2024-01-01, in microseconds.
const REGISTERED_AT_MICROS: u64 = 1_704_067_200_000_000;

/// The columns of `users` in a row, in order.
pub(crate) const COLUMNS: &str = "number, id, name, phone, registered_with, registered_through, registered_at, alias_id, \
     role, disabled, real_name, gender, nickname, avatar_url, enterprise, group_name, organization, department, \
     description, org_id, memo, verifier, seal_key_id, sealed, epoch, salted_at";

/// A column's value.
pub(crate) enum Value<'a> {
    Number(u64),
    Text(&'a str),
    Bytes(&'a [u8]),
    Null,
}

/// The user's phone.
pub(crate) fn phone(user: u64) -> u64 {
    FIRST_PHONE + user
}

/// The user's name.
pub(crate) fn name(user: u64) -> String {
    format!("user-{user}")
}

/// The user's password.
pub(crate) fn password(user: u64) -> String {
    format!("correct horse {:02}", user % PASSWORDS as u64)
}

/// The md5 digest of each password as hex digits. User `n` has the digest at `n` modulo the number of digests.
pub(crate) fn digests() -> Vec<String> {
    (0..PASSWORDS as u64).map(|user| hex::encode(&digest(user))).collect()
}

fn digest(user: u64) -> [u8; 16] {
    Md5::digest(password(user)).into()
}

/// Generates the rows of users, with sealed password digests and argon2id verifiers.
pub(crate) struct UserRows {
    sealer: Sealer,
    key: u32,
    verifiers: Vec<String>,
    now: Timestamp,
}

impl UserRows {
    /// Rows sealed under `secret`, the key of number `key`, with hashes of this cost.
    ///
    /// # Errors
    /// If argon2 rejects the cost.
    pub(crate) fn new(key: u32, secret: [u8; 32], cost: Argon2Cost) -> Result<Self> {
        let sealer =
            Sealer::new([(key, secret.into())]).ok_or_else(|| BenchError::new("the sealing key is invalid"))?;
        let hash_password_of = |user: usize| {
            let digest = PasswordDigest::from_bytes(digest(user as u64));
            verifier::hash(&digest, &OsRandom.bits128(), cost, &mut HashMemory::default())
        };
        let verifiers: Option<Vec<_>> = (0..PASSWORDS).map(hash_password_of).collect();
        let verifiers =
            verifiers.ok_or_else(|| BenchError::new("argon2 rejects the cost; use the product's default"))?;
        Ok(Self {
            sealer,
            key,
            verifiers,
            now: Timestamp::from_secs(i64::try_from(unix_seconds()).unwrap_or_default()),
        })
    }

    /// Calls `use_row` with the user's values of [`COLUMNS`].
    pub(crate) fn with_row<T>(&self, user: u64, use_row: impl FnOnce(&[Value<'_>]) -> T) -> T {
        let bits: [u8; 16] = Md5::digest(format!("id of {user}")).into();
        let id = UserId::from_random(bits);
        // Associated data of a sealed digest, as in `stele_core::usecase::credential`.
        let context = [b"user\0", id.as_bytes().as_slice()].concat();
        let sealed = self.sealer.seal(self.now, &context, &digest(user), &OsRandom);
        let (name, phone) = (name(user), phone(user).to_string());
        let alias = hex::encode(&bits);
        // As if the user had logged in by a salted proof today. The first such login of a day updates the row; in a
        // measurement nearly all logins are later ones.
        let salted_at = u64::try_from(self.now.as_micros()).unwrap_or_default();
        use_row(&[
            Value::Number(FIRST_NUMBER + user),
            Value::Bytes(id.as_bytes()),
            Value::Text(&name),
            Value::Text(&phone),
            Value::Text(&phone),
            Value::Text(""),
            Value::Number(REGISTERED_AT_MICROS),
            Value::Text(&alias),
            Value::Number(2),
            Value::Null,
            Value::Text("张三"),
            Value::Text("男"),
            Value::Text("小张"),
            Value::Text("https://static.example.com/avatars/default.png"),
            Value::Text("6a3f9a8e-0f0b-4a43-9c65-1d0f6c5a7e21"),
            Value::Text("staff"),
            Value::Text("Example Airlines"),
            Value::Text("Operations"),
            Value::Text(""),
            Value::Text(""),
            Value::Text(""),
            Value::Text(&self.verifiers[usize::try_from(user).unwrap_or_default() % PASSWORDS]),
            Value::Number(self.key.into()),
            Value::Bytes(&sealed.bytes),
            Value::Number(0),
            Value::Number(salted_at),
        ])
    }
}

/// Generates salted cloudbox logins, each with a new proof: all users in turn, with a new timestamp for each cycle.
#[derive(Debug)]
pub(crate) struct SaltedLogins {
    users: u64,
    next_index: u64,
    timestamp: u64,
    proofs: Vec<[u8; 32]>,
}

impl SaltedLogins {
    /// Logins of `users` users.
    pub(crate) fn new(users: u64) -> Self {
        Self { users, next_index: 0, timestamp: 0, proofs: Vec::new() }
    }

    /// Makes the next request start a new cycle, whose timestamp is later than the emptying of the state store.
    pub(crate) fn begin_new_cycle(&mut self) {
        self.next_index = self.users;
    }

    /// Prepares the next `count` requests, to be sent soon.
    ///
    /// # Errors
    /// If there are too few users, since a user has one proof per second.
    pub(crate) fn next_requests(&mut self, count: u64) -> Result<Requests> {
        let mut requests = Requests::sent_once();
        let now = unix_seconds();
        if self.timestamp + 60 < now {
            self.start_cycle(now);
        }
        for _ in 0..count {
            if self.next_index == self.users {
                self.start_cycle(now);
                if self.timestamp > now + MAX_AHEAD_SECONDS {
                    return Err(BenchError::new(format!(
                        "{} users are too few for this login rate; raise --users or --few",
                        self.users
                    )));
                }
            }
            let user = self.next_index * (STRIDE % self.users) % self.users;
            self.next_index += 1;
            let proof = self.proofs[usize::try_from(user).unwrap_or_default() % PASSWORDS];
            let timestamp = self.timestamp;
            requests.add(|bytes| write_login_request(bytes, user, &proof, timestamp));
        }
        Ok(requests)
    }

    fn start_cycle(&mut self, now: u64) {
        self.timestamp = (now + LEAD_SECONDS).max(self.timestamp + 1);
        self.next_index = 0;
        let proof_of = |user: usize| {
            let digest = PasswordDigest::from_bytes(digest(user as u64));
            hex::encode16(&digest.salted_hash(self.timestamp))
        };
        self.proofs = (0..PASSWORDS).map(proof_of).collect();
    }
}

fn write_login_request(bytes: &mut Vec<u8>, user: u64, proof: &[u8; 32], timestamp: u64) {
    use std::io::Write as _;
    // Phones have 11 digits, proofs 32, timestamps 10.
    let (start, middle, end) = (r#"{"username":""#, r#"","password":""#, r#"","timestamp":""#);
    let length = start.len() + 11 + middle.len() + 32 + end.len() + 10 + 2;
    let path = stele_bench_kit::dialect::CLOUDBOX_LOGIN;
    let head = "Host: bench\r\nContent-Type: application/json\r\nContent-Length: ";
    // Writing to a string does not fail.
    let _ = write!(bytes, "POST {path} HTTP/1.1\r\n{head}{length}\r\n\r\n{start}{}{middle}", phone(user));
    bytes.extend_from_slice(proof);
    let _ = write!(bytes, "{end}{timestamp}\"}}");
}

/// The system clock's Unix time in seconds.
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_login_request_is_unique() {
        let mut logins = SaltedLogins::new(1_000);
        let mut seen = HashSet::new();
        for _ in 0..3 {
            let mut requests = logins.next_requests(1_700).unwrap();
            while let Some(request) = requests.take() {
                assert!(seen.insert(request));
            }
        }
        assert_eq!(seen.len(), 5_100);
        assert!(logins.next_requests(1_000_000).is_err());
    }

    #[test]
    fn the_content_length_of_a_login_is_correct() {
        let mut bytes = Vec::new();
        write_login_request(&mut bytes, 7, &[b'a'; 32], 1_764_000_000);
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())), "{text}");
        let json: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(json["username"], "13000000007");
        assert_eq!(json["timestamp"], "1764000000");
    }

    #[test]
    fn a_row_has_a_value_for_each_column() {
        let rows = UserRows::new(1, [7; 32], Argon2Cost { memory_kib: 64, passes: 1, lanes: 1 }).unwrap();
        rows.with_row(5, |values| assert_eq!(values.len(), COLUMNS.split(',').count()));
    }
}
