//! Load generator of the attacks: sends many requests concurrently on keep-alive connections.

use std::cell::Cell;
use std::collections::HashMap;
use std::io::{ErrorKind, Result};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::future::join_all;
use stele_bench_kit::{Connection, DialectKind, Progress, Response};

use crate::Options;

/// Timeout of one request: connecting if necessary, sending, and receiving the response.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(40);

/// A request of a burst.
#[derive(Clone, Debug)]
pub(crate) struct BurstRequest {
    /// The destination.
    pub destination: SocketAddr,
    /// The source address; `None` leaves the choice to the system.
    pub source: Option<IpAddr>,
    /// The request in HTTP/1.1 format.
    pub bytes: Vec<u8>,
    /// The dialect that `malformed` parses the response with, to count a success as let through; `None` if a success
    /// would grant and change nothing. Other attacks leave it `None`.
    pub dialect: Option<DialectKind>,
}

impl BurstRequest {
    pub(crate) fn new(destination: SocketAddr, bytes: Vec<u8>) -> Self {
        Self { destination, source: None, bytes, dialect: None }
    }
}

/// The keep-alive connections of one client, at most one to each destination, with their source addresses.
#[derive(Default)]
pub(crate) struct ConnectionSet(HashMap<SocketAddr, (Option<IpAddr>, Connection)>);

impl ConnectionSet {
    /// Sends a request and reads the response.
    pub(crate) async fn send(&mut self, request: &BurstRequest) -> Result<Response> {
        tokio::time::timeout(RESPONSE_TIMEOUT, self.send_without_timeout(request))
            .await
            .unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
    }

    async fn send_without_timeout(&mut self, request: &BurstRequest) -> Result<Response> {
        let existing = self
            .0
            .remove(&request.destination)
            .filter(|(source, connection)| *source == request.source && connection.is_open());
        let mut connection = match (existing, request.source) {
            (Some((_, connection)), _) => connection,
            (None, Some(source)) => Connection::connect_from(source, request.destination).await?,
            (None, None) => Connection::connect(request.destination).await?,
        };
        let response = connection.request(&request.bytes).await?.to_response();
        self.0.insert(request.destination, (request.source, connection));
        Ok(response)
    }
}

/// Sends `count` requests, `options.connections` at a time, and passes each response, or the error, to
/// `handle_response`. `name` is the label of the progress bar.
pub(crate) async fn send_burst(
    options: &Options,
    name: &str,
    count: u64,
    make_request: impl Fn(u64) -> BurstRequest,
    handle_response: impl Fn(u64, &BurstRequest, Result<Response>),
) {
    let progress = Progress::new(name, count);
    let next_number = Cell::new(0);
    let clients = (0..options.connections.min(count)).map(|_| async {
        let mut connections = ConnectionSet::default();
        while next_number.get() < count {
            let number = next_number.get();
            next_number.set(number + 1);
            let request = make_request(number);
            let response = connections.send(&request).await;
            handle_response(number, &request, response);
            progress.add(1);
        }
    });
    join_all(clients).await;
    progress.finish();
}
