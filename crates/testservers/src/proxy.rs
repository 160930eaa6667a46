//! A TCP proxy for fault injection: it can pause forwarding and drop connections.

use std::net::TcpListener;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LinkState {
    Open,
    Paused,
    /// Requests are forwarded, responses are dropped.
    Muted,
    Disconnected,
}

/// A TCP proxy to a port of loopback. It forwards in both directions until it is paused or disconnected.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    state: watch::Sender<LinkState>,
    /// How often the connections were cut.
    cuts: watch::Sender<u64>,
}

impl Proxy {
    /// Starts a proxy to `port` on a new thread.
    pub fn start(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy_port = listener.local_addr().unwrap().port();
        listener.set_nonblocking(true).unwrap();
        let (sender, state) = watch::channel(LinkState::Open);
        let (cuts, cut_count) = watch::channel(0);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(accept_loop(listener, port, state, cut_count));
        });
        Self { port: proxy_port, state: sender, cuts }
    }

    /// The proxy's own port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Pauses forwarding: connections are accepted, and each direction reads at most one buffer of 4 KiB.
    pub fn pause(&self) {
        self.state.send_replace(LinkState::Paused);
    }

    /// Drops the responses of the server, and forwards the requests.
    pub fn mute(&self) {
        self.state.send_replace(LinkState::Muted);
    }

    /// Closes every connection, and forwards new ones.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
        self.resume();
    }

    /// Closes every connection; new ones are closed right after they are accepted.
    pub fn disconnect(&self) {
        self.state.send_replace(LinkState::Disconnected);
    }

    /// Resumes forwarding, starting with the data that was read during the pause.
    pub fn resume(&self) {
        self.state.send_replace(LinkState::Open);
    }
}

/// Accepts connections until the proxy is dropped.
async fn accept_loop(listener: TcpListener, port: u16, state: watch::Receiver<LinkState>, cuts: watch::Receiver<u64>) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let mut dropped = state.clone();
    let accept = async {
        while let Ok((client, _)) = listener.accept().await {
            if *state.borrow() != LinkState::Disconnected {
                tokio::spawn(relay_connection(client, port, state.clone(), cuts.clone()));
            }
        }
    };
    let proxy_dropped = async { while dropped.changed().await.is_ok() {} };
    tokio::select! { () = accept => {}, () = proxy_dropped => {} }
}

async fn relay_connection(
    client: TcpStream,
    port: u16,
    mut state: watch::Receiver<LinkState>,
    mut cuts: watch::Receiver<u64>,
) {
    cuts.mark_unchanged();
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let (to_server_state, to_client_state) = (state.clone(), state.clone());
    let relay_both_ways = async {
        tokio::join!(
            copy_one_way(from_client, to_server, to_server_state, Direction::Request),
            copy_one_way(from_server, to_client, to_client_state, Direction::Response)
        )
    };
    tokio::select! {
        _ = relay_both_ways => {}
        _ = state.wait_for(|state| *state == LinkState::Disconnected) => {}
        _ = cuts.changed() => {}
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Request,
    Response,
}

/// Copies until either side closes; waits while the proxy is paused.
async fn copy_one_way(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut state: watch::Receiver<LinkState>,
    direction: Direction,
) {
    let mut buffer = [0; 4_096];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let link = state.wait_for(|state| matches!(state, LinkState::Open | LinkState::Muted)).await;
        let Ok(link) = link.map(|state| *state) else { break };
        if link == LinkState::Muted && direction == Direction::Response {
            continue;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            break;
        }
    }
}
