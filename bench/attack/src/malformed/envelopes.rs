//! Envelopes and base64 that are wrong.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use stele_bench_kit::{DialectKind, Request};

use super::bodies::valid_request;
use super::calls::Call;
use super::seeded_rng::SeededRng;
use crate::target::Target;

/// Whatever can be wrong with an envelope, whosever call it is.
pub(crate) fn malformed_envelope(fleet: &Target, call: &Call, chance: &mut SeededRng) -> Request {
    let app = &fleet.client.app;
    let path = if call.dialect == DialectKind::Mefp { call.path } else { "/auth/login" };
    let mut sealed = app.encrypt(call.fields_as_json().as_bytes());
    match chance.next_below(9) {
        0 => sealed.truncate(chance.next_below(sealed.len())),
        1 => sealed.truncate(chance.next_below(sealed.len() / 16) * 16),
        2 => {
            let (at, bit) = (chance.next_below(sealed.len()), chance.next_below(8));
            sealed[at] ^= 1 << bit;
        }
        // A padding oracle's questions: a block of one's own before one that was overheard.
        3 => {
            let from = chance.next_below(sealed.len() / 16) * 16;
            sealed = [chance.random_bytes(16), sealed[from..from + 16].to_vec()].concat();
        }
        4 => sealed.rotate_left(16),
        5 => {
            let blocks = chance.next_below(64) * 16;
            sealed = chance.random_bytes(blocks);
        }
        6 => {
            let length = chance.next_below(100);
            sealed = chance.random_bytes(length);
        }
        7 => sealed = app.encrypt_blocks(&chance.random_bytes(64)),
        _ => {
            let inner = chance.next_below(1_000);
            sealed = app.encrypt(&chance.random_bytes(inner));
        }
    }
    let text = STANDARD.encode(&sealed);
    let names = ["wlfz", "MELINK", "", "melink\0", "nobody", "../melink", "' OR 1=1 --"];
    let app_from = if chance.one_in(4) { *chance.choose(&names) } else { app.name.as_str() };
    let body = match chance.next_below(8) {
        0 => json!({ "encrypt": text }),
        1 => json!({ "app_from": app_from }),
        2 => json!({ "encrypt": [text], "app_from": app_from }),
        3 => json!({ "encrypt": sealed, "app_from": app_from }),
        4 => json!({ "encrypt": text, "app_from": { "name": app_from } }),
        _ => json!({ "encrypt": text, "app_from": app_from }),
    };
    Request::post(path, "application/json", body.to_string())
}

/// Nonsense in place of base64, wherever a dialect has some.
pub(crate) fn malformed_base64(fleet: &Target, mut call: Call, chance: &mut SeededRng) -> Request {
    let length = chance.next_below(60);
    let random = chance.random_bytes(length);
    let mut text = STANDARD.encode(&random);
    let at = chance.next_below(text.len());
    match chance.next_below(8) {
        0 => text.insert(at, '='),
        1 => text.insert(at, '*'),
        2 => text.truncate(at),
        3 => text = "====".repeat(chance.next_below(9)),
        4 => text.insert(at, 'é'),
        5 => text = text.replace('A', " \r\n\t"),
        6 => text = String::from_utf8_lossy(&random).into_owned(),
        _ => text = text.trim_end_matches('=').to_owned() + "=",
    }
    if call.dialect == DialectKind::Mefp {
        return fleet.client.app.envelope(call.path, &text);
    }
    for (name, value) in &mut call.fields {
        if !matches!(*name, "username" | "account" | "timestamp") {
            *value = json!(text);
        }
    }
    valid_request(fleet, &call, chance)
}
