//! Malformed MeFP envelopes (truncated, padding oracle probes, random bytes, wrong JSON types), and invalid base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use stele_bench_kit::{DialectKind, Request};

use super::bodies::valid_request;
use super::calls::Call;
use super::seeded_rng::SeededRng;
use crate::target::Target;

/// A malformed MeFP envelope with the call's fields, sent to the call's path; calls of other dialects go to MeFP's
/// login.
pub(crate) fn malformed_envelope(target: &Target, call: &Call, rng: &mut SeededRng) -> Request {
    let app = &target.client.app;
    let path = if call.dialect == DialectKind::Mefp { call.path } else { "/auth/login" };
    let mut encrypted = app.encrypt(call.fields_as_json().as_bytes());
    match rng.next_below(9) {
        0 => encrypted.truncate(rng.next_below(encrypted.len())),
        1 => encrypted.truncate(rng.next_below(encrypted.len() / 16) * 16),
        2 => {
            let (at, bit) = (rng.next_below(encrypted.len()), rng.next_below(8));
            encrypted[at] ^= 1 << bit;
        }
        // A padding oracle probe: a chosen block before a captured one.
        3 => {
            let from = rng.next_below(encrypted.len() / 16) * 16;
            encrypted = [rng.random_bytes(16), encrypted[from..from + 16].to_vec()].concat();
        }
        4 => encrypted.rotate_left(16),
        5 => {
            let blocks = rng.next_below(64) * 16;
            encrypted = rng.random_bytes(blocks);
        }
        6 => {
            let length = rng.next_below(100);
            encrypted = rng.random_bytes(length);
        }
        7 => encrypted = app.encrypt_blocks(&rng.random_bytes(64)),
        _ => {
            let inner = rng.next_below(1_000);
            encrypted = app.encrypt(&rng.random_bytes(inner));
        }
    }
    let text = STANDARD.encode(&encrypted);
    let names = ["wlfz", "MELINK", "", "melink\0", "unknown", "../melink", "' OR 1=1 --"];
    let app_from = if rng.one_in(4) { *rng.choose(&names) } else { app.name.as_str() };
    let body = match rng.next_below(8) {
        0 => json!({ "encrypt": text }),
        1 => json!({ "app_from": app_from }),
        2 => json!({ "encrypt": [text], "app_from": app_from }),
        3 => json!({ "encrypt": encrypted, "app_from": app_from }),
        4 => json!({ "encrypt": text, "app_from": { "name": app_from } }),
        _ => json!({ "encrypt": text, "app_from": app_from }),
    };
    Request::post(path, "application/json", body.to_string())
}

/// The call with random or invalid base64: as the content of a MeFP envelope, in other dialects as the value of every
/// field but names and timestamps.
pub(crate) fn malformed_base64(target: &Target, mut call: Call, rng: &mut SeededRng) -> Request {
    let length = rng.next_below(60);
    let random = rng.random_bytes(length);
    let mut text = STANDARD.encode(&random);
    let at = rng.next_below(text.len());
    match rng.next_below(8) {
        0 => text.insert(at, '='),
        1 => text.insert(at, '*'),
        2 => text.truncate(at),
        3 => text = "====".repeat(rng.next_below(9)),
        4 => text.insert(at, 'é'),
        5 => text = text.replace('A', " \r\n\t"),
        6 => text = String::from_utf8_lossy(&random).into_owned(),
        _ => text = text.trim_end_matches('=').to_owned() + "=",
    }
    if call.dialect == DialectKind::Mefp {
        return target.client.app.envelope_request(call.path, &text);
    }
    for (name, value) in &mut call.fields {
        if !matches!(*name, "username" | "account" | "timestamp") {
            *value = json!(text);
        }
    }
    valid_request(target, &call, rng)
}
