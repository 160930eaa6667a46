//! Bodies that are wrong.

use serde_json::{Value, json};
use stele_bench_kit::{Dialect, Request};

use super::Kind;
use super::calls::Call;
use super::chance::Chance;
use super::sealed;
use crate::target::Fleet;

const FORM: &str = "application/x-www-form-urlencoded";

pub(crate) fn faulty(fleet: &Fleet, kind: Kind, call: Call, chance: &mut Chance) -> Request {
    match kind {
        Kind::Truncated => truncated(fleet, &call, chance),
        Kind::Flipped => flipped(fleet, &call, chance),
        Kind::Envelopes => sealed::envelope(fleet, &call, chance),
        Kind::Base64 => sealed::encoded(fleet, call, chance),
        Kind::Bombs => call.with_json(fleet, bomb(chance).as_bytes()),
        Kind::Types => replaced(fleet, call, chance, a_type),
        Kind::Numbers => replaced(fleet, call, chance, a_number),
        Kind::Times => timed(fleet, call, chance),
        Kind::Utf8 => not_utf8(fleet, &call, chance),
        Kind::ContentTypes => mislabelled(fleet, &call, chance),
        Kind::Multipart => multipart(fleet, &call, chance),
        Kind::Fields => fields(fleet, call, chance),
        Kind::Texts => replaced(fleet, call, chance, a_text),
        Kind::Large => large(fleet, &call, chance),
        Kind::Headers | Kind::Paths | Kind::Framing => call.with_json(fleet, b""),
    }
}

/// The call, well formed, as JSON or as a form.
pub(crate) fn good(fleet: &Fleet, call: &Call, chance: &mut Chance) -> Request {
    if call.dialect == Dialect::Mefp || chance.one_in(2) {
        call.with_json(fleet, call.json().as_bytes())
    } else {
        call.signed(fleet, Request::post(call.path, FORM, call.form()))
    }
}

fn truncated(fleet: &Fleet, call: &Call, chance: &mut Chance) -> Request {
    let mut request = good(fleet, call, chance);
    request.body.truncate(chance.below(request.body.len()));
    request
}

fn flipped(fleet: &Fleet, call: &Call, chance: &mut Chance) -> Request {
    let mut request = good(fleet, call, chance);
    for _ in 0..=chance.below(4) {
        let (at, bit) = (chance.below(request.body.len()), chance.below(8));
        if let Some(byte) = request.body.get_mut(at) {
            *byte ^= 1 << bit;
        }
    }
    request
}

