//! Many requests, on many connections at once.

use std::cell::Cell;
use std::collections::HashMap;
use std::io::{ErrorKind, Result};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::future::join_all;
use stele_bench_kit::{Connection, DialectKind, Progress, Response};

use crate::Options;

/// No answer is waited for longer.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(40);

/// A request on its way.
#[derive(Clone, Debug)]
pub(crate) struct BurstRequest {
    /// Where it goes.
    pub to: SocketAddr,
    /// The address it comes from, if not from wherever the system likes.
    pub from: Option<IpAddr>,
    /// The request, as it is sent.
    pub bytes: Vec<u8>,
    /// In which dialect a success would be one, if that is not plain.
    pub dialect: Option<DialectKind>,
}

impl BurstRequest {
    pub(crate) fn new(to: SocketAddr, bytes: Vec<u8>) -> Self {
        Self { to, from: None, bytes, dialect: None }
    }
}

/// The connections of one lane: one to each front.
#[derive(Default)]
pub(crate) struct ConnectionSet(HashMap<SocketAddr, (Option<IpAddr>, Connection)>);

impl ConnectionSet {
    /// Sends and waits for the answer.
    pub(crate) async fn send(&mut self, shot: &BurstRequest) -> Result<Response> {
        tokio::time::timeout(RESPONSE_TIMEOUT, self.exchange(shot))
            .await
            .unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
    }

    async fn exchange(&mut self, shot: &BurstRequest) -> Result<Response> {
        let kept = self.0.remove(&shot.to).filter(|(from, connection)| *from == shot.from && connection.is_open());
        let mut connection = match (kept, shot.from) {
            (Some((_, connection)), _) => connection,
            (None, Some(from)) => Connection::connect_from(from, shot.to).await?,
            (None, None) => Connection::connect(shot.to).await?,
        };
        let answer = connection.request(&shot.bytes).await?.to_response();
        self.0.insert(shot.to, (shot.from, connection));
        Ok(answer)
    }
}

/// Sends `count` shots, as many at once as the options say, and has each answer dealt with as it comes.
pub(crate) async fn send_burst(
    options: &Options,
    name: &str,
    count: u64,
    make: impl Fn(u64) -> BurstRequest,
    deal: impl Fn(u64, &BurstRequest, Result<Response>),
) {
    let progress = Progress::new(name, count);
    let next = Cell::new(0);
    let lanes = (0..options.connections.min(count)).map(|_| async {
        let mut lane = ConnectionSet::default();
        while next.get() < count {
            let number = next.get();
            next.set(number + 1);
            let shot = make(number);
            let answer = lane.send(&shot).await;
            deal(number, &shot, answer);
            progress.add(1);
        }
    });
    join_all(lanes).await;
    progress.finish();
}
