//! The dependencies of `docs/ARCHITECTURE.md` are those of the workspace, and the gateway has none of the services'.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::read_to_string;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

type DependencyGraph = BTreeMap<String, BTreeSet<String>>;

/// What serves logins and nothing that routes them needs.
const FORBIDDEN_IN_GATEWAY: [&str; 9] =
    ["stele-core", "stele-store", "diesel", "libsqlite3-sys", "redis", "tokio-postgres", "argon2", "bcrypt", "lettre"];

fn repository_root() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn cargo(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO"));
    // With the features of the whole workspace, a member's tree has what other members turn on.
    command.env_remove("CARGO_RESOLVER_FEATURE_UNIFICATION");
    let output = command.args(arguments).arg("--offline").current_dir(repository_root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A crate as the page names it: without `stele-`, and the dialects' services as one.
fn short_name(name: &str) -> String {
    if name.starts_with("svc-") { "svc-*".to_owned() } else { name.strip_prefix("stele-").unwrap_or(name).to_owned() }
}

/// The lines `crate → what it depends on` of the page.
fn documented_dependencies() -> DependencyGraph {
    let page = read_to_string(repository_root().join("docs/ARCHITECTURE.md")).unwrap();
    let block = page.split("```").find(|block| block.starts_with("dependencies")).expect("a block ```dependencies");
    let lines = block.lines().filter_map(|line| line.split_once('→'));
    let names =
        |text: &str| text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    lines.map(|(name, others)| (name.trim().to_owned(), names(others))).collect()
}

/// The same of the manifests; a crate's tests as `NAME (tests)`, with what only they need.
fn actual_dependencies() -> DependencyGraph {
    let metadata: Value = serde_json::from_str(&cargo(&["metadata", "--no-deps", "--format-version", "1"])).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let members: BTreeSet<_> = packages.iter().map(|package| package["name"].as_str().unwrap()).collect();
    let mut arrows = DependencyGraph::new();
    for package in packages {
        let from = short_name(package["name"].as_str().unwrap());
        arrows.entry(from.clone()).or_default();
        for dependency in package["dependencies"].as_array().unwrap() {
            let name = dependency["name"].as_str().unwrap();
            if members.contains(name) {
                let from = if dependency["kind"] == "dev" { format!("{from} (tests)") } else { from.clone() };
                arrows.entry(from).or_default().insert(short_name(name));
            }
        }
    }
    arrows
}

#[test]
fn crate_dependencies_match_the_architecture_document() {
    let (drawn, built) = (documented_dependencies(), actual_dependencies());
    let names: BTreeSet<_> = drawn.keys().chain(built.keys()).collect();
    for name in names {
        assert_eq!(drawn.get(name), built.get(name), "{name}: on the left what docs/ARCHITECTURE.md draws");
    }
}

#[test]
fn the_gateway_does_not_depend_on_login_crates() {
    let tree = cargo(&["tree", "--package", "gateway", "--edges", "normal", "--prefix", "none"]);
    let names: BTreeSet<_> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.contains("stele-service"), "{tree}");
    for name in FORBIDDEN_IN_GATEWAY {
        assert!(!names.contains(name), "the gateway depends on {name}");
    }
}
