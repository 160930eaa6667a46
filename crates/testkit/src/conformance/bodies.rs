//! Request bodies as old clients send them (docs/FIELD.md): every variant of a login is accepted, and every other
//! documented call is parsed like its well-formed JSON variant.

use std::io::Read as _;

use encoding_rs::{Encoding, GBK, UTF_16LE};
use flate2::Compression;
use flate2::read::{GzEncoder, ZlibEncoder};
use stele_dialect::{FieldError, RequestRejection};

use super::input::{Call, FORM, JSON, documented_paths_without_body, encode_urlencoded};
use super::request_variant::{FieldPairs, RequestVariant, encode_json, encode_json_string, encode_multipart};
use super::{DialectUnderTest, PASSWORD, PHONE};
use crate::raw_http;
use crate::test_app::response_parts;

const MULTIPART_TYPE: &str = "multipart/form-data; boundary=b";

/// Rate limits and quotas so high that no test reaches them.
const NO_RATE_LIMITS: [(&str, &str); 7] = [
    ("STELE_LIMIT_ACCOUNT", "5000"),
    ("STELE_LIMIT_ADDRESS", "5000"),
    ("STELE_LIMIT_APP", "5000"),
    ("STELE_SEND_CAPTCHA", "5000"),
    ("STELE_SEND_RECIPIENT", "5000"),
    ("STELE_SEND_ADDRESS", "5000"),
    ("STELE_SEND_APP", "5000"),
];

/// Asserts that every call is parsed from each of the request variants: a login as `identifier` is accepted, and every
/// other documented call gets the response of its well-formed JSON variant.
async fn assert_all_calls_accept<D: DialectUnderTest>(
    identifier: &str,
    variants: fn(FieldPairs<'_>) -> Vec<RequestVariant>,
) {
    let app = D::with_settings(&NO_RATE_LIMITS).await;
    app.lab.user("张三").password(PASSWORD).add().await;
    app.add_test_user().await;
    let variant_count = variants(&[("a", "1")]).len();
    for index in 0..variant_count {
        app.advance_clock(1);
        let fields = app.login_fields(0, identifier, PASSWORD);
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let variant = variants(&fields).swap_remove(index);
        let response = variant.send(&app, D::LOGIN_PATH).await;
        assert!(D::is_accepted(&response), "{}: {response:?}", variant.describe());
    }
    for call in app.calls_with_body().into_iter().filter(|call| !call.is_encrypted) {
        let Call { path, fields, .. } = &call;
        let fields: Vec<_> = fields.iter().map(|field| (field.name.as_str(), field.valid_value.as_str())).collect();
        let expected = RequestVariant::new(JSON, encode_json(&fields)).send(&app, path).await;
        for variant in variants(&fields) {
            let response = variant.send(&app, path).await;
            // A repeated call may get a different response (such as for a used code), but never 400.
            let is_same = (response.status, &response.text) == (expected.status, &expected.text);
            let are_both_parsed = response.status != 400 && expected.status != 400;
            assert!(is_same || are_both_parsed, "{path} {}: {response:?}", variant.describe());
        }
    }
}

/// A non-ASCII user name if this dialect accepts names, otherwise an ASCII identifier.
fn non_ascii_name<D: DialectUnderTest>() -> &'static str {
    if D::IDENTIFIERS.contains(&"Mark") { "张三" } else { D::IDENTIFIERS[0] }
}

pub async fn a_byte_order_mark_is_skipped<D: DialectUnderTest>() {
    assert_all_calls_accept::<D>(D::IDENTIFIERS[0], |fields| {
        let bodies = [encode_json(fields), encode_urlencoded(fields)];
        let content_types = ["", JSON, FORM, "text/plain"];
        let variants = bodies.iter().flat_map(|body| {
            content_types.map(|content_type| RequestVariant::new(content_type, format!("\u{feff}{body}")))
        });
        variants.collect()
    })
    .await;
}

