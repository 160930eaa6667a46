//! `stele sunset`: the use of dialects by client and user, brown-outs, switching a dialect off with a record.

use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::{DialectClient, DialectKind, Response, TestUser};
use crate::support::{Installation, Server, TEST_TIMEOUT, eventually};

const PASSWORD: &str = "a-long-password";

/// The objects that a command prints with `--json`.
fn json_lines(installation: &Installation, args: &[&str]) -> Vec<Value> {
    let output = installation.run(&[args, &["--json"]].concat());
    output.assert_success().stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The values of these keys, separated by spaces.
fn words(object: &Value, keys: &[&str]) -> String {
    let to_text = |key: &&str| object[*key].as_str().map_or_else(|| object[*key].to_string(), str::to_owned);
    keys.iter().map(to_text).collect::<Vec<_>>().join(" ")
}

/// Waits until the report has `count` lines.
fn report_of(installation: &Installation, count: usize) -> Vec<Value> {
    eventually("the use of dialects", || {
        let lines = json_lines(installation, &["sunset"]);
        (lines.len() >= count).then_some(lines)
    })
}

fn installation_with_clients() -> Installation {
    Installation::with_settings(&[
        ("STELE_HASH_COST", "64,1,1,weak"),
        ("STELE_CLIENTS", "kiosk-shell=*KioskShell/*,ios=CloudBox*iOS*"),
    ])
}

/// Logs in until the response has this status.
async fn login_until_status(client: &DialectClient, dialect: DialectKind, user: &TestUser, status: u16) -> Response {
    let deadline = Instant::now() + TEST_TIMEOUT;
    loop {
        let response = client.login(dialect, user, PASSWORD).await;
        if response.status == status {
            return response;
        }
        assert!(Instant::now() < deadline, "{dialect:?} does not answer {status}: {response:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn start(installation: &Installation) -> (Server, DialectClient, TestUser) {
    let server = installation.start_up();
    let client = DialectClient::register(installation, &server);
    let mark = TestUser::add(installation, "mark", "13800138000", "mark@example.com", PASSWORD);
    (server, client, mark)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_report_shows_clients_and_users_of_every_dialect() {
    let installation = installation_with_clients();
    let (_server, client, mark) = start(&installation);
    assert!(installation.run(&["sunset"]).assert_success().stdout.contains("no use is recorded"));
    for dialect in DialectKind::ALL {
        client.login(dialect, &mark, PASSWORD).await.assert_success();
    }
    for text in ["Mozilla/5.0 kioskshell/2.1", "KioskShell/3", "cloudbox/1.2 (iOS 9)", "okhttp/3 <script>"] {
        client.with_user_agent(text).login(DialectKind::Cloudbox, &mark, PASSWORD).await.assert_success();
    }
    client.login(DialectKind::Portal, &mark, "wrong").await;
    let lines = eventually("all logins in the report", || {
        let lines = report_of(&installation, 7);
        (lines.iter().map(|line| line["last_day_logins"].as_u64().unwrap()).sum::<u64>() == 9).then_some(lines)
    });
    let keys = ["dialect", "client", "proof", "last_day_logins", "last_day_users", "users", "days", "logins_per_day"];
    let found: Vec<_> = lines.iter().map(|line| words(line, &keys)).collect();
    let expected = [
        "cloudbox ios salted 1 1 1 1 1.0",
        "cloudbox kiosk-shell salted 2 1 1 1 2.0",
        "cloudbox other salted 2 1 1 1 2.0",
        "jwt other raw 1 1 1 1 1.0",
        "mefp melink raw 1 1 1 1 1.0",
        "portal other raw 1 1 1 1 1.0",
        "tms kiosk salted 1 1 1 1 1.0",
    ];
    assert_eq!(found, expected);
    assert!(lines[0]["older_half"].is_null() && lines[0]["first"].as_str().unwrap().ends_with('Z'), "{}", lines[0]);

    let table = installation.run(&["sunset", "--dialect", "tms,jwt", "--days", "7"]).assert_success().stdout.clone();
    let rows = table.lines().skip(2).map(|line| line.split_whitespace().take(4).collect::<Vec<_>>().join(" "));
    assert_eq!(rows.collect::<Vec<_>>(), ["jwt other raw 1", "tms kiosk salted 1"], "{table}");

    let who = json_lines(&installation, &["sunset", "--dialect", "cloudbox", "--who"]);
    let mut clients: Vec<_> =
        who.iter().map(|line| words(line, &["client", "id", "user", "days_used", "of_days"])).collect();
    clients.sort();
    assert_eq!(clients, ["ios", "kiosk-shell", "other"].map(|client| format!("{client} {} mark 1 1", mark.id)));
    assert!(who.iter().map(|line| line["last"].as_str().unwrap()).is_sorted_by(|a, b| a >= b), "newest first: {who:?}");
    let text = installation.run(&["sunset", "--who"]).assert_success().stdout.clone();
    assert_eq!(text.lines().count(), 1 + 7, "{text}");
    installation.run(&["sunset", "--dialect", "tsm"]).assert_failed(2, "the dialects are cloudbox, tms");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_brownout_begins_and_ends_by_itself_and_can_be_canceled() {
    let installation = installation_with_clients();
    let (server, client, mark) = start(&installation);
    client.login(DialectKind::Portal, &mark, PASSWORD).await.assert_success();
    let output = installation.run(&["sunset", "brownout", "portal", "--from", "now", "--for", "12s"]);
    assert!(output.assert_success().stdout.contains("brown-out 1: portal answers `unavailable` from "), "{output:?}");
    let refused = login_until_status(&client, DialectKind::Portal, &mark, 503).await;
    let retry_after: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=12).contains(&retry_after), "{refused:?}");
    for dialect in DialectKind::ALL.into_iter().filter(|dialect| *dialect != DialectKind::Portal) {
        client.login(dialect, &mark, PASSWORD).await.assert_success();
    }
    login_until_status(&client, DialectKind::Portal, &mark, 200).await.assert_success();

    let of_client = ["sunset", "brownout", "cloudbox", "--client", "kiosk-shell", "--from", "now", "--for", "7d"];
    installation.run(&of_client).assert_success();
    installation.run(&["sunset", "brownout", "jwt", "--from", "+1h", "--for", "10m"]).assert_success();
    let kiosk = client.with_user_agent("KioskShell/2");
    login_until_status(&kiosk, DialectKind::Cloudbox, &mark, 503).await;
    client.login(DialectKind::Cloudbox, &mark, PASSWORD).await.assert_success();
    let list = |options: &[&str]| {
        let lines = json_lines(&installation, &[&["sunset", "brownout", "list"], options].concat());
        lines.iter().map(|line| words(line, &["id", "kind", "dialect", "client", "state"])).collect::<Vec<_>>()
    };
    assert_eq!(list(&[]), ["2 brownout cloudbox kiosk-shell active", "3 brownout jwt null scheduled"]);
    installation.run(&["sunset", "brownout", "cancel", "2"]).assert_success();
    login_until_status(&kiosk, DialectKind::Cloudbox, &mark, 200).await.assert_success();
    installation.run(&["sunset", "brownout", "cancel", "2"]).assert_failed(1, "no brown-out 2 is scheduled");
    let all =
        ["3 brownout jwt null scheduled", "2 brownout cloudbox kiosk-shell canceled", "1 brownout portal null over"];
    assert_eq!(list(&["--all"]), all);

    let brownout = |options: &[&str]| installation.run(&[&["sunset", "brownout", "tms"], options].concat());
    brownout(&["--from", "now", "--for", "8d"]).assert_failed(2, "at most 7d");
    brownout(&["--from", "2020-01-01", "--for", "1d"]).assert_failed(2, "over already");
    brownout(&["--client", "nokia", "--from", "now", "--for", "1d"]).assert_failed(2, "not a name of STELE_CLIENTS");
    let metrics = crate::metrics::scrape(&server).await;
    assert!(!metrics.contains("stele_closed_requests_total{dialect=\"portal\",closure=\"brownout\"} 0"), "{metrics}");
    assert!(metrics.contains("stele_closed_requests_total{dialect=\"jwt\",closure=\"off\"} 0"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dialect_is_switched_off_with_a_record_and_on_again() {
    let installation = installation_with_clients();
    let (_server, client, mark) = start(&installation);
    client.login(DialectKind::Tms, &mark, PASSWORD).await.assert_success();
    report_of(&installation, 1);
    let record_path = installation.path("record.txt");
    let record_option = ["--record", record_path.to_str().unwrap()];
    let off = |dialect: &str, options: &[&str]| installation.run(&[&["sunset", "off", dialect], options].concat());
    let assert_refused = |output: crate::support::CommandOutput, code: i32, message: &str| {
        assert!(output.code == Some(code) && output.stderr.contains(message), "{message}: {output:?}");
    };
    assert_refused(off("tms", &["--yes", "--unless-used-in", "14d"]), 1, "tms was last used at ");
    assert_refused(off("jwt", &["--yes", "--unless-used-in", "14d"]), 1, "which is shorter than --unless-used-in");
    assert_refused(off("tms", &[]), 2, "pass --yes");
    assert!(!record_path.exists());
    client.login(DialectKind::Tms, &mark, PASSWORD).await.assert_success();

    let output = off("tms", &[&["--yes"], &record_option[..]].concat());
    let stdout = &output.assert_success().stdout;
    assert!(
        stdout.contains("1 users have used tms since ") && stdout.contains("tms is switched off from "),
        "{stdout}"
    );
    assert!(!stdout.contains("stele challenge off"), "cloudbox is still on: {stdout}");
    login_until_status(&client, DialectKind::Tms, &mark, 503).await;
    for dialect in DialectKind::ALL.into_iter().filter(|dialect| *dialect != DialectKind::Tms) {
        client.login(dialect, &mark, PASSWORD).await.assert_success();
    }
    let record = std::fs::read_to_string(&record_path).unwrap();
    for part in [
        "Record of switching off the dialect tms\n",
        "\nBy:                 uid:",
        "\nCondition:          none\n",
        "\nSwitched off: number 1 of `stele sunset brownout list --all`\n",
        &format!("\t{}\tmark\n", mark.id),
    ] {
        assert!(record.contains(part), "{part}: {record}");
    }
    assert_eq!(std::fs::metadata(&record_path).unwrap().mode() & 0o777, 0o600);
    // The evidence can be printed again.
    let who = installation.run(&["sunset", "--dialect", "tms", "--who"]).assert_success().stdout.clone();
    assert!(record.contains(&who), "{who} is not in {record}");
    assert_refused(off("tms", &["--yes"]), 1, "tms is switched off already");
    assert_refused(off("jwt", &[&["--yes"], &record_option[..]].concat()), 2, "cannot be created");

    let stdout = off("cloudbox", &["--yes", "--after", "2026-01-01"]).assert_success().stdout.clone();
    assert!(stdout.contains("`stele challenge off` erases the 1 sealed digests"), "{stdout}");
    for dialect in ["tms", "cloudbox"] {
        installation.run(&["sunset", "on", dialect]).assert_success();
    }
    installation.run(&["sunset", "on", "tms"]).assert_failed(1, "tms is not switched off");
    login_until_status(&client, DialectKind::Tms, &mark, 200).await.assert_success();

    let audited = json_lines(&installation, &["audit", "--act", "switch_dialect_off,switch_dialect_on"]);
    let audited: Vec<_> =
        audited.iter().map(|line| words(line, &["act", "result", "subject_kind", "subject"])).collect();
    let expected = [
        "switch_dialect_off not_allowed dialect tms",
        "switch_dialect_off not_allowed dialect jwt",
        "switch_dialect_off invalid dialect tms",
        "switch_dialect_off ok dialect tms",
        "switch_dialect_off not_allowed dialect tms",
        "switch_dialect_off invalid dialect jwt",
        "switch_dialect_off ok dialect cloudbox",
        "switch_dialect_on ok dialect tms",
        "switch_dialect_on ok dialect cloudbox",
        "switch_dialect_on not_allowed null null",
    ];
    assert_eq!(audited, expected);
}
