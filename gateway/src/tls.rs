//! TLS on the public listener: handshake, ALPN, and reload of the certificate when its files change.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use stele_service::{AnySetting as _, ConfigError, Settings};
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::config::{TLS_CERT, TLS_KEY};

/// Protocols for ALPN, in order of preference.
const ALPN_PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];
/// How often the files are checked for changes.
const RELOAD_INTERVAL: Duration = Duration::from_secs(1);

/// The current certificate with its key, and the files that they were read from.
pub(crate) struct TlsCertificate {
    server_config: ArcSwap<ServerConfig>,
    /// `None` for a certificate that was not read from files.
    files: Mutex<Option<CertificateFiles>>,
}

/// The PEM files of certificate chain and private key, with their versions when last read.
#[derive(Clone, PartialEq, Eq)]
struct CertificateFiles {
    paths: [PathBuf; 2],
    /// `None` for a file whose metadata cannot be read, for instance because it does not exist.
    versions: [Option<FileVersion>; 2],
}

/// Metadata that changes with a file's content.
#[derive(Clone, Copy, PartialEq, Eq)]
struct FileVersion {
    device: u64,
    inode: u64,
    size: u64,
    modified_seconds: i64,
    modified_nanoseconds: i64,
}

impl TlsCertificate {
    /// Reads `STELE_TLS_CERT` and `STELE_TLS_KEY`; `None` if neither is set.
    ///
    /// # Errors
    /// If only one of the settings is set, or a file is unreadable or invalid, or the key does not belong to the
    /// certificate.
    pub(crate) fn from_settings(settings: &Settings) -> Result<Option<Arc<Self>>, ConfigError> {
        let missing_setting = |name: &str, other: &str| {
            Err(ConfigError::new(format!("{name}: missing, though {other} is set; set both or neither")))
        };
        let paths = match (settings.get(&TLS_CERT)?, settings.get(&TLS_KEY)?) {
            (Some(cert), Some(key)) => [cert, key],
            (None, None) => return Ok(None),
            (Some(_), None) => return missing_setting(TLS_KEY.name(), TLS_CERT.name()),
            (None, Some(_)) => return missing_setting(TLS_CERT.name(), TLS_KEY.name()),
        };
        let files = CertificateFiles::new(paths);
        let server_config = files.load().map_err(ConfigError::new)?;
        Ok(Some(Arc::new(Self { server_config: ArcSwap::new(server_config), files: Mutex::new(Some(files)) })))
    }

    /// Parses a certificate chain and its private key, both PEM.
    ///
    /// # Errors
    /// If one is invalid, or the key does not belong to the certificate.
    pub(crate) fn from_pem(cert: &[u8], key: &[u8]) -> Result<Arc<Self>, ConfigError> {
        let server_config =
            build_server_config(cert, key).map_err(|reason| ConfigError::new(format!("certificate: {reason}")))?;
        Ok(Arc::new(Self { server_config: ArcSwap::new(server_config), files: Mutex::default() }))
    }

    /// Uses the certificate of `new` for new connections, and watches the files of `new`.
    pub(crate) fn replace(&self, new: &Self) {
        self.server_config.store(new.server_config.load_full());
        self.lock_files().clone_from(&*new.lock_files());
    }

    /// Performs the server side of the TLS handshake.
    pub(crate) async fn accept(&self, socket: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        TlsAcceptor::from(self.server_config.load_full()).accept(socket).await
    }

    /// Reads the files again if they have changed. If they are invalid, the error is logged and the old certificate
    /// stays in use.
    fn reload_if_changed(&self) {
        let Some(old) = self.lock_files().clone() else { return };
        let new = CertificateFiles::new(old.paths.clone());
        if new == old {
            return;
        }
        match new.load() {
            Ok(config) => {
                self.server_config.store(config);
                tracing::info!(cert = %new.paths[0].display(), "TLS: the new certificate is in force");
            }
            Err(error) => tracing::error!(%error, "TLS: the old certificate stays in force"),
        }
        *self.lock_files() = Some(new);
    }

    fn lock_files(&self) -> std::sync::MutexGuard<'_, Option<CertificateFiles>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reloads the certificate when its files change, until `tls` is dropped.
pub(crate) async fn watch_files(tls: Weak<TlsCertificate>) {
    while let Some(tls) = tls.upgrade() {
        tls.reload_if_changed();
        drop(tls);
        sleep(RELOAD_INTERVAL).await;
    }
}

impl CertificateFiles {
    /// The files at `paths`, certificate chain and key, with their current versions.
    fn new(paths: [PathBuf; 2]) -> Self {
        let read_version = |path: &PathBuf| {
            let metadata = fs::metadata(path).ok()?;
            Some(FileVersion {
                device: metadata.dev(),
                inode: metadata.ino(),
                size: metadata.size(),
                modified_seconds: metadata.mtime(),
                modified_nanoseconds: metadata.mtime_nsec(),
            })
        };
        let versions = [read_version(&paths[0]), read_version(&paths[1])];
        Self { paths, versions }
    }

    /// Reads and checks the files.
    fn load(&self) -> Result<Arc<ServerConfig>, String> {
        let [cert, key] = &self.paths;
        let read_file = |name: &str, path: &PathBuf| {
            fs::read(path).map_err(|error| format!("{name}: cannot read {}: {error}", path.display()))
        };
        build_server_config(&read_file(TLS_CERT.name(), cert)?, &read_file(TLS_KEY.name(), key)?)
            .map_err(|reason| format!("{}: {} with {}: {reason}", TLS_CERT.name(), cert.display(), key.display()))
    }
}

/// Configures TLS 1.2 and 1.3 with the default cipher suites of the provider, all of which have forward secrecy.
fn build_server_config(cert: &[u8], key: &[u8]) -> Result<Arc<ServerConfig>, String> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(cert)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("the certificate is not PEM: {error}"))?;
    if chain.is_empty() {
        return Err("the file contains no certificate".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| format!("the key is not PEM: {error}"))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| error.to_string())?;
    config.alpn_protocols = ALPN_PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    // Session tickets, so that any worker can resume a session. Ticket keys rotate every six hours.
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(|error| error.to_string())?;
    Ok(Arc::new(config))
}

impl fmt::Debug for TlsCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsCertificate")
    }
}