fn encode_text(charset: &'static Encoding, text: &str) -> Vec<u8> {
    charset.encode(text).0.into_owned()
}

pub async fn a_charset_is_decoded<D: DialectUnderTest>() {
    assert_all_calls_accept::<D>(non_ascii_name::<D>(), |fields| {
        // In GBK, the second byte of 誠 is a backslash.
        let remark = [fields, &[("remark", "誠")]].concat();
        let escaped: Vec<_> = remark
            .iter()
            .map(|(name, value)| {
                let value = encode_text(GBK, value).iter().map(|byte| format!("%{byte:02X}")).collect::<String>();
                format!("{name}={value}")
            })
            .collect();
        let encode_with_part_charset = |charset: &str| {
            encode_multipart(&remark)
                .replace("\r\n\r\n", &format!("\r\nContent-Type: text/plain; charset={charset}\r\n\r\n"))
        };
        let utf16: Vec<u8> = encode_json(&remark).encode_utf16().flat_map(u16::to_le_bytes).collect();
        let utf16_with_mark = [b"\xff\xfe".as_slice(), &utf16].concat();
        assert_eq!(UTF_16LE.decode(&utf16_with_mark).0, encode_json(&remark));
        let mut variants = vec![
            RequestVariant::new(MULTIPART_TYPE, encode_text(GBK, &encode_with_part_charset("GBK"))),
            RequestVariant::new(MULTIPART_TYPE, encode_with_part_charset("UTF-8")),
            RequestVariant::new("application/json; charset=utf-16", utf16_with_mark),
            RequestVariant::new(JSON, utf16),
            RequestVariant::new(
                "application/json; charset=ISO-8859-1",
                encode_json(fields).replace("张三", "\\u5f20\\u4e09"),
            ),
        ];
        for charset in ["", "; charset=GBK", ";charset=\"gb2312\"", "; charset=GB18030"] {
            variants.push(RequestVariant::new(&format!("{JSON}{charset}"), encode_text(GBK, &encode_json(&remark))));
            variants.push(RequestVariant::new(&format!("{FORM}{charset}"), escaped.join("&")));
            variants.push(RequestVariant::new(
                &format!("{MULTIPART_TYPE}{charset}"),
                encode_text(GBK, &encode_multipart(&remark)),
            ));
        }
        variants
    })
    .await;
}

pub async fn trailing_data_after_json_is_ignored<D: DialectUnderTest>() {
    assert_all_calls_accept::<D>(D::IDENTIFIERS[0], |fields| {
        ["\0", "\0\0\0\0", "\r\n", " \n\0"].map(|tail| RequestVariant::new(JSON, encode_json(fields) + tail)).into()
    })
    .await;
}

pub async fn json_is_read_leniently<D: DialectUnderTest>() {
    assert_all_calls_accept::<D>(D::IDENTIFIERS[0], |fields| {
        let strict = encode_json(fields);
        let bare = fields.iter().map(|(name, value)| format!("{name}:{}", encode_json_string(value).replace('"', "'")));
        let bare = bare.collect::<Vec<_>>().join(",");
        let add_remark = |value: &str| strict.replacen('{', &format!("{{\"remark\":\"{value}\","), 1);
        let bodies = [
            format!("{{{bare}}}"),
            strict.replace('}', ",}"),
            add_remark("YWJj\nZGVm\n"),
            add_remark("YWJj\r\nZGVm\t\\\""),
            format!("{{/* from the sample */{bare}, // and so on\n}}"),
        ];
        bodies.map(|body| RequestVariant::new(JSON, body)).into()
    })
    .await;
}

