//! Padding oracle: every envelope that cannot be decrypted gets the same response at the same cost (`docs/THREATS.md`
//! 17, 18).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use stele_testkit::conformance::DialectUnderTest as _;
use stele_testkit::{RequestCost, send_raw};

use crate::test_service::{ROUTES, ResponseExt as _, TestService, UNREADABLE_ENVELOPE, encrypt_blocks, encrypt_text};

const INNER: &str = r#"{"login_name":"13612345678","password":"123456"}"#;

/// The raw response without its `Date`.
async fn response_without_date(service: &TestService, path: &str, body: &str) -> String {
    let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json");
    let request = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let response = send_raw(service.service.address(), request.as_bytes()).await;
    response.lines().filter(|line| !line.to_lowercase().starts_with("date:")).collect::<Vec<_>>().join("\n")
}

fn outer_request(encrypt: &str, app_from: &str) -> String {
    json!({ "encrypt": encrypt, "app_from": app_from }).to_string()
}

/// Envelopes of whole blocks with invalid content.
fn envelopes_with_unreadable_content() -> Vec<String> {
    let many: String = (0..65).map(|n| format!("\"f{n}\":1,")).collect();
    let texts = [
        "",
        " ",
        "x",
        "[]",
        "null",
        "\"{}\"",
        "1",
        "{",
        "{\"login_name\":\"1",
        "{} {}",
        "{},",
        "{'login_name':1}",
        "{\"a\":1,}",
        "{\"a\":01}",
        "{\"a\":1 \"b\":2}",
        "{\"a\":NaN}",
        "{\"a\":\"\n\"}",
        "\u{0}{}",
    ];
    let deep = "[".repeat(20_000);
    let mut all: Vec<String> = texts.iter().map(|text| encrypt_text("melink", text)).collect();
    all.extend([encrypt_text("melink", &deep), encrypt_text("melink", format!("{{{many}\"x\":1}}"))]);
    for blocks in [
        b"{\"login_name\":\"\xff\xfe13612345678\"}".as_slice(), // not UTF-8
        b"{\"a\":\"b\"}\x05\x05\x05\x05\x04\x05\x05",           // PKCS#7 with one wrong byte
        b"{\"a\":\"bcdefg\"}\x03\x03",                          // PKCS#7, one byte short
        b"{\"a\":\"bcd\"}\x11\x11\x11\x11\x11",                 // longer than a block
        b"\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10", // only padding
        b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        b"                ",
        b"{\"a\":\"b\"}\0\0\0\0\0\0\x06",   // ANSI X9.23, one byte short
        b"{\"a\":\"b\"}\x80\0\0\0\x01\0\0", // ISO/IEC 7816-4 with a nonzero byte
        // ISO 10126 of more than a block.
        &[b"{\"a\":\"bcdefgh\"}".as_slice(), &[0xff; 16], &[17]].concat(),
        // 33 bytes of filler.
        &[b"{\"a\":\"bcdefgh\"}".as_slice(), &[b' '; 33]].concat(),
    ] {
        let mut padded = blocks.to_vec();
        padded.resize(blocks.len().next_multiple_of(16), b'}');
        all.push(encrypt_blocks("melink", &padded));
    }
    all
}

/// Damaged envelopes.
fn damaged_envelopes() -> Vec<String> {
    let good = encrypt_text("melink", INNER);
    let bytes = STANDARD.decode(&good).unwrap();
    let mut all = vec![
        "x".to_owned(),
        "=".to_owned(),
        "====".to_owned(),
        "\n".to_owned(),
        "密".to_owned(),
        "A".repeat(60_000),
        "*".repeat(60_000),
        good.replace('=', "*"),
        format!("={good}"),
        good.replace(['+', '/'], "-"),
        good[1..].to_owned(),
        good[..good.len() - 5].to_owned(),
        format!("{good}{good}"),
        format!("{good}\u{0}"),
        "!!!!".to_owned() + &good,
    ];
    for length in [1, 8, 15, 17, 31, 33, bytes.len() - 1] {
        all.push(STANDARD.encode(&bytes[..length]));
    }
    for at in [0, 5, 15, bytes.len() - 1] {
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x80;
        all.push(STANDARD.encode(flipped));
    }
    all
}

#[actix_web::test]
async fn every_envelope_error_is_byte_identical() {
    let service = TestService::new().await;
    let reference = response_without_date(&service, "/auth/login", &outer_request("AAAA", "unknown")).await;
    assert!(reference.starts_with("HTTP/1.1 400") && reference.ends_with(UNREADABLE_ENVELOPE), "{reference}");
    let good = encrypt_text("melink", INNER);
    let mut bodies: Vec<String> = envelopes_with_unreadable_content()
        .iter()
        .chain(&damaged_envelopes())
        .map(|e| outer_request(e, "melink"))
        .collect();
    // A valid envelope of melink, sent under other names: unknown apps, and last a known app with another secret.
    for app in ["unknown", "Melink", "melink ", "melink\u{0}", "密", "\u{0}", &"m".repeat(5_000), "' or 1=1 --", "wlfz"]
    {
        bodies.push(outer_request(&good, app));
        bodies.push(outer_request("AAAA", app));
    }
    // Every body costs the same: one lookup of the app, known or not.
    let cost = RequestCost::new(0, &["app"], &[]);
    for body in &bodies {
        let (response, measured_cost) =
            service.lab.measure_cost(response_without_date(&service, "/auth/login", body)).await;
        assert_eq!((&response, &measured_cost), (&reference, &cost), "{body:.200}");
    }
    for (path, _) in ROUTES {
        let (response, measured_cost) =
            service.lab.measure_cost(response_without_date(&service, path, &outer_request("AAAA", "melink"))).await;
        assert_eq!((&response, &measured_cost), (&reference, &cost), "{path}");
    }
    // A body that is not an envelope gets the same response, without a lookup.
    let (response, measured_cost) =
        service.lab.measure_cost(response_without_date(&service, "/auth/login", "{\"encrypt\":")).await;
    assert_eq!((response, measured_cost), (reference, RequestCost::default()));
}

