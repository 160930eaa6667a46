//! Detects memory leaks and growing stores: samples memory, store and log sizes once a second during the attacks, and
//! writes them as CSV and SVG.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use stele_bench_kit::svg::{Panel, time_series_svg};
use stele_bench_kit::{BenchError, Result, Usage};

use crate::store_sizes::StoreLocation;
use crate::target::Target;

const MIB: f64 = 1024.0 * 1024.0;

/// The processes (name, process id, log file) and stores (name, location) to sample.
#[derive(Clone, Debug)]
struct MonitoredResources {
    processes: Vec<(String, u32, PathBuf)>,
    stores: Vec<(String, StoreLocation)>,
}

/// One sample, in bytes: the resident memory of each process, the sizes of the user and the state store of each target,
/// and the size of all logs together.
#[derive(Clone, Debug)]
struct Sample {
    elapsed: Duration,
    resident_bytes: Vec<u64>,
    store_bytes: Vec<u64>,
    log_bytes: u64,
}

/// A thread that takes samples until it is stopped.
pub(crate) struct SizeMonitor {
    resources: MonitoredResources,
    stopped: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Sample>>,
}

impl SizeMonitor {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub(crate) fn start(targets: &[&Target]) -> Result<Self> {
        let processes = targets.iter().flat_map(|target| {
            let qualified_name = |name: &str| format!("{}: {name}", target.name());
            target.processes().iter().map(move |p| (qualified_name(p.name()), p.process_id(), p.log_file().to_owned()))
        });
        let stores = targets.iter().map(|target| (target.name().to_owned(), target.stores.clone()));
        let resources = MonitoredResources { processes: processes.collect(), stores: stores.collect() };
        let stopped = Arc::new(AtomicBool::new(false));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (sampled_resources, stop) = (resources.clone(), Arc::clone(&stopped));
        let thread = std::thread::Builder::new().name("size-monitor".to_owned()).spawn(move || {
            let (started_at, mut samples) = (Instant::now(), Vec::new());
            while !stop.load(Ordering::Relaxed) {
                samples.push(runtime.block_on(take_sample(&sampled_resources, started_at)));
                std::thread::sleep(Duration::from_secs(1));
            }
            samples
        })?;
        Ok(Self { resources, stopped, thread })
    }

    /// Stops the thread and writes `NAME.csv` and `NAME.svg` into `folder`. Returns a summary for the user.
    ///
    /// # Errors
    /// If the files cannot be written.
    pub(crate) fn stop_and_write(self, folder: &Path, name: &str) -> Result<String> {
        self.stopped.store(true, Ordering::Relaxed);
        let samples = self.thread.join().map_err(|_| BenchError::new("the sampling thread panicked"))?;
        let [csv, svg] = ["csv", "svg"].map(|kind| folder.join(format!("{name}.{kind}")));
        std::fs::create_dir_all(folder)?;
        std::fs::write(&csv, csv_table(&self.resources, &samples))?;
        std::fs::write(&svg, svg_chart(&self.resources, &samples, name))?;
        Ok(format!("{} samples in {} and {}", samples.len(), csv.display(), svg.display()))
    }
}

async fn take_sample(resources: &MonitoredResources, started_at: Instant) -> Sample {
    let memory = resources.processes.iter().map(|(_, id, _)| Usage::of_process(*id).resident_bytes).collect();
    let mut sizes = Vec::new();
    for (_, stores) in &resources.stores {
        // A store that cannot be reached has size 0, which is visible in the chart.
        let size = stores.measure().await.unwrap_or_default();
        sizes.extend([size.user_store_bytes, size.state_store_bytes]);
    }
    let logs = resources.processes.iter().map(|(.., log)| std::fs::metadata(log).map_or(0, |log| log.len())).sum();
    Sample { elapsed: started_at.elapsed(), resident_bytes: memory, store_bytes: sizes, log_bytes: logs }
}

fn column_names(resources: &MonitoredResources) -> (Vec<String>, Vec<String>) {
    let memory = resources.processes.iter().map(|(name, ..)| name.clone()).collect();
    let stores = resources.stores.iter().flat_map(|(name, _)| ["users", "state"].map(|what| format!("{name}: {what}")));
    (memory, stores.chain(["logs".to_owned()]).collect())
}

fn csv_table(resources: &MonitoredResources, samples: &[Sample]) -> String {
    let (memory, stores) = column_names(resources);
    let headings: Vec<_> = memory.into_iter().chain(stores).map(|name| format!("\"{name}\"")).collect();
    let mut out = format!("seconds,{}\n", headings.join(","));
    for Sample { elapsed: at, resident_bytes: memory, store_bytes: sizes, log_bytes: logs } in samples {
        let values: Vec<_> = memory.iter().chain(sizes).chain([logs]).map(u64::to_string).collect();
        // Writing to memory does not fail.
        let _ = writeln!(out, "{:.1},{}", at.as_secs_f64(), values.join(","));
    }
    out
}

fn svg_chart(resources: &MonitoredResources, samples: &[Sample], name: &str) -> String {
    let (memory, stores) = column_names(resources);
    let series_of = |name: String, value: &dyn Fn(&Sample) -> u64| {
        (name, samples.iter().map(|sample| (sample.elapsed.as_secs_f64(), value(sample) as f64 / MIB)).collect())
    };
    let memory =
        memory.into_iter().enumerate().map(|(n, name)| series_of(name, &|sample: &Sample| sample.resident_bytes[n]));
    let stores = stores.into_iter().enumerate();
    let stores =
        stores.map(|(n, name)| series_of(name, &|s: &Sample| s.store_bytes.get(n).copied().unwrap_or(s.log_bytes)));
    let panels = [
        Panel { title: "resident memory, MiB".to_owned(), series: memory.collect() },
        Panel { title: "users, state and logs, MiB".to_owned(), series: stores.collect() },
    ];
    time_series_svg(&format!("{name}: growth during the attacks"), &panels)
}
