//! Health check by command line (`--healthcheck`): requests `/readyz` of the running program, so that a container image
//! needs no other program for its health check.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::ArgMatches;

use crate::common_settings::LISTEN;
use crate::config::Settings;
use crate::setting::SettingList;
use crate::{admin, cli};

/// Timeout of the health check. Without a response in this time, the program counts as not ready.
const HEALTH_CHECK_TIMEOUT: Duration = Duration::from_secs(3);

/// With `--healthcheck` on the command line: prints one line and returns exit code 0 if the program that runs with
/// these settings is ready, 1 if not. `default_listen` is the program's default listen address.
pub fn run_if_requested(
    matches: &ArgMatches,
    known_settings: &[SettingList],
    default_listen: SocketAddr,
) -> Option<ExitCode> {
    if !matches.get_flag("healthcheck") {
        return None;
    }
    let check = || {
        let settings = cli::load_settings(matches, known_settings).map_err(|e| e.to_string())?;
        let admin = local_admin_address(&settings, default_listen)?;
        let status = request_readiness(admin, Instant::now() + HEALTH_CHECK_TIMEOUT)
            .map_err(|e| format!("{admin} does not answer: {e}"))?;
        if status == "200" { Ok(()) } else { Err(format!("{admin}/readyz answers {status}: not ready")) }
    };
    Some(match check() {
        Ok(()) => {
            // The exit code is the result; a closed pipe is not an error.
            let _ = writeln!(io::stdout(), "ready");
            ExitCode::SUCCESS
        }
        Err(reason) => {
            cli::print_error(&reason);
            ExitCode::FAILURE
        }
    })
}

/// The address of the admin port for a connection from this machine.
fn local_admin_address(settings: &Settings, default_listen: SocketAddr) -> Result<SocketAddr, String> {
    let listen = settings.get(&LISTEN).map_err(|e| e.to_string())?.unwrap_or(default_listen);
    let mut admin = admin::listen_address(settings, listen).map_err(|e| e.to_string())?;
    match admin.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => admin.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => admin.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    Ok(admin)
}

/// Sends `GET /readyz` and returns the status code of the response.
fn request_readiness(admin: SocketAddr, deadline: Instant) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&admin, remaining(deadline)?)?;
    stream.set_write_timeout(Some(remaining(deadline)?))?;
    stream.write_all(format!("GET /readyz HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n").as_bytes())?;
    // "HTTP/1.1 200": only the status code is needed.
    let mut head = [0; 12];
    let mut filled = 0;
    while filled < head.len() {
        stream.set_read_timeout(Some(remaining(deadline)?))?;
        match stream.read(&mut head[filled..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => filled += read,
        }
    }
    Ok(String::from_utf8_lossy(&head[9..]).into_owned())
}

fn remaining(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn serve_response(response: &'static [u8]) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 256];
            let read = stream.read(&mut request).unwrap();
            assert!(request[..read].starts_with(b"GET /readyz HTTP/1.1\r\n"));
            for byte in response {
                stream.write_all(&[*byte]).unwrap();
            }
        });
        address
    }

    fn health_check_deadline() -> Instant {
        Instant::now() + HEALTH_CHECK_TIMEOUT
    }

    #[test]
    fn a_fragmented_status_line_is_read() {
        assert_eq!(
            request_readiness(serve_response(b"HTTP/1.1 200 OK\r\n\r\nready\n"), health_check_deadline()).unwrap(),
            "200"
        );
        assert_eq!(
            request_readiness(serve_response(b"HTTP/1.1 503 Service Unavailable\r\n\r\n"), health_check_deadline())
                .unwrap(),
            "503"
        );
    }

    #[test]
    fn an_incomplete_or_missing_response_is_an_error() {
        assert!(request_readiness(serve_response(b"HTTP/1.1"), health_check_deadline()).is_err());
        let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let deadline = Instant::now() + Duration::from_millis(50);
        assert!(request_readiness(silent.local_addr().unwrap(), deadline).is_err());
        let closed = silent.local_addr().unwrap();
        drop(silent);
        assert!(request_readiness(closed, health_check_deadline()).is_err());
    }

    #[test]
    fn the_health_check_uses_the_configured_admin_address() {
        let resolve_address = |values: &[(&'static str, &str)]| {
            let values = values.iter().map(|(name, value)| (*name, (*value).to_owned()));
            local_admin_address(&Settings::default().with_values(values), ([127, 0, 0, 1], 8104).into())
                .map(|a| a.to_string())
        };
        assert_eq!(resolve_address(&[]).as_deref(), Ok("127.0.0.1:9104"));
        assert_eq!(resolve_address(&[("STELE_LISTEN", "0.0.0.0:8080")]).as_deref(), Ok("127.0.0.1:9080"));
        assert_eq!(resolve_address(&[("STELE_ADMIN_LISTEN", "0.0.0.0:9000")]).as_deref(), Ok("127.0.0.1:9000"));
        assert_eq!(resolve_address(&[("STELE_ADMIN_LISTEN", "[::]:9000")]).as_deref(), Ok("[::1]:9000"));
        assert!(resolve_address(&[("STELE_ADMIN_LISTEN", "admin")]).is_err());
    }
}
