//! Round trips of store calls: one SQL statement per call of the user store, one Redis command per call of the state
//! store, on a Redis Cluster one for each slot.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;

use stele_core::app::{App, ClientToken};
use stele_core::oauth::ClientId;
use stele_core::ports::{
    AttemptOutcome, CodeVerification, OnCodeMatch, OriginTrustChange, ProofResult, RepeatPermit, ResourceAddition,
    StateStore, SuccessEffects,
};
use stele_core::session::NewSession;
use stele_core::user::{ClientUserId, UserRef};
use stele_store::{Database, DatabaseUrl};
use stele_testservers::{Postgres, Redis, RedisMode};

use crate::oauth_registry::resource;
use crate::support::*;

/// A server that logs every statement.
fn postgres_with_statement_log() -> Postgres {
    let postgres = Postgres::start();
    postgres.write_file("postgresql.auto.conf", "fsync = off\nlog_statement = all\n");
    postgres.restart();
    postgres
}

/// The statements in the server's log so far.
fn logged_statements(postgres: &Postgres) -> Vec<String> {
    let log = postgres.log();
    let sent =
        log.lines().filter_map(|line| line.split_once("LOG:  execute ").or(line.split_once("LOG:  statement: ")));
    sent.map(|(_, statement)| statement.to_owned()).collect()
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn each_user_store_call_is_one_statement() {
    let postgres = postgres_with_statement_log();
    let database = Database::open(&DatabaseUrl::parse(&postgres.new_database_url()).unwrap()).unwrap();
    database.migrate().await.unwrap();
    let UserBackend { users, oauth, .. } = user_backend("postgres", &database, None).await;
    let user = users.add(&user_named("alice")).await.unwrap().unwrap();
    let sealed_secret = credential("app").sealed.unwrap();
    let app = App { name: "melink".to_owned(), secret: sealed_secret, may_token: Vec::new(), created_at: NOW };
    assert!(users.add_app(&app).await.unwrap());
    let kiosk = ClientToken { name: "kiosk".to_owned(), hash: [7; 32], created_at: NOW };
    assert!(users.add_client_token(&kiosk).await.unwrap());
    // The first calls make the connections: the pool's, and those that reads share.
    users.ping().await.unwrap();
    for _ in 0..8 {
        assert!(users.find_by_identifier("unknown").await.unwrap().is_none());
    }

    let mut before = logged_statements(&postgres);
    let mut assert_one_more = |call: &str| {
        let after = logged_statements(&postgres);
        assert_eq!(after.len() - before.len(), 1, "{call}: {:#?}", &after[before.len()..]);
        // A statement that is not kept prepared is planned at every call.
        let is_kept = !after.last().is_some_and(|statement| statement.starts_with("<unnamed>"));
        assert!(is_kept || !call.starts_with("find"), "{call}: {:?}", after.last());
        before = after;
    };
    for name in ["alice", "unknown", "alice"] {
        assert_eq!(users.find_by_identifier(name).await.unwrap().is_some(), name == "alice");
        assert_one_more("find_by_identifier");
    }
    for dialect in ["cloudbox", "portal"] {
        for name in ["alice", "unknown"] {
            assert_eq!(users.find_for_login(dialect, name).await.unwrap().is_some(), name == "alice");
            assert_one_more("find_for_login");
        }
    }
    for id in [&user.id.to_string(), "4", "no-such-id"] {
        let found = users.find_for_client("cloudbox", &ClientUserId::parse(id).unwrap()).await.unwrap();
        assert_eq!(found.is_some(), id == user.id.to_string(), "{id}");
        assert_one_more("find_for_client");
    }
    for by in [UserRef::Id(user.id), UserRef::Number(user.number), UserRef::Number(4)] {
        assert_eq!(users.find_by_ref(by).await.unwrap().is_some(), by != UserRef::Number(4));
        assert_one_more("find_by_ref");
    }
    for name in ["melink", "unknown"] {
        assert_eq!(users.find_app(name).await.unwrap().is_some(), name == "melink");
        assert_one_more("find_app");
    }
    for hash in [[7; 32], [8; 32]] {
        assert_eq!(users.find_client_token(&hash).await.unwrap().is_some(), hash == [7; 32]);
        assert_one_more("find_client_token");
    }
    let orders = resource("orders");
    assert_eq!(oauth.add_resource(&orders).await.unwrap(), ResourceAddition::Added);
    assert_one_more("add_resource");
    assert!(oauth.find_client(&ClientId::parse("unknown").unwrap()).await.unwrap().is_none());
    assert_one_more("find_client");
    assert!(oauth.find_resource(&orders.name).await.unwrap().is_some());
    assert_one_more("find_resource");
    assert!(oauth.find_resource_by_audience(&orders.audience()).await.unwrap().is_some());
    assert_one_more("find_resource_by_audience");
    let proof = one_time_success(1, NOW).used_proof.unwrap();
    for is_new in [true, false] {
        assert_eq!(users.mark_proof_used(&proof).await.unwrap(), is_new);
        assert_one_more("mark_proof_used");
    }
    assert!(users.upgrade_credential(user.id, 0, "first", &credential("second")).await.unwrap());
    assert_one_more("upgrade_credential");
    assert!(users.change_credential(user.id, 0, 1, &credential("third")).await.unwrap());
    assert_one_more("change_credential");
}

/// The commands that a Redis server receives, from its `MONITOR` command.
struct Monitor<'a> {
    redis: &'a Redis,
    reader: BufReader<TcpStream>,
    next_marker: u32,
}

