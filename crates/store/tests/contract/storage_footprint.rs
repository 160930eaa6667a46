//! Storage of anonymous calls in the state store: bytes per call (docs/CAPACITY.md has the figures), and a bound per
//! origin and hour.

use std::sync::Arc;

use diesel::prelude::*;
use diesel::sql_types::BigInt;
use stele_core::origin::Origin;
use stele_core::policy::SendQuotas;
use stele_core::ports::{
    AttemptOutcome, CodeVerification, CodeVerificationResult, LoginAttempt, NewCode, OnCodeMatch, ProofResult,
    QuotaUse, StateStore,
};
use stele_core::rate_limit::Quota;
use stele_core::time::Timestamp;
use stele_testservers::Redis;
use tempfile::TempDir;

use crate::support::*;

/// Length of the longest identifier.
const LONGEST_IDENTIFIER: usize = 254;
/// Number of calls of each kind, each with another subject and from another origin.
const CALLS: u32 = 1_000;
/// Upper bound of the bytes that one call stores.
const MAX_BYTES_PER_CALL: u64 = 800;

enum MeasuredBackend {
    Redis(Redis),
    Sqlite(TempDir),
}

#[derive(diesel::QueryableByName)]
struct UsedBytes {
    #[diesel(sql_type = BigInt)]
    bytes: i64,
}

impl MeasuredBackend {
    /// Bytes of stored data.
    fn used_bytes(&self) -> u64 {
        match self {
            Self::Redis(redis) => {
                let memory = redis.command("INFO memory");
                let used = memory.lines().find_map(|line| line.strip_prefix("used_memory_dataset:")).unwrap();
                used.trim().parse().unwrap()
            }
            Self::Sqlite(dir) => {
                let path = dir.path().join("state.db");
                let mut conn = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
                let used = "SELECT (page_count - freelist_count) * page_size AS bytes
                            FROM pragma_page_count(), pragma_freelist_count(), pragma_page_size()";
                let used: UsedBytes = diesel::sql_query(used).get_result(&mut conn).unwrap();
                used.bytes.try_into().unwrap()
            }
        }
    }
}

async fn measured_backends() -> Vec<(&'static str, Arc<dyn StateStore>, MeasuredBackend)> {
    let redis = Redis::start();
    let redis_store: Arc<dyn StateStore> = redis_state(&redis.url(), BIRTH).await;
    let (embedded, dir) = sqlite_state();
    let embedded: Arc<dyn StateStore> = embedded;
    vec![("Redis", redis_store, MeasuredBackend::Redis(redis)), ("SQLite", embedded, MeasuredBackend::Sqlite(dir))]
}

fn attempt_at_account(n: u32, origin: Origin, now: Timestamp) -> LoginAttempt {
    LoginAttempt { account: format!("{n:0LONGEST_IDENTIFIER$}"), ..attempt(origin, now) }
}

fn ipv4(n: u32) -> Origin {
    Origin::from_address(std::net::Ipv4Addr::from_bits(0x0a00_0000 + n).into())
}

fn ipv6(n: u32) -> Origin {
    Origin::from_address(std::net::Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(n) << 80).into())
}

fn code_for(subject: u32, now: Timestamp) -> NewCode {
    NewCode { expires: now.saturating_add(secs(3_600)), ..code(&format!("{subject:0LONGEST_IDENTIFIER$}"), 1) }
}

/// The quotas that sending a code or serving a captcha uses, as in the use cases.
fn send_quotas(kind: &str, recipient: Option<u32>, origin: &Origin, quota: Quota) -> Vec<QuotaUse> {
    let quotas = SendQuotas::default();
    let to = recipient.map(|n| QuotaUse { key: format!("to:{n:0LONGEST_IDENTIFIER$}"), quota: quotas.recipient });
    let from = QuotaUse { key: format!("{kind}:{origin}"), quota };
    let networks = origin
        .enclosing_networks()
        .map(|(network, times)| QuotaUse { key: format!("{kind}:{network}"), quota: quota.scaled_by(times) });
    let total =
        recipient.and(quotas.total).map(|quota| QuotaUse { key: "total".to_owned(), quota: quota.scaled_by(1_000) });
    to.into_iter().chain([from]).chain(networks).chain(total).collect()
}

async fn try_wrong_password(state: &dyn StateStore, n: u32, origin: Origin, now: Timestamp) -> bool {
    state.record_login_attempt(&attempt_at_account(n, origin, now), &ProofResult::Invalid).await.unwrap()
        == AttemptOutcome::Recorded
}

async fn try_wrong_code(state: &dyn StateStore, n: u32, origin: Origin, now: Timestamp) -> bool {
    let candidates = vec![(code_key(&format!("{n:0LONGEST_IDENTIFIER$}")), [9; 32])];
    let guess = CodeVerification { candidates, epoch: 0, on_match: OnCodeMatch::Consume, max_attempts: 5 };
    state.verify_code(&attempt_at_account(n, origin, now), &guess).await.unwrap() == CodeVerificationResult::Invalid
}

