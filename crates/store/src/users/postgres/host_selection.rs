//! Failover: selects the one of several PostgreSQL hosts that gets the connections.
//!
//! The selected host gets all connections until an attempt to connect to it fails. Then all hosts are tried at once, and
//! among those that accept writes the one with the highest timeline is selected: a former primary that returned without
//! being fenced is on an earlier timeline than the standby that was promoted.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::stream::{FuturesUnordered, StreamExt as _};

use super::connection::{ConnectError, Connected, RawConnection, Timeline};
use super::hosts::{Endpoint, Hosts};
use crate::users::pool::ConnectionSlots;

/// How often a call uses what another call has selected meanwhile.
const MAX_ROUNDS: usize = 3;

/// The selected host, and what is known of the others. All connections of a [`Database`](crate::Database) share it.
#[derive(Default)]
pub(super) struct HostSelection {
    state: Mutex<State>,
    /// How often another host than the last one was selected.
    number: AtomicU64,
    /// One call at a time tries all hosts; the others wait for its result.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    selected: Option<Endpoint>,
    /// The host that was selected last, also after an attempt to connect to it failed.
    last: Option<Endpoint>,
    /// Endpoints that did not answer in time at the last attempt: not waited for if another one is suitable.
    unresponsive: Vec<Endpoint>,
    /// The highest timeline of a suitable host so far, by database cluster.
    highest: HashMap<String, u32>,
    /// How often all hosts were tried.
    rounds: u64,
    /// Why the last round found no suitable host.
    error: Option<String>,
}

/// A suitable host of a round.
struct Candidate {
    endpoint: Endpoint,
    connected: Connected,
}

impl HostSelection {
    pub(super) fn selected(&self) -> Option<Endpoint> {
        self.state().selected
    }

    /// The number of the selection: connections with another one lead to a host that was selected earlier.
    pub(super) fn number(&self) -> u64 {
        self.number.load(Ordering::Acquire)
    }

    /// Connects to the selected host, or to another suitable one if it fails.
    ///
    /// # Errors
    /// One line with each host and why it is not used.
    pub(super) async fn connect(&self, hosts: &Hosts, slots: &ConnectionSlots) -> Result<RawConnection, String> {
        let mut failure = String::new();
        for _ in 0..MAX_ROUNDS {
            // Read before the selected host: a connection that a selection overtakes is not used again.
            let number = self.number();
            let rounds = self.state().rounds;
            if let Some(selected) = self.selected() {
                match self.connect_to_selected(hosts, slots, selected).await {
                    Ok(connection) => return Ok(RawConnection { selection: number, ..connection }),
                    Err(error) => failure = format!("{}: {error}", hosts.describe(selected)),
                }
            }
            let _turn = self.turn.lock().await;
            if self.state().rounds == rounds {
                return self.select(hosts, slots).await;
            }
            if let Some(error) = self.state().error.clone() {
                return Err(error);
            }
        }
        Err(failure)
    }

    async fn connect_to_selected(
        &self,
        hosts: &Hosts,
        slots: &ConnectionSlots,
        selected: Endpoint,
    ) -> Result<RawConnection, ConnectError> {
        let outcome = if hosts.has_endpoint(selected).await {
            hosts.connect_to(selected, slots).await
        } else {
            Err(ConnectError::Failed("the name has other addresses now".to_owned()))
        };
        let mut state = self.state();
        let outcome = outcome.and_then(|connected| state.reject_former_primary(connected));
        match &outcome {
            Ok(connected) => state.remember_timeline(connected),
            Err(error) if state.selected == Some(selected) => {
                state.selected = None;
                if error.is_unresponsive() {
                    state.unresponsive.push(selected);
                }
            }
            Err(_) => {}
        }
        outcome.map(|connected| connected.connection)
    }

    /// Tries all hosts at once, and selects the best one that is suitable.
    async fn select(&self, hosts: &Hosts, slots: &ConnectionSlots) -> Result<RawConnection, String> {
        let (endpoints, mut failures) = hosts.resolve_all().await;
        let unresponsive = self.state().unresponsive.clone();
        let mut candidates = Vec::new();
        let mut pending = endpoints.clone();
        let attempt = |endpoint| async move { (endpoint, hosts.connect_to(endpoint, slots).await) };
        let mut attempts: FuturesUnordered<_> = endpoints.into_iter().map(attempt).collect();
        while let Some((endpoint, outcome)) = attempts.next().await {
            pending.retain(|other| *other != endpoint);
            match outcome.and_then(|connected| self.state().reject_former_primary(connected)) {
                Ok(connected) => candidates.push(Candidate { endpoint, connected }),
                Err(error) => failures.push((endpoint, error)),
            }
            if !candidates.is_empty() && pending.iter().all(|endpoint| unresponsive.contains(endpoint)) {
                break;
            }
        }
        failures.sort_by_key(|(endpoint, _)| *endpoint);
        let last = self.state().last;
        let best = candidates.into_iter().reduce(|best, other| better(best, other, last, hosts));
        pending.extend(failures.iter().filter(|(_, error)| error.is_unresponsive()).map(|(endpoint, _)| *endpoint));
        let mut state = self.state();
        state.rounds += 1;
        state.unresponsive = pending;
        match best {
            Some(Candidate { endpoint, connected }) => {
                state.error = None;
                state.remember_timeline(&connected);
                state.selected = Some(endpoint);
                if let Some(last) = state.last.replace(endpoint).filter(|last| *last != endpoint) {
                    let (host, former) = (hosts.describe(endpoint), hosts.describe(last));
                    tracing::info!("PostgreSQL: new connections go to {host} instead of {former}");
                    self.number.fetch_add(1, Ordering::AcqRel);
                }
                Ok(RawConnection { selection: self.number(), ..connected.connection })
            }
            None => {
                let describe =
                    |(endpoint, error): &(Endpoint, ConnectError)| format!("{}: {error}", hosts.describe(*endpoint));
                let error = failures.iter().map(describe).collect::<Vec<_>>().join("; ");
                state.error = Some(error.clone());
                Err(error)
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Rejects a host whose timeline is earlier than one that was in use.
    fn reject_former_primary(&self, connected: Connected) -> Result<Connected, ConnectError> {
        match &connected.timeline {
            Some(Timeline { system, number }) if self.highest.get(system).is_some_and(|highest| number < highest) => {
                Err(ConnectError::Unsuitable(format!(
                    "accepts writes on timeline {number}, but a standby was promoted since: stop this former primary"
                )))
            }
            _ => Ok(connected),
        }
    }

    fn remember_timeline(&mut self, connected: &Connected) {
        if let Some(Timeline { system, number }) = &connected.timeline {
            let highest = self.highest.entry(system.clone()).or_default();
            *highest = (*highest).max(*number);
        }
    }
}

/// The one of two suitable hosts that gets the connections: the one with the higher timeline; if that does not decide,
/// the one that had the connections last, then the first in the URL.
fn better(one: Candidate, other: Candidate, last: Option<Endpoint>, hosts: &Hosts) -> Candidate {
    let (first, second) = if one.endpoint < other.endpoint { (one, other) } else { (other, one) };
    match (&first.connected.timeline, &second.connected.timeline) {
        (Some(a), Some(b)) if a.system == b.system && a.number != b.number => {
            let (best, former) = if a.number > b.number { (first, second) } else { (second, first) };
            tracing::warn!(
                "PostgreSQL: {} accepts writes, but {} was promoted since: stop the former primary",
                hosts.describe(former.endpoint),
                hosts.describe(best.endpoint)
            );
            best
        }
        _ if last == Some(second.endpoint) => second,
        _ => first,
    }
}
