//! What a store's call costs on real servers: one statement for a login's look at the users, one command for each of its
//! calls of the short-lived store. Who adds a trip to a login adds it here.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;

use stele_core::app::{App, ClientToken};
use stele_core::ports::{CodeGuess, CodeUse, OriginTrust, RepeatPermit, StateStore, Success, Verdict};
use stele_core::session::NewSession;
use stele_core::user::UserRef;
use stele_store::{Database, Target};
use stele_testservers::{Postgres, Redis};

use crate::support::*;

/// A server that logs every statement.
fn postgres() -> Postgres {
    let postgres = Postgres::start();
    postgres.put("postgresql.auto.conf", "fsync = off\nlog_statement = all\n");
    postgres.restart();
    postgres
}

/// The statements that it was sent so far, those that set a new connection up aside.
fn statements(postgres: &Postgres) -> Vec<String> {
    let log = postgres.log();
    let sent =
        log.lines().filter_map(|line| line.split_once("LOG:  execute ").or(line.split_once("LOG:  statement: ")));
    sent.map(|(_, statement)| statement.to_owned()).collect()
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_look_at_the_users_is_one_statement() {
    let postgres = postgres();
    let database = Database::open(&Target::parse(&postgres.url()).unwrap()).unwrap();
    database.migrate().await.unwrap();
    let users = backend("postgres", &database, None).await.users;
    let user = users.add(&named("alice")).await.unwrap().unwrap();
    let secret = credential("app").sealed.unwrap();
    let app = App { name: "melink".to_owned(), secret, may_token: Vec::new(), created_at: NOW };
    assert!(users.add_app(&app).await.unwrap());
    let kiosk = ClientToken { name: "kiosk".to_owned(), hash: [7; 32], created_at: NOW };
    assert!(users.add_client_token(&kiosk).await.unwrap());
    // The first calls make the connections: for what writes, and those that reads share in turn.
    users.ping().await.unwrap();
    for _ in 0..8 {
        assert!(users.find("nobody").await.unwrap().is_none());
    }

    let mut before = statements(&postgres);
    let mut one_more = |call: &str| {
        let after = statements(&postgres);
        assert_eq!(after.len() - before.len(), 1, "{call}: {:#?}", &after[before.len()..]);
        before = after;
    };
    for name in ["alice", "nobody", "alice"] {
        assert_eq!(users.find(name).await.unwrap().is_some(), name == "alice");
        one_more("find");
    }
    for by in [UserRef::Id(user.id), UserRef::Number(user.number), UserRef::Number(4)] {
        assert_eq!(users.find_ref(by).await.unwrap().is_some(), by != UserRef::Number(4));
        one_more("find_ref");
    }
    for name in ["melink", "nobody"] {
        assert_eq!(users.app(name).await.unwrap().is_some(), name == "melink");
        one_more("app");
    }
    for hash in [[7; 32], [8; 32]] {
        assert_eq!(users.client_token(&hash).await.unwrap().is_some(), hash == [7; 32]);
        one_more("client_token");
    }
    let mark = once(1, NOW).replay.unwrap();
    for new in [true, false] {
        assert_eq!(users.use_proof(&mark).await.unwrap(), new);
        one_more("use_proof");
    }
    assert!(users.upgrade_credential(user.id, 0, "first", &credential("second")).await.unwrap());
    one_more("upgrade_credential");
    assert!(users.change_credential(user.id, 0, 1, &credential("third")).await.unwrap());
    one_more("change_credential");
}

/// Everything that a Redis is asked, as it says itself.
struct Monitor<'a> {
    redis: &'a Redis,
    said: BufReader<TcpStream>,
    marks: u32,
}

impl<'a> Monitor<'a> {
    fn of(redis: &'a Redis) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", redis.port())).unwrap();
        stream.set_read_timeout(Some(secs(10))).unwrap();
        stream.write_all(b"MONITOR\r\n").unwrap();
        let mut monitor = Self { redis, said: BufReader::new(stream), marks: 0 };
        assert_eq!(monitor.line(), "+OK");
        monitor
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.said.read_line(&mut line).unwrap() > 0, "the monitor is closed");
        line.trim_end().to_owned()
    }

    /// The commands that came over the wire since the last time. What a script does there is no trip, and the link's own
    /// look at the server, every second, is nobody's.
    fn commands(&mut self) -> Vec<String> {
        self.marks += 1;
        let mark = format!("mark-{}", self.marks);
        self.redis.ask(&format!("ECHO {mark}"));
        let mut commands = Vec::new();
        loop {
            let line = self.line();
            if line.contains(&mark) {
                return commands;
            }
            // A script, its hash, one key and which.
            let words: Vec<_> = line.split(' ').skip(3).collect();
            let beat = words.len() > 3 && words[2] == "\"1\"" && words[3].ends_with(":birth\"")
                || words.starts_with(&["\"INFO\""]);
            if !line.contains(" lua] ") && !beat {
                commands.push(line);
            }
        }
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL and Redis"]
async fn a_call_of_the_short_lived_store_is_one_command() {
    let redis = Redis::start();
    let state = redis_state(&redis.url(), BIRTH).await;
    let mut monitor = Monitor::of(&redis);
    let right = |mark: u8| {
        // The second one is one too many: that takes no further trip.
        let session = Some(NewSession { per_user: 1, ..opening(mark, session(NOW.after(secs(3_600)))) });
        let repeat =
            Some(RepeatPermit { key: [mark; 32].map(|byte| !byte), expires: NOW.after(secs(9)), needed: false });
        Verdict::Right(Box::new(Success {
            session,
            repeat,
            origin_trust: OriginTrust::Trusted,
            ..once(mark, NOW.after(secs(300)))
        }))
    };
    let at = attempt(home(), NOW);
    let guess = |tag: u8| CodeGuess {
        candidates: vec![(code_key("alice"), [tag; 32]), (code_key("bob"), [tag; 32])],
        epoch: 0,
        on_right: CodeUse::Consume,
        max_tries: 5,
    };
    // The first round has the scripts sent; from the second on, each call is one command.
    for round in 0..2 {
        let mut one_more = |call: &str| {
            let commands = monitor.commands();
            assert!(round == 0 || commands.len() == 1, "{call}: {commands:#?}");
            assert!(!commands.is_empty(), "{call}");
        };
        state.admit(&at).await.unwrap();
        one_more("admit");
        state.settle(&at, &right(round)).await.unwrap();
        one_more("settle, right");
        state.settle(&at, &right(round)).await.unwrap();
        one_more("settle, repeated");
        state.settle(&at, &right(round)).await.unwrap();
        one_more("settle, replayed");
        state.settle(&at, &Verdict::Wrong).await.unwrap();
        one_more("settle, wrong");
        state.send_code(&[], Some(&code("alice", 1)), NOW).await.unwrap();
        one_more("send_code");
        state.guess_code(&at, &guess(2)).await.unwrap();
        one_more("guess_code, wrong");
        state.guess_code(&at, &guess(1)).await.unwrap();
        one_more("guess_code, right");
        assert!(state.session(&token(round), NOW).await.unwrap().is_some());
        one_more("session");
        state.touch_session(&token(round), &session(NOW.after(secs(60)))).await.unwrap();
        one_more("touch_session");
        assert!(state.end_session(&token(round), id(1)).await.unwrap());
        one_more("end_session");
    }
}
