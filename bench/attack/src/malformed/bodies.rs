//! Malformed request bodies: truncated, with flipped bits, JSON bombs, wrong types, invalid UTF-8, multipart and more.

use serde_json::{Value, json};
use stele_bench_kit::{DialectKind, Request};

use super::Malformation;
use super::calls::Call;
use super::envelopes;
use super::seeded_rng::SeededRng;
use crate::target::Target;

/// Stands for a value until it is replaced by text that need not be valid JSON.
const PLACEHOLDER: &str = "the-place-for-it";
const FORM: &str = "application/x-www-form-urlencoded";

pub(crate) fn malformed_body(target: &Target, kind: Malformation, call: Call, rng: &mut SeededRng) -> Request {
    match kind {
        Malformation::Truncated => truncated_body(target, &call, rng),
        Malformation::BitFlipped => bit_flipped_body(target, &call, rng),
        Malformation::Envelopes => envelopes::malformed_envelope(target, &call, rng),
        Malformation::Base64 => envelopes::malformed_base64(target, call, rng),
        Malformation::JsonBombs => call.with_json(target, json_bomb(rng).as_bytes()),
        Malformation::WrongTypes => with_replaced_field(target, call, rng, wrong_type_value),
        Malformation::ExtremeNumbers => with_replaced_field(target, call, rng, extreme_number),
        Malformation::ExtremeTimes => with_extreme_timestamp(target, call, rng),
        Malformation::InvalidUtf8 => invalid_utf8_body(target, &call, rng),
        Malformation::WrongContentTypes => with_wrong_content_type(target, &call, rng),
        Malformation::Multipart => malformed_multipart(target, &call, rng),
        Malformation::WrongFields => with_wrong_fields(target, call, rng),
        Malformation::HostileTexts => with_replaced_field(target, call, rng, hostile_text),
        Malformation::Oversized => oversized_body(target, &call, rng),
        // Unreachable: `framing` builds the requests whose body is well-formed.
        Malformation::Headers | Malformation::Paths | Malformation::Framing => call.with_json(target, b""),
    }
}

/// A well-formed request for the call, as JSON or as a form.
pub(crate) fn valid_request(target: &Target, call: &Call, rng: &mut SeededRng) -> Request {
    if call.dialect == DialectKind::Mefp || rng.one_in(2) {
        call.with_json(target, call.fields_as_json().as_bytes())
    } else {
        call.with_client_token(target, Request::post(call.path, FORM, call.fields_as_form()))
    }
}

fn truncated_body(target: &Target, call: &Call, rng: &mut SeededRng) -> Request {
    let mut request = valid_request(target, call, rng);
    request.body.truncate(rng.next_below(request.body.len()));
    request
}

fn bit_flipped_body(target: &Target, call: &Call, rng: &mut SeededRng) -> Request {
    let mut request = valid_request(target, call, rng);
    for _ in 0..=rng.next_below(4) {
        let (at, bit) = (rng.next_below(request.body.len()), rng.next_below(8));
        if let Some(byte) = request.body.get_mut(at) {
            *byte ^= 1 << bit;
        }
    }
    request
}

fn json_bomb(rng: &mut SeededRng) -> String {
    let deep = 1 + rng.next_below(4_000);
    let wide = 1 + rng.next_below(2_000);
    match rng.next_below(8) {
        0 => "[".repeat(deep),
        1 => format!("{}{}", "[".repeat(deep), "]".repeat(deep)),
        2 => format!("{}1{}", "{\"a\":".repeat(deep), "}".repeat(deep)),
        3 => format!("{{\"username\":{}{}}}", "[".repeat(deep), "]".repeat(deep)),
        4 => format!("[{}]", vec!["{}"; wide].join(",")),
        5 => format!("{{{}}}", (0..wide).map(|n| format!("\"{n}\":0")).collect::<Vec<_>>().join(",")),
        6 => format!("{{\"username\":\"{}\"}}", "\\u0000".repeat(wide)),
        _ => format!("{{\"username\":\"{}\"", "\\".repeat(wide)),
    }
}

/// A request for the call, with the value of a random field replaced by the text that `generate_value` returns.
fn with_replaced_field(
    target: &Target,
    mut call: Call,
    rng: &mut SeededRng,
    generate_value: fn(&mut SeededRng) -> String,
) -> Request {
    if call.fields.is_empty() {
        call.fields.push(("id", json!(0)));
    }
    let at = rng.next_below(call.fields.len());
    call.fields[at].1 = json!(PLACEHOLDER);
    let text = generate_value(rng);
    if call.dialect != DialectKind::Mefp && rng.one_in(3) {
        let plain = text.trim_matches('"').to_owned();
        return call.with_client_token(
            target,
            Request::post(call.path, FORM, call.fields_as_form().replace(PLACEHOLDER, &plain)),
        );
    }
    call.with_json(target, call.fields_as_json().replace(&format!("\"{PLACEHOLDER}\""), &text).as_bytes())
}