pub async fn integer_fields_accept_json_doubles<D: DialectUnderTest>() {
    fn with_numbers(fields: FieldPairs<'_>, write: fn(u64) -> String) -> RequestVariant {
        let pairs = fields.iter().map(|(name, value)| match value.parse::<u64>() {
            Ok(number) if number.to_string() == *value => format!("{name:?}:{}", write(number)),
            _ => format!("{name:?}:{}", encode_json_string(value)),
        });
        RequestVariant::new(JSON, format!("{{{}}}", pairs.collect::<Vec<_>>().join(",")))
    }
    assert_all_calls_accept::<D>(PHONE, |fields| {
        let write_exponent = |number: u64| format!("{:E}", number as f64);
        vec![
            with_numbers(fields, |number| number.to_string()),
            with_numbers(fields, |number| format!("{number}.0")),
            with_numbers(fields, write_exponent),
        ]
    })
    .await;
}

pub async fn multipart_bodies_of_all_known_clients_are_accepted<D: DialectUnderTest>() {
    assert_all_calls_accept::<D>(D::IDENTIFIERS[0], |fields| {
        let strict = encode_multipart(fields);
        let java = "----=_Part_7_123456.1795691504";
        let java_body = strict.replace("--b", &format!("--{java}"));
        vec![
            RequestVariant::new(MULTIPART_TYPE, strict.as_str()),
            RequestVariant::new("multipart/mixed; boundary=b", strict.as_str()),
            RequestVariant::new("multipart/related; Boundary = \"b\"", strict.as_str()),
            RequestVariant::new("multipart/form-data", strict.as_str()),
            RequestVariant::new("", strict.as_str()),
            RequestVariant::new(&format!("multipart/form-data; boundary={java}"), java_body.as_str()),
            RequestVariant::new(&format!("multipart/form-data; boundary=\"{java}\""), java_body),
            RequestVariant::new(MULTIPART_TYPE, strict.replace("\r\n", "\n")),
            RequestVariant::new(MULTIPART_TYPE, strict.replace("--b--\r\n", "")),
            RequestVariant::new(MULTIPART_TYPE, format!("This is a multi-part message.\r\n\r\n{strict}")),
            RequestVariant::new(
                MULTIPART_TYPE,
                strict.replace("form-data; name", "form-data; filename=\"a.txt\"; name"),
            ),
        ]
    })
    .await;
}

/// A field name as .NET writes property names.
fn to_pascal_case(name: &str) -> String {
    name[..1].to_uppercase() + &name[1..]
}

pub async fn field_names_are_case_insensitive<D: DialectUnderTest>() {
    fn with_names(fields: FieldPairs<'_>, write: fn(&str) -> String) -> [RequestVariant; 3] {
        let names: Vec<_> = fields.iter().map(|(name, _)| write(name)).collect();
        let fields: Vec<_> = names.iter().zip(fields).map(|(name, (_, value))| (name.as_str(), *value)).collect();
        [
            RequestVariant::new(JSON, encode_json(&fields)),
            RequestVariant::new(FORM, encode_urlencoded(&fields)),
            RequestVariant::new("", "").with_query(&encode_urlencoded(&fields)),
        ]
    }
    assert_all_calls_accept::<D>(D::IDENTIFIERS[0], |fields| {
        let mut variants: Vec<_> = with_names(fields, to_pascal_case).into();
        variants.extend(with_names(fields, str::to_uppercase));
        // An exact name wins over names in other case. Names that differ only in case may repeat an equal value.
        let upper: Vec<_> = fields.iter().map(|(name, _)| name.to_uppercase()).collect();
        let decoys = upper.iter().map(|name| (name.as_str(), "decoy"));
        variants
            .push(RequestVariant::new(JSON, encode_json(&decoys.chain(fields.iter().copied()).collect::<Vec<_>>())));
        let in_pascal: Vec<_> = fields.iter().map(|(name, _)| to_pascal_case(name)).collect();
        let both = upper.iter().zip(fields).chain(in_pascal.iter().zip(fields));
        variants.push(RequestVariant::new(
            FORM,
            encode_urlencoded(&both.map(|(name, (_, value))| (name.as_str(), *value)).collect::<Vec<_>>()),
        ));
        variants
    })
    .await;
    let app = D::new().await;
    for call in app.calls_with_body().into_iter().filter(|call| !call.is_encrypted) {
        let Some(first) = call.fields.first() else { continue };
        let [upper, pascal] = [first.name.to_uppercase(), to_pascal_case(&first.name)];
        let response =
            RequestVariant::new(FORM, encode_urlencoded(&[(&upper, "1"), (&pascal, "2")])).send(&app, &call.path).await;
        app.assert_rejected(&response, &RequestRejection::InvalidInput(FieldError::Duplicate(first.name.clone())));
    }
}

