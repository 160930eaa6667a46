//! docs/MIGRATE.md and its translation: every file and command of the guide, in its order, with real MariaDB, nginx and
//! `stele` and the stand-ins of two old servers. The outputs that the guide shows are compared with the real ones, and
//! what it promises is checked from outside.

mod http;
mod old_servers;
mod way_back;
mod weekend;

use serde_json::Value;
use stele_old_servers::Call;

use self::http::{Client, Side};
use self::weekend::{Stores, Weekend};
use crate::guide::document::{Block, BlockKind, assert_same_blocks, blocks_of, read_page};
use crate::guide::runner::BlockOutput;
use crate::support::eventually;

const PAGE: &str = "MIGRATE.md";
const TRANSLATION: &str = "MIGRATE.zh-CN.md";

/// Commands that the test does not run, and why. The guide's last section lists the same.
const UNRUN: [(&str, &str); 1] =
    [("unrun-install", "the programs are installed already, and the program under test is the one just built")];

/// The blocks whose commands fail, with the exit codes that the guide names: 3 if rows are refused.
const FAILURES: [(&str, &[i32]); 5] =
    [("check", &[3]), ("wrong-proof", &[2]), ("rehearsal", &[3, 3, 3]), ("repeat", &[3]), ("import", &[3, 3])];

/// zhangsan's id in the old table.
const OLD_ID: &str = "5f1c8a52-9d3e-4c57-8a0b-1f2e3d4c5b6a";

#[test]
fn both_languages_have_the_same_files_and_commands() {
    assert_same_blocks(PAGE, TRANSLATION, &UNRUN.map(|(name, _)| name));
    let names: Vec<_> = blocks_of(&read_page(PAGE)).into_iter().map(|block| block.name).collect();
    for (name, _) in FAILURES {
        assert!(names.iter().any(|found| found == name), "{name} is not a block");
    }
}

/// The words in quotation marks of a Rust file that look like codes.
fn codes_in(source: &str) -> impl Iterator<Item = &str> {
    let is_code = |text: &&str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    source.split('"').skip(1).step_by(2).filter(is_code)
}

#[test]
fn every_reason_for_a_refusal_has_a_remedy() {
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/src/import/refusal.rs");
    let source = std::fs::read_to_string(source).unwrap();
    let is_reason = |code: &str| stele_core::import::Refusal::parse(code).is_some();
    let mut count = 0;
    for code in codes_in(source.split("#[cfg(test)]").next().unwrap()) {
        let shown = if is_reason(code) {
            format!("| `{code}` |")
        } else if is_reason(&format!("{code}:phone")) {
            format!("| `{code}:FIELD` |")
        } else {
            continue;
        };
        count += 1;
        for page in [PAGE, TRANSLATION] {
            assert!(read_page(page).contains(&shown), "{page} has no row {shown}");
        }
    }
    assert!(count > 15, "only {count} reasons were found");
}

#[test]
fn the_examples_of_the_help_are_commands_of_the_guide() {
    let help = crate::support::Installation::new().run(&["import", "--help"]).assert_success().stdout.clone();
    let examples: Vec<_> = help.lines().filter_map(|line| line.strip_prefix("  stele import ")).collect();
    assert!(examples.len() >= 6, "{help}");
    let joined = read_page(PAGE).replace(" \\\n    ", " ");
    for example in examples {
        assert!(joined.contains(&format!("stele import {}", example.trim())), "{example} is not in the guide");
    }
}

#[tokio::test]
#[ignore = "needs MariaDB and nginx"]
async fn the_weekend_of_the_guide_on_embedded_stores() {
    run_guide(PAGE, 0, Stores::Embedded).await;
}

#[tokio::test]
#[ignore = "needs MariaDB, nginx, PostgreSQL and Redis"]
async fn the_weekend_of_the_translation_on_postgresql_and_redis() {
    run_guide(TRANSLATION, 1, Stores::Servers).await;
}

