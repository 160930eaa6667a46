//! Golden transcripts: requests and the expected responses, compared byte by byte.
//!
//! A file contains exchanges, separated by lines of `=====`: a raw request (head, empty line, body), a line of `-----`,
//! and the expected response: status line, headers without `date` (lowercase, sorted), empty line, body. Each exchange
//! must also conform to the service's OpenAPI document. `host`, `connection: close` and, for a body, `content-length`
//! are added to requests. `UPDATE_GOLDEN=1` rewrites the responses.

use std::fmt::Write as _;
use std::path::Path;

use crate::{RunningService, openapi, raw_http};

const EXCHANGE_SEPARATOR: &str = "\n=====\n";
const RESPONSE_SEPARATOR: &str = "\n-----\n";

/// Sends the requests of the transcript at `path` (relative to the crate) to `service` and compares the responses.
pub async fn assert_golden(service: &RunningService, path: &str) {
    let file = Path::new(path);
    let text = std::fs::read_to_string(file).unwrap_or_else(|e| panic!("{path}: {e}"));
    let document = serde_json::to_value((service.service().openapi_document)()).unwrap();
    let mut actual = Vec::new();
    for exchange in text.trim_end().split(EXCHANGE_SEPARATOR) {
        let request = exchange.split(RESPONSE_SEPARATOR).next().unwrap_or_default().trim_end_matches('\n');
        let response = normalize_response(&raw_http::send_raw(service.address(), &to_raw_request(request)).await);
        openapi::assert_conforms(&document, request, &response);
        actual.push(format!("{request}{RESPONSE_SEPARATOR}{}", response.trim_end()));
    }
    let expected = text.trim_end().split(EXCHANGE_SEPARATOR);
    let differing = expected.zip(&actual).find(|(expected, actual)| expected != actual);
    let actual = actual.join(EXCHANGE_SEPARATOR) + "\n";
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(file, actual).unwrap();
        return;
    }
    if let Some((expected, actual)) = differing {
        panic!("{path} differs (UPDATE_GOLDEN=1 rewrites it).\nExpected:\n{expected}\n\nActual:\n{actual}");
    }
    assert_eq!(actual, text, "{path} differs in whitespace; UPDATE_GOLDEN=1 rewrites it");
}

fn to_raw_request(request: &str) -> Vec<u8> {
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

fn normalize_response(response: &str) -> String {
    let (head, body) = response.split_once("\r\n\r\n").unwrap_or((response, ""));
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
