//! A host that never completes a handshake: it drops packets, or accepts connections and falls silent.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::watch;

/// A port of loopback at which no client gets a service. It is closed when dropped.
#[derive(Debug)]
pub struct UnresponsiveHost {
    port: u16,
    connections: Arc<AtomicUsize>,
    /// Dropping it ends the thread that accepts connections.
    _running: Option<watch::Sender<()>>,
    /// The sockets of a host that drops packets.
    _sockets: Option<(TcpListener, Vec<TcpStream>)>,
}

impl UnresponsiveHost {
    /// A host that accepts connections and sends nothing.
    pub fn silent() -> Self {
        Self::replying(b"")
    }

    /// A host that sends `reply` after a client's first message, and then nothing. PostgreSQL's reply to an
    /// `SSLRequest` is `S`, then a TLS handshake, or `N`, then the login.
    pub fn replying(reply: &'static [u8]) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        listener.set_nonblocking(true).unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let (sender, running) = watch::channel(());
        let counter = Arc::clone(&connections);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(accept_loop(listener, reply, &counter, running));
        });
        Self { port, connections, _running: Some(sender), _sockets: None }
    }

    /// A host that drops connection requests: no connection is established (a "SYN black hole").
    pub fn dropping_packets() -> Self {
        let listen = async || {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
            socket.listen(1).unwrap().into_std().unwrap()
        };
        // On a thread of its own, because the caller may be in a runtime.
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let listener = std::thread::scope(|scope| scope.spawn(|| runtime().block_on(listen())).join().unwrap());
        let address = listener.local_addr().unwrap();
        // The kernel drops requests while the queue of connections that the server has not accepted is full.
        let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok();
        let queued: Vec<TcpStream> = std::iter::from_fn(connect).collect();
        let connections = Arc::new(AtomicUsize::new(0));
        Self { port: address.port(), connections, _running: None, _sockets: Some((listener, queued)) }
    }

    /// The host's port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many connections clients have established so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Accepts connections until the host is dropped.
async fn accept_loop(
    listener: TcpListener,
    reply: &'static [u8],
    connections: &AtomicUsize,
    mut running: watch::Receiver<()>,
) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let accept = async {
        while let Ok((mut client, _)) = listener.accept().await {
            connections.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut buffer = [0; 1_024];
                if client.read(&mut buffer).await.is_ok() && client.write_all(reply).await.is_ok() {
                    // Until the client closes.
                    while let Ok(1..) = client.read(&mut buffer).await {}
                }
            });
        }
    };
    tokio::select! { () = accept => {}, _ = running.changed() => {} }
}