async fn run_guide(page: &str, index: u8, stores: Stores) {
    let blocks = blocks_of(&read_page(page));
    let tables = blocks.iter().find(|block| block.name == "tables.sql").expect("the tables of the example");
    let mut weekend = Weekend::new(index, stores, &tables.text);
    weekend.start_nginx();
    let mut last: Option<(&Block, BlockOutput)> = None;
    for block in &blocks {
        match block.kind() {
            BlockKind::File => weekend.write_file(block),
            BlockKind::Unrun => {}
            BlockKind::Commands => {
                let expected =
                    FAILURES.iter().find(|(name, _)| *name == block.name).map_or(&[][..], |(_, codes)| codes);
                let output = weekend.runner.run(block, expected);
                check(&weekend, &block.name, &output).await;
                last = Some((block, output));
            }
            BlockKind::Output => {
                let (commands, output) = last.as_ref().expect("commands come before their output");
                assert_eq!(commands.name, block.name);
                weekend.runner.assert_printed(block, output);
            }
        }
    }
}

/// Checks what the guide promises after these commands.
async fn check(weekend: &Weekend, name: &str, output: &BlockOutput) {
    let client = Client::of(weekend);
    match name {
        "guess" => assert!(weekend.read("cloudbox.toml").contains("phone = \"user_phone\""), "{output:?}"),
        "refused" => assert_eq!(output.stdout.lines().count(), 4, "{output:?}"),
        "rehearsal-logins" => {
            assert!(output.stdout.contains(OLD_ID), "{output:?}");
            let answers: Vec<Value> = output.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            // Each dialect answers the ids of its own old server.
            let ids = |n: usize| answers[n]["content"]["id"].as_str().zip(answers[n]["content"]["gid"].as_str());
            assert_eq!([ids(1), ids(2)], [Some(("1", "100001")), Some(("2", "100002"))], "{output:?}");
        }
        "rehearsal-end" => assert!(!weekend.path("work/rehearsal").exists()),
        "keys" => assert!(weekend.query("tar --list --file keys.tar").contains("keys/seal-1")),
        "nginx" => {
            weekend.wait_for_first_reload();
            client.eventually_sides(Side::Old, Side::Old).await;
        }
        "nginx-logins" => {
            assert_eq!((weekend.old.cloudbox.count(Call::Login), weekend.old.portal.count(Call::Login)), (1, 1));
            // nginx writes its log after the response.
            let log = || std::fs::read_to_string(weekend.path("log-nginx/access.log")).unwrap();
            eventually("the access log", || (log().contains("authsalt") && log().contains("/i/login")).then_some(()));
        }
        "freeze" => check_freeze(&client).await,
        "cut-path" => {
            client.eventually_sides(Side::Old, Side::Stele).await;
            client.log_in_cloudbox("lisi", "Li-2019").await.assert_success();
            check_old_server_leads(weekend, &client).await;
        }
        "cut-canary" => check_canary(&client).await,
        "cut-over" => check_cut_over(weekend, &client).await,
        "thaw" => change_password(&client).await,
        "watch-audit" => assert!(output.stdout.contains("127.0.0.77"), "the client's own address: {output:?}"),
        "back" => {
            client.eventually_sides(Side::Old, Side::Old).await;
            assert!(client.is_frozen().await);
            client.log_in_cloudbox("zhangsan", "Zhang-2018").await.assert_success();
        }
        "export" => {
            client.eventually_thawed().await;
            client.log_in_cloudbox("zhangsan", "new-in-stele").await.assert_success();
            assert!(!client.log_in_cloudbox("zhangsan", "Zhang-2018").await.is_success());
            client.log_in_cloudbox("lisi", "Li-2019").await.assert_success();
            assert!(!weekend.path("work/back.csv").exists());
        }
        "undo" => {
            let left = weekend.query("stele user list");
            let names = ["zhangsan", "13900139002"];
            assert!(left.lines().count() == 2 && names.iter().all(|name| left.contains(name)), "{left}");
        }
        "alone" => {
            let metrics = weekend.query("curl --silent http://127.0.0.1:9080/metrics");
            assert!(metrics.contains("stele_logins") && !metrics.contains("stele_old_server"), "{metrics}");
        }
        "tidy" => check_tidy(weekend),
        _ => {}
    }
}

