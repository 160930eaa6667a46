//! Buckets of accounts on a Redis Cluster: hash tags, and the birth of each bucket.
//!
//! Everything that an attempt at an account reads and writes atomically is in the slot of the account's bucket. A
//! bucket has a birth of its own, since a failover, a flush or a restart loses data of some slots only. See
//! `docs/adr/0048-split-cluster-attempts-by-account-and-origin.md`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::join_all;
use redis::RedisResult;
use stele_core::rate_limit_key::RateLimitKey;
use stele_core::time::Timestamp;
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::timeout;

use super::connection::RESPONSE_TIMEOUT;
use super::driver_connection::{DriverConnection, node_timeout_error};
use super::script_call::{ExpectedServer, ScriptCall};
use super::scripts;

/// Number of buckets. Each has 16 of the 16,384 slots to itself and lies in one of them, so that a share of the slots
/// has the same share of the buckets.
const BUCKETS: usize = 1_024;

/// Number of hash slots of a cluster.
pub(super) const SLOTS: usize = 16_384;

/// Buckets whose server is unknown are checked in groups of this many neighbours.
const UNSEEN_GROUP: usize = 16;

/// The buckets of a deployment's accounts.
pub(super) struct AccountBuckets(Vec<Bucket>);

struct Bucket {
    /// The hash tag of its keys.
    tag: String,
    birth: Mutex<BucketBirth>,
    /// Held while the birth is recorded, so that concurrent calls that find the bucket on another server record one.
    recording: AsyncMutex<()>,
}

/// The birth of a bucket, as last seen by this process.
#[derive(Clone, Default)]
struct BucketBirth {
    /// The server that the bucket was last seen on, as `server_id` in `common.lua` returns it; empty before that.
    server_id: Arc<str>,
    /// The time of the birth in microseconds.
    at: i64,
}