fn wrong_type_value(rng: &mut SeededRng) -> String {
    let all = [
        "null",
        "true",
        "false",
        "[]",
        "{}",
        "[1]",
        "[[]]",
        "{\"a\":\"b\"}",
        "[\"13800138000\"]",
        "1",
        "0.5",
        "\"\"",
        "-1",
    ];
    (*rng.choose(&all)).to_owned()
}

fn extreme_number(rng: &mut SeededRng) -> String {
    let digits = 1 + rng.next_below(600);
    match rng.next_below(10) {
        0 => "9".repeat(digits),
        1 => format!("-{}", "9".repeat(digits)),
        2 => format!("1e{digits}"),
        3 => format!("-1E+{}", "9".repeat(1 + digits % 30)),
        4 => format!("0.{}1", "0".repeat(digits)),
        5 => format!("{}", u128::from(rng.next_u64()) << rng.next_below(64)),
        6 => format!("\"{}\"", "9".repeat(digits)),
        7 => "1e-400".to_owned(),
        8 => (*rng.choose(&["9007199254740993", "18446744073709551616", "-9223372036854775809", "4294967296"]))
            .to_owned(),
        _ => format!("{:e}", rng.next_u64() as f64),
    }
}

fn with_extreme_timestamp(target: &Target, call: Call, rng: &mut SeededRng) -> Request {
    let paths = ["/api/v1/cloudbox/smarttms/auth/authsalt", "/api/v1/cloudbox/auth/pwdreset"];
    let call = if call.fields.iter().any(|(name, _)| *name == "timestamp") {
        call
    } else {
        let mut fields = vec![("username", json!("unknown")), ("password", json!("0".repeat(32)))];
        fields.push(("timestamp", json!(PLACEHOLDER)));
        Call { dialect: DialectKind::Cloudbox, path: rng.choose::<&str>(&paths), fields, has_effect_on_success: true }
    };
    let fields = call.fields.iter().map(|(name, value)| {
        let is_timestamp = *name == "timestamp";
        (*name, if is_timestamp { json!(PLACEHOLDER) } else { value.clone() })
    });
    let call = Call { fields: fields.collect(), ..call.clone() };
    let now = stele_bench_kit::dialect::unix_seconds();
    let text = match rng.next_below(9) {
        0 => format!("{}", now - 1_000 - rng.next_below(1 << 30) as u64),
        1 => format!("{}", now + 1_000 + rng.next_below(1 << 40) as u64),
        2 => format!("-{now}"),
        3 => format!("{now}.{}", rng.next_below(1_000)),
        4 => format!("\"{now}\\u0000\""),
        5 => format!("\"{}{now}\"", "0".repeat(1 + rng.next_below(40))),
        6 => format!("\"{now} \""),
        7 => format!("[{now}]"),
        _ => extreme_number(rng),
    };
    call.with_json(target, call.fields_as_json().replace(&format!("\"{PLACEHOLDER}\""), &text).as_bytes())
}

fn invalid_utf8_body(target: &Target, call: &Call, rng: &mut SeededRng) -> Request {
    let invalid_sequences: [&[u8]; 8] = [
        b"\xff",
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xf5\x80\x80\x80",
        b"\xe2\x82",
        b"\x80",
        b"\xfe\xff\x00{",
        b"\xc3\x28",
    ];
    let mut text = call.fields_as_json().into_bytes();
    let at = rng.next_below(text.len());
    text.splice(at..at, rng.choose(&invalid_sequences).iter().copied());
    if call.dialect == DialectKind::Mefp && rng.one_in(3) {
        return Request::post(call.path, "application/json", text);
    }
    if rng.one_in(3) {
        let mut body = call.fields_as_form().into_bytes();
        let at = rng.next_below(body.len());
        let raw: Vec<u8> = rng.choose(&invalid_sequences).to_vec();
        let escaped: String = raw.iter().map(|byte| format!("%{byte:02x}")).collect();
        body.splice(at..at, if rng.one_in(2) { raw } else { escaped.into_bytes() });
        return call.with_client_token(target, Request::post(call.path, FORM, body));
    }
    call.with_json(target, &text)
}

fn with_wrong_content_type(target: &Target, call: &Call, rng: &mut SeededRng) -> Request {
    let types = [
        "text/plain",
        "application/xml",
        "application/json; charset=utf-7",
        "application/json; charset=\"",
        "a/b/c",
        "",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/mixed; boundary=x",
        "application/octet-stream",
        "application/x-www-form-urlencoded; charset=utf-16",
        "image/png",
        "APPLICATION/JSON",
        "application/json,text/html",
        "application/json;;;;",
        "*/*",
    ];
    let mut request = valid_request(target, call, rng);
    request.headers.retain(|(name, _)| name != "content-type");
    match rng.next_below(6) {
        0 => request,
        1 => request.with_header("content-type", "application/json").with_header("content-type", FORM),
        2 => request
            .with_header("content-type", rng.choose::<&str>(&types))
            .with_header("content-encoding", rng.choose::<&str>(&["gzip", "br", "deflate", "x"])),
        _ => request.with_header("content-type", rng.choose::<&str>(&types)),
    }
}

