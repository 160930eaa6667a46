//! `stele session`: the sessions of a user are listed and ended while services run.

use std::collections::BTreeSet;

use serde_json::Value;
use stele_core::session::Token;
use stele_core::time::Timestamp;
use stele_testservers as servers;

use crate::client::{DialectClient, DialectKind, TestUser};
use crate::support::{Installation, Server, eventually};

const PASSWORD: &str = "a-password";

struct SessionTest {
    installation: Installation,
    _server: Server,
    client: DialectClient,
}

impl SessionTest {
    fn start(installation: Installation) -> Self {
        let server = installation.start_up();
        let client = DialectClient::register(&installation, &server);
        Self { installation, _server: server, client }
    }

    fn add_user(&self, name: &str, phone: &str) -> TestUser {
        TestUser::add(&self.installation, name, phone, &format!("{name}@example.com"), PASSWORD)
    }

    /// Logs in through cloudbox or TMS; returns the token and the id of its session.
    async fn log_in(&self, dialect: DialectKind, person: &TestUser) -> (String, String) {
        let token = self.client.login(dialect, person, PASSWORD).await.assert_success().token();
        let id = Token::parse(&token).unwrap().key().to_string();
        (token, id)
    }

    /// Whether a token is valid. Ends the session of a valid cloudbox token.
    async fn is_alive(&self, dialect: DialectKind, token: &str) -> bool {
        self.client.is_session_alive(dialect, token).await.unwrap()
    }

    /// The listed sessions, each as the columns of its line.
    fn list(&self, user: &str) -> Vec<Vec<String>> {
        let listing = self.installation.run(&["session", "list", user]).assert_success().stdout.clone();
        listing.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
    }

    fn ids(&self, user: &str) -> Vec<String> {
        self.list(user).into_iter().map(|columns| columns[0].clone()).collect()
    }

    fn end(&self, args: &[&str]) -> String {
        self.installation.run(&[&["session", "end"], args].concat()).assert_success().stdout.trim_end().to_owned()
    }
}

async fn sessions_are_listed_and_ended(test: &SessionTest) {
    use DialectKind::{Cloudbox, Tms};

    let (mark, ada) = (test.add_user("mark", "13800138000"), test.add_user("ada", "13800138001"));
    assert!(test.list("mark").is_empty());
    let (cloudbox, cloudbox_id) = test.log_in(Cloudbox, &mark).await;
    let (tms, tms_id) = test.log_in(Tms, &mark).await;
    let (other, other_id) = test.log_in(Tms, &ada).await;

    for name in ["mark", &mark.phone, &mark.email, &mark.id] {
        assert_eq!(test.ids(name), [tms_id.as_str(), &cloudbox_id], "newest first: {name}");
    }
    let columns = &test.list("mark")[1];
    assert_eq!(columns[1..3], ["cloudbox", "-"]);
    let [created, last_seen, expires] = [3, 4, 5].map(|n: usize| Timestamp::parse(&columns[n]).unwrap());
    assert!(created == last_seen && expires > created, "{columns:?}");

    // One session, by the start of its id.
    let end_cloudbox = ["--user", "mark", &cloudbox_id[..12]];
    assert_eq!(test.end(&end_cloudbox), format!("session ended: {cloudbox_id}"));
    assert!(!test.is_alive(Cloudbox, &cloudbox).await);
    assert!(test.is_alive(Tms, &tms).await);
    assert_eq!(test.ids("mark"), [tms_id.as_str()]);
    for args in
        [&end_cloudbox[..], &[&cloudbox_id], &["--user", "mark", &other_id], &["--user", "mark", &other_id[..12]]]
    {
        test.installation.run(&[&["session", "end"], args].concat()).assert_failed(1, "no such session");
    }
    assert!(test.is_alive(Tms, &other).await);
    // By the full id, without the user.
    test.end(&[&tms_id]);
    assert!(!test.is_alive(Tms, &tms).await);

    // All sessions of one user.
    let mut tokens = Vec::new();
    for dialect in [Cloudbox, Tms, Tms] {
        tokens.push((dialect, test.log_in(dialect, &mark).await.0));
    }
    assert_eq!(test.end(&["--user", "mark"]), "sessions ended: 3");
    for (dialect, token) in &tokens {
        assert!(!test.is_alive(*dialect, token).await, "{dialect:?}");
    }
    assert_eq!((test.end(&["--user", "mark"]).as_str(), test.ids("mark")), ("sessions ended: 0", Vec::new()));
    assert_eq!(test.ids("ada"), [other_id.as_str()]);
    let (again, _) = test.log_in(Tms, &mark).await;
    assert!(test.is_alive(Tms, &again).await, "the user can log in again");

    // Sessions of an old password and of a disabled user are not listed.
    test.installation.run_with(&["user", "passwd", "mark", "--password-stdin"], "another-password").assert_success();
    assert_eq!(test.ids("mark"), Vec::<String>::new());
    test.installation.run(&["user", "disable", "ada"]).assert_success();
    assert_eq!(test.ids("ada"), Vec::<String>::new());
    test.installation.run(&["session", "end", &other_id]).assert_failed(1, "no such session");

    assert_audited(test, &mark, &ada);
}

