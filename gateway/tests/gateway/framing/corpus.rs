//! Reads the framing cases in `cases/` and runs them.
//!
//! A case is sent byte for byte, to the gateway and to nginx. `answers` lists the statuses of the responses, each with
//! the service that sent it; `reached` lists the requests that reach a service: the portal serves /i/ and /code/, mefp
//! /auth/. `nginx` has the outcome with nginx if it differs, and the
//! reason. In `send`, the end of a line is CR LF; `<LF>`, `<CR>`, `<NUL>`,
//! `<TAB>` and `<VT>` are one byte each; `<x*9>` is nine x, `<line*9>` nine empty lines, `<header*9>` nine header
//! fields.

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

/// Name and text of each file in `cases/`.
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
    /// A description; for a case without `send`, the path that is requested.
    #[serde(alias = "path")]
    pub(crate) name: String,
    /// The request's bytes. `None`: a GET of the path in `name`.
    send: Option<String>,
    #[serde(flatten)]
    pub(crate) gateway: CaseOutcome,
    /// The outcome with nginx, if it differs, and the reason.
    pub(crate) nginx: Option<DifferentOutcome>,
}

/// The responses to the client and the requests that reach services.
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

/// A request for another service, sent after every case on the same connection. It is received as a request only if the
/// server finds the end of the case where the case ends.
const FOLLOWING_REQUEST: &str = "GET /auth/next HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

/// All cases, by file.
pub(crate) fn load_groups() -> Vec<CaseGroup> {
    let parse_group = |&(name, text): &(&'static str, &str)| {
        let file: CaseFile = toml::from_str(text).unwrap_or_else(|e| panic!("{name}: {e}"));
        CaseGroup { name, cases: file.case }
    };
    GROUPS.iter().map(parse_group).collect()
}

impl FramingCase {
    /// Title in the tables of `docs/FRAMING.md`.
    pub(crate) fn title(&self) -> String {
        if self.send.is_some() { self.name.clone() } else { format!("`{}`", self.name) }
    }

    /// The bytes to send: the case, and [`FOLLOWING_REQUEST`].
    fn bytes(&self) -> Vec<u8> {
        let get_request = || format!("GET {} HTTP/1.1\nHost: h\n\n", self.name);
        let mut text = self.send.clone().unwrap_or_else(get_request).replace('\n', "\r\n");
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

    /// Sends the case to the proxy at `address`. Returns the responses, and the requests that `services` received.
    pub(crate) async fn run(&self, address: SocketAddr, services: &[RecordingService]) -> CaseOutcome {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // The server may reject the request and close before all of it is sent.
        let _ = stream.write_all(&self.bytes()).await;
        let mut bytes = Vec::new();
        // A reset after the response counts as a close.
        let end = tokio::time::timeout(TEST_TIMEOUT, stream.read_to_end(&mut bytes)).await;
        assert!(end.is_ok(), "{}: no response and no close: {}", self.name, bytes.escape_ascii());
        let answers = parse_responses(&bytes);
        CaseOutcome { answers, reached: services.iter().flat_map(RecordingService::requests).collect() }
    }
}

/// The services of every run. The prefixes of portal and mefp are case-sensitive, the prefixes of jwt are not.
pub(crate) fn start_recorders() -> [RecordingService; 3] {
    ["portal", "mefp", "jwt"].map(RecordingService::start)
}

/// The status of each response, with the name of the service that sent it: `200 portal, 400`.
fn parse_responses(mut bytes: &[u8]) -> String {
    let mut responses = Vec::new();
    while !bytes.is_empty() {
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n").filter(|_| bytes.starts_with(b"HTTP/1."))
        else {
            responses.push("no HTTP".to_owned());
            break;
        };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let header_value = |wanted: &str| {
            let fields = head.lines().filter_map(|line| line.split_once(": "));
            fields.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.to_owned())
        };
        let service = header_value("x-served-by").map(|name| format!(" {name}")).unwrap_or_default();
        responses.push(format!("{}{service}", &head[9..12]));
        let length: usize = header_value("content-length").map_or(0, |length| length.parse().unwrap());
        bytes = bytes.get(end + 4 + length..).unwrap_or_default();
    }
    if responses.is_empty() { "closed".to_owned() } else { responses.join(", ") }
}

/// Fails with a list of all cases whose outcome is not the expected one.
pub(crate) fn assert_outcomes<'a>(outcomes: impl IntoIterator<Item = (&'a FramingCase, &'a CaseOutcome, CaseOutcome)>) {
    let mut mismatches = String::new();
    for (case, expected, actual) in outcomes {
        if *expected != actual {
            let _ = writeln!(mismatches, "{}\n  expected {expected:?}\n  actual   {actual:?}", case.name);
        }
    }
    assert!(mismatches.is_empty(), "unexpected outcomes:\n{mismatches}");
}
