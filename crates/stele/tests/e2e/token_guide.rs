//! docs/STANDARD-TOKENS.md and its translation: every file and command of the page, in its order, with a running
//! `stele up`, and the Python and JavaScript libraries that the page names. The outputs that it shows are compared with
//! the real ones.

use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;
use stele_testkit::servers;
use tempfile::TempDir;

use crate::guide::document::{BlockKind, assert_same_blocks, blocks_of, read_page};
use crate::guide::runner::{BlockOutput, BlockRunner};
use crate::oauth_clients;
use crate::support::{Installation, Server, eventually};

const PAGE: &str = "STANDARD-TOKENS.md";
const TRANSLATION: &str = "STANDARD-TOKENS.zh-CN.md";

/// Commands that the test does not run: `stele up` is running, and the libraries are installed by their lock files.
const UNRUN: [&str; 1] = ["unrun-install"];

/// The page's configurations of proxies, whose files have tests of their own (`svc-oauth`).
const PROXIES: [&str; 2] = ["nginx.conf", "Caddyfile"];

const SETTINGS: [(&str, &str); 1] = [("STELE_HASH_COST", "64,1,1,weak")];

#[test]
fn both_languages_have_the_same_files_and_commands() {
    assert_same_blocks(PAGE, TRANSLATION, &UNRUN);
}

/// What is copied from the page is what the tests of the proxies run.
#[test]
fn the_proxies_of_the_page_are_those_that_are_tested() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/forward-auth");
    let blocks = blocks_of(&read_page(PAGE));
    for name in PROXIES {
        let block = blocks.iter().find(|block| block.name == name).unwrap_or_else(|| panic!("no block {name}"));
        // The first line is the file's name.
        let (_, text) = block.text.split_once('\n').unwrap();
        assert_eq!(text, std::fs::read_to_string(folder.join(name)).unwrap(), "{name}");
    }
}

#[test]
#[ignore = "needs Node.js, npm and PyPI"]
fn the_page_works_on_embedded_stores() {
    run_page(PAGE, &Installation::with_settings(&SETTINGS));
}

#[test]
#[ignore = "needs Node.js, npm, PyPI, PostgreSQL and Redis"]
fn the_translation_works_on_postgresql_and_redis() {
    let mut installation = Installation::with_settings(&SETTINGS);
    for (name, value) in servers::store_settings() {
        installation.set(name, &value);
    }
    run_page(TRANSLATION, &installation);
}

fn run_page(page: &str, installation: &Installation) {
    let server = installation.start_up();
    let started = unix_seconds();
    let runner = new_runner(installation, &server);
    let mut last: Option<(String, BlockOutput)> = None;
    for block in &blocks_of(&read_page(page)) {
        match block.kind() {
            BlockKind::File => runner.write_file(block, ""),
            BlockKind::Unrun => {}
            BlockKind::Commands => {
                if block.name == "login" {
                    // A proof from the second in which the state store was created would be a possible replay.
                    eventually("the next second", || (unix_seconds() > started).then_some(()));
                }
                let output = runner.run(block, &[]);
                check(&runner, &server, &block.name, &output);
                last = Some((block.name.clone(), output));
            }
            BlockKind::Output => {
                let (name, output) = last.as_ref().expect("commands come before their output");
                assert_eq!(name, &block.name);
                runner.assert_printed(block, output);
            }
        }
    }
    server.stop();
}

/// A runner with the page's address replaced by the server's, the installation's settings, and the programs of the page.
fn new_runner(installation: &Installation, server: &Server) -> BlockRunner {
    let replacements = vec![("http://127.0.0.1:8080".to_owned(), server.url.clone())];
    let variables: String =
        installation.settings().iter().map(|(name, value)| format!("export {name}='{value}'\n")).collect();
    let runner = BlockRunner::new(TempDir::new().unwrap(), replacements, &variables);
    runner.add_program("stele", env!("CARGO_BIN_EXE_stele"));
    let installed = Command::new("python3").arg(oauth_clients::script()).arg("--install").output().expect("python3");
    assert!(installed.status.success(), "{installed:?}");
    let installed = String::from_utf8(installed.stdout).unwrap();
    let installed = |key: &str| {
        let line = installed.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{key}: {installed}")).to_owned()
    };
    runner.add_program("python3", &installed("python"));
    runner.add_program("node", &installed("node"));
    let modules = Path::new(&installed("packages")).join("node_modules");
    std::os::unix::fs::symlink(modules, runner.path("work/node_modules")).unwrap();
    runner
}

/// Checks what the page says about these commands.
fn check(runner: &BlockRunner, server: &Server, name: &str, output: &BlockOutput) {
    let read = |name: &str| std::fs::read_to_string(runner.path("work").join(name)).unwrap();
    let json = |name: &str| -> Value { serde_json::from_str(&read(name)).unwrap_or_else(|e| panic!("{name}: {e}")) };
    match name {
        "metadata" => {
            assert_eq!(json("metadata.json")["issuer"], server.url.as_str());
            assert!(json("keys.json")["keys"].as_array().is_some_and(|keys| keys.len() >= 3), "{}", read("keys.json"));
        }
        "credentials" => {
            let answer = json("own.json");
            assert_eq!(answer["scope"], "orders:read orders:write", "without `scope`, all of the client's");
            assert!(answer.get("refresh_token").is_none(), "{answer}");
        }
        "verify" => {
            let user = read("user-id");
            assert!(output.stdout.lines().all(|line| line.starts_with(user.trim())), "{output:?}");
        }
        "introspect" => {
            let answer: Value = serde_json::from_str(&output.stdout).unwrap();
            assert_eq!(answer["sub"], read("user-id").trim());
            assert_eq!(answer["amr"], serde_json::json!(["pwd"]));
            assert!(answer["exp"].as_i64() > answer["iat"].as_i64() && answer["sid"].is_string(), "{answer}");
        }
        "end" => assert!(!read("sessions").is_empty() && !read("ended").is_empty()),
        _ => {}
    }
}

#[expect(clippy::disallowed_methods, reason = "the clock of the commands, which `date` reads")]
fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}
