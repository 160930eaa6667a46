//! The clients of a round: they work all the time, and each one records the answers in its own ledger. When they are
//! stopped, they check the ledger.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use stele_bench_kit::{BenchError, Result};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::client::{Client, ClientResult};
use crate::outbox::Outbox;

/// Who calls, and what.
#[derive(Clone)]
pub(crate) struct LoadOptions {
    /// Where the clients send their requests.
    pub(crate) gateway: SocketAddr,
    /// The cloudbox instances, each of which must reject a used proof.
    pub(crate) cloudbox: Vec<SocketAddr>,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) clients: usize,
    /// The pause of a client between two requests.
    pub(crate) pause: Duration,
}

/// Running clients.
pub(crate) struct Load {
    pub(crate) started: Instant,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<Result<ClientResult>>>,
}

impl Load {
    /// Starts the clients, and waits until each has registered its users.
    ///
    /// # Errors
    /// If a user cannot be registered.
    pub(crate) fn start(runtime: &Runtime, options: &LoadOptions) -> Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let (seeded, mut all_seeded) = mpsc::channel(options.clients.max(1));
        let started = Instant::now();
        let run_client = |number: usize| {
            let (options, stopped, seeded) = (options.clone(), stopped.clone(), seeded.clone());
            runtime.spawn(async move {
                let mut client = Client::new(number, started, options);
                let registered = client.register_users().await;
                // The receiver only goes away after another client's failure.
                let _ = seeded.send(registered.is_ok()).await;
                registered?;
                client.work(&stopped).await;
                client.check_ledger().await;
                Ok(client.into_result())
            })
        };
        let tasks: Vec<_> = (0..options.clients).map(run_client).collect();
        let load = Self { started, stop, tasks };
        let all_registered = runtime.block_on(async {
            for _ in 0..options.clients {
                if all_seeded.recv().await != Some(true) {
                    return false;
                }
            }
            true
        });
        if all_registered { Ok(load) } else { Err(load.first_error(runtime)) }
    }

    fn first_error(self, runtime: &Runtime) -> BenchError {
        self.stop.send_replace(true);
        let finished = runtime.block_on(futures_util::future::join_all(self.tasks));
        let error = finished.into_iter().flatten().find_map(std::result::Result::err);
        error.unwrap_or_else(|| BenchError::new("the clients cannot register their users"))
    }

    /// Stops the clients, and lets them check their ledgers.
    ///
    /// # Errors
    /// If a client has panicked.
    pub(crate) fn stop_and_check(self, runtime: &Runtime) -> Result<Vec<ClientResult>> {
        self.stop.send_replace(true);
        let finished = runtime.block_on(futures_util::future::join_all(self.tasks));
        finished.into_iter().map(|task| task.map_err(|_| BenchError::new("a client panicked"))?).collect()
    }
}
