//! The dependency graph in docs/ARCHITECTURE.md matches the workspace, and the gateway does not depend on login crates.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::read_to_string;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

type DependencyGraph = BTreeMap<String, BTreeSet<String>>;

/// Crates that only services need.
const FORBIDDEN_IN_GATEWAY: [&str; 9] =
    ["stele-core", "stele-store", "diesel", "libsqlite3-sys", "redis", "tokio-postgres", "argon2", "bcrypt", "lettre"];

fn repository_root() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn run_cargo(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO"));
    // With features unified over the workspace, a member's tree would contain dependencies that other members enable.
    command.env_remove("CARGO_RESOLVER_FEATURE_UNIFICATION");
    let output = command.args(arguments).arg("--offline").current_dir(repository_root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A crate's name as in the document: without `stele-`, and `svc-*` for every dialect's service.
fn short_name(name: &str) -> String {
    if name.starts_with("svc-") { "svc-*".to_owned() } else { name.strip_prefix("stele-").unwrap_or(name).to_owned() }
}

/// The lines `crate → dependencies` of the document.
fn documented_dependencies() -> DependencyGraph {
    let page = read_to_string(repository_root().join("docs/ARCHITECTURE.md")).unwrap();
    let block = page.split("```").find(|block| block.starts_with("dependencies")).expect("a block ```dependencies");
    let lines = block.lines().filter_map(|line| line.split_once('→'));
    let split_names =
        |text: &str| text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    lines.map(|(name, others)| (name.trim().to_owned(), split_names(others))).collect()
}

/// The dependencies in the manifests; dev-dependencies are those of `NAME (tests)`.
fn actual_dependencies() -> DependencyGraph {
    let metadata: Value =
        serde_json::from_str(&run_cargo(&["metadata", "--no-deps", "--format-version", "1"])).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let members: BTreeSet<_> = packages.iter().map(|package| package["name"].as_str().unwrap()).collect();
    let mut graph = DependencyGraph::new();
    for package in packages {
        let from = short_name(package["name"].as_str().unwrap());
        graph.entry(from.clone()).or_default();
        for dependency in package["dependencies"].as_array().unwrap() {
            let name = dependency["name"].as_str().unwrap();
            if members.contains(name) {
                let from = if dependency["kind"] == "dev" { format!("{from} (tests)") } else { from.clone() };
                graph.entry(from).or_default().insert(short_name(name));
            }
        }
    }
    graph
}

#[test]
fn crate_dependencies_match_the_architecture_document() {
    let (documented, actual) = (documented_dependencies(), actual_dependencies());
    let names: BTreeSet<_> = documented.keys().chain(actual.keys()).collect();
    for name in names {
        assert_eq!(documented.get(name), actual.get(name), "{name}: left is docs/ARCHITECTURE.md");
    }
}

#[test]
fn the_gateway_does_not_depend_on_login_crates() {
    let tree = run_cargo(&["tree", "--package", "gateway", "--edges", "normal", "--prefix", "none"]);
    let names: BTreeSet<_> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.contains("stele-service"), "{tree}");
    for name in FORBIDDEN_IN_GATEWAY {
        assert!(!names.contains(name), "the gateway depends on {name}");
    }
}