fn bomb(chance: &mut Chance) -> String {
    let deep = 1 + chance.below(4_000);
    let wide = 1 + chance.below(2_000);
    match chance.below(8) {
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

/// The call with one of its fields replaced by what `other` makes.
fn replaced(fleet: &Fleet, mut call: Call, chance: &mut Chance, other: fn(&mut Chance) -> String) -> Request {
    if call.fields.is_empty() {
        call.fields.push(("id", json!(0)));
    }
    let at = chance.below(call.fields.len());
    // What is put there need not be JSON that this program could hold.
    let mark = "the-place-for-it";
    call.fields[at].1 = json!(mark);
    let text = other(chance);
    if call.dialect != Dialect::Mefp && chance.one_in(3) {
        let plain = text.trim_matches('"').to_owned();
        return call.signed(fleet, Request::post(call.path, FORM, call.form().replace(mark, &plain)));
    }
    call.with_json(fleet, call.json().replace(&format!("\"{mark}\""), &text).as_bytes())
}

fn a_type(chance: &mut Chance) -> String {
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
    (*chance.pick(&all)).to_owned()
}

fn a_number(chance: &mut Chance) -> String {
    let digits = 1 + chance.below(600);
    match chance.below(10) {
        0 => "9".repeat(digits),
        1 => format!("-{}", "9".repeat(digits)),
        2 => format!("1e{digits}"),
        3 => format!("-1E+{}", "9".repeat(1 + digits % 30)),
        4 => format!("0.{}1", "0".repeat(digits)),
        5 => format!("{}", u128::from(chance.next()) << chance.below(64)),
        6 => format!("\"{}\"", "9".repeat(digits)),
        7 => "1e-400".to_owned(),
        8 => (*chance.pick(&["9007199254740993", "18446744073709551616", "-9223372036854775809", "4294967296"]))
            .to_owned(),
        _ => format!("{:e}", chance.next() as f64),
    }
}

fn timed(fleet: &Fleet, call: Call, chance: &mut Chance) -> Request {
    let paths = ["/api/v1/cloudbox/smarttms/auth/authsalt", "/api/v1/cloudbox/auth/pwdreset"];
    let call = if call.fields.iter().any(|(name, _)| *name == "timestamp") {
        call
    } else {
        let mut fields = vec![("username", json!("nobody")), ("password", json!("0".repeat(32)))];
        fields.push(("timestamp", json!("the-place-for-it")));
        Call { dialect: Dialect::Cloudbox, path: chance.pick::<&str>(&paths), fields, opens: true }
    };
    let fields = call.fields.iter().map(|(name, value)| {
        let time = *name == "timestamp";
        (*name, if time { json!("the-place-for-it") } else { value.clone() })
    });
    let call = Call { fields: fields.collect(), ..call.clone() };
    let now = stele_bench_kit::dialect::now();
    let text = match chance.below(9) {
        0 => format!("{}", now - 1_000 - chance.below(1 << 30) as u64),
        1 => format!("{}", now + 1_000 + chance.below(1 << 40) as u64),
        2 => format!("-{now}"),
        3 => format!("{now}.{}", chance.below(1_000)),
        4 => format!("\"{now}\\u0000\""),
        5 => format!("\"{}{now}\"", "0".repeat(1 + chance.below(40))),
        6 => format!("\"{now} \""),
        7 => format!("[{now}]"),
        _ => a_number(chance),
    };
    call.with_json(fleet, call.json().replace("\"the-place-for-it\"", &text).as_bytes())
}

fn not_utf8(fleet: &Fleet, call: &Call, chance: &mut Chance) -> Request {
    let bad: [&[u8]; 8] = [
        b"\xff",
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xf5\x80\x80\x80",
        b"\xe2\x82",
        b"\x80",
        b"\xfe\xff\x00{",
        b"\xc3\x28",
    ];
    let mut text = call.json().into_bytes();
    let at = chance.below(text.len());
    text.splice(at..at, chance.pick(&bad).iter().copied());
    if call.dialect == Dialect::Mefp && chance.one_in(3) {
        return Request::post(call.path, "application/json", text);
    }
    if chance.one_in(3) {
        let mut body = call.form().into_bytes();
        let at = chance.below(body.len());
        let raw: Vec<u8> = chance.pick(&bad).to_vec();
        let escaped: String = raw.iter().map(|byte| format!("%{byte:02x}")).collect();
        body.splice(at..at, if chance.one_in(2) { raw } else { escaped.into_bytes() });
        return call.signed(fleet, Request::post(call.path, FORM, body));
    }
    call.with_json(fleet, &text)
}

fn mislabelled(fleet: &Fleet, call: &Call, chance: &mut Chance) -> Request {
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
    let mut request = good(fleet, call, chance);
    request.headers.retain(|(name, _)| name != "content-type");
    match chance.below(6) {
        0 => request,
        1 => request.with("content-type", "application/json").with("content-type", FORM),
        2 => request
            .with("content-type", chance.pick::<&str>(&types))
            .with("content-encoding", chance.pick::<&str>(&["gzip", "br", "deflate", "x"])),
        _ => request.with("content-type", chance.pick::<&str>(&types)),
    }
}

fn multipart(fleet: &Fleet, call: &Call, chance: &mut Chance) -> Request {
    let mut body = String::new();
    for (name, value) in &call.fields {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let named = format!("Content-Disposition: form-data; name=\"{name}\"");
        let head = match chance.below(9) {
            0 => format!("Content-Disposition: form-data; name={name}\r\n"),
            1 => format!("{named}; filename=\"../../etc/passwd\"\r\n"),
            2 => "Content-Disposition: form-data\r\n".to_owned(),
            3 => String::new(),
            4 => format!("{named}\r\nContent-Type: multipart/mixed; boundary=y\r\n\r\n--y\r\n"),
            5 => format!("{named}\n\n{text}\n"),
            6 => format!("{named}\r\nContent-Transfer-Encoding: base64\r\n"),
            7 => format!("{}: y\r\n", "a".repeat(chance.below(3_000))),
            _ => format!("{named}\r\n"),
        };
        body += &format!("--x\r\n{head}\r\n{text}\r\n");
    }
    body += chance.pick::<&str>(&[
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
    if chance.one_in(3) {
        body.truncate(chance.below(body.len()));
    }
    call.signed(fleet, Request::post(call.path, chance.pick::<String>(&types), body))
}

fn fields(fleet: &Fleet, mut call: Call, chance: &mut Chance) -> Request {
    let at = chance.below(call.fields.len());
    match (chance.below(4), call.fields.is_empty()) {
        (0, false) => drop(call.fields.remove(at)),
        (1, false) => call.fields[at].1 = json!(""),
        // JSON of this program holds a name once.
        (2, false) => {
            let (name, value) = call.fields[at].clone();
            let text = format!("{{\"{name}\":{value},{}", call.json().trim_start_matches('{'));
            return call.with_json(fleet, text.as_bytes());
        }
        (3, false) if call.dialect != Dialect::Mefp => {
            let body = format!("{0}&{0}&&&=&=&x&%&%%&{0}=", call.form());
            return call.signed(fleet, Request::post(call.path, FORM, body));
        }
        _ => call.fields.clear(),
    }
    let mut request = good(fleet, &call, chance);
    if chance.one_in(4) {
        request.path += "?account=a&account=b&%00=%ff&password";
    }
    request
}

fn a_text(chance: &mut Chance) -> String {
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
    let text = (*chance.pick(&all)).repeat(1 + chance.below(40));
    Value::String(text).to_string()
}

/// Around the 64 KiB that a body may have, and well beyond.
fn large(fleet: &Fleet, call: &Call, chance: &mut Chance) -> Request {
    let size = *chance.pick(&[60_000, 65_000, 65_500, 65_537, 66_000, 70_000, 100_000, 140_000]);
    let filler = "a".repeat(size);
    let text = match chance.below(4) {
        0 => format!("{{\"username\":\"{filler}\",\"password\":\"{filler}\"}}"),
        1 => format!("{}{}", " ".repeat(size), call.json()),
        2 => format!("username={filler}"),
        _ => format!("{{\"password\":\"guess\",\"account\":\"nobody\",\"login_name\":\"{filler}\"}}"),
    };
    if chance.one_in(3) {
        return call.signed(fleet, Request::post(call.path, FORM, text));
    }
    call.with_json(fleet, text.as_bytes())
}
