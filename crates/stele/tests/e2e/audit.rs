//! The audit trail: who did what, by which door, from where, and how it ended; and how little a kill takes of it.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use stele_core::event::{Action, EntryPoint, Event, Outcome, RequestId, RequestSource as Asker};
use stele_core::ports::EventSink as _;
use stele_core::proof::ProofKind;
use stele_testkit::TestLab;

use crate::client::{
    CLOUDBOX_CHANGE_PASSWORD, CLOUDBOX_LOGOUT, DialectClient, DialectKind, MefpApp, TestUser, base64, md5_hex,
    password_change_body,
};
use crate::support::{Installation, TEST_TIMEOUT, eventually};

const PASSWORD: &str = "a-long-password";

fn audit_entries(home: &Installation, options: &[&str]) -> Vec<Value> {
    let output = home.run(&[&["audit", "--json"], options].concat());
    output.assert_success().stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn summaries(entries: &[Value]) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    entries
        .iter()
        .map(|entry| format!("{} {} {}", text(&entry["dialect"]), text(&entry["act"]), text(&entry["result"])))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_every_dialect_are_audited() {
    let home = Installation::new();
    let server = home.start_up();
    let app = MefpApp::new("melink", home.add_app("melink", "melink"));
    let token = home.run(&["token", "add", "kiosk"]).last_stdout_word();
    let client = DialectClient::new(&server, app, &token);
    let (name, phone, email) = ("mark".to_owned(), "13800138000".to_owned(), "mark@example.com".to_owned());
    let id = home.add_user(&name, PASSWORD, &["--phone", &phone, "--email", &email]);
    let mark = TestUser { id: id.clone(), name, phone, email };
    for dialect in DialectKind::ALL {
        client.login(dialect, &mark, PASSWORD).await.assert_success();
    }
    client.login(DialectKind::Portal, &mark, "wrong").await;
    client.login_as(DialectKind::Mefp, "13900139000", "whatever").await;
    client.form("/code/send", &[], &[("username", &mark.phone)]).await.assert_success();
    let code = base64(&server.next_code(&mark.phone, 0));
    let fields = [("username", mark.phone.as_str()), ("password", &base64("another-password")), ("code", &code)];
    client.form("/i/resetpwd", &[], &fields).await.assert_success();
    // A second later than the others: what a running server did is in it within that time.
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
    let of_clients = eventually("the trail", || {
        let entries: Vec<_> =
            audit_entries(&home, &[]).into_iter().filter(|entry| !entry["dialect"].is_null()).collect();
        (entries.len() >= expected.len()).then_some(entries)
    });
    assert_eq!(summaries(&of_clients), expected);
    let proofs: Vec<_> = of_clients.iter().map(|entry| entry["proof"].as_str().unwrap_or("-")).collect();
    assert_eq!(proofs, ["salted", "salted", "raw", "raw", "raw", "raw", "raw", "-", "-"]);
    assert_eq!(of_clients[7]["purpose"], "any");
    for (at, entry) in of_clients.iter().enumerate() {
        let whose = if at == 6 { json!(null) } else { json!(id) };
        assert_eq!((&entry["subject"], &entry["address"], &entry["times"]), (&whose, &json!("127.0.0.1"), &json!(1)));
        assert_eq!(entry["app"], if entry["dialect"] == "mefp" { json!("melink") } else { json!(null) }, "{entry}");
        assert!(entry["operator"].is_null() && entry["request"].is_string(), "{entry}");
    }
    let request = of_clients[3]["request"].as_str().unwrap();
    assert_eq!(audit_entries(&home, &["--request", request]), of_clients[3..4]);

    let log = server.stop();
    assert!(!log.contains("trail"), "{log}");
    let by_admin: Vec<_> = audit_entries(&home, &[]).into_iter().filter(|entry| entry["dialect"].is_null()).collect();
    assert_eq!(summaries(&by_admin), ["- add_app ok", "- add_client_token ok", "- add_user ok"]);
}

#[test]
fn administrative_actions_name_their_operator() {
    let home = Installation::new();
    home.run(&["migrate"]).assert_success();
    let id = home.add_user("mark", PASSWORD, &[]);
    let add = ["user", "add", "--username", "mark", "--password-stdin"];
    home.run_with(&add, PASSWORD).assert_failed(1, "taken");
    for args in [&["user", "disable", "mark"][..], &["user", "enable", &id]] {
        home.run(args).assert_success();
    }
    home.run_with(&["user", "passwd", "mark", "--password-stdin"], "new-password").assert_success();
    home.add_app("melink", "melink");
    home.run(&["token", "add", "kiosk"]).assert_success();
    home.run(&["keys", "rotate", "--lead", "0"]).assert_success();
    home.run(&["keys", "retire", "2"]).assert_failed(1, "seal-2 is the key that works");
    home.run(&["keys", "retire", "1"]).assert_success();
    home.run(&["challenge", "off", "--yes"]).assert_success();
    home.run(&["challenge", "on"]).assert_success();
    let entries = audit_entries(&home, &[]);
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
    let home = Installation::new();
    home.run(&["audit"]).assert_failed(2, "run `stele migrate` first");
    home.run(&["migrate"]).assert_success();
    let id = home.add_user("mark", PASSWORD, &["--email", "mark@example.com"]);
    home.add_user("ada", PASSWORD, &[]);
    home.run(&["user", "disable", "mark"]).assert_success();
    home.run_with(&["user", "add", "--username", "mark", "--password-stdin"], PASSWORD).assert_failed(1, "taken");
    let acts = |options: &[&str]| {
        summaries(&audit_entries(&home, options)).iter().map(|word| word[2..].to_owned()).collect::<Vec<_>>()
    };
    for user in ["mark", "mark@example.com", id.as_str()] {
        assert_eq!(acts(&["--user", user]), ["add_user ok", "disable ok"], "{user}");
    }
    assert_eq!(acts(&["--failed"]), ["add_user taken"]);
    assert_eq!(acts(&["--act", "disable,enable"]), ["disable ok"]);
    assert_eq!(acts(&["--act", "add_user", "--result", "ok"]), ["add_user ok", "add_user ok"]);
    assert_eq!(acts(&["--last", "2"]), ["disable ok", "add_user taken"]);
    assert_eq!(acts(&["--since", "1h", "--until", "30m"]), Vec::<String>::new());
    assert_eq!(acts(&["--all"]).len(), 4);
    // Someone who is gone is found by the id.
    assert_eq!(acts(&["--user", "00000000-0000-4000-8000-000000000000"]), Vec::<String>::new());
    home.run(&["audit", "--user", "nobody"]).assert_failed(1, "user");
    home.run(&["audit", "--act", "logn"]).assert_failed(2, "the acts are login, change_password");
    home.run(&["audit", "--result", "bad"]).assert_failed(2, "the results are ok, invalid");
    home.run(&["audit", "--since", "yesterday"]).assert_failed(2, "write a span ago");

    let lines = home.run(&["audit", "--act", "disable"]).assert_success().stdout.clone();
    let fields: Vec<_> = lines.trim_end().split('\t').collect();
    assert_eq!((fields.len(), fields[1], fields[2], fields[4]), (7, "disable", "ok", id.as_str()), "{lines}");
    assert!(fields[3].starts_with("uid:"), "{lines}");
}

/// The bound that is promised: what a process that is killed had not written for longer is lost for no other reason.
const MAX_LOSS: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigkill_loses_at_most_one_second_of_the_audit_log() {
    let home = Installation::with_settings(&[("STELE_HASH_COST", "64,1,1,weak"), ("STELE_LOG", "warn")]);
    let server = home.start_up();
    home.add_user("mark", PASSWORD, &["--email", "mark@example.com"]);
    let client = DialectClient::new(&server, MefpApp::new("none", Default::default()), "");
    let (begun, mut answered) = (Instant::now(), Vec::new());
    while begun.elapsed() < 3 * MAX_LOSS {
        client.login_as(DialectKind::Portal, "mark@example.com", PASSWORD).await.assert_success();
        answered.push(Instant::now());
        assert!(begun.elapsed() < TEST_TIMEOUT);
    }
    let killed = Instant::now();
    server.kill();
    let written = audit_entries(&home, &["--act", "login"]).len();
    assert!(written <= answered.len(), "{written} of {}", answered.len());
    // They are written in the order that they happened in.
    let oldest_lost = answered.get(written).map(|at| killed - *at);
    println!("lost: {} of {}, the oldest {oldest_lost:?} old", answered.len() - written, answered.len());
    assert!(oldest_lost.unwrap_or_default() <= MAX_LOSS, "{oldest_lost:?}: {written} of {}", answered.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn graceful_shutdown_flushes_the_audit_log() {
    let home = Installation::new();
    let server = home.start_up();
    home.add_user("mark", PASSWORD, &["--email", "mark@example.com"]);
    let client = DialectClient::new(&server, MefpApp::new("none", Default::default()), "");
    for _ in 0..20 {
        client.login_as(DialectKind::Portal, "mark@example.com", PASSWORD).await.assert_success();
    }
    server.stop();
    assert_eq!(audit_entries(&home, &["--act", "login"]).len(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeated_rejections_are_merged_into_counted_entries() {
    let mut home =
        Installation::with_settings(&[("STELE_HASH_COST", "64,1,1,weak"), ("STELE_TRUSTED_PROXIES", "127.0.0.1")]);
    home.set("STELE_LIMIT_ADDRESS", "5");
    let server = home.start_up();
    let app = MefpApp::new("none", Default::default());
    let client = DialectClient::new(&server, app, "");
    let id = home.add_user("mark", PASSWORD, &["--email", "mark@example.com"]);
    // 300 addresses of one /64: five guesses at an account that exists, then only refusals, at whatever account.
    for n in 0..300 {
        let account = if n < 5 { "mark@example.com".to_owned() } else { format!("{n}@example.com") };
        client.with_address(&format!("2001:db8:0:1::{n:x}")).login_as(DialectKind::Portal, &account, "wrong").await;
    }
    // One address: no account, whatever is tried.
    for n in 0..300 {
        let id = format!("00000000-0000-4000-8000-{n:012}");
        client
            .with_address("192.0.2.7")
            .json(CLOUDBOX_CHANGE_PASSWORD, &[], &password_change_body(&id, "wrong", "new-password"))
            .await;
    }
    // There is nothing to log out of, in any dialect that has a logout.
    for n in 0..100 {
        let client = client.with_address(&format!("198.51.100.{n}"));
        let token = md5_hex(&n.to_string());
        client.json(CLOUDBOX_LOGOUT, &[("authorization", &token)], &json!({})).await;
        client.send(Method::GET, "/api/v1/Auth/Logout", &[("token", &token)], String::new()).await;
        client
            .form("/i/logout", &[("cookie", &format!("stele_session={token}"))], &[("username", "x@example.com")])
            .await;
    }
    eventually("the first of each at once", || {
        let single = |entry: &Value| entry["times"] == 1 && entry["first"].is_null();
        (audit_entries(&home, &["--failed"]).into_iter().filter(single).count() >= 4).then_some(())
    });
    server.stop();
    let entries = audit_entries(&home, &["--failed"]);
    assert!(entries.len() <= 16, "a few, and more for each minute that it took: {entries:?}");
    let counted = |result: &str| {
        entries
            .iter()
            .filter(|entry| entry["result"] == result)
            .map(|entry| entry["times"].as_i64().unwrap())
            .sum::<i64>()
    };
    assert_eq!(["wrong_password", "unknown_user", "too_many"].map(counted), [5, 5, 590], "{entries:?}");
    assert_eq!(summaries(&audit_entries(&home, &["--act", "logout"])), [""; 0]);

    let network = audit_entries(&home, &["--failed", "--address", "2001:db8:0:1::ffff"]);
    let repeated =
        |result: &str| network.iter().find(|entry| entry["result"] == result && entry["times"] != 1).unwrap();
    let (guesses, refusals) = (repeated("wrong_password"), repeated("too_many"));
    assert_eq!(
        (&guesses["subject"], &refusals["subject"], &refusals["act"]),
        (&json!(id), &json!(null), &json!("login"))
    );
    assert!(refusals["address"].as_str().unwrap().starts_with("2001:db8:0:1::"), "{refusals}");
    let at = |key: &str| refusals[key].as_str().unwrap().to_owned();
    assert!(at("first") < at("at"), "{refusals}");
    let lines = home
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
        entry_point: Some(EntryPoint { dialect: "portal", app: String::new(), origin: None }),
        client: Some(Asker { address: [192, 0, 2, 1].into(), request_id: request }),
    };
    let trail = &lab.context().audit_log;
    while !trail.is_full() {
        trail.record(event.clone());
    }
    let http = reqwest::Client::new();
    let mut services = Vec::new();
    for service in stele::services::ALL {
        services.push((service, lab.start_service(service).await));
    }
    for (service, running) in &services {
        let answer = http.post(running.url("/anything")).send().await.unwrap();
        assert_eq!(answer.status(), 503, "{}", service.name);
        assert_eq!(answer.headers()["retry-after"], "1", "{}", service.name);
        let expected = (service.render_error)(&stele_core::Error::unavailable("-"));
        let expected = actix_web::body::to_bytes(expected.into_body()).await.unwrap();
        assert_eq!(answer.bytes().await.unwrap(), expected, "{}", service.name);
        let health = http.get(running.url("/healthz")).send().await.unwrap();
        assert_eq!(health.status(), 200);
    }
    trail.flush().await.unwrap();
    for (service, running) in &services {
        let answer = http.post(running.url("/anything")).send().await.unwrap();
        assert_eq!(answer.status(), 404, "{}", service.name);
    }
}