impl Bucket {
    fn birth(&self) -> MutexGuard<'_, BucketBirth> {
        self.birth.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AccountBuckets {
    pub(super) fn new(prefix: &str) -> Self {
        let new_bucket = |tag| Bucket { tag, birth: Mutex::default(), recording: AsyncMutex::new(()) };
        Self(balanced_tags(prefix).into_iter().map(new_bucket).collect())
    }

    /// The bucket of the account with this key, a hash.
    pub(super) fn bucket_of([first, second, ..]: &RateLimitKey) -> usize {
        usize::from(u16::from_be_bytes([*first, *second])) % BUCKETS
    }

    /// The hash tag of a bucket's keys.
    pub(super) fn tag(&self, bucket: usize) -> &str {
        &self.0[bucket].tag
    }

    /// The latest birth of all buckets that was seen.
    pub(super) fn latest_birth(&self) -> Timestamp {
        Timestamp::from_micros(self.0.iter().map(|bucket| bucket.birth().at).max().unwrap_or(0))
    }

    /// Runs a script that accesses the keys of one bucket. If the bucket is on another server than it was last seen on,
    /// nothing was written: records its birth there, and runs the script again.
    pub(super) async fn run_script<T: redis::FromRedisValue>(
        &self,
        connection: &mut DriverConnection,
        bucket: usize,
        call: &ScriptCall,
        manual_clock: Option<Timestamp>,
    ) -> RedisResult<T> {
        let expected = Arc::clone(&self.0[bucket].birth().server_id);
        let result = connection.run_script(call, &ExpectedServer { server_id: &expected, manual_clock }).await;
        if !result.as_ref().is_err_and(|error| error.code() == Some("NEWSERVER")) {
            return result;
        }
        self.record_birth(connection, bucket, &expected, manual_clock).await?;
        let expected = Arc::clone(&self.0[bucket].birth().server_id);
        connection.run_script(call, &ExpectedServer { server_id: &expected, manual_clock }).await
    }

    /// Checks one bucket of each server that buckets were last seen on, and records the births of the server's other
    /// buckets if it was emptied or replaced. A server that hangs does not delay the others. Returns whether all
    /// servers responded.
    ///
    /// # Errors
    /// The last error, if no server responded.
    pub(super) async fn check_servers(
        &self,
        connection: &DriverConnection,
        manual_clock: Option<Timestamp>,
    ) -> RedisResult<bool> {
        let mut groups = BTreeMap::<_, Vec<usize>>::new();
        for (number, bucket) in self.0.iter().enumerate() {
            let server_id = Arc::clone(&bucket.birth().server_id);
            // The server of a bucket that was never seen is unknown: neighbours are likely to be on one.
            let unseen_group = if server_id.is_empty() { number / UNSEEN_GROUP } else { 0 };
            groups.entry((server_id, unseen_group)).or_default().push(number);
        }
        let check = async |((server_id, _), buckets): ((Arc<str>, usize), Vec<usize>)| {
            let first = &self.0[buckets[0]];
            let before = first.birth().at;
            self.record_birth(&mut connection.clone(), buckets[0], &server_id, manual_clock).await?;
            let BucketBirth { server_id: seen_on, at } = first.birth().clone();
            if seen_on != server_id || at != before {
                self.record_births_of(buckets, connection, manual_clock).await;
            }
            RedisResult::Ok(())
        };
        let results = join_all(groups.into_iter().map(check)).await;
        let count = results.len();
        let failures: Vec<_> = results.into_iter().filter_map(Result::err).collect();
        if failures.len() == count {
            failures.into_iter().last().map_or(Ok(false), Err)
        } else {
            Ok(failures.is_empty())
        }
    }

    /// Records the births of all buckets, as [`Self::record_births_of`].
    pub(super) async fn record_births(&self, connection: &DriverConnection, manual_clock: Option<Timestamp>) {
        self.record_births_of((0..BUCKETS).collect(), connection, manual_clock).await;
    }

    /// Records the births of buckets that have none on their server, or were last seen on another. All at once, so that
    /// those on a server that hangs time out together. A failure is ignored: the script of an attempt records the birth
    /// of its bucket.
    async fn record_births_of(
        &self,
        buckets: Vec<usize>,
        connection: &DriverConnection,
        manual_clock: Option<Timestamp>,
    ) {
        let record = async |bucket: usize| {
            let expected = Arc::clone(&self.0[bucket].birth().server_id);
            let _ = self.record_birth(&mut connection.clone(), bucket, &expected, manual_clock).await;
        };
        join_all(buckets.into_iter().map(record)).await;
    }

    /// Records the birth of a bucket if there is none, or if the bucket was last seen on `expected` and is on another
    /// server. Does nothing if it was seen on another server since.
    async fn record_birth(
        &self,
        connection: &mut DriverConnection,
        number: usize,
        expected: &Arc<str>,
        manual_clock: Option<Timestamp>,
    ) -> RedisResult<()> {
        let bucket = &self.0[number];
        let record = async {
            let _recording = bucket.recording.lock().await;
            if bucket.birth().server_id != *expected {
                return Ok(());
            }
            let call = ScriptCall::new(&scripts::BIRTH).key(format!("{{{}}}:birth", bucket.tag));
            let server = ExpectedServer { server_id: expected, manual_clock };
            let (at, server_id): (i64, String) = connection.run_script(&call, &server).await?;
            *bucket.birth() = BucketBirth { server_id: server_id.into(), at };
            Ok(())
        };
        timeout(RESPONSE_TIMEOUT, record).await.unwrap_or_else(|_| Err(node_timeout_error()))
    }
}

/// A hash tag for each bucket, with a slot among the bucket's own.
fn balanced_tags(prefix: &str) -> Vec<String> {
    let mut tags: Vec<Option<String>> = vec![None; BUCKETS];
    let mut missing = BUCKETS;
    // The slots of consecutive numbers are spread, so that some 8,000 numbers suffice.
    for number in 0u32.. {
        let tag = format!("{prefix}:{number}");
        let found = &mut tags[usize::from(hash_slot(tag.as_bytes())) * BUCKETS / SLOTS];
        if found.is_none() {
            *found = Some(tag);
            missing -= 1;
        }
        if missing == 0 {
            break;
        }
    }
    tags.into_iter().flatten().collect()
}

/// The hash slot of a key without a hash tag, or of a hash tag: CRC-16/XMODEM modulo the number of slots (Redis Cluster
/// specification, "Key distribution model").
pub(super) fn hash_slot(key: &[u8]) -> u16 {
    let crc = key.iter().fold(0u16, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| (crc << 1) ^ if crc & 0x8000 == 0 { 0 } else { 0x1021 })
    });
    crc % SLOTS as u16
}

#[cfg(test)]
mod tests {
    use redis::cluster_routing::Slot;

    use super::*;

    #[test]
    fn each_bucket_lies_in_its_own_sixteen_slots() {
        for prefix in ["stele", "a", "a.much-longer:prefix_of.a:deployment"] {
            let tags = balanced_tags(prefix);
            assert_eq!(tags.len(), BUCKETS);
            for (bucket, tag) in tags.iter().enumerate() {
                let slot = hash_slot(tag.as_bytes());
                assert_eq!(usize::from(slot) / (SLOTS / BUCKETS), bucket, "{tag}");
                assert_eq!(Slot::new(slot), Some(Slot::for_key(format!("{{{tag}}}:birth"))), "{tag}");
            }
        }
    }

    /// The tags are part of stored keys, which all instances and later versions must find.
    #[test]
    fn the_tags_of_a_prefix_never_change() {
        let tags = balanced_tags("stele");
        assert_eq!([tags[0].as_str(), &tags[511], &tags[1_023]], ["stele:321", "stele:1078", "stele:371"]);
    }
}
