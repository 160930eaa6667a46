//! TLS to source databases. Their rows have password hashes, so a connection that leaves the machine is encrypted and
//! verified unless the URL says otherwise.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};

/// Whether a connection uses TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TlsUse {
    /// TLS with a certificate that names the host, by an authority of the system.
    Verified,
    /// No TLS.
    Disabled,
}

/// The use of TLS to hosts for which the URL does not name one.
pub(super) fn default_tls_use<'a>(mut hosts: impl Iterator<Item = &'a str>) -> TlsUse {
    if hosts.all(is_this_machine) { TlsUse::Disabled } else { TlsUse::Verified }
}

/// Whether a host is this machine: a loopback address or the path of a socket.
fn is_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host.starts_with('/')
        || address.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

/// A TLS configuration that trusts the system's authorities, or those that `SSL_CERT_FILE` names.
pub(super) fn client_config() -> Result<ClientConfig, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    Ok(config.with_safe_default_protocol_versions()?.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_that_leave_the_machine_are_encrypted() {
        for (hosts, expected) in [
            (&["localhost"][..], TlsUse::Disabled),
            (&["127.0.0.1", "::1", "[::1]"], TlsUse::Disabled),
            (&["/run/postgresql"], TlsUse::Disabled),
            (&["db.example.com"], TlsUse::Verified),
            (&["localhost", "10.0.0.7"], TlsUse::Verified),
        ] {
            assert_eq!(default_tls_use(hosts.iter().copied()), expected, "{hosts:?}");
        }
    }
}
