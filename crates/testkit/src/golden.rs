//! Golden transcripts: what a client sends and what it is answered, to the byte.
//!
//! A file holds exchanges, separated by lines of `=====`: a raw request (head, empty line, body), a line of `-----`,
//! and the expected answer: its status line, its headers but `date` (lowercase, sorted), an empty line, its body.
//! Each exchange must also be as the service's OpenAPI document has it. `content-length` and `connection: close` are added to requests. `UPDATE_GOLDEN=1` writes the answers anew.

use std::fmt::Write as _;
use std::path::Path;

use crate::{RunningService, openapi, raw_http};

const EXCHANGE_SEPARATOR: &str = "\n=====\n";
const RESPONSE_SEPARATOR: &str = "\n-----\n";

/// Plays the transcript in `path` (from the crate's folder) against `service` and compares every byte.
pub async fn assert_golden(service: &RunningService, path: &str) {
    let file = Path::new(path);
    let text = std::fs::read_to_string(file).unwrap_or_else(|e| panic!("{path}: {e}"));
    let described = serde_json::to_value((service.service().openapi_document)()).unwrap();
    let mut played = Vec::new();
    for exchange in text.trim_end().split(EXCHANGE_SEPARATOR) {
        let request = exchange.split(RESPONSE_SEPARATOR).next().unwrap_or_default().trim_end_matches('\n');
        let answer = normalize_response(&raw_http::send_raw(service.address(), &request_bytes(request)).await);
        openapi::assert_conforms(&described, request, &answer);
        played.push(format!("{request}{RESPONSE_SEPARATOR}{}", answer.trim_end()));
    }
    let expected = text.trim_end().split(EXCHANGE_SEPARATOR);
    let differing = expected.zip(&played).find(|(expected, played)| expected != played);
    let played = played.join(EXCHANGE_SEPARATOR) + "\n";
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(file, played).unwrap();
        return;
    }
    if let Some((expected, played)) = differing {
        panic!("{path} differs (UPDATE_GOLDEN=1 writes it anew).\nExpected:\n{expected}\n\nPlayed:\n{played}");
    }
    assert_eq!(played, text, "{path} differs in form; UPDATE_GOLDEN=1 writes it anew");
}

fn request_bytes(request: &str) -> Vec<u8> {
    let (head, body) = request.split_once("\n\n").unwrap_or((request, ""));
    let mut out = head.trim_end().replace('\n', "\r\n");
    out += "\r\nhost: stele.test\r\nconnection: close\r\n";
    if !body.is_empty() {
        write!(out, "content-length: {}\r\n", body.len()).unwrap();
    }
    out += "\r\n";
    out += body;
    out.into_bytes()
}

fn normalize_response(answer: &str) -> String {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default();
    let mut headers: Vec<String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_lowercase(), value.trim()))
        .filter(|(name, _)| name != "date")
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    headers.sort();
    format!("{status}\n{}\n\n{body}", headers.join("\n"))
}
