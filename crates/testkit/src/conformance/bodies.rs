//! The same call written as old clients write it (`docs/FIELD.md`): each login is accepted, and every other documented call
//! is read as its polite form is.

use std::io::Read as _;

use encoding_rs::{Encoding, GBK, UTF_16LE};
use flate2::Compression;
use flate2::read::{GzEncoder, ZlibEncoder};
use stele_dialect::{Fault, Refusal};

use super::input::{Call, FORM, JSON, documented_without_fields, urlencoded};
use super::{DialectUnderTest, PASSWORD, PHONE};
use crate::app::shown;
use crate::{Answer, raw};

const PARTS: &str = "multipart/form-data; boundary=b";

/// Limits and quotas that many calls do not reach.
const UNLIMITED: [(&str, &str); 7] = [
    ("STELE_LIMIT_ACCOUNT", "5000"),
    ("STELE_LIMIT_ADDRESS", "5000"),
    ("STELE_LIMIT_APP", "5000"),
    ("STELE_SEND_CAPTCHA", "5000"),
    ("STELE_SEND_RECIPIENT", "5000"),
    ("STELE_SEND_ADDRESS", "5000"),
    ("STELE_SEND_APP", "5000"),
];

/// The fields of a call.
type Pairs<'a> = &'a [(&'a str, &'a str)];

