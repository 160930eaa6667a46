//! How soon each program is ready, and what memory it takes when nobody asks it anything.

use std::time::{Duration, Instant};

use stele_bench_kit::{Dialect, Failure, Result};

use crate::machine::{self, Memory};
use crate::sample::Spread;
use crate::site::{Sizes, Start, Stores};

/// How often each is started.
const STARTS: usize = 5;

/// One program.
pub(crate) struct Footprint {
    pub(crate) name: &'static str,
    /// Seconds from its start to the first 200 of its readiness page.
    pub(crate) ready: Spread,
    /// What it has in RAM after a while without requests.
    pub(crate) idle: Memory,
}

/// Starts each of the product's programs some times, and looks at all of them after they were idle for `idle`.
///
/// # Errors
/// If one does not start.
pub(crate) fn measure(stores: &Stores, sizes: Sizes, idle: Duration) -> Result<Vec<Footprint>> {
    let (mut all, mut running) = (Vec::new(), Vec::new());
    let mut start = |start: Start| {
        let mut times = Vec::new();
        for number in 0..STARTS {
            let begun = Instant::now();
            let server = stores.start(&start)?;
            times.push(begun.elapsed().as_secs_f64());
            if number + 1 == STARTS {
                running.push(server);
            }
        }
        all.push((start.name, times));
        Ok::<_, Failure>(running.iter().map(|server| server.address).collect::<Vec<_>>())
    };
    let mut services = Vec::new();
    for dialect in Dialect::ALL {
        services = start(stores.service(stores.current(), dialect.name(), dialect.program(), sizes.users))?;
    }
    start(stores.whole_gateway("gateway", &services))?;
    start(stores.up(stores.current(), "stele up", false))?;
    std::thread::sleep(idle);
    let each = all.into_iter().zip(&running).map(|((name, times), server)| {
        let ready = Spread::of(times).ok_or_else(|| Failure::new(format!("{name} was never started")))?;
        Ok(Footprint { name, ready, idle: machine::memory(server.process.id)? })
    });
    each.collect()
}
