//! Delivery over TLS, to servers with trusted and with untrusted certificates.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;

use crate::mail_server::{MailServer, ServerBehavior, TlsMode};
use crate::{PHONE, SUBPROCESS_MARKER, message, open_delivery, run_in_subprocess, test_config, within_timeout};

/// The file with the value of `STELE_DELIVERY` for [`deliver_in_subprocess`].
const URLS_FILE: &str = "urls";

struct ServerIdentity {
    acceptor: TlsAcceptor,
    folder: tempfile::TempDir,
}

impl ServerIdentity {
    fn certificate(&self) -> PathBuf {
        self.folder.path().join("certificate.pem")
    }

    fn urls(&self) -> PathBuf {
        self.folder.path().join(URLS_FILE)
    }
}

/// A self-signed certificate for `localhost`, and a TLS acceptor with it.
fn new_identity() -> ServerIdentity {
    let certified_key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let key = certified_key.signing_key.serialize_der().try_into().unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified_key.cert.der().clone()], key)
        .unwrap();
    let identity = ServerIdentity { acceptor: TlsAcceptor::from(Arc::new(config)), folder };
    std::fs::write(identity.certificate(), certified_key.cert.pem()).unwrap();
    identity
}

/// An SMS gateway that accepts everything. Returns its port, and a channel of the request lines.
async fn start_gateway(acceptor: TlsAcceptor) -> (u16, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (lines, requests) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = Vec::new();
            // The body is a JSON object, which ends in a brace.
            while !request.ends_with(b"}") && stream.read_buf(&mut request).await.unwrap() > 0 {}
            stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await.unwrap();
            stream.shutdown().await.unwrap();
            let text = String::from_utf8(request).unwrap();
            lines.send(text.lines().next().unwrap_or_default().to_owned()).unwrap();
        }
    });
    (port, requests)
}

/// Delivers a message on each channel. Does nothing unless [`deliver_trusting`] runs it in a subprocess.
#[actix_web::test]
async fn deliver_in_subprocess() {
    if std::env::var_os(SUBPROCESS_MARKER).is_none() {
        return;
    }
    let certificate = PathBuf::from(std::env::var_os("SSL_CERT_FILE").unwrap());
    let urls = std::fs::read_to_string(certificate.with_file_name(URLS_FILE)).unwrap();
    let delivery = open_delivery(&urls, test_config());
    delivery.dispatch(message(PHONE)).unwrap();
    delivery.dispatch(message("mark@example.com")).unwrap();
    within_timeout(delivery.drain()).await;
}

/// Delivers in a process that trusts only `identity`, since trusted certificates are read from the environment.
async fn deliver_trusting(urls: &str, identity: &ServerIdentity) {
    std::fs::write(identity.urls(), urls).unwrap();
    run_in_subprocess("tls::deliver_in_subprocess", "SSL_CERT_FILE", identity.certificate().as_os_str()).await;
}

#[actix_web::test]
async fn codes_are_delivered_over_tls_only_to_trusted_servers() {
    let (trusted, untrusted) = (new_identity(), new_identity());
    for scheme in ["smtps", "smtp"] {
        let tls = match scheme {
            "smtps" => TlsMode::Implicit,
            _ => TlsMode::StartTls,
        };
        let mut server = MailServer::start_with(ServerBehavior::AcceptAll, tls(trusted.acceptor.clone())).await;
        let (port, mut requests) = start_gateway(trusted.acceptor.clone()).await;
        let urls = format!(
            "{scheme}://codes:word@localhost:{}?from=codes@example.com,webhook+https://localhost:{port}/send",
            server.port
        );
        deliver_trusting(&urls, &untrusted).await;
        assert!(!server.has_unread_mail(), "{scheme}");
        assert_eq!(
            server.count_commands("AUTH") + server.count_commands("MAIL"),
            0,
            "{scheme}: {:?}",
            server.commands()
        );
        assert!(requests.try_recv().is_err());

        deliver_trusting(&urls, &trusted).await;
        assert_eq!(server.next_mail().await.to, "RCPT TO:<mark@example.com>", "{scheme}");
        assert_eq!(server.count_commands("AUTH"), 1, "{scheme}");
        assert_eq!(within_timeout(requests.recv()).await.as_deref(), Some("POST /send HTTP/1.1"));
    }
}
