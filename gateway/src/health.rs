//! Whether the gateway lives, and whether every route leads somewhere.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use crate::table::Table;

/// A service on this network accepts at once, or something is wrong with it.
const PATIENCE: Duration = Duration::from_secs(1);
/// The public may ask as often as it likes; the services are asked once a second.
const FRESH: Duration = Duration::from_secs(1);

/// Looks whether the services can be reached.
#[derive(Clone, Debug)]
pub struct Probe(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    services: Vec<(String, Vec<String>)>,
    last: Mutex<Option<(Instant, Vec<String>)>>,
}

impl Probe {
    pub(crate) fn new(table: &Table) -> Self {
        let services = table.routes().iter().map(|route| {
            let addresses = route.upstreams.instances().iter().map(|instance| instance.address().to_owned());
            (route.service.clone(), addresses.collect())
        });
        Self(Arc::new(Inner { services: services.collect(), last: Mutex::default() }))
    }

    /// The services none of whose instances accepts a connection.
    pub async fn missing(&self) -> Vec<String> {
        let mut last = self.0.last.lock().await;
        if let Some((at, missing)) = last.as_ref()
            && at.elapsed() < FRESH
        {
            return missing.clone();
        }
        let services = &self.0.services;
        let found = join_all(services.iter().map(|(_, addresses)| any_accepts(addresses))).await;
        let absent = services.iter().zip(found).filter(|(_, found)| !found);
        let missing: Vec<_> = absent.map(|((service, _), _)| service.clone()).collect();
        *last = Some((Instant::now(), missing.clone()));
        missing
    }
}

async fn any_accepts(addresses: &[String]) -> bool {
    let attempts = addresses.iter().map(|address| tokio::time::timeout(PATIENCE, TcpStream::connect(address)));
    join_all(attempts).await.into_iter().any(|attempt| matches!(attempt, Ok(Ok(_))))
}
