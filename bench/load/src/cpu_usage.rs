//! Processor time and memory of processes, and the noise of the machine, read from `/proc`.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use md5::{Digest as _, Md5};
use stele_bench_kit::{BenchError, Result};

/// Processor time so far, by process name, in microseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct CpuSnapshot {
    by_name: BTreeMap<&'static str, u64>,
    processors: ProcessorTimes,
}

/// Times of all processors together so far, in microseconds.
#[derive(Clone, Copy, Debug, Default)]
struct ProcessorTimes {
    busy: u64,
    idle: u64,
    stolen_time: u64,
}

/// Processor time between two snapshots.
#[derive(Clone, Debug, Default)]
pub(crate) struct CpuUsage {
    /// Processor time by process name, in microseconds.
    pub(crate) by_name: BTreeMap<&'static str, u64>,
    /// Share of the machine that other processes used, from 0 to 1.
    pub(crate) others_share: f64,
    /// Share that other guests of the host took (steal time), from 0 to 1.
    pub(crate) stolen_share: f64,
}

impl CpuSnapshot {
    /// Reads the processor time of `processes` with all their descendants, of this process ("client"), and of its ended
    /// children ("tool").
    pub(crate) fn take(processes: &[(&'static str, u32)]) -> Self {
        let stats = all_process_stats();
        let (own, ended) = own_and_children(&stats, std::process::id());
        let mut by_name = BTreeMap::from([("client", own), ("tool", ended)]);
        for (name, id) in processes {
            *by_name.entry(*name).or_default() += tree_cpu_time(&stats, *id);
        }
        Self { by_name, processors: processor_times() }
    }

    /// The processor time since the snapshot `before`.
    pub(crate) fn since_snapshot(&self, before: &Self) -> CpuUsage {
        let spent = |name| self.by_name.get(name).zip(before.by_name.get(name)).map(|(n, b)| n.saturating_sub(*b));
        let by_name: BTreeMap<_, _> =
            self.by_name.keys().filter_map(|name| Some((*name, spent(name)?))).filter(|(_, some)| *some > 0).collect();
        let ours: u64 = by_name.values().sum();
        let busy = self.processors.busy - before.processors.busy;
        let stolen = self.processors.stolen_time - before.processors.stolen_time;
        let all = (busy + stolen + self.processors.idle - before.processors.idle).max(1) as f64;
        CpuUsage { by_name, others_share: busy.saturating_sub(ours) as f64 / all, stolen_share: stolen as f64 / all }
    }
}

/// By process id: the parent, and processor time in microseconds, own and of ended children.
type ProcessStats = BTreeMap<u32, (u32, u64, u64)>;

fn all_process_stats() -> ProcessStats {
    let Ok(entries) = fs::read_dir("/proc") else { return ProcessStats::new() };
    let ids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter_map(|id: u32| Some((id, process_stats(id)?))).collect()
}

fn process_stats(id: u32) -> Option<(u32, u64, u64)> {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // Fields from the third on (proc_pid_stat(5)); the second, the program's name, may contain any character.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let parent = u32::try_from(field(4)?).ok()?;
    Some((parent, ticks_to_micros(field(14)? + field(15)?), ticks_to_micros(field(16)? + field(17)?)))
}

fn ticks_to_micros(ticks: u64) -> u64 {
    ticks * 1_000_000 / rustix::param::clock_ticks_per_second().max(1)
}

/// The processor time of the process `id`, and that of its ended children.
fn own_and_children(stats: &ProcessStats, id: u32) -> (u64, u64) {
    stats.get(&id).map_or((0, 0), |(_, own, children)| (*own, *children))
}

/// The processor time of the process `id` and all its descendants, running and ended.
fn tree_cpu_time(stats: &ProcessStats, id: u32) -> u64 {
    let (own, ended) = own_and_children(stats, id);
    let children = stats.iter().filter(|(_, (parent, ..))| *parent == id);
    own + ended + children.map(|(child, _)| tree_cpu_time(stats, *child)).sum::<u64>()
}

fn processor_times() -> ProcessorTimes {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let fields: Vec<u64> =
        line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).map(ticks_to_micros).collect();
    let field = |index: usize| fields.get(index).copied().unwrap_or_default();
    // user, nice, system, idle, iowait, irq, softirq, steal; guest time is included in user time.
    ProcessorTimes {
        busy: field(0) + field(1) + field(2) + field(5) + field(6),
        idle: field(3) + field(4),
        stolen_time: field(7),
    }
}

/// Memory of one or several processes, in KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MemoryUsage {
    /// RSS: resident pages; shared ones count fully in each process.
    pub(crate) resident: u64,
    /// PSS: resident pages; shared ones are divided among the processes.
    pub(crate) proportional: u64,
}

