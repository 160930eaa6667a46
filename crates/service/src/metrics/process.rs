//! Process metrics (CPU time, memory, threads, open files) under Prometheus' standard names. Only on Linux, from
//! `/proc`.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

use super::encode_gauge;

#[derive(Debug)]
pub(super) struct ProcessCollector;

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(stat) = ProcessStat::read() else { return Ok(()) };
        let help = "User and system CPU time spent";
        let cpu_time = ConstCounter::new(stat.cpu_seconds);
        cpu_time.encode(encoder.encode_descriptor("process_cpu_seconds", help, None, MetricType::Counter)?)?;
        let open_files = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        let open_file_limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        for (name, help, value) in [
            ("process_resident_memory_bytes", "Resident memory in bytes", stat.memory_bytes),
            ("process_threads", "Number of threads", stat.threads),
            ("process_open_fds", "Number of open file descriptors", open_files as f64),
            ("process_max_fds", "Limit of open file descriptors", open_file_limit as f64),
            ("process_start_time_seconds", "Start time in seconds since the Unix epoch", stat.start_time),
        ] {
            encode_gauge(&mut encoder, name, help, value)?;
        }
        Ok(())
    }
}

struct ProcessStat {
    cpu_seconds: f64,
    memory_bytes: f64,
    threads: f64,
    start_time: f64,
}

impl ProcessStat {
    /// Reads `/proc/self/stat`, see proc_pid_stat(5), and the boot time in `/proc/stat`. The command name in
    /// parentheses may contain any character.
    fn read() -> Option<Self> {
        let process_stat = fs::read_to_string("/proc/self/stat").ok()?;
        let fields: Vec<&str> = process_stat.rsplit_once(')')?.1.split_whitespace().collect();
        let system_stat = fs::read_to_string("/proc/stat").ok()?;
        let boot_time: f64 = system_stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
        // `fields` begins after the command name, with field 3 of the manual page.
        let parse_field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        let ticks = clock_ticks_per_second() as f64;
        Some(Self {
            cpu_seconds: (parse_field(14)? + parse_field(15)?) / ticks,
            threads: parse_field(20)?,
            start_time: boot_time + parse_field(22)? / ticks,
            memory_bytes: parse_field(24)? * page_size() as f64,
        })
    }
}
