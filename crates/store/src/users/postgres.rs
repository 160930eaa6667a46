//! PostgreSQL connection settings from a URL, with libpq's TLS modes.

use std::fs::File;
use std::path::Path;

use diesel::{ConnectionError, ConnectionResult};
use diesel_async::AsyncPgConnection;
use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;

use super::tls::{CertificateVerification, PostgresTlsConnector, Roots};
use crate::OpenError;

const SSL_MODES: &str = "unknown sslmode: use disable, prefer, require, verify-ca or verify-full";

/// A server's address, login and TLS settings.
#[derive(Clone)]
pub(super) struct PostgresServer {
    config: Config,
    tls: PostgresTlsConnector,
}

impl PostgresServer {
    /// Parses `postgres://USER:PASSWORD@HOST/NAME?sslmode=…&sslrootcert=…` and the other parameters of tokio-postgres.
    ///
    /// The modes are libpq's. `disable`: no TLS. `prefer` (default): TLS if the server offers it. `require`: TLS with
    /// any certificate. `verify-ca`: a certificate issued by `sslrootcert`, or by the system's authorities without one
    /// or with `system`. `verify-full`: the same, and the certificate names the host. As in libpq, `require` with an
    /// `sslrootcert` is `verify-ca`. Modes that would ignore an `sslrootcert` are rejected with one.
    pub(super) fn parse(url: &str) -> Result<Self, OpenError> {
        let (url, tls_parameters) = split_tls_parameters(url)?;
        let verification = tls_parameters.certificate_verification()?;
        let invalid = |e: tokio_postgres::Error| OpenError::InvalidDatabaseUrl(with_sources(&e));
        let mut config: Config = url.parse().map_err(invalid)?;
        config.ssl_mode(match tls_parameters.ssl_mode.as_str() {
            "disable" => SslMode::Disable,
            "prefer" => SslMode::Prefer,
            _ => SslMode::Require,
        });
        Ok(Self { config, tls: PostgresTlsConnector::new(verification)? })
    }

    /// Connects. The caller sets the timeout.
    pub(super) async fn connect(&self) -> ConnectionResult<AsyncPgConnection> {
        let connected = self.config.connect(self.tls.clone()).await;
        let (client, connection) = connected.map_err(|e| ConnectionError::BadConnection(with_sources(&e)))?;
        AsyncPgConnection::try_from_client_and_connection(client, connection).await
    }
}

/// The TLS parameters of a URL.
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
            ("disable" | "prefer", Some(_)) => Err(OpenError::InvalidDatabaseUrl(format!(
                "sslmode={} would ignore sslrootcert: use verify-full, or remove sslrootcert",
                self.ssl_mode
            ))),
            ("require" | "verify-ca", _) => Ok(CertificateVerification::VerifyCa(roots()?)),
            ("verify-full", _) => Ok(CertificateVerification::VerifyFull(roots()?)),
            _ => Err(OpenError::InvalidDatabaseUrl(SSL_MODES.to_owned())),
        }
    }
}

/// Splits a URL into one without the TLS parameters, which tokio-postgres does not accept, and those parameters.
fn split_tls_parameters(url: &str) -> Result<(String, TlsParameters), OpenError> {
    let mut tls_parameters = TlsParameters { ssl_mode: "prefer".to_owned(), ssl_root_cert: None };
    // As in tokio-postgres, the first @ ends the user information, and the parameters start at the first ? after it.
    let userinfo_end = url.find('@').unwrap_or(0);
    let Some(start) = url[userinfo_end..].find('?').map(|offset| userinfo_end + offset) else {
        return Ok((url.to_owned(), tls_parameters));
    };
    let mut others = Vec::new();
    for pair in url[start + 1..].split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = || {
            let text = percent_decode_str(value).decode_utf8();
            text.map(Into::into).map_err(|_| OpenError::InvalidDatabaseUrl(format!("{name} is not UTF-8")))
        };
        match name {
            "sslmode" => tls_parameters.ssl_mode = value()?,
            "sslrootcert" => tls_parameters.ssl_root_cert = Some(value()?),
            _ => others.push(pair),
        }
    }
    let base = &url[..start];
    let url = if others.is_empty() { base.to_owned() } else { format!("{base}?{}", others.join("&")) };
    Ok((url, tls_parameters))
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
    if roots.is_empty() { Err(unusable("it contains no certificate".to_owned())) } else { Ok(roots) }
}

/// An error's message with those of its sources: tokio-postgres displays only the kind.
fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let message = error.to_string();
        if !text.contains(&message) {
            text = format!("{text}: {message}");
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_parameters_are_split_from_the_url() {
        for (url, stripped, mode) in [
            ("postgres://h/d", "postgres://h/d", "prefer"),
            ("postgres://u:p%3F@h/d?sslmode=verify-full", "postgres://u:p%3F@h/d", "verify-full"),
            (
                "postgres://u:p?sslmode=disable@h/d?application_name=a&sslmode=require&options=-c%20x%3Dy",
                "postgres://u:p?sslmode=disable@h/d?application_name=a&options=-c%20x%3Dy",
                "require",
            ),
        ] {
            let (url, tls_parameters) = split_tls_parameters(url).unwrap();
            assert_eq!((url.as_str(), tls_parameters.ssl_mode.as_str()), (stripped, mode));
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
