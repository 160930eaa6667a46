//! PostgreSQL connection settings from a URL, with libpq's TLS modes (`sslmode`).

mod cancel;
mod connection;
mod host_selection;
mod hosts;
mod session_check;
mod tls_parameters;

use std::sync::Arc;

use diesel::{ConnectionError, ConnectionResult};
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;

pub(super) use self::cancel::Canceler;
pub(super) use self::connection::{RawConnection, ServerConnection};
use self::host_selection::HostSelection;
use self::hosts::Hosts;
pub(super) use self::session_check::CheckedConnectError;
use self::tls_parameters::split_tls_parameters;
use super::pool::{ConnectionSlots, PostgresConnection};
use super::tls::PostgresTlsConnector;
use crate::OpenError;

/// The servers of a URL, with login and TLS settings. Clones share what is known of the hosts.
#[derive(Clone)]
pub(super) struct PostgresServer {
    hosts: Arc<Hosts>,
    selection: Arc<HostSelection>,
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
    ///
    /// If there are several hosts, or several addresses of one, `target_session_attrs` is `read-write` unless the URL has
    /// another, and each attempt to connect to one has half a second, or `connect_timeout` if that is shorter. See
    /// [`host_selection`].
    pub(super) fn parse(url: &str) -> Result<Self, OpenError> {
        let (url, tls_parameters) = split_tls_parameters(url)?;
        let verification = tls_parameters.certificate_verification()?;
        if has_second_at(&url) {
            let cause = "a second @ before the parameters: write @ in the user, password and database as %40";
            return Err(OpenError::InvalidDatabaseUrl(cause.to_owned()));
        }
        let to_open_error = |e: tokio_postgres::Error| OpenError::InvalidDatabaseUrl(with_sources(&e));
        let mut config: Config = url.parse().map_err(to_open_error)?;
        config.ssl_mode(match tls_parameters.ssl_mode.as_str() {
            "disable" => SslMode::Disable,
            "prefer" => SslMode::Prefer,
            _ => SslMode::Require,
        });
        let required = url.contains("target_session_attrs=").then(|| config.get_target_session_attrs());
        let hosts = Hosts::new(&config, required, PostgresTlsConnector::new(verification)?)?;
        Ok(Self { hosts: Arc::new(hosts), selection: Arc::default() })
    }

    /// Connects, in one of `slots`. The caller sets the timeout.
    pub(super) async fn connect(&self, slots: &ConnectionSlots) -> ConnectionResult<PostgresConnection> {
        let connection = self.connect_raw(slots).await.map_err(ConnectionError::BadConnection)?;
        PostgresConnection::start(connection).await
    }

    /// Whether no other host has been selected since `connection` was made. If one has, the connection leads to a
    /// former primary, which may still accept writes.
    pub(super) fn is_selected(&self, connection: &PostgresConnection) -> bool {
        connection.selection() == self.selection.number()
    }

    /// Connects to the only host, or to the selected one of several, in one of `slots`. The caller sets the timeout.
    ///
    /// # Errors
    /// One line; of several hosts, each with why it is not used.
    async fn connect_raw(&self, slots: &ConnectionSlots) -> Result<RawConnection, String> {
        if self.selection.selected().is_none()
            && let Some(endpoint) = self.hosts.only_endpoint().await?
        {
            let connected = async {
                let slot = self.hosts.acquire_slot(endpoint, slots).await?;
                self.hosts.connect_to_only(endpoint, slot).await
            };
            return connected.await.map(|connected| connected.connection).map_err(|e| e.to_string());
        }
        self.selection.connect(&self.hosts, slots).await
    }
}

/// Whether there is an @ between the user information, which ends at the first one as in tokio-postgres, and the
/// parameters: what follows it in a password would be a host, which errors name.
fn has_second_at(url: &str) -> bool {
    url.split_once('@').is_some_and(|(_, after)| after.split('?').next().is_some_and(|base| base.contains('@')))
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
