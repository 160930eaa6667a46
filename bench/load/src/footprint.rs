//! Start-up time and idle memory of each program.

use std::time::{Duration, Instant};

use stele_bench_kit::{BenchError, DialectKind, Result};

use crate::cpu_usage::{self, MemoryUsage};
use crate::installation::{PopulationSizes, ProgramStart, StoreKind, TestStores};
use crate::measurement::MedianRange;

/// The number of starts of each program.
const STARTS_PER_PROGRAM: usize = 5;

/// Start-up time and memory of one program.
pub(crate) struct Footprint {
    pub(crate) name: &'static str,
    /// Seconds from the start to the first 200 of the readiness endpoint.
    pub(crate) startup_seconds: MedianRange,
    /// Memory after some time without requests.
    pub(crate) idle_memory: MemoryUsage,
}

/// Starts each of the product's programs several times, and reads the memory of all after `idle_time` without requests.
///
/// # Errors
/// If a program does not start.
pub(crate) fn measure_footprints(
    stores: &TestStores,
    sizes: PopulationSizes,
    idle_time: Duration,
) -> Result<Vec<Footprint>> {
    let (mut startup_times, mut running) = (Vec::new(), Vec::new());
    let mut measure_starts = |program: ProgramStart| {
        let mut times = Vec::new();
        for number in 0..STARTS_PER_PROGRAM {
            let started_at = Instant::now();
            let server = stores.start(&program)?;
            times.push(started_at.elapsed().as_secs_f64());
            if number + 1 == STARTS_PER_PROGRAM {
                running.push(server);
            }
        }
        startup_times.push((program.name, times));
        Ok::<_, BenchError>(running.iter().map(|server| server.address).collect::<Vec<_>>())
    };
    let mut services = Vec::new();
    for dialect in DialectKind::ALL {
        services = measure_starts(stores.service(
            stores.current_build(),
            dialect.name(),
            dialect.program(),
            sizes.main_users,
        ))?;
    }
    measure_starts(stores.gateway_to_all_services("gateway", &services))?;
    measure_starts(stores.up(stores.current_build(), "stele up", StoreKind::Embedded))?;
    std::thread::sleep(idle_time);
    let footprints = startup_times.into_iter().zip(&running).map(|((name, times), server)| {
        let startup_seconds =
            MedianRange::from_values(times).ok_or_else(|| BenchError::new(format!("{name} was never started")))?;
        Ok(Footprint { name, startup_seconds, idle_memory: cpu_usage::memory_usage(server.process.process_id)? })
    });
    footprints.collect()
}
