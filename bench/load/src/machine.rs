//! What the machine has spent on what: processor time and memory of processes, and how noisy it was.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use md5::{Digest as _, Md5};
use stele_bench_kit::{Failure, Result};

/// Processor time by what processes are called, in microseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cpu {
    by_name: BTreeMap<&'static str, u64>,
    machine: Machine,
}

/// Times of all processors together, in microseconds.
#[derive(Clone, Copy, Debug, Default)]
struct Machine {
    busy: u64,
    idle: u64,
    stolen: u64,
}

/// What a stretch of time has cost.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spent {
    /// By what processes are called, in microseconds.
    pub(crate) by_name: BTreeMap<&'static str, u64>,
    /// By processes that are none of ours, as a share of what the machine has.
    pub(crate) others: f64,
    /// By other guests of the host, likewise.
    pub(crate) stolen: f64,
}

impl Cpu {
    /// What was spent so far by these processes with all their children, by this one, which is called "client", and by
    /// what it ran to the end, called "tool".
    pub(crate) fn now(processes: &[(&'static str, u32)]) -> Self {
        let stats = stats();
        let (own, ended) = own_and_children(&stats, std::process::id());
        let mut by_name = BTreeMap::from([("client", own), ("tool", ended)]);
        for (name, id) in processes {
            *by_name.entry(*name).or_default() += tree(&stats, *id);
        }
        Self { by_name, machine: machine() }
    }

    /// What was spent since `before`.
    pub(crate) fn since(&self, before: &Self) -> Spent {
        let spent = |name| self.by_name.get(name).zip(before.by_name.get(name)).map(|(n, b)| n.saturating_sub(*b));
        let by_name: BTreeMap<_, _> =
            self.by_name.keys().filter_map(|name| Some((*name, spent(name)?))).filter(|(_, some)| *some > 0).collect();
        let ours: u64 = by_name.values().sum();
        let busy = self.machine.busy - before.machine.busy;
        let stolen = self.machine.stolen - before.machine.stolen;
        let all = (busy + stolen + self.machine.idle - before.machine.idle).max(1) as f64;
        Spent { by_name, others: busy.saturating_sub(ours) as f64 / all, stolen: stolen as f64 / all }
    }
}

/// A process's parent, and its processor time in microseconds: its own, and of children that have ended.
type Stats = BTreeMap<u32, (u32, u64, u64)>;

fn stats() -> Stats {
    let Ok(entries) = fs::read_dir("/proc") else { return Stats::new() };
    let ids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter_map(|id: u32| Some((id, stat(id)?))).collect()
}

fn stat(id: u32) -> Option<(u32, u64, u64)> {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // From the third of proc(5)'s fields on: the second may hold anything.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let parent = u32::try_from(field(4)?).ok()?;
    Some((parent, ticks(field(14)? + field(15)?), ticks(field(16)? + field(17)?)))
}

fn ticks(ticks: u64) -> u64 {
    ticks * 1_000_000 / rustix::param::clock_ticks_per_second().max(1)
}

fn own_and_children(stats: &Stats, id: u32) -> (u64, u64) {
    stats.get(&id).map_or((0, 0), |(_, own, children)| (*own, *children))
}

fn tree(stats: &Stats, id: u32) -> u64 {
    let (own, ended) = own_and_children(stats, id);
    let children = stats.iter().filter(|(_, (parent, ..))| *parent == id);
    own + ended + children.map(|(child, _)| tree(stats, *child)).sum::<u64>()
}

fn machine() -> Machine {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let fields: Vec<u64> = line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).map(ticks).collect();
    let of = |index: usize| fields.get(index).copied().unwrap_or_default();
    // user, nice, system, idle, iowait, irq, softirq, steal; guests are counted as users.
    Machine { busy: of(0) + of(1) + of(2) + of(5) + of(6), idle: of(3) + of(4), stolen: of(7) }
}

/// Memory of a process and its children, in KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// What is in RAM, shared pages counted in each process.
    pub(crate) resident: u64,
    /// What is in RAM, shared pages divided among those who share them.
    pub(crate) proportional: u64,
}

/// The memory of the process `id`, without its children.
///
/// # Errors
/// If there is no such process.
pub(crate) fn memory(id: u32) -> Result<Memory> {
    let text = fs::read_to_string(format!("/proc/{id}/smaps_rollup"))
        .map_err(|e| Failure::new(format!("the memory of process {id} cannot be read: {e}")))?;
    let of = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
    };
    Ok(Memory { resident: of("Rss:"), proportional: of("Pss:") })
}

/// How long a fixed piece of work takes on one processor: how much it varies is how noisy the machine is.
pub(crate) fn spin() -> Duration {
    let begun = Instant::now();
    let mut block = [7_u8; 64];
    for _ in 0..200_000 {
        let digest = Md5::digest(block);
        block[..16].copy_from_slice(&digest);
    }
    std::hint::black_box(block);
    begun.elapsed()
}

/// What the processor calls itself, and how many there are.
pub(crate) fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{cores} × {}", model.unwrap_or("a processor without a name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_seen_with_who_did_it() {
        let before = Cpu::now(&[("me", std::process::id())]);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(120) {
            spin();
        }
        let spent = Cpu::now(&[("me", std::process::id())]).since(&before);
        assert!(spent.by_name["me"] >= 50_000 && spent.by_name["client"] >= 50_000, "{spent:?}");
    }

    #[test]
    fn memory_is_some() {
        let memory = memory(std::process::id()).unwrap();
        assert!(memory.resident > 500 && memory.proportional > 0, "{memory:?}");
    }
}