/// Each end of sessions is in the audit log, with its user as the subject and the administrator as the operator.
fn assert_audited(test: &SessionTest, mark: &TestUser, ada: &TestUser) {
    let audit = ["audit", "--all", "--act", "end_session", "--json"];
    let entries: Vec<Value> = eventually("the entries of ended sessions", || {
        let lines = test.installation.run(&audit).assert_success().stdout.clone();
        let entries: Vec<_> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (entries.len() >= 7).then_some(entries)
    });
    let summaries: Vec<_> = entries.iter().map(|entry| (entry["result"].as_str(), entry["subject"].as_str())).collect();
    let (ok, refused) = (Some("ok"), Some("not_authenticated"));
    let (mark, ada) = (Some(mark.id.as_str()), Some(ada.id.as_str()));
    let expected = [(ok, mark), (refused, None), (refused, None), (ok, mark), (ok, mark), (ok, mark), (refused, ada)];
    assert_eq!(summaries, expected);
    for entry in entries {
        assert!(entry["operator"].as_str().is_some_and(|operator| operator.starts_with("uid:")), "{entry}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_listed_and_ended_one_by_one_or_all() {
    sessions_are_listed_and_ended(&SessionTest::start(Installation::new())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and Redis"]
async fn sessions_are_listed_and_ended_on_postgresql_and_redis() {
    let mut installation = Installation::new();
    installation.set("STELE_DATABASE_URL", &servers::database_url());
    installation.set("STELE_REDIS_URL", &servers::redis_url());
    sessions_are_listed_and_ended(&SessionTest::start(installation)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_list_of_sessions_is_for_scripts_as_well() {
    let test = SessionTest::start(Installation::new());
    let mark = test.add_user("mark", "13800138000");
    test.client.login(DialectKind::Mefp, &mark, PASSWORD).await.assert_success();
    let (_, id) = test.log_in(DialectKind::Cloudbox, &mark).await;

    let lines = test.installation.run(&["session", "list", "mark", "--json"]).assert_success().stdout.clone();
    let sessions: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let fields = |session: &Value| session.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    let expected = ["app", "created_at", "dialect", "expires_at", "id", "last_seen_at", "user"];
    for session in &sessions {
        assert_eq!(fields(session), expected.map(str::to_owned).into(), "{session}");
        assert_eq!(session["user"], mark.id.as_str());
        let times = ["created_at", "last_seen_at", "expires_at"].map(|name| session[name].as_str().unwrap());
        assert!(times.is_sorted() && times.iter().all(|time| Timestamp::parse(time).is_some()), "{session}");
    }
    let summaries: Vec<_> = sessions.iter().map(|session| (session["dialect"].as_str(), &session["app"])).collect();
    assert_eq!(summaries, [(Some("cloudbox"), &Value::Null), (Some("mefp"), &Value::from("melink"))]);
    assert_eq!(sessions[0]["id"], id.as_str());

    // As in `| head -n 0`.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let piped = test.installation.command(&["session", "list", "mark"]).stdout(writer).output().unwrap();
    assert_eq!((piped.status.code(), piped.stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn a_session_command_names_its_fault() {
    let installation = Installation::new();
    installation.run(&["migrate"]).assert_success();
    installation.add_user("mark", PASSWORD, &[]);
    let id = "0123456789abcdef".repeat(4);
    for args in [&["list", "unknown"][..], &["end", "--user", "unknown"], &["end", "--user", "unknown", &id]] {
        installation.run(&[&["session"], args].concat()).assert_failed(1, "user");
    }
    installation.run(&["session", "end", &id]).assert_failed(1, "`stele session list USER` prints the ids");
    installation.run(&["session", "end", &id[..12]]).assert_failed(2, "add --user USER");
    for short in ["", "0123456789a", "0123456789ag"] {
        let outcome = installation.run(&["session", "end", short, "--user", "mark"]);
        assert_eq!(outcome.code, Some(2), "{outcome:?}");
        assert!(outcome.stderr.contains("64 hex digits"), "{outcome:?}");
    }
    assert_eq!(installation.run(&["session", "end"]).code, Some(2));
}
