//! Every metric that the Grafana dashboard and the Prometheus alerts query is exposed by a program.

use std::collections::BTreeSet;
use std::fs::{read_dir, read_to_string};
use std::path::Path;

use serde_json::Value;

/// Suffixes that the exposition format appends to a metric's name.
const METRIC_SUFFIXES: [&str; 4] = ["_total", "_bucket", "_sum", "_count"];

fn repository_path(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn find_metric_names(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("stele_") || word.starts_with("process_"))
}

/// Collects the metric names in the string literals of a program's source files.
fn collect_metric_names(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect_metric_names(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = read_to_string(path).unwrap();
            names
                .extend(text.split('"').filter(|part| find_metric_names(part).next() == Some(part)).map(str::to_owned));
        }
    }
}

// The sources are searched because an idle program does not expose metrics that it has not counted yet.
#[test]
fn every_metric_of_the_dashboard_and_alerts_exists() {
    let mut exposed = BTreeSet::new();
    for sources in ["crates/service/src", "crates/app/src", "crates/delivery/src", "gateway/src"] {
        collect_metric_names(&repository_path(sources), &mut exposed);
    }
    let read_observability_file =
        |file: &str| read_to_string(repository_path("deploy/observability").join(file)).unwrap();
    let dashboard: Value = serde_json::from_str(&read_observability_file("grafana/dashboards/stele.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.filter_map(|panel| panel["targets"].as_array()).flatten();
    let queries: Vec<_> = targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect();
    let rules = read_observability_file("prometheus/rules.yml");
    let queried: BTreeSet<_> =
        queries.iter().flat_map(|query| find_metric_names(query)).chain(find_metric_names(&rules)).collect();
    assert!(queried.len() > 20, "{queried:?}");
    let is_exposed = |name: &str| {
        exposed.contains(name)
            || METRIC_SUFFIXES.iter().any(|suffix| name.strip_suffix(suffix).is_some_and(|base| exposed.contains(base)))
    };
    let unknown: Vec<_> = queried.into_iter().filter(|name| !is_exposed(name)).collect();
    assert!(unknown.is_empty(), "no program exposes {unknown:?}");
}
