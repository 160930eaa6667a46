//! The audit trail: who did what, by which door, from where, and how it ended; and how little a kill takes of it.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use stele_core::event::{Act, Client as Asker, Door, Event, Outcome, RequestId};
use stele_core::ports::Events as _;
use stele_core::proof::ProofKind;
use stele_testkit::Lab;

use crate::client::{App, CLOUDBOX_LOGOUT, CLOUDBOX_RESET, Client, Dialect, Person, base64, change, md5_hex};
use crate::support::{Home, PATIENCE, eventually};

const PASSWORD: &str = "a-long-password";

fn audit(home: &Home, options: &[&str]) -> Vec<Value> {
    let told = home.run(&[&["audit", "--json"], options].concat());
    told.done().stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn words(entries: &[Value]) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    entries
        .iter()
        .map(|entry| format!("{} {} {}", text(&entry["dialect"]), text(&entry["act"]), text(&entry["result"])))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_asked_of_every_dialect_is_in_it_with_who_and_how() {
    let home = Home::new();
    let server = home.up();
    let app = App::new("melink", home.add_app("melink", "melink"));
    let token = home.run(&["token", "add", "kiosk"]).last_word();
    let client = Client::new(&server, app, &token);
    let (name, phone, email) = ("mark".to_owned(), "13800138000".to_owned(), "mark@example.com".to_owned());
    let id = home.add_user(&name, PASSWORD, &["--phone", &phone, "--email", &email]);
    let mark = Person { id: id.clone(), name, phone, email };
    for dialect in Dialect::ALL {
        client.login(dialect, &mark, PASSWORD).await.good();
    }
    client.login(Dialect::Portal, &mark, "wrong").await;
    client.login_as(Dialect::Mefp, "13900139000", "whatever").await;
    client.form("/code/send", &[], &[("username", &mark.phone)]).await.good();
    let code = base64(&server.code_after(&mark.phone, 0));
    let fields = [("username", mark.phone.as_str()), ("password", &base64("another-password")), ("code", &code)];
    client.form("/i/resetpwd", &[], &fields).await.good();
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
        let entries: Vec<_> = audit(&home, &[]).into_iter().filter(|entry| !entry["dialect"].is_null()).collect();
        (entries.len() >= expected.len()).then_some(entries)
    });
    assert_eq!(words(&of_clients), expected);
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
    assert_eq!(audit(&home, &["--request", request]), of_clients[3..4]);

    let log = server.stop();
    assert!(!log.contains("trail"), "{log}");
    let by_admin: Vec<_> = audit(&home, &[]).into_iter().filter(|entry| entry["dialect"].is_null()).collect();
    assert_eq!(words(&by_admin), ["- add_app ok", "- add_client_token ok", "- add_user ok"]);
}

#[test]
fn what_administrators_do_is_signed() {
    let home = Home::new();
    home.run(&["migrate"]).done();
    let id = home.add_user("mark", PASSWORD, &[]);
    let add = ["user", "add", "--username", "mark", "--password-stdin"];
    home.run_with(&add, PASSWORD).refused(1, "taken");
    for args in [&["user", "disable", "mark"][..], &["user", "enable", &id]] {
        home.run(args).done();
    }
    home.run_with(&["user", "passwd", "mark", "--password-stdin"], "new-password").done();
    home.add_app("melink", "melink");
    home.run(&["token", "add", "kiosk"]).done();
    home.run(&["keys", "rotate", "--lead", "0"]).done();
    home.run(&["keys", "retire", "2"]).refused(1, "seal-2 is the key that works");
    home.run(&["keys", "retire", "1"]).done();
    home.run(&["challenge", "off", "--yes"]).done();
    home.run(&["challenge", "on"]).done();
    let entries = audit(&home, &[]);
    let told: Vec<_> = entries
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
    assert_eq!(told, expected);
    for entry in entries {
        let operator = entry["operator"].as_str().unwrap();
        assert!(operator.starts_with("uid:") && operator.contains('@') && entry["address"].is_null(), "{entry}");
    }
}

#[test]
fn it_is_searched_by_what_is_asked() {
    let home = Home::new();
    home.run(&["audit"]).refused(2, "run `stele migrate` first");
    home.run(&["migrate"]).done();
    let id = home.add_user("mark", PASSWORD, &["--email", "mark@example.com"]);
    home.add_user("ada", PASSWORD, &[]);
    home.run(&["user", "disable", "mark"]).done();
    home.run_with(&["user", "add", "--username", "mark", "--password-stdin"], PASSWORD).refused(1, "taken");
    let acts =
        |options: &[&str]| words(&audit(&home, options)).iter().map(|word| word[2..].to_owned()).collect::<Vec<_>>();
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
    home.run(&["audit", "--user", "nobody"]).refused(1, "user");
    home.run(&["audit", "--act", "logn"]).refused(2, "the acts are login, change_password");
    home.run(&["audit", "--result", "bad"]).refused(2, "the results are ok, invalid");
    home.run(&["audit", "--since", "yesterday"]).refused(2, "write a span ago");

    let lines = home.run(&["audit", "--act", "disable"]).done().stdout.clone();
    let fields: Vec<_> = lines.trim_end().split('\t').collect();
    assert_eq!((fields.len(), fields[1], fields[2], fields[4]), (7, "disable", "ok", id.as_str()), "{lines}");
    assert!(fields[3].starts_with("uid:"), "{lines}");
}

