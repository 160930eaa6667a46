//! The application behind the proxies: records each request, and answers with its number. It reads HTTP/1.1 itself, so
//! that nothing of a request is lost or normalized.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A request that has reached the application.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) method: String,
    pub(crate) target: String,
    /// As they were received, in their order.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Received {
    /// The values of a field, whose name is compared without case.
    pub(crate) fn values(&self, name: &str) -> Vec<&str> {
        self.headers
            .iter()
            .filter(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect()
    }

    /// The fields that an application which speaks CGI or WSGI could take for an identity header.
    pub(crate) fn identity_aliases(&self) -> Vec<&(String, String)> {
        let folded = |name: &str| name.replace(|c: char| !c.is_ascii_alphanumeric(), "-").to_ascii_lowercase();
        self.headers.iter().filter(|(name, _)| folded(name).starts_with("x-stele-")).collect()
    }
}

/// The application, until the test ends.
pub(crate) struct Application {
    pub(crate) port: u16,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Application {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let received = Arc::new(Mutex::new(Vec::new()));
        let log = received.clone();
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let log = log.clone();
                std::thread::spawn(move || serve(&socket, &log));
            }
        });
        Self { port, received }
    }

    /// Takes what has been received so far.
    pub(crate) fn take(&self) -> Vec<Received> {
        std::mem::take(&mut *self.received.lock().unwrap())
    }
}

/// Serves one connection: keep-alive, until the peer closes or upgrades to an echo.
fn serve(socket: &TcpStream, log: &Mutex<Vec<Received>>) {
    let mut reader = BufReader::new(socket);
    while let Some(request) = read_request(&mut reader) {
        let is_upgrade = request.values("upgrade") == ["websocket"];
        let is_head = request.method == "HEAD";
        log.lock().unwrap().push(request);
        let mut writer = socket;
        if is_upgrade {
            let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
            let _ = writer.write_all(head.as_bytes());
            let mut buffer = [0; 512];
            while let Ok(read @ 1..) = reader.read(&mut buffer) {
                let _ = writer.write_all(&buffer[..read]);
            }
            return;
        }
        let body = if is_head { "" } else { "application" };
        if write!(writer, "HTTP/1.1 200 OK\r\nContent-Length: 11\r\nX-App: yes\r\n\r\n{body}").is_err() {
            return;
        }
    }
}

fn read_request(reader: &mut BufReader<&TcpStream>) -> Option<Received> {
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        line.strip_suffix("\r\n").map(str::to_owned)
    };
    let request_line = line()?;
    let mut words = request_line.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let field = line()?;
        if field.is_empty() {
            break;
        }
        let (name, value) = field.split_once(':')?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut request = Received { method, target, headers, body: Vec::new() };
    if request.values("transfer-encoding") == ["chunked"] {
        request.body = read_chunks(reader)?;
    } else if let [length] = request.values("content-length")[..] {
        request.body = vec![0; length.parse().ok()?];
        reader.read_exact(&mut request.body).ok()?;
    }
    Some(request)
}

fn read_chunks(reader: &mut BufReader<&TcpStream>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut size = String::new();
        reader.read_line(&mut size).ok()?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        let mut chunk = vec![0; size + 2];
        reader.read_exact(&mut chunk).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(&chunk[..size]);
    }
}