impl<'a> Monitor<'a> {
    fn attach(redis: &'a Redis) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", redis.port())).unwrap();
        stream.set_read_timeout(Some(secs(10))).unwrap();
        stream.write_all(b"MONITOR\r\n").unwrap();
        let mut monitor = Self { redis, reader: BufReader::new(stream), next_marker: 0 };
        assert_eq!(monitor.read_line(), "+OK");
        monitor
    }

    fn read_line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.reader.read_line(&mut line).unwrap() > 0, "the monitor is closed");
        line.trim_end().to_owned()
    }

    /// Commands of clients since the last call of this method. Omits commands of scripts, which take no round trip,
    /// heartbeats, and checks of the eviction policy.
    fn commands_since_last_call(&mut self) -> Vec<String> {
        self.next_marker += 1;
        let marker = format!("marker-{}", self.next_marker);
        self.redis.command(&format!("ECHO {marker}"));
        let mut commands = Vec::new();
        loop {
            let line = self.read_line();
            if line.contains(&marker) {
                return commands;
            }
            // A heartbeat: EVALSHA, hash, one key, which is the birth.
            let words: Vec<_> = line.split(' ').skip(3).collect();
            let is_background = words.len() > 3 && words[2] == "\"1\"" && words[3].ends_with(":birth\"")
                || words.starts_with(&["\"INFO\""]);
            if !line.contains(" lua] ") && !is_background {
                commands.push(line);
            }
        }
    }
}

/// A correct proof with a session, a repeat permit and a trusted origin.
fn valid_proof(n: u8) -> ProofResult {
    // The session of the second round exceeds the limit. Ending the first session takes no further round trip.
    let session = Some(NewSession { max_per_user: 1, ..new_session(n, session(NOW.saturating_add(secs(3_600)))) });
    let repeat_permit =
        Some(RepeatPermit { key: [n; 32].map(|byte| !byte), expires: NOW.saturating_add(secs(9)), is_required: false });
    ProofResult::Valid(Box::new(SuccessEffects {
        session,
        repeat_permit,
        origin_trust: OriginTrustChange::Trust,
        ..one_time_success(n, NOW.saturating_add(secs(300)))
    }))
}

