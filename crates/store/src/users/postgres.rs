//! A PostgreSQL server: read from a URL, and connected to, with TLS as the URL says.

use std::fs::File;
use std::path::Path;

use diesel::{ConnectionError, ConnectionResult};
use diesel_async::AsyncPgConnection;
use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;

use super::tls::{CertificateVerification, PostgresTlsConnector, Roots};
use crate::OpenError;

const SSL_MODES: &str = "sslmode is disable, prefer, require, verify-ca or verify-full";

/// A server and how it is spoken to.
#[derive(Clone)]
pub(super) struct PostgresServer {
    config: Config,
    tls: PostgresTlsConnector,
}

impl PostgresServer {
    /// Reads `postgres://USER:PASSWORD@HOST/NAME?sslmode=…&sslrootcert=…`, with what else tokio-postgres knows.
    ///
    /// The modes are libpq's: `disable` never uses TLS; `prefer`, the default, uses it if the server has it; `require`
    /// refuses to go without, and believes any certificate; `verify-ca` believes those of `sslrootcert` or, without
    /// one or with `system`, of the system; `verify-full` does so, and only if they name the host. As in libpq,
    /// `require` with an `sslrootcert` is `verify-ca`. What would ignore an `sslrootcert` is refused.
    pub(super) fn parse(url: &str) -> Result<Self, OpenError> {
        let (url, asked) = split_tls_parameters(url)?;
        let trust = asked.certificate_verification()?;
        let unread = |e: tokio_postgres::Error| OpenError::InvalidDatabaseUrl(with_sources(&e));
        let mut config: Config = url.parse().map_err(unread)?;
        config.ssl_mode(match asked.ssl_mode.as_str() {
            "disable" => SslMode::Disable,
            "prefer" => SslMode::Prefer,
            _ => SslMode::Require,
        });
        Ok(Self { config, tls: PostgresTlsConnector::new(trust)? })
    }

    /// Connects, in as long as it takes.
    pub(super) async fn connect(&self) -> ConnectionResult<AsyncPgConnection> {
        let connected = self.config.connect(self.tls.clone()).await;
        let (client, connection) = connected.map_err(|e| ConnectionError::BadConnection(with_sources(&e)))?;
        AsyncPgConnection::try_from_client_and_connection(client, connection).await
    }
}

/// What a URL says about TLS.
struct TlsParameters {
    ssl_mode: String,
    ssl_root_cert: Option<String>,
}

impl TlsParameters {
    fn certificate_verification(&self) -> Result<CertificateVerification, OpenError> {
        let roots = || match self.ssl_root_cert.as_deref() {
            None | Some("system") => Ok(Roots::System),
            Some(path) => load_root_certificates(path.as_ref()).map(Roots::Custom),
        };
        match (self.ssl_mode.as_str(), &self.ssl_root_cert) {
            ("disable" | "prefer" | "require", None) => Ok(CertificateVerification::AcceptAny),
            ("disable" | "prefer", Some(_)) => {
                Err(OpenError::InvalidDatabaseUrl(format!("sslmode={} would ignore sslrootcert", self.ssl_mode)))
            }
            ("require" | "verify-ca", _) => Ok(CertificateVerification::VerifyCa(roots()?)),
            ("verify-full", _) => Ok(CertificateVerification::VerifyFull(roots()?)),
            _ => Err(OpenError::InvalidDatabaseUrl(SSL_MODES.to_owned())),
        }
    }
}

/// The URL without the parameters that tokio-postgres does not know, and these.
fn split_tls_parameters(url: &str) -> Result<(String, TlsParameters), OpenError> {
    let mut asked = TlsParameters { ssl_mode: "prefer".to_owned(), ssl_root_cert: None };
    // As tokio-postgres has it: an @ ends the login, and the parameters come after that.
    let login = url.find('@').unwrap_or(0);
    let Some(start) = url[login..].find('?').map(|at| login + at) else { return Ok((url.to_owned(), asked)) };
    let mut others = Vec::new();
    for pair in url[start + 1..].split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = || {
            let text = percent_decode_str(value).decode_utf8();
            text.map(Into::into).map_err(|_| OpenError::InvalidDatabaseUrl(format!("{name} is not UTF-8")))
        };
        match name {
            "sslmode" => asked.ssl_mode = value()?,
            "sslrootcert" => asked.ssl_root_cert = Some(value()?),
            _ => others.push(pair),
        }
    }
    let base = &url[..start];
    let url = if others.is_empty() { base.to_owned() } else { format!("{base}?{}", others.join("&")) };
    Ok((url, asked))
}

fn load_root_certificates(path: &Path) -> Result<rustls::RootCertStore, OpenError> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    let unusable = |cause: String| OpenError::InvalidRootCertificates { path: path.to_owned(), cause };
    let file = File::open(path).map_err(|e| unusable(e.to_string()))?;
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_reader_iter(file) {
        let certificate = certificate.map_err(|e| unusable(e.to_string()))?;
        roots.add(certificate).map_err(|e| unusable(e.to_string()))?;
    }
    if roots.is_empty() { Err(unusable("there is no certificate in it".to_owned())) } else { Ok(roots) }
}

/// An error with what it came from: tokio-postgres tells the kind alone.
fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let told = error.to_string();
        if !text.contains(&told) {
            text = format!("{text}: {told}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_parameters_are_split_from_the_url() {
        for (url, rest, mode) in [
            ("postgres://h/d", "postgres://h/d", "prefer"),
            ("postgres://u:p%3F@h/d?sslmode=verify-full", "postgres://u:p%3F@h/d", "verify-full"),
            (
                "postgres://u:p?sslmode=disable@h/d?application_name=a&sslmode=require&options=-c%20x%3Dy",
                "postgres://u:p?sslmode=disable@h/d?application_name=a&options=-c%20x%3Dy",
                "require",
            ),
        ] {
            let (url, asked) = split_tls_parameters(url).unwrap();
            assert_eq!((url.as_str(), asked.ssl_mode.as_str()), (rest, mode));
        }
    }

    #[test]
    fn ineffective_or_unknown_tls_parameters_are_rejected() {
        for (parameters, expected) in [
            ("sslmode=verify_full", SSL_MODES),
            ("sslmode=", SSL_MODES),
            ("sslmode=allow", SSL_MODES),
            ("sslmode=Require", SSL_MODES),
            ("sslrootcert=system", "ignore"),
            ("sslmode=disable&sslrootcert=/ca.pem", "ignore"),
            ("sslmode=verify-full&sslrootcert=/nowhere/ca.pem", "/nowhere/ca.pem"),
            ("sslcert=/client.pem", "sslcert"),
            ("sslmode=verify-full&sslrootcert=Cargo.toml", "Cargo.toml"),
        ] {
            let error =
                PostgresServer::parse(&format!("postgres://u:hunter2@h/d?{parameters}")).err().unwrap().to_string();
            assert!(error.contains(expected) && !error.contains("hunter2"), "{parameters}: {error}");
        }
    }
}