pub async fn fields_are_accepted_in_the_query<D: DialectUnderTest>() {
    assert_all_calls_accept::<D>(D::IDENTIFIERS[0], |fields| {
        let (first, others) = fields.split_at(1);
        let all = encode_urlencoded(fields);
        let decoys: Vec<_> = fields.iter().flat_map(|(name, _)| [(*name, "decoy"), (*name, "other")]).collect();
        vec![
            RequestVariant::new("", "").with_query(&all),
            RequestVariant::new(FORM, "").with_query(&all),
            RequestVariant::new(JSON, "{}").with_query(&all),
            RequestVariant::new(JSON, "null").with_query(&all),
            RequestVariant::new(FORM, encode_urlencoded(first)).with_query(&encode_urlencoded(others)),
            RequestVariant::new(JSON, encode_json(others)).with_query(&encode_urlencoded(first)),
            // The body wins over the query, and other parameters in the query are ignored.
            RequestVariant::new(JSON, encode_json(fields)).with_query(&encode_urlencoded(&decoys)),
            RequestVariant::new(FORM, all.clone()).with_query(&format!("{}&_=%ff&%ff=1&_=2", all.to_lowercase())),
        ]
    })
    .await;
    let app = D::new().await;
    for call in app.calls_with_body().into_iter().filter(|call| !call.is_encrypted) {
        let Some(first) = call.fields.first() else { continue };
        let name = first.name.as_str();
        for (query, error) in [
            (format!("{name}=1&{name}=2"), FieldError::Duplicate(name.to_owned())),
            (format!("{name}=%ff"), FieldError::Invalid(name.to_owned().into())),
        ] {
            let response = RequestVariant::new(FORM, "").with_query(&query).send(&app, &call.path).await;
            app.assert_rejected(&response, &RequestRejection::InvalidInput(error));
        }
    }
}

/// Without the gateway, a service rejects a non-ASCII query. (The gateway percent-encodes UTF-8 in the query.)
pub async fn non_ascii_query_bytes_are_rejected_in_the_dialect<D: DialectUnderTest>() {
    let app = D::new().await;
    let (status, _, text) =
        response_parts((D::SERVICE.render_rejection)(&RequestRejection::InvalidInput(FieldError::MalformedRequest)));
    for name in ["张三".as_bytes(), &encode_text(GBK, "张三"), b"\xff"] {
        let head = b"Host: h\r\nContent-Length: 0\r\n\r\n";
        let request = [b"POST ", D::LOGIN_PATH.as_bytes(), b"?username=", name, b" HTTP/1.1\r\n", head].concat();
        let response = raw_http::send_raw(app.service.address(), &request).await;
        assert!(response.starts_with(&format!("HTTP/1.1 {status} ")) && response.ends_with(&text), "{response}");
        assert!(response.contains("\r\nContent-Type: application/json; charset=utf-8\r\n"), "{response}");
    }
}

pub async fn repeated_fields_are_accepted<D: DialectUnderTest>() {
    assert_all_calls_accept::<D>(D::IDENTIFIERS[0], |fields| {
        let twice = [fields, fields].concat();
        let all = encode_urlencoded(fields);
        vec![
            RequestVariant::new(JSON, encode_json(&twice)),
            RequestVariant::new(FORM, encode_urlencoded(&twice)),
            RequestVariant::new(MULTIPART_TYPE, encode_multipart(&twice)),
            RequestVariant::new(FORM, all.clone()).with_query(&all),
            RequestVariant::new("", "").with_query(&encode_urlencoded(&twice)),
        ]
    })
    .await;
}

