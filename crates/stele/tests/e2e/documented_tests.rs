//! Every test that docs/THREATS.md, docs/FIELD.md and docs/PROTOCOLS.md name exists.

use std::fs;
use std::path::{Path, PathBuf};

/// Collects the files `{stem}.rs` below `folder`.
fn files_named(folder: &Path, stem: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_named(&path, stem, found);
        } else if path.file_name().is_some_and(|name| name == format!("{stem}.rs").as_str()) {
            found.push(path);
        }
    }
}

/// Whether `text` contains a function of this name directly below a test attribute.
fn has_test(text: &str, name: &str) -> bool {
    let mut lines = text.lines().map(str::trim);
    let mut attribute = String::new();
    lines.any(|line| {
        let is_named = line.split_once("fn ").is_some_and(|(_, signature)| signature.split('(').next() == Some(name));
        // An ignored test proves nothing, except those that need servers: `scripts/test` runs them.
        let is_run = !attribute.contains("ignore") || attribute.contains("ignore = \"needs ");
        let found = is_named && attribute.contains("test") && is_run;
        // A function can have several attributes, one per line.
        attribute = if line.starts_with("#[") { format!("{attribute}{line}") } else { String::new() };
        found
    })
}

#[test]
fn every_test_named_in_the_documents_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let pages = ["docs/THREATS.md", "docs/FIELD.md", "docs/PROTOCOLS.md"];
    let pages = pages.map(|page| fs::read_to_string(root.join(page)).unwrap());
    // `dialect_lists::every_dialect_runs_the_conformance_suite` checks that each dialect runs the suite.
    let suite = fs::read_to_string(root.join("crates/testkit/src/conformance/suite.rs")).unwrap();
    let mut named = 0;
    for quoted in pages.iter().flat_map(|page| page.split('`').skip(1).step_by(2)) {
        let Some((place, test)) = quoted.split_once("::") else { continue };
        let Some((package, stem)) = place.split_once(' ') else { continue };
        if package == "conformance" {
            let listed = |end| suite.contains(&format!(" {stem}::{test}{end}\n"));
            assert!(listed(",") || listed(""), "{quoted}: not in the suite");
            named += 1;
            continue;
        }
        let folders = [root.join(package), root.join("crates").join(package)];
        let folder = folders.iter().find(|folder| folder.is_dir()).unwrap_or_else(|| panic!("{quoted}: no such crate"));
        let mut found = Vec::new();
        files_named(folder, stem, &mut found);
        assert!(!found.is_empty(), "{quoted}: no {stem}.rs in {package}");
        let texts = found.iter().map(|file| fs::read_to_string(file).unwrap());
        assert!(texts.into_iter().any(|text| has_test(&text, test)), "{quoted}: no such test");
        named += 1;
    }
    assert!(named > 100, "only {named} tests are named");
    // THREATS.md has a line for every case.
    for case in 1..=48 {
        assert!(pages[0].contains(&format!("\n| {case} | ")), "case {case} is not on the page");
    }
}
