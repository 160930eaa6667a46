//! Settings are declared once: docs/SETTINGS.md is generated from the declarations, and no default is repeated
//! elsewhere.

use std::collections::BTreeMap;
use std::fs::{read_dir, read_to_string, write};
use std::path::{Path, PathBuf};

use stele::services;
use stele_service::AnySetting;
use stele_service::setting::SettingList;

const SETTINGS_PAGE: &str = "docs/SETTINGS.md";
const PAGE_HEADER: &str = "\
# Settings

Every setting: the programs that read it, its format and its default. A setting is read from the environment, from the file that
`NAME_FILE` names, or from the TOML file that `--config` names, as the key without `STELE_` in lower case; `OTEL_…` settings only from
the environment. This page is generated from the declarations in the code:
`UPDATE_GOLDEN=1 cargo test -p stele --test e2e settings`.

| setting | read by | format | default | description |
| --- | --- | --- | --- | --- |
";

fn repository_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every setting by its name.
fn all_settings() -> BTreeMap<&'static str, &'static dyn AnySetting> {
    services::settings().into_iter().flatten().map(|setting| (setting.name(), *setting)).collect()
}

fn contains_setting(lists: &[SettingList], name: &str) -> bool {
    lists.iter().any(|list| list.iter().any(|setting| setting.name() == name))
}

/// The programs that read a setting, for the page's second column.
fn programs_reading(name: &str) -> String {
    let shared = contains_setting(&stele_app::settings::shared_settings(), name);
    let mut readers = Vec::new();
    match (contains_setting(&gateway::settings(), name), shared) {
        (true, true) => readers.push("all"),
        (true, false) => readers.push("gateway"),
        (false, true) => readers.push("services"),
        (false, false) => {}
    }
    readers.extend(
        services::ALL.iter().filter(|service| contains_setting(&[service.settings], name)).map(|service| service.name),
    );
    if readers.is_empty() { "`stele up`".to_owned() } else { readers.join(", ") }
}

fn render_page() -> String {
    let escape_cell = |text: String| text.replace('|', "\\|");
    let format_row = |(name, setting): (&&str, &&dyn AnySetting)| {
        let (format, default) = (escape_cell(setting.value_format()), escape_cell(setting.default_text()));
        format!("| `{name}` | {} | {format} | {default} | {} |\n", programs_reading(name), escape_cell(setting.help()))
    };
    PAGE_HEADER.to_owned() + &all_settings().iter().map(format_row).collect::<String>()
}

#[test]
fn the_settings_page_matches_the_declarations() {
    let path = repository_root().join(SETTINGS_PAGE);
    #[expect(clippy::disallowed_methods, reason = "no setting of the product's")]
    if std::env::var("UPDATE_GOLDEN").is_ok() {
        write(&path, render_page()).unwrap();
    }
    assert_eq!(read_to_string(path).unwrap(), render_page(), "UPDATE_GOLDEN=1 writes {SETTINGS_PAGE}");
}

#[test]
fn every_default_is_valid() {
    for (name, setting) in all_settings() {
        assert_eq!(setting.validate(None), Ok(()), "{name}");
        assert!(!setting.help().is_empty() && !setting.value_format().is_empty(), "{name}");
    }
}

/// Collects the files below `folder` whose path ends with `ending`, except for files of unit tests.
fn collect_files(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect_files(&path, ending, found);
        } else if path.to_str().is_some_and(|name| name.ends_with(ending) && !name.ends_with("_tests.rs")) {
            found.push(path);
        }
    }
}

/// A setting that is read by its name, and not through its declaration, could have another default there.
#[test]
fn settings_are_read_only_through_their_declaration() {
    let (root, mut sources) = (repository_root(), Vec::new());
    for folder in read_dir(root.join("crates")).unwrap().chain(read_dir(&root).unwrap()) {
        let folder = folder.unwrap().path();
        let is_test_crate = folder.to_str().is_some_and(|name| name.contains("/crates/test"));
        if !is_test_crate && folder.join("Cargo.toml").exists() && folder.join("src").exists() {
            collect_files(&folder.join("src"), ".rs", &mut sources);
        }
    }
    assert!(sources.len() > 100, "{}", sources.len());
    for path in sources {
        let text = read_to_string(&path).unwrap();
        let production_code = text.split("#[cfg(test)]").next().unwrap();
        for literal in production_code.split('"') {
            assert!(!all_settings().contains_key(literal), "{}: \"{literal}\" as a string literal", path.display());
        }
    }
}

/// The spellings of a default in a document: 2000, 2,000, 5s, 5 s.
fn default_spellings(default: &str) -> Vec<String> {
    let mut spellings = vec![default.to_owned()];
    if default.len() > 3 && default.parse::<u64>().is_ok() {
        let (thousands, units) = default.split_at(default.len() - 3);
        spellings.push(format!("{thousands},{units}"));
    }
    if let Some(number) = default.strip_suffix(['s', 'm', 'h', 'd']) {
        spellings.push(format!("{number} {}", &default[number.len()..]));
    }
    spellings
}

/// Searches for a default directly after the setting's name: `STELE_X`, 5 s; `STELE_X` (5 s).
#[test]
fn documents_do_not_repeat_default_values() {
    let (root, mut pages) = (repository_root(), Vec::new());
    for folder in ["docs", "deploy"] {
        collect_files(&root.join(folder), ".md", &mut pages);
    }
    pages.extend(["README.md", "README.zh-CN.md", "SECURITY.md", "CONTRIBUTING.md"].map(|name| root.join(name)));
    pages.retain(|path| !path.ends_with(SETTINGS_PAGE) && !path.to_str().unwrap().contains("/adr/"));
    for path in pages {
        let text = read_to_string(&path).unwrap();
        for (name, setting) in all_settings() {
            for (at, _) in text.match_indices(name) {
                let tail = text[at + name.len()..].trim_start_matches(['`', ' ', ',', '(', ':', '（', '，', '：']);
                let is_repeated = |spelling: &String| {
                    tail.strip_prefix(spelling.as_str())
                        .is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric()))
                };
                let spellings = default_spellings(&setting.default_text());
                assert!(!spellings.iter().any(is_repeated), "{}: repeats the default of {name}", path.display());
            }
        }
    }
}