/// A guess at two codes.
fn guess(tag: u8) -> CodeVerification {
    CodeVerification {
        candidates: vec![(code_key("alice"), [tag; 32]), (code_key("bob"), [tag; 32])],
        epoch: 0,
        on_match: OnCodeMatch::Consume,
        max_attempts: 5,
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn each_state_store_call_is_one_command() {
    let redis = Redis::start();
    let state = redis_state(&redis.url(), BIRTH).await;
    let mut monitor = Monitor::attach(&redis);
    let at = attempt(home_origin(), NOW);
    // The first round loads the scripts. In the second, each call is one command.
    for round in 0..2 {
        let mut assert_one_more = |call: &str| {
            let commands = monitor.commands_since_last_call();
            assert!(round == 0 || commands.len() == 1, "{call}: {commands:#?}");
            assert!(!commands.is_empty(), "{call}");
        };
        state.check_rate_limit(&at).await.unwrap();
        assert_one_more("check_rate_limit");
        state.record_login_attempt(&at, &valid_proof(round)).await.unwrap();
        assert_one_more("record_login_attempt, valid");
        state.record_login_attempt(&at, &valid_proof(round)).await.unwrap();
        assert_one_more("record_login_attempt, repeated");
        state.record_login_attempt(&at, &valid_proof(round)).await.unwrap();
        assert_one_more("record_login_attempt, replayed");
        state.record_login_attempt(&at, &ProofResult::Invalid).await.unwrap();
        assert_one_more("record_login_attempt, invalid");
        state.consume_quotas(&[], Some(&code("alice", 1)), NOW).await.unwrap();
        assert_one_more("consume_quotas");
        state.verify_code(&at, &guess(2)).await.unwrap();
        assert_one_more("verify_code, invalid");
        state.verify_code(&at, &guess(1)).await.unwrap();
        assert_one_more("verify_code, valid");
        assert!(state.find_session(&token_key(round), NOW).await.unwrap().is_some());
        assert_one_more("find_session");
        state.touch_session(&token_key(round), &session(NOW.saturating_add(secs(60)))).await.unwrap();
        assert_one_more("touch_session");
        assert!(!state.find_session_and_revocation(None, &token_key(9), NOW).await.unwrap().is_revoked);
        assert_one_more("find_session_and_revocation, without a session");
        state.revoke_token(&token_key(round), NOW.saturating_add(secs(300))).await.unwrap();
        assert_one_more("revoke_token");
        assert!(state.end_session(&token_key(round), user_id(1)).await.unwrap());
        assert_one_more("end_session");
    }
    let found = state.find_session_and_revocation(Some(&token_key(0)), &token_key(0), NOW).await.unwrap();
    assert!(found.is_revoked);
    let commands = monitor.commands_since_last_call();
    assert_eq!(commands.len(), 2, "session and revocation, at once: {commands:#?}");
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_call_on_a_cluster_is_one_command_for_each_slot() {
    // One node, so that one monitor sees all commands.
    let redis = Redis::start_mode(RedisMode::Cluster);
    let state = redis_state(&redis.url(), BIRTH).await;
    let mut monitor = Monitor::attach(&redis);
    let at = attempt(home_origin(), NOW);
    // The first round loads the scripts.
    for round in 0..2 {
        let mut assert_more = |count: usize, call: &str| {
            let commands = monitor.commands_since_last_call();
            assert!(round == 0 || commands.len() == count, "{call}: {commands:#?}");
        };
        state.check_rate_limit(&at).await.unwrap();
        assert_more(2, "check_rate_limit: account and origin, at once");
        state.record_login_attempt(&at, &valid_proof(round)).await.unwrap();
        // At most one session is permitted, so that the second round also reads, ends and removes the first session.
        assert_more(8, "a login: origin; account; session and index, at once; and the end of the oldest session");
        state.record_login_attempt(&at, &valid_proof(round)).await.unwrap();
        assert_more(4, "a repeated login: origin; account; session and index, at once");
        state.record_login_attempt(&at, &valid_proof(round)).await.unwrap();
        assert_more(2, "a replay: origin; account");
        state.record_login_attempt(&at, &ProofResult::Invalid).await.unwrap();
        assert_more(2, "a wrong proof: origin; account");
        assert!(
            state
                .find_session_and_revocation(Some(&token_key(round)), &token_key(9), NOW)
                .await
                .unwrap()
                .session
                .is_some()
        );
        assert_more(2, "find_session_and_revocation: session and revocation, at once");
        state.consume_quotas(&[], Some(&code("alice", 1)), NOW).await.unwrap();
        assert_more(1, "consume_quotas: the code");
        state.verify_code(&at, &guess(2)).await.unwrap();
        assert_more(3, "a wrong code: account; origin; account");
        state.verify_code(&at, &guess(1)).await.unwrap();
        assert_more(3, "a right code: account; origin; account");
    }
    // An attempt that the account rejects takes the same round trips, whether its proof is right or wrong.
    for _ in 0..6 {
        state.record_login_attempt(&attempt(other_origin(), NOW), &ProofResult::Invalid).await.unwrap();
    }
    // The first one loads a script.
    for (n, proof) in [ProofResult::Invalid, valid_proof(9), ProofResult::Invalid].iter().enumerate() {
        monitor.commands_since_last_call();
        let outcome = state.record_login_attempt(&attempt(other_origin(), NOW), proof).await.unwrap();
        assert!(matches!(outcome, AttemptOutcome::RateLimited { .. }), "{outcome:?}");
        let commands = monitor.commands_since_last_call();
        assert!(n == 0 || commands.len() == 3, "{commands:#?}");
    }
}