/// The memory of the process `id`, without its children.
///
/// # Errors
/// If there is no such process.
pub(crate) fn memory_usage(id: u32) -> Result<MemoryUsage> {
    let text = fs::read_to_string(format!("/proc/{id}/smaps_rollup"))
        .map_err(|e| BenchError::new(format!("the memory of process {id} cannot be read: {e}")))?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
    };
    Ok(MemoryUsage { resident: field("Rss:"), proportional: field("Pss:") })
}

/// The sum of the memory of the processes `roots` and all their descendants. A descendant that ends meanwhile
/// is not counted.
///
/// # Errors
/// If one of `roots` has ended.
pub(crate) fn memory_of_trees(roots: &[u32]) -> Result<MemoryUsage> {
    let stats = all_process_stats();
    let children = |id: u32| stats.iter().filter(move |(_, (parent, ..))| *parent == id).map(|(child, _)| *child);
    let mut usages: Vec<MemoryUsage> = roots.iter().map(|id| memory_usage(*id)).collect::<Result<_>>()?;
    let mut ids: Vec<u32> = roots.iter().flat_map(|id| children(*id)).collect();
    while let Some(id) = ids.pop() {
        usages.extend(memory_usage(id));
        ids.extend(children(id));
    }
    Ok(MemoryUsage {
        resident: usages.iter().map(|usage| usage.resident).sum(),
        proportional: usages.iter().map(|usage| usage.proportional).sum(),
    })
}

/// Measures the time of a fixed computation on one processor. The variation of the time shows the noise of the machine.
pub(crate) fn time_calibration_loop() -> Duration {
    let started_at = Instant::now();
    let mut block = [7_u8; 64];
    for _ in 0..200_000 {
        let digest = Md5::digest(block);
        block[..16].copy_from_slice(&digest);
    }
    std::hint::black_box(block);
    started_at.elapsed()
}

/// The number of processors and their model name.
pub(crate) fn processor_model() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{cores} × {}", model.unwrap_or("unknown processor"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_attributed_to_the_process() {
        let before = CpuSnapshot::take(&[("me", std::process::id())]);
        let started_at = Instant::now();
        while started_at.elapsed() < Duration::from_millis(120) {
            time_calibration_loop();
        }
        let spent = CpuSnapshot::take(&[("me", std::process::id())]).since_snapshot(&before);
        assert!(spent.by_name["me"] >= 50_000 && spent.by_name["client"] >= 50_000, "{spent:?}");
    }

    #[test]
    fn memory_usage_is_nonzero() {
        let memory = memory_usage(std::process::id()).unwrap();
        assert!(memory.resident > 500 && memory.proportional > 0, "{memory:?}");
    }

    #[test]
    fn memory_of_a_tree_includes_its_children() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let id = std::process::id();
        let tree = memory_of_trees(&[id]);
        let alone = memory_usage(child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        let (tree, alone) = (tree.unwrap(), alone.unwrap());
        assert!(alone.resident > 0 && tree.resident > alone.resident, "{tree:?} {alone:?}");
        assert!(memory_of_trees(&[]).unwrap() == MemoryUsage::default());
    }
}