pub async fn the_content_type_is_ignored<D: DialectUnderTest>() {
    assert_all_calls_accept::<D>(D::IDENTIFIERS[0], |fields| {
        let escaped: String = encode_json(fields).bytes().map(|byte| format!("%{byte:02X}")).collect();
        let bodies = [
            encode_json(fields),
            encode_urlencoded(fields),
            encode_multipart(fields),
            format!("{escaped}="),
            escaped,
            encode_json(fields) + "=",
        ];
        let content_types =
            ["", JSON, FORM, "text/plain", "multipart/form-data", "application/octet-stream", "text/html; charset=x"];
        bodies
            .iter()
            .flat_map(|body| content_types.map(|content_type| RequestVariant::new(content_type, body.as_str())))
            .collect()
    })
    .await;
}

pub async fn compressed_bodies_are_decompressed<D: DialectUnderTest>() {
    fn compress(body: &str) -> [Vec<u8>; 2] {
        let (mut gzip, mut zlib) = (Vec::new(), Vec::new());
        GzEncoder::new(body.as_bytes(), Compression::default()).read_to_end(&mut gzip).unwrap();
        ZlibEncoder::new(body.as_bytes(), Compression::default()).read_to_end(&mut zlib).unwrap();
        [gzip, zlib]
    }
    assert_all_calls_accept::<D>(D::IDENTIFIERS[0], |fields| {
        let mut variants = Vec::new();
        for (content_type, body) in
            [(JSON, encode_json(fields)), (FORM, encode_urlencoded(fields)), (MULTIPART_TYPE, encode_multipart(fields))]
        {
            let [gzip, zlib] = compress(&body);
            variants.push(RequestVariant::new(content_type, gzip).with_header("content-encoding", "gzip"));
            variants.push(RequestVariant::new(content_type, zlib).with_header("content-encoding", "deflate"));
            // The header names an encoding that was not applied.
            for encoding in ["gzip", "deflate", "identity", "UTF-8"] {
                variants
                    .push(RequestVariant::new(content_type, body.as_str()).with_header("content-encoding", encoding));
            }
        }
        variants
    })
    .await;
    let app = D::new().await;
    let bomb = format!("{{\"a\":\"{}\"}}", "x".repeat(10_000_000));
    for (encoding, bomb) in ["gzip", "deflate"].into_iter().zip(compress(&bomb)) {
        assert!(bomb.len() < 20_000);
        let response =
            RequestVariant::new(JSON, bomb).with_header("content-encoding", encoding).send(&app, D::LOGIN_PATH).await;
        app.assert_rejected(&response, &RequestRejection::BodyTooLarge);
    }
    let truncated = compress(&"x".repeat(1_000))[0][..20].to_vec();
    let response =
        RequestVariant::new(JSON, truncated).with_header("content-encoding", "gzip").send(&app, D::LOGIN_PATH).await;
    app.assert_rejected(&response, &RequestRejection::InvalidInput(FieldError::MalformedRequest));
}

pub async fn a_call_without_parameters_ignores_its_body<D: DialectUnderTest>() {
    let app = D::new().await;
    for path in documented_paths_without_body(D::SERVICE) {
        for content_type in ["", JSON, FORM, "multipart/form-data; boundary=b"] {
            let expected = RequestVariant::new(content_type, "{}").send(&app, &path).await;
            for body in ["", "null", "[]", "\"\"", "{", "a=1&a=2", "--b\r\n", "%ff", "\0"] {
                let response = RequestVariant::new(content_type, body).send(&app, &path).await;
                assert_eq!(response.status, expected.status, "{path} {content_type} {body}: {response:?}");
                assert_ne!(response.status, 400, "{path}");
            }
        }
    }
}