/// The classic padding oracle attack on one recorded message: every value of the byte that determines the padding.
#[actix_web::test]
async fn a_recorded_message_cannot_be_decrypted_by_probing() {
    let service = TestService::new().await;
    let recorded =
        STANDARD.decode(encrypt_text("melink", r#"{"login_name":"13612345678","password":"secret"}"#)).unwrap();
    let (previous_block, last_block) =
        (&recorded[recorded.len() - 32..recorded.len() - 16], &recorded[recorded.len() - 16..]);
    let reference = response_without_date(&service, "/auth/login", &outer_request("AAAA", "unknown")).await;
    for byte in 0..=255_u8 {
        let mut probe = previous_block.to_vec();
        probe[15] ^= byte;
        probe.extend_from_slice(last_block);
        let probe = outer_request(&STANDARD.encode(&probe), "melink");
        let (response, measured_cost) =
            service.lab.measure_cost(response_without_date(&service, "/auth/login", &probe)).await;
        assert_eq!((response, measured_cost), (reference.clone(), RequestCost::new(0, &["app"], &[])), "{byte}");
    }
}

/// A padding oracle attack with two recorded blocks appended to a valid message whose object ends at a block boundary.
/// The two blocks are never valid padding, since the first decrypts to garbage, so nothing about their message is
/// revealed.
#[actix_web::test]
async fn appended_blocks_are_no_padding_oracle() {
    let service = TestService::new().await;
    let inner = r#"{"login_name":"13612345678","password":"1234567890123456789012"}"#;
    assert_eq!(inner.len() % 16, 0);
    let mut valid = STANDARD.decode(encrypt_text("melink", inner)).unwrap();
    valid.truncate(inner.len());
    let target =
        STANDARD.decode(encrypt_text("melink", r#"{"login_name":"13612345678","password":"secret"}"#)).unwrap();
    let reference = response_without_date(&service, "/auth/login", &outer_request("AAAA", "melink")).await;
    let accepted =
        response_without_date(&service, "/auth/login", &outer_request(&STANDARD.encode(&valid), "melink")).await;
    assert_ne!(accepted, reference, "it is accepted without padding");
    let last_two_blocks = &target[target.len() - 32..];
    for byte in 0..=255_u8 {
        let mut probe = [&valid, last_two_blocks].concat();
        probe[valid.len() + 15] ^= byte;
        let probe = outer_request(&STANDARD.encode(&probe), "melink");
        let (response, measured_cost) =
            service.lab.measure_cost(response_without_date(&service, "/auth/login", &probe)).await;
        assert_eq!((response, measured_cost), (reference.clone(), RequestCost::new(0, &["app"], &[])), "{byte}");
    }
}

/// A padding oracle attack with one recorded block appended to a valid message whose object ends at a block boundary.
/// No garbage precedes the decrypted block, and its last byte takes every value over many messages with different last
/// blocks.
#[actix_web::test]
async fn a_block_appended_to_many_messages_is_no_padding_oracle() {
    let service = TestService::new().await;
    let target =
        STANDARD.decode(encrypt_text("melink", r#"{"login_name":"13612345678","password":"secret"}"#)).unwrap();
    let reference = response_without_date(&service, "/auth/login", &outer_request("AAAA", "melink")).await;
    for number in 0..1_500 {
        let inner = format!(r#"{{"login_name":"13612345678","password":"123456789012345678{number:04}"}}"#);
        assert_eq!(inner.len() % 16, 0);
        let mut valid = STANDARD.decode(encrypt_text("melink", &inner)).unwrap();
        valid.truncate(inner.len());
        let probe = outer_request(&STANDARD.encode([&valid, &target[16..32]].concat()), "melink");
        assert_eq!(response_without_date(&service, "/auth/login", &probe).await, reference, "{number}");
    }
}

#[actix_web::test]
async fn only_the_first_block_is_bound_to_an_app() {
    let service = TestService::new().await;
    // A weakness of the protocol (WIRE.md): the app's secret affects only the first block.
    let mut first = [b' '; 16].to_vec();
    for (byte, (own, other)) in first.iter_mut().zip("wlfzwlfzwlfzwlfz".bytes().zip("melinkmelinkmeli".bytes())) {
        *byte ^= own ^ other;
    }
    first.extend_from_slice(br#"{"login_name":"15068880258"}    "#);
    let forged = encrypt_blocks("wlfz", &first);
    let response = service.post("/auth/check/loginname", "application/json", outer_request(&forged, "melink")).await;
    assert_eq!((response.error_code(), response.encrypted), (40005, true));
}
