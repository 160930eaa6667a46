//! How soon each program is ready, and what memory it takes when nobody asks it anything.

use std::time::{Duration, Instant};

use stele_bench_kit::{BenchError, DialectKind, Result};

use crate::cpu_usage::{self, MemoryUsage};
use crate::installation::{PopulationSizes, ProgramStart, StoreServers};
use crate::measurement::MedianRange;

/// How often each is started.
const STARTS_PER_PROGRAM: usize = 5;

/// One program.
pub(crate) struct Footprint {
    pub(crate) name: &'static str,
    /// Seconds from its start to the first 200 of its readiness page.
    pub(crate) startup_seconds: MedianRange,
    /// What it has in RAM after a while without requests.
    pub(crate) idle_memory: MemoryUsage,
}

/// Starts each of the product's programs some times, and looks at all of them after they were idle for `idle`.
///
/// # Errors
/// If one does not start.
pub(crate) fn measure_footprints(
    stores: &StoreServers,
    sizes: PopulationSizes,
    idle: Duration,
) -> Result<Vec<Footprint>> {
    let (mut all, mut running) = (Vec::new(), Vec::new());
    let mut start = |start: ProgramStart| {
        let mut times = Vec::new();
        for number in 0..STARTS_PER_PROGRAM {
            let begun = Instant::now();
            let server = stores.start(&start)?;
            times.push(begun.elapsed().as_secs_f64());
            if number + 1 == STARTS_PER_PROGRAM {
                running.push(server);
            }
        }
        all.push((start.name, times));
        Ok::<_, BenchError>(running.iter().map(|server| server.address).collect::<Vec<_>>())
    };
    let mut services = Vec::new();
    for dialect in DialectKind::ALL {
        services = start(stores.service(stores.current_build(), dialect.name(), dialect.program(), sizes.main_users))?;
    }
    start(stores.gateway_to_all_services("gateway", &services))?;
    start(stores.up(stores.current_build(), "stele up", false))?;
    std::thread::sleep(idle);
    let each = all.into_iter().zip(&running).map(|((name, times), server)| {
        let ready =
            MedianRange::from_values(times).ok_or_else(|| BenchError::new(format!("{name} was never started")))?;
        Ok(Footprint { name, startup_seconds: ready, idle_memory: cpu_usage::memory_usage(server.process.process_id)? })
    });
    each.collect()
}