/// A request as a client sends it.
struct Sent {
    query: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Sent {
    fn new(kind: &str, body: impl Into<Vec<u8>>) -> Self {
        let headers = if kind.is_empty() { Vec::new() } else { vec![("content-type", kind.to_owned())] };
        Self { query: String::new(), headers, body: body.into() }
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    fn at(mut self, query: &str) -> Self {
        self.query = format!("?{query}");
        self
    }

    async fn to<D: DialectUnderTest>(&self, app: &D, path: &str) -> Answer {
        let request = app.carry(app.request("POST", &format!("{path}{}", self.query)));
        let request = self.headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
        app.open(app.send(request.body(self.body.clone())).await)
    }

    fn shown(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        format!("{} {:?} {:?}", self.query, self.headers, text.chars().take(200).collect::<String>())
    }
}

fn json(fields: Pairs<'_>) -> String {
    let pairs: Vec<_> = fields.iter().map(|(name, value)| format!("{name:?}:{}", quoted(value))).collect();
    format!("{{{}}}", pairs.join(","))
}

fn quoted(value: &str) -> String {
    serde_json::Value::from(value).to_string()
}

fn parts(fields: Pairs<'_>) -> String {
    let part = |(name, value): &(&str, &str)| {
        format!("--b\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    fields.iter().map(part).collect::<String>() + "--b--\r\n"
}

/// Asserts that every call is read from each of these writings: the login as `identifier` is accepted, and the other
/// documented calls are answered as their polite form.
async fn every_call_is_read_as<D: DialectUnderTest>(identifier: &str, writings: fn(Pairs<'_>) -> Vec<Sent>) {
    let app = D::with(&UNLIMITED).await;
    app.lab.user("张三").password(PASSWORD).add().await;
    app.mark().await;
    let count = writings(&[("a", "1")]).len();
    for which in 0..count {
        app.wait(1);
        let fields = app.login_fields(0, identifier, PASSWORD);
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let sent = writings(&fields).swap_remove(which);
        let answer = sent.to(&app, D::LOGIN).await;
        assert!(D::accepted(&answer), "{}: {answer:?}", sent.shown());
    }
    for call in app.calls().into_iter().filter(|call| !call.sealed) {
        let Call { path, fields, .. } = &call;
        let fields: Vec<_> = fields.iter().map(|field| (field.name.as_str(), field.good.as_str())).collect();
        let polite = Sent::new(JSON, json(&fields)).to(&app, path).await;
        for sent in writings(&fields) {
            let answer = sent.to(&app, path).await;
            // What was done once may be answered differently, but is never unreadable.
            let same = (answer.status, &answer.text) == (polite.status, &polite.text);
            assert!(same || (answer.status != 400 && polite.status != 400), "{path} {}: {answer:?}", sent.shown());
        }
    }
}

/// A name of the user that is not ASCII, where this dialect takes names.
fn wide_name<D: DialectUnderTest>() -> &'static str {
    if D::IDENTIFIERS.contains(&"Mark") { "张三" } else { D::IDENTIFIERS[0] }
}

pub async fn a_byte_order_mark_is_skipped<D: DialectUnderTest>() {
    every_call_is_read_as::<D>(D::IDENTIFIERS[0], |fields| {
        let bodies = [json(fields), urlencoded(fields)];
        let kinds = ["", JSON, FORM, "text/plain"];
        let each = bodies.iter().flat_map(|body| kinds.map(|kind| Sent::new(kind, format!("\u{feff}{body}"))));
        each.collect()
    })
    .await;
}

fn encoded(charset: &'static Encoding, text: &str) -> Vec<u8> {
    charset.encode(text).0.into_owned()
}

pub async fn a_charset_is_decoded<D: DialectUnderTest>() {
    every_call_is_read_as::<D>(wide_name::<D>(), |fields| {
        // The second byte of 誠 in GBK is a backslash.
        let remark = [fields, &[("remark", "誠")]].concat();
        let escaped: Vec<_> = remark
            .iter()
            .map(|(name, value)| {
                let value = encoded(GBK, value).iter().map(|byte| format!("%{byte:02X}")).collect::<String>();
                format!("{name}={value}")
            })
            .collect();
        let part = |kind: &str| {
            parts(&remark).replace("\r\n\r\n", &format!("\r\nContent-Type: text/plain; charset={kind}\r\n\r\n"))
        };
        let wide: Vec<u8> = json(&remark).encode_utf16().flat_map(u16::to_le_bytes).collect();
        let marked = [b"\xff\xfe".as_slice(), &wide].concat();
        assert_eq!(UTF_16LE.decode(&marked).0, json(&remark));
        let mut sent = vec![
            Sent::new(PARTS, encoded(GBK, &part("GBK"))),
            Sent::new(PARTS, part("UTF-8")),
            Sent::new("application/json; charset=utf-16", marked),
            Sent::new(JSON, wide),
            Sent::new("application/json; charset=ISO-8859-1", json(fields).replace("张三", "\\u5f20\\u4e09")),
        ];
        for charset in ["", "; charset=GBK", ";charset=\"gb2312\"", "; charset=GB18030"] {
            sent.push(Sent::new(&format!("{JSON}{charset}"), encoded(GBK, &json(&remark))));
            sent.push(Sent::new(&format!("{FORM}{charset}"), escaped.join("&")));
            sent.push(Sent::new(&format!("{PARTS}{charset}"), encoded(GBK, &parts(&remark))));
        }
        sent
    })
    .await;
}

pub async fn what_follows_json_is_ignored<D: DialectUnderTest>() {
    every_call_is_read_as::<D>(D::IDENTIFIERS[0], |fields| {
        ["\0", "\0\0\0\0", "\r\n", " \n\0"].map(|tail| Sent::new(JSON, json(fields) + tail)).into()
    })
    .await;
}

pub async fn json_is_read_leniently<D: DialectUnderTest>() {
    every_call_is_read_as::<D>(D::IDENTIFIERS[0], |fields| {
        let strict = json(fields);
        let bare = fields.iter().map(|(name, value)| format!("{name}:{}", quoted(value).replace('"', "'")));
        let bare = bare.collect::<Vec<_>>().join(",");
        let remark = |value: &str| strict.replacen('{', &format!("{{\"remark\":\"{value}\","), 1);
        let bodies = [
            format!("{{{bare}}}"),
            strict.replace('}', ",}"),
            remark("YWJj\nZGVm\n"),
            remark("YWJj\r\nZGVm\t\\\""),
            format!("{{/* from the sample */{bare}, // and so on\n}}"),
        ];
        bodies.map(|body| Sent::new(JSON, body)).into()
    })
    .await;
}

pub async fn whole_numbers_may_be_doubles<D: DialectUnderTest>() {
    fn numbers(fields: Pairs<'_>, write: fn(u64) -> String) -> Sent {
        let pairs = fields.iter().map(|(name, value)| match value.parse::<u64>() {
            Ok(number) if number.to_string() == *value => format!("{name:?}:{}", write(number)),
            _ => format!("{name:?}:{}", quoted(value)),
        });
        Sent::new(JSON, format!("{{{}}}", pairs.collect::<Vec<_>>().join(",")))
    }
    every_call_is_read_as::<D>(PHONE, |fields| {
        let exponent = |number: u64| format!("{:E}", number as f64);
        vec![
            numbers(fields, |number| number.to_string()),
            numbers(fields, |number| format!("{number}.0")),
            numbers(fields, exponent),
        ]
    })
    .await;
}

pub async fn multipart_is_read_however_it_was_made<D: DialectUnderTest>() {
    every_call_is_read_as::<D>(D::IDENTIFIERS[0], |fields| {
        let strict = parts(fields);
        let java = "----=_Part_7_123456.1795691504";
        let made = strict.replace("--b", &format!("--{java}"));
        vec![
            Sent::new(PARTS, strict.as_str()),
            Sent::new("multipart/mixed; boundary=b", strict.as_str()),
            Sent::new("multipart/related; Boundary = \"b\"", strict.as_str()),
            Sent::new("multipart/form-data", strict.as_str()),
            Sent::new("", strict.as_str()),
            Sent::new(&format!("multipart/form-data; boundary={java}"), made.as_str()),
            Sent::new(&format!("multipart/form-data; boundary=\"{java}\""), made),
            Sent::new(PARTS, strict.replace("\r\n", "\n")),
            Sent::new(PARTS, strict.replace("--b--\r\n", "")),
            Sent::new(PARTS, format!("This is a multi-part message.\r\n\r\n{strict}")),
            Sent::new(PARTS, strict.replace("form-data; name", "form-data; filename=\"a.txt\"; name")),
        ]
    })
    .await;
}

/// As .NET writes the names of properties.
fn pascal(name: &str) -> String {
    name[..1].to_uppercase() + &name[1..]
}

pub async fn names_match_without_letter_case<D: DialectUnderTest>() {
    fn named(fields: Pairs<'_>, write: fn(&str) -> String) -> [Sent; 3] {
        let names: Vec<_> = fields.iter().map(|(name, _)| write(name)).collect();
        let fields: Vec<_> = names.iter().zip(fields).map(|(name, (_, value))| (name.as_str(), *value)).collect();
        [
            Sent::new(JSON, json(&fields)),
            Sent::new(FORM, urlencoded(&fields)),
            Sent::new("", "").at(&urlencoded(&fields)),
        ]
    }
    every_call_is_read_as::<D>(D::IDENTIFIERS[0], |fields| {
        let mut sent: Vec<_> = named(fields, pascal).into();
        sent.extend(named(fields, str::to_uppercase));
        // An exact match wins, and what differs in case alone is once if it is the same.
        let upper: Vec<_> = fields.iter().map(|(name, _)| name.to_uppercase()).collect();
        let decoys = upper.iter().map(|name| (name.as_str(), "decoy"));
        sent.push(Sent::new(JSON, json(&decoys.chain(fields.iter().copied()).collect::<Vec<_>>())));
        let in_pascal: Vec<_> = fields.iter().map(|(name, _)| pascal(name)).collect();
        let both = upper.iter().zip(fields).chain(in_pascal.iter().zip(fields));
        sent.push(Sent::new(
            FORM,
            urlencoded(&both.map(|(name, (_, value))| (name.as_str(), *value)).collect::<Vec<_>>()),
        ));
        sent
    })
    .await;
    let app = D::new().await;
    for call in app.calls().into_iter().filter(|call| !call.sealed) {
        let Some(first) = call.fields.first() else { continue };
        let [upper, pascal] = [first.name.to_uppercase(), pascal(&first.name)];
        let answer = Sent::new(FORM, urlencoded(&[(&upper, "1"), (&pascal, "2")])).to(&app, &call.path).await;
        app.refuses(&answer, &Refusal::Input(Fault::Doubled(first.name.clone())));
    }
}

pub async fn fields_are_read_from_the_query<D: DialectUnderTest>() {
    every_call_is_read_as::<D>(D::IDENTIFIERS[0], |fields| {
        let (first, rest) = fields.split_at(1);
        let all = urlencoded(fields);
        let decoys: Vec<_> = fields.iter().flat_map(|(name, _)| [(*name, "decoy"), (*name, "other")]).collect();
        vec![
            Sent::new("", "").at(&all),
            Sent::new(FORM, "").at(&all),
            Sent::new(JSON, "{}").at(&all),
            Sent::new(JSON, "null").at(&all),
            Sent::new(FORM, urlencoded(first)).at(&urlencoded(rest)),
            Sent::new(JSON, json(rest)).at(&urlencoded(first)),
            // The body wins, and what else is in the query does not matter.
            Sent::new(JSON, json(fields)).at(&urlencoded(&decoys)),
            Sent::new(FORM, all.clone()).at(&format!("{}&_=%ff&%ff=1&_=2", all.to_lowercase())),
        ]
    })
    .await;
    let app = D::new().await;
    for call in app.calls().into_iter().filter(|call| !call.sealed) {
        let Some(first) = call.fields.first() else { continue };
        let name = first.name.as_str();
        for (query, fault) in [
            (format!("{name}=1&{name}=2"), Fault::Doubled(name.to_owned())),
            (format!("{name}=%ff"), Fault::Invalid(name.to_owned().into())),
        ] {
            let answer = Sent::new(FORM, "").at(&query).to(&app, &call.path).await;
            app.refuses(&answer, &Refusal::Input(fault));
        }
    }
}

/// A service that is reached directly refuses what is not ASCII; the gateway escapes what is UTF-8.
pub async fn raw_bytes_in_a_query_are_answered_in_the_dialect<D: DialectUnderTest>() {
    let app = D::new().await;
    let (status, _, text) = shown((D::SERVICE.refuse)(&Refusal::Input(Fault::Unreadable)));
    for name in ["张三".as_bytes(), &encoded(GBK, "张三"), b"\xff"] {
        let head = b"Host: h\r\nContent-Length: 0\r\n\r\n";
        let request = [b"POST ", D::LOGIN.as_bytes(), b"?username=", name, b" HTTP/1.1\r\n", head].concat();
        let answer = raw(app.service.address(), &request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.ends_with(&text), "{answer}");
        assert!(answer.contains("\r\nContent-Type: application/json; charset=utf-8\r\n"), "{answer}");
    }
}

pub async fn a_field_may_be_repeated<D: DialectUnderTest>() {
    every_call_is_read_as::<D>(D::IDENTIFIERS[0], |fields| {
        let twice = [fields, fields].concat();
        let all = urlencoded(fields);
        vec![
            Sent::new(JSON, json(&twice)),
            Sent::new(FORM, urlencoded(&twice)),
            Sent::new(PARTS, parts(&twice)),
            Sent::new(FORM, all.clone()).at(&all),
            Sent::new("", "").at(&urlencoded(&twice)),
        ]
    })
    .await;
}

pub async fn the_content_type_does_not_matter<D: DialectUnderTest>() {
    every_call_is_read_as::<D>(D::IDENTIFIERS[0], |fields| {
        let escaped: String = json(fields).bytes().map(|byte| format!("%{byte:02X}")).collect();
        let bodies =
            [json(fields), urlencoded(fields), parts(fields), format!("{escaped}="), escaped, json(fields) + "="];
        let kinds =
            ["", JSON, FORM, "text/plain", "multipart/form-data", "application/octet-stream", "text/html; charset=x"];
        let each = bodies.iter().flat_map(|body| kinds.map(|kind| Sent::new(kind, body.as_str())));
        each.collect()
    })
    .await;
}

pub async fn compressed_bodies_are_inflated<D: DialectUnderTest>() {
    fn compressed(body: &str) -> [Vec<u8>; 2] {
        let (mut gzip, mut zlib) = (Vec::new(), Vec::new());
        GzEncoder::new(body.as_bytes(), Compression::default()).read_to_end(&mut gzip).unwrap();
        ZlibEncoder::new(body.as_bytes(), Compression::default()).read_to_end(&mut zlib).unwrap();
        [gzip, zlib]
    }
    every_call_is_read_as::<D>(D::IDENTIFIERS[0], |fields| {
        let mut sent = Vec::new();
        for (kind, body) in [(JSON, json(fields)), (FORM, urlencoded(fields)), (PARTS, parts(fields))] {
            let [gzip, zlib] = compressed(&body);
            sent.push(Sent::new(kind, gzip).with("content-encoding", "gzip"));
            sent.push(Sent::new(kind, zlib).with("content-encoding", "deflate"));
            // Named, and not applied.
            for encoding in ["gzip", "deflate", "identity", "UTF-8"] {
                sent.push(Sent::new(kind, body.as_str()).with("content-encoding", encoding));
            }
        }
        sent
    })
    .await;
    let app = D::new().await;
    let bomb = format!("{{\"a\":\"{}\"}}", "x".repeat(10_000_000));
    for (encoding, bomb) in ["gzip", "deflate"].into_iter().zip(compressed(&bomb)) {
        assert!(bomb.len() < 20_000);
        let answer = Sent::new(JSON, bomb).with("content-encoding", encoding).to(&app, D::LOGIN).await;
        app.refuses(&answer, &Refusal::TooLarge);
    }
    let cut = compressed(&"x".repeat(1_000))[0][..20].to_vec();
    let answer = Sent::new(JSON, cut).with("content-encoding", "gzip").to(&app, D::LOGIN).await;
    app.refuses(&answer, &Refusal::Input(Fault::Unreadable));
}

pub async fn a_call_without_parameters_ignores_its_body<D: DialectUnderTest>() {
    let app = D::new().await;
    for path in documented_without_fields(D::SERVICE) {
        for kind in ["", JSON, FORM, "multipart/form-data; boundary=b"] {
            let polite = Sent::new(kind, "{}").to(&app, &path).await;
            for body in ["", "null", "[]", "\"\"", "{", "a=1&a=2", "--b\r\n", "%ff", "\0"] {
                let answer = Sent::new(kind, body).to(&app, &path).await;
                assert_eq!(answer.status, polite.status, "{path} {kind} {body}: {answer:?}");
                assert_ne!(answer.status, 400, "{path}");
            }
        }
    }
}