async fn send_code(state: &dyn StateStore, n: u32, origin: Origin, now: Timestamp) -> bool {
    let uses = send_quotas("from", Some(n), &origin, SendQuotas::default().address);
    state.consume_quotas(&uses, Some(&code_for(n, now)), now).await.unwrap().is_none()
}

async fn request_captcha(state: &dyn StateStore, n: u32, origin: Origin, now: Timestamp) -> bool {
    let exceeded = state
        .consume_quotas(&send_quotas("captcha", None, &origin, SendQuotas::default().captcha), None, now)
        .await
        .unwrap();
    if exceeded.is_none() {
        state.store_captcha((1 << 52) + u64::from(n), now.saturating_add(secs(300))).await.unwrap();
    }
    exceeded.is_none()
}

/// Makes a call of one of [`CALL_KINDS`]. Returns whether it was counted, and not rejected by a rate limit or quota.
async fn anonymous_call(kind: &str, state: &dyn StateStore, n: u32, origin: Origin, now: Timestamp) -> bool {
    match kind {
        "wrong password" => try_wrong_password(state, n, origin, now).await,
        "wrong code" => try_wrong_code(state, n, origin, now).await,
        "send" => send_code(state, n, origin, now).await,
        "captcha" => request_captcha(state, n, origin, now).await,
        other => panic!("{other}"),
    }
}

const CALL_KINDS: [&str; 4] = ["wrong password", "wrong code", "send", "captcha"];

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn storage_of_an_anonymous_call_is_bounded() {
    let mut rows = Vec::new();
    for (name, state, backend) in measured_backends().await {
        let mut subject = 0;
        for kind in CALL_KINDS {
            for (family, origin) in [("IPv4", ipv4 as fn(u32) -> Origin), ("IPv6", ipv6)] {
                let before = backend.used_bytes();
                for _ in 0..CALLS {
                    subject += 1;
                    assert!(anonymous_call(kind, &*state, subject, origin(subject), NOW).await, "{name}: {kind}");
                }
                let bytes = (backend.used_bytes() - before) / u64::from(CALLS);
                assert!(bytes <= MAX_BYTES_PER_CALL, "{name}: a {kind} from {family} stores {bytes} bytes");
                rows.push(format!("{name}: {kind}, {family}: {bytes} B"));
            }
        }
    }
    println!("{}", rows.join("\n"));
}

/// Repeats each kind of call, from the origin `origin_of` each number, until the calls are rejected, in each of four
/// windows of 15 minutes. Returns the stored bytes and the number of accepted calls.
async fn flood(state: &dyn StateStore, backend: &MeasuredBackend, origin_of: impl Fn(u32) -> Origin) -> (u64, u32) {
    let (before, mut subject, mut accepted) = (backend.used_bytes(), 0, 0);
    for window in 0..4 {
        let now = NOW.saturating_add(secs(900 * window));
        for kind in CALL_KINDS {
            let mut rejected = 0;
            // Ends after 200 rejections in a row, since some origins of a network reach their limit before others.
            while rejected < 200 {
                subject += 1;
                if anonymous_call(kind, state, subject, origin_of(subject), now).await {
                    (accepted, rejected) = (accepted + 1, 0);
                } else {
                    rejected += 1;
                }
            }
        }
    }
    (backend.used_bytes() - before, accepted)
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn storage_of_one_origin_within_an_hour_is_bounded() {
    let origin_from_bits = |bits: u128| Origin::from_address(std::net::Ipv6Addr::from_bits(bits).into());
    let network: u128 = 0x2001_0db8_0007 << 80;
    for (name, state, backend) in measured_backends().await {
        // 100 failures in each of four windows, 30 sends and 300 captchas.
        let (bytes, accepted) = flood(&*state, &backend, |n| origin_from_bits(network | u128::from(n))).await;
        println!("{name}: a /64 stores {bytes} B within an hour, by {accepted} calls");
        assert_eq!(accepted, 4 * 100 + 30 + 300, "{name}");
        assert!(bytes <= 250_000, "{name}: a /64 stores {bytes} bytes");
    }
    for (name, state, backend) in measured_backends().await {
        let (bytes, accepted) = flood(&*state, &backend, |n| origin_from_bits(network | u128::from(n) << 64)).await;
        println!("{name}: a /48 stores {bytes} B within an hour, by {accepted} calls");
        assert_eq!(accepted, 4 * (4 * 100) + 4 * 30 + 4 * 300, "{name}");
        assert!(bytes <= 1_250_000, "{name}: a /48 stores {bytes} bytes");
    }
}