fn malformed_multipart(target: &Target, call: &Call, rng: &mut SeededRng) -> Request {
    let mut body = String::new();
    for (name, value) in &call.fields {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let named = format!("Content-Disposition: form-data; name=\"{name}\"");
        let head = match rng.next_below(9) {
            0 => format!("Content-Disposition: form-data; name={name}\r\n"),
            1 => format!("{named}; filename=\"../../etc/passwd\"\r\n"),
            2 => "Content-Disposition: form-data\r\n".to_owned(),
            3 => String::new(),
            4 => format!("{named}\r\nContent-Type: multipart/mixed; boundary=y\r\n\r\n--y\r\n"),
            5 => format!("{named}\n\n{text}\n"),
            6 => format!("{named}\r\nContent-Transfer-Encoding: base64\r\n"),
            7 => format!("{}: y\r\n", "a".repeat(rng.next_below(3_000))),
            _ => format!("{named}\r\n"),
        };
        body += &format!("--x\r\n{head}\r\n{text}\r\n");
    }
    body += rng.choose::<&str>(&[
        "--x--\r\n",
        "--x--",
        "--x",
        "--",
        "",
        "--x\r\n--x\r\n--x\r\n--x--\r\n",
        "--x--\r\nafter",
    ]);
    let types = ["boundary=x", "boundary=\"x\"", "boundary=--x"].map(|of| format!("multipart/form-data; {of}"));
    let mut body = body.into_bytes();
    if rng.one_in(3) {
        body.truncate(rng.next_below(body.len()));
    }
    call.with_client_token(target, Request::post(call.path, rng.choose::<String>(&types), body))
}

fn with_wrong_fields(target: &Target, mut call: Call, rng: &mut SeededRng) -> Request {
    let at = rng.next_below(call.fields.len());
    match (rng.next_below(4), call.fields.is_empty()) {
        (0, false) => drop(call.fields.remove(at)),
        (1, false) => call.fields[at].1 = json!(""),
        // A duplicate name, which `serde_json::Value` cannot represent.
        (2, false) => {
            let (name, value) = call.fields[at].clone();
            let text = format!("{{\"{name}\":{value},{}", call.fields_as_json().trim_start_matches('{'));
            return call.with_json(target, text.as_bytes());
        }
        (3, false) if call.dialect != DialectKind::Mefp => {
            let body = format!("{0}&{0}&&&=&=&x&%&%%&{0}=", call.fields_as_form());
            return call.with_client_token(target, Request::post(call.path, FORM, body));
        }
        _ => call.fields.clear(),
    }
    let mut request = valid_request(target, &call, rng);
    if rng.one_in(4) {
        request.path += "?account=a&account=b&%00=%ff&password";
    }
    request
}

fn hostile_text(rng: &mut SeededRng) -> String {
    let all = [
        "' OR '1'='1",
        "\"; DROP TABLE users; --",
        "$(id)",
        "`id`",
        "{{7*7}}",
        "${jndi:ldap://127.0.0.1:9/a}",
        "\0",
        "a\0b",
        "\r\nX-Injected: 1",
        "../../../../etc/passwd",
        "<script>",
        "%s%n%x",
        "\u{202e}",
        "\u{feff}",
        "ı",
        "ß",
        "İ",
        "🦀",
        "\u{0}\u{1}\u{2}",
        "user:*",
        "KEYS *",
        "{b}:account",
        "a@b@c",
        "+",
        "+86",
        "1380013800O",
        "@",
        "a@",
        "\u{7f}",
        "NULL",
        "\\",
        "'",
        "\"",
        "%00",
        "a{",
        "}",
        "\u{10ffff}",
    ];
    let text = (*rng.choose(&all)).repeat(1 + rng.next_below(40));
    Value::String(text).to_string()
}

/// Bodies around and above the limit of 64 KiB.
fn oversized_body(target: &Target, call: &Call, rng: &mut SeededRng) -> Request {
    let size = *rng.choose(&[60_000, 65_000, 65_500, 65_537, 66_000, 70_000, 100_000, 140_000]);
    let filler = "a".repeat(size);
    let text = match rng.next_below(4) {
        0 => format!("{{\"username\":\"{filler}\",\"password\":\"{filler}\"}}"),
        1 => format!("{}{}", " ".repeat(size), call.fields_as_json()),
        2 => format!("username={filler}"),
        _ => format!("{{\"password\":\"guess\",\"account\":\"unknown\",\"login_name\":\"{filler}\"}}"),
    };
    if rng.one_in(3) {
        return call.with_client_token(target, Request::post(call.path, FORM, text));
    }
    call.with_json(target, text.as_bytes())
}
