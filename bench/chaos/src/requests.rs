//! Requests of a round as its clients saw them: failures by reason, and outages.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ledger::At;

/// Kinds of requests. Each client repeats all of them, so an outage of one is seen although the others succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RequestKind {
    Login,
    Change,
    Logout,
    SendCode,
    Register,
}

/// A request that should have succeeded.
#[derive(Clone, Debug)]
pub(crate) struct RequestRecord {
    pub(crate) kind: RequestKind,
    pub(crate) started: At,
    pub(crate) ended: At,
    /// `None` for a success.
    pub(crate) failure: Option<String>,
}

/// What the clients of a round saw.
#[derive(Clone, Debug, Default)]
pub(crate) struct RequestSummary {
    pub(crate) sent: usize,
    /// Failed requests by reason.
    pub(crate) failures: BTreeMap<String, usize>,
    /// The longest time from the start of a client's first failed request to the end of its next successful one of the
    /// same kind.
    pub(crate) longest_outage: Duration,
    /// The longest that a single request took.
    pub(crate) slowest: Duration,
}

impl RequestSummary {
    /// Summarizes the requests of each client, in their order.
    pub(crate) fn of_clients(clients: &[Vec<RequestRecord>]) -> Self {
        let mut summary = Self::default();
        for client in clients {
            summary.add_client(client);
        }
        summary
    }

    fn add_client(&mut self, requests: &[RequestRecord]) {
        let mut failing_since: BTreeMap<RequestKind, At> = BTreeMap::new();
        for request in requests {
            self.sent += 1;
            self.slowest = self.slowest.max(request.ended.saturating_sub(request.started));
            if let Some(reason) = &request.failure {
                *self.failures.entry(reason.clone()).or_default() += 1;
                failing_since.entry(request.kind).or_insert(request.started);
            } else if let Some(since) = failing_since.remove(&request.kind) {
                self.add_outage(request.ended.saturating_sub(since));
            }
        }
        // Kinds that never succeeded again.
        let end = requests.last().map_or(Duration::ZERO, |last| last.ended);
        for since in failing_since.into_values() {
            self.add_outage(end.saturating_sub(since));
        }
    }

    fn add_outage(&mut self, outage: Duration) {
        self.longest_outage = self.longest_outage.max(outage);
    }

    /// The number of failed requests.
    pub(crate) fn failed(&self) -> usize {
        self.failures.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(kind: RequestKind, started: u64, ended: u64, failure: Option<&str>) -> RequestRecord {
        let at = Duration::from_secs;
        RequestRecord { kind, started: at(started), ended: at(ended), failure: failure.map(str::to_owned) }
    }

    #[test]
    fn an_outage_lasts_from_the_first_failure_to_the_next_success_of_its_kind() {
        use RequestKind::{Change, Login};
        let client = [
            request(Login, 0, 1, None),
            request(Change, 1, 3, Some("503")),
            request(Login, 3, 4, None),
            request(Change, 4, 6, Some("503")),
            request(Login, 6, 8, Some("no response")),
            request(Login, 8, 9, None),
            request(Change, 9, 10, None),
        ];
        let summary = RequestSummary::of_clients(&[client.to_vec()]);
        assert_eq!(summary.longest_outage, Duration::from_secs(9));
        assert_eq!((summary.sent, summary.failed()), (7, 3));
        assert_eq!(summary.failures["503"], 2);
        assert_eq!(summary.slowest, Duration::from_secs(2));
    }

    #[test]
    fn an_outage_without_end_lasts_to_the_last_request_and_clients_are_separate() {
        let down = vec![request(RequestKind::Login, 5, 6, Some("503")), request(RequestKind::Login, 7, 9, Some("503"))];
        let up = vec![request(RequestKind::Login, 6, 7, None)];
        assert_eq!(RequestSummary::of_clients(&[down, up]).longest_outage, Duration::from_secs(4));
    }
}
