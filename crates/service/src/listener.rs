//! Opening a port, with an error that says what is wrong with it.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::config::ConfigError;

/// Connections that wait to be accepted.
const LISTEN_BACKLOG: i32 = 4096;

/// Listens on `address`, which the setting called `setting` gave.
///
/// # Errors
/// One line: the port is taken, not allowed, or the address is not this machine's.
pub fn bind(address: SocketAddr, setting: &str) -> Result<TcpListener, ConfigError> {
    let listener = TcpListener::bind(address).map_err(|error| {
        let remedy = match error.kind() {
            ErrorKind::AddrInUse => "the port is taken; stop what listens there or choose another",
            ErrorKind::PermissionDenied => "the port may not be opened; choose one above 1023",
            ErrorKind::AddrNotAvailable => "this machine has no such address",
            _ => "it cannot be opened",
        };
        ConfigError::new(format!("cannot listen on {address} ({setting}): {remedy} ({error})"))
    })?;
    set_backlog(&listener)?;
    Ok(listener)
}

/// Lets more connections wait to be accepted than the standard library's 128, so that a burst is not turned away.
///
/// # Errors
/// If the system refuses.
pub fn set_backlog(listener: &TcpListener) -> Result<(), ConfigError> {
    let fault = |e| ConfigError::new(format!("a longer queue of connections is refused: {e}"));
    socket2::SockRef::from(listener).listen(LISTEN_BACKLOG).map_err(fault)
}

/// Asks for as many open files as the system allows: each connection is one, each thread that serves has some, and many
/// systems allow a process 1024 until it asks for more. How many it may have now; `None`: any number.
pub fn raise_open_file_limit() -> Option<u64> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current < limit.maximum || limit.maximum.is_none() {
        limit.current = limit.maximum.or(limit.current.max(Some(1 << 20)));
        if let Err(cause) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%cause, "the limit of open files stays as it is");
        }
    }
    getrlimit(Resource::Nofile).current
}