async fn check_freeze(client: &Client) {
    eventually_async("the freeze", async || client.is_frozen().await).await;
    for path in [
        "/i/register",
        "/i//resetpwd",
        "/api/v1/cloudbox/auth/pwdreset",
        "/auth/forgot",
        "/api/vi/AUTH/updatePassword/",
    ] {
        let answer = client.post(path, "username=13900139002").await;
        assert_eq!(answer.status, 503, "{path}: {answer:?}");
    }
    client.log_in_cloudbox("lisi", "Li-2019").await.assert_success();
    client.log_in_portal("13900139002", "Qian-2019").await.assert_success();
}

/// A password that was changed at the old server since the copy is accepted, and asked about once.
async fn check_old_server_leads(weekend: &Weekend, client: &Client) {
    let change = "UPDATE portal.portal_user SET passwd = MD5(CONCAT('Qian-2026', salt)) WHERE id = 2";
    weekend.old.database.execute(change);
    weekend.old.portal.clear_log();
    for _ in 0..2 {
        client.log_in_portal("13900139002", "Qian-2026").await.assert_success();
    }
    assert_eq!(weekend.old.portal.count(Call::Login), 1);
    assert!(!client.log_in_portal("13900139002", "Qian-2019").await.is_success());
}

/// Some clients are at Stele, most are not, and each has both dialects at the same place.
async fn check_canary(client: &Client) {
    client.eventually_sides_of_sample(|at_stele, of| at_stele > 0 && at_stele * 4 < of).await;
}

async fn check_cut_over(weekend: &Weekend, client: &Client) {
    client.eventually_sides(Side::Stele, Side::Stele).await;
    weekend.old.cloudbox.clear_log();
    weekend.old.portal.clear_log();
    for (name, password) in
        [("zhangsan", "Zhang-2018"), ("lisi", "Li-2019"), ("user7", "123456"), ("sunqi", "Sun-2021")]
    {
        client.log_in_cloudbox(name, password).await.assert_success();
    }
    client.log_in_portal("13800138001", "Zhang-2018").await.assert_success();
    client.log_in_portal("zhao@example.com", "Zhao-2020").await.assert_success();
    assert!(weekend.old.cloudbox.calls().is_empty() && weekend.old.portal.calls().is_empty());
    assert!(!client.from(77).log_in_cloudbox("lisi", "wrong").await.is_success());
    eventually("the audit log", || weekend.query("stele audit --since 1h").contains("127.0.0.77").then_some(()));
}

/// A user changes the password at Stele, with the id that the client has stored.
async fn change_password(client: &Client) {
    client.eventually_thawed().await;
    client.change_cloudbox_password(OLD_ID, "Zhang-2018", "new-in-stele").await.assert_success();
    client.log_in_cloudbox("zhangsan", "new-in-stele").await.assert_success();
}

fn check_tidy(weekend: &Weekend) {
    let left: Vec<_> =
        std::fs::read_dir(weekend.path("work")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    for gone in ["scratch", "cloudbox.sql", "portal.sql", "reader.cnf"] {
        assert!(!left.iter().any(|name| name == gone), "{left:?}");
    }
    assert!(left.iter().any(|name| name == "cloudbox.toml") && left.iter().any(|name| name == "keys.tar"), "{left:?}");
}

async fn eventually_async(what: &str, mut attempt: impl AsyncFnMut() -> bool) {
    let deadline = std::time::Instant::now() + crate::support::TEST_TIMEOUT;
    while !attempt().await {
        assert!(std::time::Instant::now() < deadline, "timeout: {what}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}
