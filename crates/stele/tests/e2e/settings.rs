//! Settings are declared once: `docs/SETTINGS.md` is made of the declarations, and no default is written elsewhere.

use std::collections::BTreeMap;
use std::fs::{read_dir, read_to_string, write};
use std::path::{Path, PathBuf};

use stele::services;
use stele_service::Declared;
use stele_service::setting::List;

const PAGE: &str = "docs/SETTINGS.md";
const HEAD: &str = "\
# Settings

Every setting, who reads it, what it takes and its default. Each comes from the environment, from the file that `NAME_FILE` names,
or from the TOML file that `--config` names, as the key without `STELE_` in lower case; `OTEL_…` from the environment alone.
This page is made of the declarations in the code: `UPDATE_GOLDEN=1 cargo test -p stele --test e2e settings`.

| setting | read by | takes | default | what it is |
| --- | --- | --- | --- | --- |
";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every setting, by name.
fn all() -> BTreeMap<&'static str, &'static dyn Declared> {
    services::settings().into_iter().flatten().map(|setting| (setting.name(), *setting)).collect()
}

fn has(lists: &[List], name: &str) -> bool {
    lists.iter().any(|list| list.iter().any(|setting| setting.name() == name))
}

/// The programs that read a setting.
fn readers(name: &str) -> String {
    let shared = has(&stele_app::settings::shared(), name);
    let mut readers = Vec::new();
    match (has(&gateway::settings(), name), shared) {
        (true, true) => readers.push("all"),
        (true, false) => readers.push("gateway"),
        (false, true) => readers.push("services"),
        (false, false) => {}
    }
    readers.extend(services::ALL.iter().filter(|service| has(&[service.settings], name)).map(|service| service.name));
    if readers.is_empty() { "`stele up`".to_owned() } else { readers.join(", ") }
}

fn page() -> String {
    let cell = |text: String| text.replace('|', "\\|");
    let row = |(name, setting): (&&str, &&dyn Declared)| {
        let (takes, default) = (cell(setting.takes()), cell(setting.default_text()));
        format!("| `{name}` | {} | {takes} | {default} | {} |\n", readers(name), cell(setting.help()))
    };
    HEAD.to_owned() + &all().iter().map(row).collect::<String>()
}

#[test]
fn the_page_is_made_of_the_declarations() {
    let path = root().join(PAGE);
    #[expect(clippy::disallowed_methods, reason = "no setting of the product's")]
    if std::env::var("UPDATE_GOLDEN").is_ok() {
        write(&path, page()).unwrap();
    }
    assert_eq!(read_to_string(path).unwrap(), page(), "UPDATE_GOLDEN=1 writes {PAGE}");
}

#[test]
fn every_default_can_be_used() {
    for (name, setting) in all() {
        assert_eq!(setting.check(None), Ok(()), "{name}");
        assert!(!setting.help().is_empty() && !setting.takes().is_empty(), "{name}");
    }
}

/// The files below `folder` whose names end so.
fn files(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, ending, found);
        } else if path.to_str().is_some_and(|name| name.ends_with(ending) && !name.ends_with("_tests.rs")) {
            found.push(path);
        }
    }
}

/// A setting that is read by its name could be read with another default.
#[test]
fn no_setting_is_read_but_by_its_declaration() {
    let (root, mut sources) = (root(), Vec::new());
    for folder in read_dir(root.join("crates")).unwrap().chain(read_dir(&root).unwrap()) {
        let folder = folder.unwrap().path();
        let tests = folder.to_str().is_some_and(|name| name.contains("/crates/test"));
        if !tests && folder.join("Cargo.toml").exists() && folder.join("src").exists() {
            files(&folder.join("src"), ".rs", &mut sources);
        }
    }
    assert!(sources.len() > 100, "{}", sources.len());
    for path in sources {
        let text = read_to_string(&path).unwrap();
        let product = text.split("#[cfg(test)]").next().unwrap();
        for literal in product.split('"') {
            assert!(!all().contains_key(literal), "{}: \"{literal}\" in quotation marks", path.display());
        }
    }
}

/// The ways in which a page may write a default.
fn written(default: &str) -> Vec<String> {
    let mut ways = vec![default.to_owned()];
    if default.len() > 3 && default.parse::<u64>().is_ok() {
        let (thousands, rest) = default.split_at(default.len() - 3);
        ways.push(format!("{thousands},{rest}"));
    }
    if let Some(number) = default.strip_suffix(['s', 'm', 'h', 'd']) {
        ways.push(format!("{number} {}", &default[number.len()..]));
    }
    ways
}

/// As `STELE_X`, 5 s; `STELE_X` (5 s); `STELE_X=5`.
#[test]
fn no_page_writes_a_default_behind_a_settings_name() {
    let (root, mut pages) = (root(), Vec::new());
    for folder in ["docs", "deploy"] {
        files(&root.join(folder), ".md", &mut pages);
    }
    pages.extend(["README.md", "README.zh-CN.md", "SECURITY.md", "CONTRIBUTING.md"].map(|name| root.join(name)));
    pages.retain(|path| !path.ends_with(PAGE) && !path.to_str().unwrap().contains("/adr/"));
    for path in pages {
        let text = read_to_string(&path).unwrap();
        for (name, setting) in all() {
            for (at, _) in text.match_indices(name) {
                let rest = text[at + name.len()..].trim_start_matches(['`', ' ', ',', '(', ':', '（', '，', '：']);
                let twice = |way: &String| {
                    rest.strip_prefix(way.as_str()).is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric()))
                };
                let ways = written(&setting.default_text());
                assert!(!ways.iter().any(twice), "{}: the default of {name} is written again", path.display());
            }
        }
    }
}
