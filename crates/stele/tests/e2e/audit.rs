//! The audit log: its entries for requests and commands, `stele audit`, loss on SIGKILL, merging of repeated failures.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use stele_core::event::{Action, EntryPoint, Event, Outcome, RequestId, RequestSource};
use stele_core::ports::EventSink as _;
use stele_core::proof::ProofKind;
use stele_testkit::TestLab;

use crate::client::{
    CLOUDBOX_CHANGE_PASSWORD, CLOUDBOX_LOGOUT, DialectClient, DialectKind, TestUser, encode_base64, md5_hex,
    password_change_body,
};
use crate::support::{Installation, TEST_TIMEOUT, eventually};

const PASSWORD: &str = "a-long-password";

fn audit_entries(installation: &Installation, options: &[&str]) -> Vec<Value> {
    let output = installation.run(&[&["audit", "--json"], options].concat());
    output.assert_success().stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn summarize(entries: &[Value]) -> Vec<String> {
    let or_dash = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    entries
        .iter()
        .map(|entry| format!("{} {} {}", or_dash(&entry["dialect"]), or_dash(&entry["act"]), or_dash(&entry["result"])))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_every_dialect_are_audited() {
    let installation = Installation::new();
    let server = installation.start_up();
    let client = DialectClient::register(&installation, &server);
    let mark = TestUser::add(&installation, "mark", "13800138000", "mark@example.com", PASSWORD);
    let id = mark.id.clone();
    for dialect in DialectKind::ALL {
        client.login(dialect, &mark, PASSWORD).await.assert_success();
    }
    client.login(DialectKind::Portal, &mark, "wrong").await;
    client.login_as(DialectKind::Mefp, "13900139000", "whatever").await;
    client.post_form("/code/send", &[], &[("username", &mark.phone)]).await.assert_success();
    let code = encode_base64(&server.next_code(&mark.phone, 0));
    let fields = [("username", mark.phone.as_str()), ("password", &encode_base64("another-password")), ("code", &code)];
    client.post_form("/i/resetpwd", &[], &fields).await.assert_success();
    // A running server writes its entries within a second.
    let expected = [
        "cloudbox login ok",
        "tms login ok",
        "portal login ok",
        "mefp login ok",
        "jwt login ok",
        "portal login wrong_password",
        "mefp login unknown_user",
        "portal send_code ok",
        "portal reset_password ok",
    ];
    let client_entries = eventually("entries in the audit log", || {
        let entries: Vec<_> =
            audit_entries(&installation, &[]).into_iter().filter(|entry| !entry["dialect"].is_null()).collect();
        (entries.len() >= expected.len()).then_some(entries)
    });
    assert_eq!(summarize(&client_entries), expected);
    let proofs: Vec<_> = client_entries.iter().map(|entry| entry["proof"].as_str().unwrap_or("-")).collect();
    assert_eq!(proofs, ["salted", "salted", "raw", "raw", "raw", "raw", "raw", "-", "-"]);
    assert_eq!(client_entries[7]["purpose"], "any");
    for (index, entry) in client_entries.iter().enumerate() {
        let subject = if index == 6 { json!(null) } else { json!(id) };
        assert_eq!((&entry["subject"], &entry["address"], &entry["times"]), (&subject, &json!("127.0.0.1"), &json!(1)));
        assert_eq!(entry["app"], if entry["dialect"] == "mefp" { json!("melink") } else { json!(null) }, "{entry}");
        assert!(entry["operator"].is_null() && entry["request"].is_string(), "{entry}");
    }
    let request = client_entries[3]["request"].as_str().unwrap();
    assert_eq!(audit_entries(&installation, &["--request", request]), client_entries[3..4]);

    let log = server.stop();
    assert!(!log.contains("audit log"), "{log}");
    let admin_entries: Vec<_> =
        audit_entries(&installation, &[]).into_iter().filter(|entry| entry["dialect"].is_null()).collect();
    assert_eq!(summarize(&admin_entries), ["- add_app ok", "- add_client_token ok", "- add_user ok"]);
}

#[test]
fn administrative_actions_name_their_operator() {
    let installation = Installation::new();
    installation.run(&["migrate"]).assert_success();
    let id = installation.add_user("mark", PASSWORD, &[]);
    let add = ["user", "add", "--username", "mark", "--password-stdin"];
    installation.run_with(&add, PASSWORD).assert_failed(1, "taken");
    for args in [&["user", "disable", "mark"][..], &["user", "enable", &id]] {
        installation.run(args).assert_success();
    }
    installation.run_with(&["user", "passwd", "mark", "--password-stdin"], "new-password").assert_success();
    installation.add_app("melink", "melink");
    installation.run(&["token", "add", "kiosk"]).assert_success();
    installation.run(&["keys", "rotate", "--lead", "0"]).assert_success();
    installation.run(&["keys", "retire", "2"]).assert_failed(1, "seal-2 is the active key");
    installation.run(&["keys", "retire", "1"]).assert_success();
    installation.run(&["challenge", "off", "--yes"]).assert_success();
    installation.run(&["challenge", "on"]).assert_success();
    let entries = audit_entries(&installation, &[]);
    let actual: Vec<_> = entries
        .iter()
        .map(|entry| {
            let word = |key: &str| entry[key].as_str().unwrap_or("-").replace(&id, "ID");
            format!("{} {} {} {}", word("act"), word("result"), word("subject_kind"), word("subject"))
        })
        .collect();
    let expected = [
        "add_user ok user ID",
        "add_user taken - -",
        "disable ok user ID",
        "enable ok user ID",
        "provision_password ok user ID",
        "add_app ok app melink",
        "add_client_token ok client_token kiosk",
        "add_key ok key seal-2",
        "reseal ok - -",
        "retire_key not_allowed key seal-2",
        "retire_key ok key seal-1",
        "end_salted ok - -",
        "allow_salted ok - -",
    ];
    assert_eq!(actual, expected);
    for entry in entries {
        let operator = entry["operator"].as_str().unwrap();
        assert!(operator.starts_with("uid:") && operator.contains('@') && entry["address"].is_null(), "{entry}");
    }
}

#[test]
fn the_audit_log_is_filtered_by_the_given_options() {
    let installation = Installation::new();
    installation.run(&["audit"]).assert_failed(2, "run `stele migrate` first");
    installation.run(&["migrate"]).assert_success();
    let id = installation.add_user("mark", PASSWORD, &["--email", "mark@example.com"]);
    installation.add_user("ada", PASSWORD, &[]);
    installation.run(&["user", "disable", "mark"]).assert_success();
    installation
        .run_with(&["user", "add", "--username", "mark", "--password-stdin"], PASSWORD)
        .assert_failed(1, "taken");
    let list_actions = |options: &[&str]| {
        summarize(&audit_entries(&installation, options)).iter().map(|word| word[2..].to_owned()).collect::<Vec<_>>()
    };
    for user in ["mark", "mark@example.com", id.as_str()] {
        assert_eq!(list_actions(&["--user", user]), ["add_user ok", "disable ok"], "{user}");
    }
    assert_eq!(list_actions(&["--failed"]), ["add_user taken"]);
    assert_eq!(list_actions(&["--act", "disable,enable"]), ["disable ok"]);
    assert_eq!(list_actions(&["--act", "add_user", "--result", "ok"]), ["add_user ok", "add_user ok"]);
    assert_eq!(list_actions(&["--last", "2"]), ["disable ok", "add_user taken"]);
    assert_eq!(list_actions(&["--since", "1h", "--until", "30m"]), Vec::<String>::new());
    assert_eq!(list_actions(&["--all"]).len(), 4);
    // A deleted user can still be searched for by the id.
    assert_eq!(list_actions(&["--user", "00000000-0000-4000-8000-000000000000"]), Vec::<String>::new());
    installation.run(&["audit", "--user", "unknown"]).assert_failed(1, "user");
    installation.run(&["audit", "--act", "logn"]).assert_failed(2, "the actions are login, change_password");
    installation.run(&["audit", "--result", "bad"]).assert_failed(2, "the results are ok, invalid");
    installation.run(&["audit", "--since", "yesterday"]).assert_failed(2, "use a duration before now");

    let lines = installation.run(&["audit", "--act", "disable"]).assert_success().stdout.clone();
    let fields: Vec<_> = lines.trim_end().split('\t').collect();
    assert_eq!((fields.len(), fields[1], fields[2], fields[4]), (7, "disable", "ok", id.as_str()), "{lines}");
    assert!(fields[3].starts_with("uid:"), "{lines}");
}

/// The documented bound: a killed process loses only entries that are younger than this.
const MAX_LOSS: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigkill_loses_at_most_one_second_of_the_audit_log() {
    let installation = Installation::with_settings(&[("STELE_HASH_COST", "64,1,1,weak"), ("STELE_LOG", "warn")]);
    let server = installation.start_up();
    installation.add_user("mark", PASSWORD, &["--email", "mark@example.com"]);
    let client = DialectClient::without_credentials(&server);
    let (started_at, mut answered_at) = (Instant::now(), Vec::new());
    while started_at.elapsed() < 3 * MAX_LOSS {
        client.login_as(DialectKind::Portal, "mark@example.com", PASSWORD).await.assert_success();
        answered_at.push(Instant::now());
        assert!(started_at.elapsed() < TEST_TIMEOUT);
    }
    let killed_at = Instant::now();
    server.kill();
    let written = audit_entries(&installation, &["--act", "login"]).len();
    assert!(written <= answered_at.len(), "{written} of {}", answered_at.len());
    // Entries are written in the order of their events.
    let oldest_lost = answered_at.get(written).map(|at| killed_at - *at);
    println!("lost: {} of {}; age of the oldest: {oldest_lost:?}", answered_at.len() - written, answered_at.len());
    assert!(oldest_lost.unwrap_or_default() <= MAX_LOSS, "{oldest_lost:?}: {written} of {}", answered_at.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn graceful_shutdown_flushes_the_audit_log() {
    let installation = Installation::new();
    let server = installation.start_up();
    installation.add_user("mark", PASSWORD, &["--email", "mark@example.com"]);
    let client = DialectClient::without_credentials(&server);
    for _ in 0..20 {
        client.login_as(DialectKind::Portal, "mark@example.com", PASSWORD).await.assert_success();
    }
    server.stop();
    assert_eq!(audit_entries(&installation, &["--act", "login"]).len(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeated_rejections_are_merged_into_counted_entries() {
    let mut installation =
        Installation::with_settings(&[("STELE_HASH_COST", "64,1,1,weak"), ("STELE_TRUSTED_PROXIES", "127.0.0.1")]);
    installation.set("STELE_LIMIT_ADDRESS", "5");
    let server = installation.start_up();
    let client = DialectClient::without_credentials(&server);
    let id = installation.add_user("mark", PASSWORD, &["--email", "mark@example.com"]);
    // From 300 addresses of one /64: five guesses at an existing account, then rate-limited guesses at other accounts.
    for n in 0..300 {
        let account = if n < 5 { "mark@example.com".to_owned() } else { format!("{n}@example.com") };
        client.with_address(&format!("2001:db8:0:1::{n:x}")).login_as(DialectKind::Portal, &account, "wrong").await;
    }
    // One address tries accounts that do not exist.
    for n in 0..300 {
        let id = format!("00000000-0000-4000-8000-{n:012}");
        client
            .with_address("192.0.2.7")
            .post_json(CLOUDBOX_CHANGE_PASSWORD, &[], &password_change_body(&id, "wrong", "new-password"))
            .await;
    }
    // Logouts without a session, in every dialect that has a logout.
    for n in 0..100 {
        let client = client.with_address(&format!("198.51.100.{n}"));
        let token = md5_hex(&n.to_string());
        client.post_json(CLOUDBOX_LOGOUT, &[("authorization", &token)], &json!({})).await;
        client.send(Method::GET, "/api/v1/Auth/Logout", &[("token", &token)], String::new()).await;
        client
            .post_form("/i/logout", &[("cookie", &format!("stele_session={token}"))], &[("username", "x@example.com")])
            .await;
    }
    eventually("an entry for the first failure of each kind", || {
        let is_single = |entry: &Value| entry["times"] == 1 && entry["first"].is_null();
        (audit_entries(&installation, &["--failed"]).into_iter().filter(is_single).count() >= 4).then_some(())
    });
    server.stop();
    let entries = audit_entries(&installation, &["--failed"]);
    assert!(entries.len() <= 16, "a few entries, and some more for each minute that the test took: {entries:?}");
    let count_events = |result: &str| {
        entries
            .iter()
            .filter(|entry| entry["result"] == result)
            .map(|entry| entry["times"].as_i64().unwrap())
            .sum::<i64>()
    };
    assert_eq!(["wrong_password", "unknown_user", "too_many"].map(count_events), [5, 5, 590], "{entries:?}");
    assert_eq!(summarize(&audit_entries(&installation, &["--act", "logout"])), [""; 0]);

    let network = audit_entries(&installation, &["--failed", "--address", "2001:db8:0:1::ffff"]);
    let find_merged =
        |result: &str| network.iter().find(|entry| entry["result"] == result && entry["times"] != 1).unwrap();
    let (guesses, refusals) = (find_merged("wrong_password"), find_merged("too_many"));
    assert_eq!(
        (&guesses["subject"], &refusals["subject"], &refusals["act"]),
        (&json!(id), &json!(null), &json!("login"))
    );
    assert!(refusals["address"].as_str().unwrap().starts_with("2001:db8:0:1::"), "{refusals}");
    let time_of = |key: &str| refusals[key].as_str().unwrap().to_owned();
    assert!(time_of("first") < time_of("at"), "{refusals}");
    let lines = installation
        .run(&["audit", "--address", "192.0.2.7", "--result", "too_many", "--last", "1"])
        .assert_success()
        .stdout
        .clone();
    assert!(lines.contains("\ttoo_many×") && lines.contains(" since 2"), "{lines}");
}

#[tokio::test]
async fn an_operation_fails_when_it_cannot_be_audited() {
    let lab = TestLab::new().await;
    lab.user("mark").add().await;
    let request = RequestId::parse("r1").unwrap();
    let event = Event {
        at: lab.dependencies().now(),
        action: Action::Login(ProofKind::Raw),
        outcome: Outcome::Done,
        subject: None,
        entry_point: Some(EntryPoint {
            dialect: "portal",
            app: String::new(),
            client_token: String::new(),
            origin: None,
        }),
        client: Some(RequestSource { address: [192, 0, 2, 1].into(), request_id: request, client_name: None }),
    };
    let audit_log = &lab.context().audit_log;
    while !audit_log.is_full() {
        audit_log.record(event.clone());
    }
    let http = reqwest::Client::new();
    let mut services = Vec::new();
    for service in stele::services::ALL {
        services.push((service, lab.start_service(service).await));
    }
    for (service, running) in &services {
        let response = http.post(running.url("/anything")).send().await.unwrap();
        assert_eq!(response.status(), 503, "{}", service.name);
        assert_eq!(response.headers()["retry-after"], "1", "{}", service.name);
        let expected = (service.render_error)(&stele_core::Error::unavailable("-"));
        let expected = actix_web::body::to_bytes(expected.into_body()).await.unwrap();
        assert_eq!(response.bytes().await.unwrap(), expected, "{}", service.name);
        let health = http.get(running.url("/healthz")).send().await.unwrap();
        assert_eq!(health.status(), 200);
    }
    audit_log.flush().await.unwrap();
    for (service, running) in &services {
        let response = http.post(running.url("/anything")).send().await.unwrap();
        assert_eq!(response.status(), 404, "{}", service.name);
    }
}
