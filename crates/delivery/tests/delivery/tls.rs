//! Delivery over TLS, to servers that the machine trusts and to servers that it does not.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;

use crate::mailserver::{MailServer, Mood, Tls};
use crate::{ALONE, PHONE, alone, bounds, message, open, soon};

/// The file with the URLs that [`as_another_process`] is to deliver by.
const URLS: &str = "urls";

struct Identity {
    acceptor: TlsAcceptor,
    folder: tempfile::TempDir,
}

impl Identity {
    fn certificate(&self) -> PathBuf {
        self.folder.path().join("certificate.pem")
    }

    fn urls(&self) -> PathBuf {
        self.folder.path().join(URLS)
    }
}

/// A certificate for `localhost`, and a server's side of it.
fn identity() -> Identity {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let key = made.signing_key.serialize_der().try_into().unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let identity = Identity { acceptor: TlsAcceptor::from(Arc::new(config)), folder };
    std::fs::write(identity.certificate(), made.cert.pem()).unwrap();
    identity
}

/// A gateway that takes everything. Gives its port, and the first line of each request.
async fn gateway(acceptor: TlsAcceptor) -> (u16, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (lines, requests) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = Vec::new();
            // The body is JSON on one line and ends so.
            while !request.ends_with(b"}") && stream.read_buf(&mut request).await.unwrap() > 0 {}
            stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await.unwrap();
            stream.shutdown().await.unwrap();
            let text = String::from_utf8(request).unwrap();
            lines.send(text.lines().next().unwrap_or_default().to_owned()).unwrap();
        }
    });
    (port, requests)
}

/// Delivers a message by each of the URLs in the file beside the certificate. Does nothing unless [`deliver`] runs it.
#[actix_web::test]
async fn as_another_process() {
    if std::env::var_os(ALONE).is_none() {
        return;
    }
    let certificate = PathBuf::from(std::env::var_os("SSL_CERT_FILE").unwrap());
    let urls = std::fs::read_to_string(certificate.with_file_name(URLS)).unwrap();
    let delivery = open(&urls, bounds());
    delivery.dispatch(message(PHONE)).unwrap();
    delivery.dispatch(message("mark@example.com")).unwrap();
    soon(delivery.drain()).await;
}

/// Delivers as a process that trusts `identity` alone: trust is read from the environment.
async fn deliver(urls: &str, identity: &Identity) {
    std::fs::write(identity.urls(), urls).unwrap();
    alone("tls::as_another_process", "SSL_CERT_FILE", identity.certificate().as_os_str()).await;
}

#[actix_web::test]
async fn codes_arrive_encrypted_at_servers_that_are_trusted_and_at_no_others() {
    let (known, stranger) = (identity(), identity());
    for (scheme, start) in [("smtps", false), ("smtp", true)] {
        let tls = |acceptor| if start { Tls::Start(acceptor) } else { Tls::Wrapped(acceptor) };
        let mut server = MailServer::start_with(Mood::Well, tls(known.acceptor.clone())).await;
        let (port, mut requests) = gateway(known.acceptor.clone()).await;
        let urls = format!(
            "{scheme}://codes:word@localhost:{}?from=codes@example.com,webhook+https://localhost:{port}/send",
            server.port
        );
        deliver(&urls, &stranger).await;
        assert!(!server.has_more(), "{scheme}");
        assert_eq!(server.count("AUTH") + server.count("MAIL"), 0, "{scheme}: {:?}", server.commands());
        assert!(requests.try_recv().is_err());

        deliver(&urls, &known).await;
        assert_eq!(server.next().await.to, "RCPT TO:<mark@example.com>", "{scheme}");
        assert_eq!(server.count("AUTH"), 1, "{scheme}");
        assert_eq!(soon(requests.recv()).await.as_deref(), Some("POST /send HTTP/1.1"));
    }
}
