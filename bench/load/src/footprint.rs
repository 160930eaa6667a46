//! How soon each program is ready, and what memory it takes when nobody asks it anything.

use std::time::{Duration, Instant};

use stele_bench_kit::Result;

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
    let services = [
        ("cloudbox", "svc-cloudbox"),
        ("tms", "svc-tms"),
        ("portal", "svc-portal"),
        ("mefp", "svc-mefp"),
        ("jwt", "svc-jwt"),
    ];
    let mut starts: Vec<Start> =
        services.into_iter().map(|(name, program)| stores.service(name, program, sizes.users)).collect();
    let nowhere = crate::process::free_address()?;
    starts.push(stores.gateway("gateway", &[nowhere], "info"));
    starts.push(stores.up("stele up", false));
    let (mut ready, mut running) = (Vec::new(), Vec::new());
    for start in &starts {
        let mut times = Vec::new();
        for number in 0..STARTS {
            let begun = Instant::now();
            let server = stores.start(start)?;
            times.push(begun.elapsed().as_secs_f64());
            if number + 1 == STARTS {
                running.push(server);
            }
        }
        ready.push(times);
    }
    std::thread::sleep(idle);
    let each = starts.iter().zip(ready).zip(&running);
    each.map(|((start, times), server)| {
        let ready = Spread::of(times).unwrap_or(Spread { median: f64::NAN, least: f64::NAN, most: f64::NAN });
        Ok(Footprint { name: start.name, ready, idle: machine::memory(server.process.id)? })
    })
    .collect()
}
