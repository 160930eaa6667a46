//! How large everything becomes while it is attacked: a sample a second, as CSV and as a picture.

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

/// What is looked at: a name, and where it is found.
#[derive(Clone, Debug)]
struct MonitoredResources {
    processes: Vec<(String, u32, PathBuf)>,
    stores: Vec<(String, StoreLocation)>,
}

/// One second: resident memory of each process, the sizes of users and state of each fleet, and of all logs, in bytes.
#[derive(Clone, Debug)]
struct Sample {
    elapsed: Duration,
    resident_bytes: Vec<u64>,
    store_bytes: Vec<u64>,
    log_bytes: u64,
}

/// Takes samples until it is stopped.
pub(crate) struct SizeMonitor {
    watched: MonitoredResources,
    stopped: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Sample>>,
}

impl SizeMonitor {
    /// Begins.
    ///
    /// # Errors
    /// If no thread can be started.
    pub(crate) fn start(fleets: &[&Target]) -> Result<Self> {
        let processes = fleets.iter().flat_map(|fleet| {
            let named = |name: &str| format!("{}: {name}", fleet.name());
            fleet.processes().iter().map(move |p| (named(p.name()), p.process_id(), p.log_file().to_owned()))
        });
        let stores = fleets.iter().map(|fleet| (fleet.name().to_owned(), fleet.stores.clone()));
        let watched = MonitoredResources { processes: processes.collect(), stores: stores.collect() };
        let over = Arc::new(AtomicBool::new(false));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (seen, stop) = (watched.clone(), Arc::clone(&over));
        let thread = std::thread::Builder::new().name("watch".to_owned()).spawn(move || {
            let (begun, mut samples) = (Instant::now(), Vec::new());
            while !stop.load(Ordering::Relaxed) {
                samples.push(runtime.block_on(take_sample(&seen, begun)));
                std::thread::sleep(Duration::from_secs(1));
            }
            samples
        })?;
        Ok(Self { watched, stopped: over, thread })
    }

    /// Ends, and writes `NAME.csv` and `NAME.svg` into `folder`. Gives what it wrote.
    ///
    /// # Errors
    /// If they cannot be written.
    pub(crate) fn stop_and_write(self, folder: &Path, name: &str) -> Result<String> {
        self.stopped.store(true, Ordering::Relaxed);
        let samples = self.thread.join().map_err(|_| BenchError::new("the samples are lost"))?;
        let [csv, svg] = ["csv", "svg"].map(|kind| folder.join(format!("{name}.{kind}")));
        std::fs::create_dir_all(folder)?;
        std::fs::write(&csv, csv_table(&self.watched, &samples))?;
        std::fs::write(&svg, svg_chart(&self.watched, &samples, name))?;
        Ok(format!("{} samples in {} and {}", samples.len(), csv.display(), svg.display()))
    }
}

async fn take_sample(watched: &MonitoredResources, begun: Instant) -> Sample {
    let memory = watched.processes.iter().map(|(_, id, _)| Usage::of(*id).resident_bytes).collect();
    let mut sizes = Vec::new();
    for (_, stores) in &watched.stores {
        // One that is not there in this second is 0: that is seen in the picture.
        let size = stores.sizes().await.unwrap_or_default();
        sizes.extend([size.user_store_bytes, size.state_store_bytes]);
    }
    let logs = watched.processes.iter().map(|(.., log)| std::fs::metadata(log).map_or(0, |log| log.len())).sum();
    Sample { elapsed: begun.elapsed(), resident_bytes: memory, store_bytes: sizes, log_bytes: logs }
}

fn column_names(watched: &MonitoredResources) -> (Vec<String>, Vec<String>) {
    let memory = watched.processes.iter().map(|(name, ..)| name.clone()).collect();
    let stores = watched.stores.iter().flat_map(|(name, _)| ["users", "state"].map(|what| format!("{name}: {what}")));
    (memory, stores.chain(["logs".to_owned()]).collect())
}

fn csv_table(watched: &MonitoredResources, samples: &[Sample]) -> String {
    let (memory, stores) = column_names(watched);
    let heads: Vec<_> = memory.into_iter().chain(stores).map(|name| format!("\"{name}\"")).collect();
    let mut out = format!("seconds,{}\n", heads.join(","));
    for Sample { elapsed: at, resident_bytes: memory, store_bytes: sizes, log_bytes: logs } in samples {
        let values: Vec<_> = memory.iter().chain(sizes).chain([logs]).map(u64::to_string).collect();
        // Writing to memory does not fail.
        let _ = writeln!(out, "{:.1},{}", at.as_secs_f64(), values.join(","));
    }
    out
}

fn svg_chart(watched: &MonitoredResources, samples: &[Sample], name: &str) -> String {
    let (memory, stores) = column_names(watched);
    let line = |name: String, of: &dyn Fn(&Sample) -> u64| {
        (name, samples.iter().map(|sample| (sample.elapsed.as_secs_f64(), of(sample) as f64 / MIB)).collect())
    };
    let memory =
        memory.into_iter().enumerate().map(|(n, name)| line(name, &|sample: &Sample| sample.resident_bytes[n]));
    let stores = stores.into_iter().enumerate();
    let stores = stores.map(|(n, name)| line(name, &|s: &Sample| s.store_bytes.get(n).copied().unwrap_or(s.log_bytes)));
    let panels = [
        Panel { title: "resident memory, MiB".to_owned(), series: memory.collect() },
        Panel { title: "users, state and logs, MiB".to_owned(), series: stores.collect() },
    ];
    time_series_svg(&format!("{name}: what grows while it is attacked"), &panels)
}
