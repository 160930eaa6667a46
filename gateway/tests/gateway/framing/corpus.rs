//! The requests of `cases/`, and what becomes of them.
//!
//! A case is sent byte for byte, to the gateway and to nginx. It says what is answered, in order, and by which service;
//! and what reaches the services: under /i/ and /code/ the portal, under /auth/ mefp. `nginx` is what nginx does where
//! that is something else. A line's end in `send` is CR LF; `<LF>`, `<CR>`, `<NUL>`, `<TAB>` and `<VT>` stand for one
//! byte; `<x*9>` for nine x, `<line*9>` for nine empty lines, `<header*9>` for nine headers.

use std::fmt::Write as _;
use std::net::SocketAddr;

use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::recorder::RecordingService;
use crate::support::TEST_TIMEOUT;

macro_rules! groups {
    ($($name:literal),*) => { &[$(($name, include_str!(concat!("cases/", $name, ".toml")))),*] };
}

/// Every file, by the name of its test's group.
const GROUPS: &[(&str, &str)] = groups!(
    "host",
    "length-and-encoding",
    "lengths",
    "encodings",
    "lines",
    "line-ends",
    "chunks",
    "trailers",
    "sizes",
    "request-lines",
    "pipelining",
    "paths"
);

pub(crate) struct CaseGroup {
    pub(crate) name: &'static str,
    pub(crate) cases: Vec<FramingCase>,
}

#[derive(Deserialize)]
struct CaseFile {
    case: Vec<FramingCase>,
}

#[derive(Deserialize)]
pub(crate) struct FramingCase {
    /// What it is about.
    #[serde(alias = "path")]
    pub(crate) name: String,
    /// The bytes; without them, the name is a path to ask for.
    send: Option<String>,
    #[serde(flatten)]
    pub(crate) gateway: CaseOutcome,
    /// What nginx does, where that is something else, and why.
    pub(crate) nginx: Option<DifferentOutcome>,
}

/// What a client is answered, and what reaches the services.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub(crate) struct CaseOutcome {
    pub(crate) answers: String,
    pub(crate) reached: Vec<String>,
}

#[derive(Deserialize)]
pub(crate) struct DifferentOutcome {
    #[serde(flatten)]
    pub(crate) outcome: CaseOutcome,
    pub(crate) why: String,
}

/// What follows every case on its connection: a request to another service than the case is about. Whether it is seen
/// as one tells where the server took the case to end.
const FOLLOWING_REQUEST: &str = "GET /auth/next HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

/// All cases there are.
pub(crate) fn load_groups() -> Vec<CaseGroup> {
    let read = |&(name, text): &(&'static str, &str)| {
        let file: CaseFile = toml::from_str(text).unwrap_or_else(|e| panic!("{name}: {e}"));
        CaseGroup { name, cases: file.case }
    };
    GROUPS.iter().map(read).collect()
}

impl FramingCase {
    /// Its name, on a page.
    pub(crate) fn title(&self) -> String {
        if self.send.is_some() { self.name.clone() } else { format!("`{}`", self.name) }
    }

    fn bytes(&self) -> Vec<u8> {
        let asked = || format!("GET {} HTTP/1.1\nHost: h\n\n", self.name);
        let mut text = self.send.clone().unwrap_or_else(asked).replace('\n', "\r\n");
        for (name, bytes) in [("<CR>", "\r"), ("<LF>", "\n"), ("<NUL>", "\0"), ("<TAB>", "\t"), ("<VT>", "\u{b}")] {
            text = text.replace(name, bytes);
        }
        for (name, repeated) in [("<x*", "x"), ("<line*", "\r\n"), ("<header*", "X-A: b\r\n")] {
            while let Some((before, rest)) = text.split_once(name) {
                let (count, after) = rest.split_once('>').unwrap();
                text = format!("{before}{}{after}", repeated.repeat(count.parse().unwrap()));
            }
        }
        (text + FOLLOWING_REQUEST).into_bytes()
    }

    /// Sends it to `address`, in front of `services`.
    pub(crate) async fn run(&self, address: SocketAddr, services: &[RecordingService]) -> CaseOutcome {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // It may be refused before it is sent to its end.
        let _ = stream.write_all(&self.bytes()).await;
        let mut bytes = Vec::new();
        // A reset after the answer is a close as well.
        let ended = tokio::time::timeout(TEST_TIMEOUT, stream.read_to_end(&mut bytes)).await;
        assert!(ended.is_ok(), "{}: neither answered nor closed: {}", self.name, bytes.escape_ascii());
        let answers = parse_responses(&bytes);
        CaseOutcome { answers, reached: services.iter().flat_map(RecordingService::requests).collect() }
    }
}

/// The services of every run: two that are told apart by case, one that is not.
pub(crate) fn start_recorders() -> [RecordingService; 3] {
    ["portal", "mefp", "jwt"].map(RecordingService::start)
}

/// Each answer's status, and who gave it if it was a service.
fn parse_responses(mut bytes: &[u8]) -> String {
    let mut told = Vec::new();
    while !bytes.is_empty() {
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n").filter(|_| bytes.starts_with(b"HTTP/1."))
        else {
            told.push("no HTTP".to_owned());
            break;
        };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let header = |wanted: &str| {
            let fields = head.lines().filter_map(|line| line.split_once(": "));
            fields.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.to_owned())
        };
        let service = header("x-served-by").map(|name| format!(" {name}")).unwrap_or_default();
        told.push(format!("{}{service}", &head[9..12]));
        let length: usize = header("content-length").map_or(0, |length| length.parse().unwrap());
        bytes = bytes.get(end + 4 + length..).unwrap_or_default();
    }
    if told.is_empty() { "closed".to_owned() } else { told.join(", ") }
}

/// Fails with all that is not as the table has it.
pub(crate) fn assert_outcomes<'a>(outcomes: impl IntoIterator<Item = (&'a FramingCase, &'a CaseOutcome, CaseOutcome)>) {
    let mut told = String::new();
    for (case, wanted, seen) in outcomes {
        if *wanted != seen {
            let _ = writeln!(told, "{}\n  wanted {wanted:?}\n  seen   {seen:?}", case.name);
        }
    }
    assert!(told.is_empty(), "not as the table has it:\n{told}");
}
