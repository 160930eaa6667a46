//! Listening sockets: bind with errors that name the remedy, accept backlog, limit of open files.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::config::ConfigError;

/// Capacity of the queue of connections that wait to be accepted.
const LISTEN_BACKLOG: i32 = 4096;

/// Listens on `address`, the value of the setting named `setting`.
///
/// # Errors
/// If the port is in use or not permitted, the address is not this machine's, or the operating system refuses the
/// socket; the message contains the remedy.
pub fn bind(address: SocketAddr, setting: &str) -> Result<TcpListener, ConfigError> {
    let listener = TcpListener::bind(address).map_err(|error| {
        let explanation = match error.kind() {
            ErrorKind::AddrInUse => "the port is in use; stop the program that listens there or choose another port",
            ErrorKind::PermissionDenied => "no permission for this port; choose one above 1023",
            ErrorKind::AddrNotAvailable => {
                "no interface has this address; choose an address of this machine, or 0.0.0.0 for all"
            }
            _ => "the port cannot be opened",
        };
        ConfigError::new(format!("cannot listen on {address} ({setting}): {explanation} ({error})"))
    })?;
    set_backlog(&listener)?;
    Ok(listener)
}

/// Raises the accept backlog above the standard library's 128, so that a burst of connections is not rejected.
///
/// # Errors
/// If the operating system refuses.
pub fn set_backlog(listener: &TcpListener) -> Result<(), ConfigError> {
    let backlog_error = |e| ConfigError::new(format!("cannot set the listen backlog to {LISTEN_BACKLOG}: {e}"));
    socket2::SockRef::from(listener).listen(LISTEN_BACKLOG).map_err(backlog_error)
}

/// Raises the limit of open files to the hard limit, or to 2^20 if there is none: each connection uses one file, each
/// worker thread a few, and the soft limit is often 1024. Returns the limit in force; `None` if unlimited.
pub fn raise_open_file_limit() -> Option<u64> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current < limit.maximum || limit.maximum.is_none() {
        limit.current = limit.maximum.or(limit.current.max(Some(1 << 20)));
        if let Err(cause) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%cause, "the limit of open files cannot be raised; raise it with `ulimit -n` or LimitNOFILE");
        }
    }
    getrlimit(Resource::Nofile).current
}
