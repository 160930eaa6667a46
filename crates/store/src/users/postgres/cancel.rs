//! Cancel requests to PostgreSQL, which also pass through PgBouncer.
//!
//! PgBouncer drops the request of a client that closes its connection before PgBouncer has forwarded the request.
//! tokio-postgres closes it right after sending. As libpq, this waits until the server has closed it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_postgres::CancelToken;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};

use super::with_sources;
use crate::users::tls::{PendingHandshake, PostgresTlsConnector, PostgresTlsStream};

/// Where the server, or the pooler, of a connection listens.
#[derive(Clone)]
pub(super) enum ServerSocket {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// Cancels the running statement of one connection.
#[derive(Clone)]
pub(in crate::users) struct Canceler {
    pub(super) token: CancelToken,
    pub(super) socket: ServerSocket,
    /// The name that the server's certificate is verified for.
    pub(super) server_name: String,
    pub(super) tls: PostgresTlsConnector,
}

impl Canceler {
    /// Sends the request, and returns when the server has closed the connection of the request. The caller sets the
    /// timeout.
    ///
    /// # Errors
    /// Why the request could not be sent. Whether it had an effect is not known.
    pub(in crate::users) async fn cancel(self) -> Result<(), String> {
        match &self.socket {
            ServerSocket::Tcp(address) => self.send(TcpStream::connect(address).await).await,
            ServerSocket::Unix(path) => self.send(UnixStream::connect(path).await).await,
        }
    }

    async fn send<S>(&self, connected: io::Result<S>) -> Result<(), String>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let stream = AwaitClose(connected.map_err(|e| e.to_string())?);
        let handshake = MakeTlsConnect::<AwaitClose<S>>::make_tls_connect(&mut self.tls.clone(), &self.server_name);
        let handshake = CancelHandshake(handshake.map_err(|e| e.to_string())?);
        self.token.cancel_query_raw(stream, handshake).await.map_err(|e| with_sources(&e))
    }
}

/// A TLS handshake whose stream waits for the server to close it.
struct CancelHandshake(PendingHandshake);

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> TlsConnect<S> for CancelHandshake {
    type Stream = AwaitClose<PostgresTlsStream<S>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Stream>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move { self.0.connect(stream).await.map(AwaitClose) })
    }
}

/// A stream whose shutdown waits until the peer has closed it.
struct AwaitClose<S>(S);

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for AwaitClose<S> {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for AwaitClose<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for AwaitClose<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut scratch = [0; 64];
        loop {
            let mut buf = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut self.0).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => {}
                _ => return Poll::Ready(Ok(())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use stele_testservers::{Pgbouncer, Postgres};
    use tokio_postgres::error::SqlState;

    use super::super::PostgresServer;
    use crate::users::pool::ConnectionSlots;

    #[tokio::test]
    #[ignore = "needs PostgreSQL and PgBouncer"]
    async fn requests_cancel_statements_directly_and_through_pgbouncer() {
        let server = Postgres::start();
        let pooler = Pgbouncer::start(&server, &[("pool_mode", "session")]);
        let direct = server.default_database_url();
        let several_hosts = direct.replacen('@', "@127.0.0.1:1,", 1);
        for url in [pooler.url(&direct), direct, several_hosts] {
            let connected = PostgresServer::parse(&url).unwrap().connect_raw(&ConnectionSlots::new(1)).await.unwrap();
            let super::super::RawConnection { client, connection, canceler, slot: _slot, .. } = connected;
            tokio::spawn(connection);
            client.batch_execute("SET statement_timeout = '20s'").await.unwrap();
            let mut sleeping = Box::pin(client.batch_execute("SELECT pg_sleep(60)"));
            let started = std::time::Instant::now();
            // A request that arrives before the statement has no effect.
            let error = loop {
                canceler.clone().cancel().await.unwrap();
                if let Ok(outcome) = tokio::time::timeout(Duration::from_millis(50), &mut sleeping).await {
                    break outcome.unwrap_err();
                }
            };
            assert_eq!(error.code(), Some(&SqlState::QUERY_CANCELED), "{url}: {error}");
            assert!(started.elapsed() < Duration::from_secs(10), "{url}: {:?}", started.elapsed());
        }
    }
}