/// The bound that is promised: what a process that is killed had not written for longer is lost for no other reason.
const BOUND: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_takes_no_more_than_the_last_second() {
    let home = Home::with(&[("STELE_HASH_COST", "64,1,1,weak"), ("STELE_LOG", "warn")]);
    let server = home.up();
    home.add_user("mark", PASSWORD, &["--email", "mark@example.com"]);
    let client = Client::new(&server, App::new("none", Default::default()), "");
    let (begun, mut answered) = (Instant::now(), Vec::new());
    while begun.elapsed() < 3 * BOUND {
        client.login_as(Dialect::Portal, "mark@example.com", PASSWORD).await.good();
        answered.push(Instant::now());
        assert!(begun.elapsed() < PATIENCE);
    }
    let killed = Instant::now();
    server.kill();
    let written = audit(&home, &["--act", "login"]).len();
    assert!(written <= answered.len(), "{written} of {}", answered.len());
    // They are written in the order that they happened in.
    let oldest_lost = answered.get(written).map(|at| killed - *at);
    println!("lost: {} of {}, the oldest {oldest_lost:?} old", answered.len() - written, answered.len());
    assert!(oldest_lost.unwrap_or_default() <= BOUND, "{oldest_lost:?}: {written} of {}", answered.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_told_to_stop_writes_all_of_it() {
    let home = Home::new();
    let server = home.up();
    home.add_user("mark", PASSWORD, &["--email", "mark@example.com"]);
    let client = Client::new(&server, App::new("none", Default::default()), "");
    for _ in 0..20 {
        client.login_as(Dialect::Portal, "mark@example.com", PASSWORD).await.good();
    }
    server.stop();
    assert_eq!(audit(&home, &["--act", "login"]).len(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_requests_leave_a_few_entries_that_say_how_many_they_were() {
    let mut home = Home::with(&[("STELE_HASH_COST", "64,1,1,weak"), ("STELE_TRUSTED_PROXIES", "127.0.0.1")]);
    home.set("STELE_LIMIT_ADDRESS", "5");
    let server = home.up();
    let app = App::new("none", Default::default());
    let client = Client::new(&server, app, "");
    let id = home.add_user("mark", PASSWORD, &["--email", "mark@example.com"]);
    // 300 addresses of one /64: five guesses at an account that exists, then only refusals, at whatever account.
    for n in 0..300 {
        let account = if n < 5 { "mark@example.com".to_owned() } else { format!("{n}@example.com") };
        client.from(&format!("2001:db8:0:1::{n:x}")).login_as(Dialect::Portal, &account, "wrong").await;
    }
    // One address: no account, whatever is tried.
    for n in 0..300 {
        let id = format!("00000000-0000-4000-8000-{n:012}");
        client.from("192.0.2.7").json(CLOUDBOX_RESET, &[], &change(&id, "wrong", "new-password")).await;
    }
    // There is nothing to log out of, in any dialect that has a logout.
    for n in 0..100 {
        let client = client.from(&format!("198.51.100.{n}"));
        let token = md5_hex(&n.to_string());
        client.json(CLOUDBOX_LOGOUT, &[("authorization", &token)], &json!({})).await;
        client.send(Method::GET, "/api/v1/Auth/Logout", &[("token", &token)], String::new()).await;
        client
            .form("/i/logout", &[("cookie", &format!("stele_session={token}"))], &[("username", "x@example.com")])
            .await;
    }
    eventually("the first of each at once", || {
        let single = |entry: &Value| entry["times"] == 1 && entry["first"].is_null();
        (audit(&home, &["--failed"]).into_iter().filter(single).count() >= 4).then_some(())
    });
    server.stop();
    let entries = audit(&home, &["--failed"]);
    assert!(entries.len() <= 16, "a few, and more for each minute that it took: {entries:?}");
    let counted = |result: &str| {
        entries
            .iter()
            .filter(|entry| entry["result"] == result)
            .map(|entry| entry["times"].as_i64().unwrap())
            .sum::<i64>()
    };
    assert_eq!(["wrong_password", "unknown_user", "too_many"].map(counted), [5, 5, 590], "{entries:?}");
    assert_eq!(words(&audit(&home, &["--act", "logout"])), [""; 0]);

    let network = audit(&home, &["--failed", "--address", "2001:db8:0:1::ffff"]);
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
    let lines =
        home.run(&["audit", "--address", "192.0.2.7", "--result", "too_many", "--last", "1"]).done().stdout.clone();
    assert!(lines.contains("\ttoo_many×") && lines.contains(" since 2"), "{lines}");
}

#[tokio::test]
async fn what_cannot_be_written_down_is_not_done() {
    let lab = Lab::new().await;
    lab.user("mark").add().await;
    let request = RequestId::parse("r1").unwrap();
    let event = Event {
        at: lab.deps().now(),
        act: Act::Login(ProofKind::Raw),
        outcome: Outcome::Done,
        subject: None,
        door: Some(Door { dialect: "portal", app: String::new(), origin: None }),
        client: Some(Asker { address: [192, 0, 2, 1].into(), request }),
    };
    let trail = &lab.context().trail;
    while !trail.is_full() {
        trail.record(event.clone());
    }
    let http = reqwest::Client::new();
    let mut services = Vec::new();
    for service in stele::services::ALL {
        services.push((service, lab.start(service).await));
    }
    for (service, running) in &services {
        let answer = http.post(running.url("/anything")).send().await.unwrap();
        assert_eq!(answer.status(), 503, "{}", service.name);
        assert_eq!(answer.headers()["retry-after"], "1", "{}", service.name);
        let expected = (service.fail)(&stele_core::Error::unavailable("-"));
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
