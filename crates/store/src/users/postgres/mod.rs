//! PostgreSQL connection settings from a URL, with libpq's TLS modes (`sslmode`).

mod tls_parameters;

use diesel::ConnectionResult;
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;

use self::tls_parameters::split_tls_parameters;
use super::pool::{ConnectionSlots, PostgresConnection, connect_in_slot};
use super::tls::PostgresTlsConnector;
use crate::OpenError;

/// A server's address, login and TLS settings.
#[derive(Clone)]
pub(super) struct PostgresServer {
    config: Config,
    tls: PostgresTlsConnector,
}

impl PostgresServer {
    /// Parses `postgres://USER:PASSWORD@HOST/NAME?sslmode=…&sslrootcert=…` and the other parameters of tokio-postgres.
    ///
    /// The modes have libpq's names and meanings, but for `allow`, which does not exist here, and for the default
    /// authorities, which are the system's:
    ///
    /// - `disable`: no TLS
    /// - `prefer` (default): TLS if the server offers it
    /// - `require`: TLS with any certificate; with an `sslrootcert`, `verify-ca`
    /// - `verify-ca`: TLS with a certificate issued by an authority in the file `sslrootcert`, or by one of the
    ///   system's authorities if `sslrootcert` is absent or `system`
    /// - `verify-full`: as `verify-ca`, and the certificate must name the host
    ///
    /// `disable` and `prefer` are rejected with an `sslrootcert`, which they would ignore.
    pub(super) fn parse(url: &str) -> Result<Self, OpenError> {
        let (url, tls_parameters) = split_tls_parameters(url)?;
        let verification = tls_parameters.certificate_verification()?;
        let to_open_error = |e: tokio_postgres::Error| OpenError::InvalidDatabaseUrl(with_sources(&e));
        let mut config: Config = url.parse().map_err(to_open_error)?;
        config.ssl_mode(match tls_parameters.ssl_mode.as_str() {
            "disable" => SslMode::Disable,
            "prefer" => SslMode::Prefer,
            _ => SslMode::Require,
        });
        Ok(Self { config, tls: PostgresTlsConnector::new(verification)? })
    }

    /// Connects, in one of `slots`. The caller sets the timeout.
    pub(super) async fn connect(&self, slots: &ConnectionSlots) -> ConnectionResult<PostgresConnection> {
        let slot = slots.acquire(0).await?;
        let (config, tls) = (self.config.clone(), self.tls.clone());
        connect_in_slot(slot, self.tls.clone(), async move { config.connect(tls).await }).await
    }
}

/// The message of an error, followed by the messages of its sources: tokio-postgres displays only the kind.
pub(super) fn with_sources(error: &dyn std::error::Error) -> String {
    let mut description = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let message = error.to_string();
        if !description.contains(&message) {
            description = format!("{description}: {message}");
        }
        source = error.source();
    }
    description
}
