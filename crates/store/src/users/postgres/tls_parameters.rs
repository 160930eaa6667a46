//! The TLS parameters of a URL, `sslmode` and `sslrootcert`, which tokio-postgres does not know in full.

use std::fs::File;
use std::path::Path;

use percent_encoding::percent_decode_str;

use crate::OpenError;
use crate::users::tls::{CertificateVerification, RootCertificates};

const UNKNOWN_SSL_MODE: &str = "unknown sslmode: use disable, prefer, require, verify-ca or verify-full";

/// The TLS parameters of a URL.
pub(super) struct TlsParameters {
    pub(super) ssl_mode: String,
    ssl_root_cert: Option<String>,
}

impl TlsParameters {
    pub(super) fn certificate_verification(&self) -> Result<CertificateVerification, OpenError> {
        let load_roots = || match self.ssl_root_cert.as_deref() {
            None | Some("system") => Ok(RootCertificates::System),
            Some(path) => load_root_certificates(path.as_ref()).map(RootCertificates::Custom),
        };
        match (self.ssl_mode.as_str(), &self.ssl_root_cert) {
            ("disable" | "prefer" | "require", None) => Ok(CertificateVerification::AcceptAny),
            ("disable" | "prefer", Some(_)) => Err(OpenError::InvalidDatabaseUrl(format!(
                "sslmode={} would ignore sslrootcert: use verify-full, or remove sslrootcert",
                self.ssl_mode
            ))),
            ("require" | "verify-ca", _) => Ok(CertificateVerification::VerifyCa(load_roots()?)),
            ("verify-full", _) => Ok(CertificateVerification::VerifyFull(load_roots()?)),
            _ => Err(OpenError::InvalidDatabaseUrl(UNKNOWN_SSL_MODE.to_owned())),
        }
    }
}

/// Separates `sslmode` and `sslrootcert` from the rest of a URL: tokio-postgres knows neither the verifying modes nor
/// `sslrootcert`.
pub(super) fn split_tls_parameters(url: &str) -> Result<(String, TlsParameters), OpenError> {
    let mut tls_parameters = TlsParameters { ssl_mode: "prefer".to_owned(), ssl_root_cert: None };
    // As in tokio-postgres, the first @ ends the user information, and the parameters start at the first ? after it.
    let userinfo_end = url.find('@').unwrap_or(0);
    let Some(start) = url[userinfo_end..].find('?').map(|offset| userinfo_end + offset) else {
        return Ok((url.to_owned(), tls_parameters));
    };
    let mut others = Vec::new();
    for pair in url[start + 1..].split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decode_value = || {
            let decoded = percent_decode_str(value).decode_utf8();
            decoded.map(Into::into).map_err(|_| OpenError::InvalidDatabaseUrl(format!("{name} is not UTF-8")))
        };
        match name {
            "sslmode" => tls_parameters.ssl_mode = decode_value()?,
            "sslrootcert" => tls_parameters.ssl_root_cert = Some(decode_value()?),
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
    let to_open_error = |cause: String| OpenError::InvalidRootCertificates { path: path.to_owned(), cause };
    let file = File::open(path).map_err(|e| to_open_error(e.to_string()))?;
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_reader_iter(file) {
        let certificate = certificate.map_err(|e| to_open_error(e.to_string()))?;
        roots.add(certificate).map_err(|e| to_open_error(e.to_string()))?;
    }
    if roots.is_empty() { Err(to_open_error("the file contains no certificate".to_owned())) } else { Ok(roots) }
}

#[cfg(test)]
mod tests {
    use super::super::PostgresServer;
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
    fn unusable_tls_parameters_are_rejected_without_echoing_the_password() {
        for (parameters, expected) in [
            ("sslmode=verify_full", UNKNOWN_SSL_MODE),
            ("sslmode=", UNKNOWN_SSL_MODE),
            ("sslmode=allow", UNKNOWN_SSL_MODE),
            ("sslmode=Require", UNKNOWN_SSL_MODE),
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
