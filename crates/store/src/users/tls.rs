//! TLS connections to PostgreSQL: rustls with aws-lc-rs, certificate verification by `sslmode`, and channel binding.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::TlsConnector;

use crate::OpenError;

/// Which server certificates are accepted.
pub(super) enum CertificateVerification {
    /// Every certificate is accepted. Protects against eavesdropping, not against a man in the middle.
    AcceptAny,
    /// A certificate issued by one of these authorities is accepted, for any host name.
    VerifyCa(RootCertificates),
    /// A certificate issued by one of these authorities is accepted if it names the host.
    VerifyFull(RootCertificates),
}

/// The certificate authorities that are trusted.
pub(super) enum RootCertificates {
    /// The system's, or the certificates that `SSL_CERT_FILE` or `SSL_CERT_DIR` names.
    System,
    /// The certificates in the file that `sslrootcert` names.
    Custom(RootCertStore),
}

impl RootCertificates {
    fn load(self) -> RootCertStore {
        match self {
            Self::Custom(roots) => roots,
            Self::System => {
                let mut roots = RootCertStore::empty();
                // If no certificate was found, building the verifier fails.
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                roots
            }
        }
    }
}

/// Whether the certificate must name the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HostnameCheck {
    Verify,
    Ignore,
}

/// TLS connector for tokio-postgres.
#[derive(Clone)]
pub(super) struct PostgresTlsConnector(Arc<ClientConfig>);

impl PostgresTlsConnector {
    pub(super) fn new(verification: CertificateVerification) -> Result<Self, OpenError> {
        let to_open_error = |e: &dyn std::fmt::Display| {
            OpenError::InvalidDatabaseUrl(format!("cannot use these root certificates: {e}"))
        };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let (roots, hostname_check) = match verification {
            CertificateVerification::AcceptAny => (None, HostnameCheck::Ignore),
            CertificateVerification::VerifyCa(roots) => (Some(roots), HostnameCheck::Ignore),
            CertificateVerification::VerifyFull(roots) => (Some(roots), HostnameCheck::Verify),
        };
        let webpki = match roots {
            None => None,
            Some(roots) => {
                let roots = Arc::new(roots.load());
                let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider));
                Some(verifier.build().map_err(|e| to_open_error(&e))?)
            }
        };
        let verifier = ServerCertificateVerifier { webpki, hostname_check, provider: Arc::clone(&provider) };
        let config = ClientConfig::builder_with_provider(provider);
        let config = config.with_safe_default_protocol_versions().map_err(|e| to_open_error(&e))?;
        let config = config.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = config.with_no_client_auth();
        config.alpn_protocols = vec![b"postgresql".to_vec()];
        Ok(Self(Arc::new(config)))
    }
}

/// Verifies a certificate as far as the mode requires, and always the signature that proves possession of its key.
#[derive(Debug)]
struct ServerCertificateVerifier {
    /// `None` accepts any certificate.
    webpki: Option<Arc<WebPkiServerVerifier>>,
    hostname_check: HostnameCheck,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for ServerCertificateVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(webpki) = &self.webpki else { return Ok(ServerCertVerified::assertion()) };
        match webpki.verify_server_cert(end_entity, intermediates, name, ocsp, now) {
            // webpki checks the name last, so the chain and the validity period have been verified.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.hostname_check == HostnameCheck::Ignore => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> MakeTlsConnect<S> for PostgresTlsConnector {
    type Stream = PostgresTlsStream<S>;
    type TlsConnect = PendingHandshake;
    type Error = io::Error;

    fn make_tls_connect(&mut self, host: &str) -> io::Result<PendingHandshake> {
        // Called in every mode, also for Unix sockets, which have no name. An invalid name is an error only when TLS is
        // used.
        Ok(PendingHandshake { config: Arc::clone(&self.0), server_name: ServerName::try_from(host.to_owned()).ok() })
    }
}

/// A TLS handshake that has not started.
pub(super) struct PendingHandshake {
    config: Arc<ClientConfig>,
    server_name: Option<ServerName<'static>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> TlsConnect<S> for PendingHandshake {
    type Stream = PostgresTlsStream<S>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<PostgresTlsStream<S>>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move {
            let name = self.server_name.ok_or_else(|| io::Error::other("the host is not a valid TLS server name"))?;
            TlsConnector::from(self.config).connect(name, stream).await.map(PostgresTlsStream)
        })
    }
}

/// A TLS stream that provides `tls-server-end-point` channel binding (RFC 5929).
pub(super) struct PostgresTlsStream<S>(tokio_rustls::client::TlsStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for PostgresTlsStream<S> {
    fn channel_binding(&self) -> ChannelBinding {
        let certificates = self.0.get_ref().1.peer_certificates();
        let hash = certificates.and_then(|chain| chain.first()).and_then(|first| tls_server_end_point(first));
        hash.map_or_else(ChannelBinding::none, ChannelBinding::tls_server_end_point)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for PostgresTlsStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for PostgresTlsStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// `tls-server-end-point` (RFC 5929 §4.1): the certificate hashed with the hash function of its signature algorithm, or
/// with SHA-256 in place of MD5 and SHA-1. `None` for a signature algorithm that is unknown or has no hash function.
fn tls_server_end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    const RSA: [u8; 8] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
    const ECDSA: [u8; 6] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04];
    let (certificate_fields, _) = split_der_element(certificate)?;
    let (_, after_tbs_certificate) = split_der_element(certificate_fields)?;
    let (algorithm, _) = split_der_element(after_tbs_certificate)?;
    let (oid, _) = split_der_element(algorithm)?;
    let (rsa, ecdsa) = (oid.strip_prefix(&RSA), oid.strip_prefix(&ECDSA));
    match rsa.or(ecdsa)? {
        [4 | 5 | 11] if rsa.is_some() => Some(Sha256::digest(certificate).to_vec()),
        [1] | [3, 2] if ecdsa.is_some() => Some(Sha256::digest(certificate).to_vec()),
        [12] | [3, 3] => Some(Sha384::digest(certificate).to_vec()),
        [13] | [3, 4] => Some(Sha512::digest(certificate).to_vec()),
        _ => None,
    }
}

/// Splits the first element off DER data: its content, and the bytes after it.
fn split_der_element(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&[_, length_byte], after_header) = der.split_first_chunk::<2>()?;
    let (length, body) = match length_byte {
        0..=0x7f => (usize::from(length_byte), after_header),
        // Long form. No certificate needs more than four length bytes.
        0x81..=0x84 => {
            let (length, body) = after_header.split_at_checked(usize::from(length_byte & 0x7f))?;
            (length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), body)
        }
        _ => return None,
    };
    body.split_at_checked(length)
}
