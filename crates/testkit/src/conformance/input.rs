//! Input that cannot be used, in every call: refused in dialect, naming the field.

use serde_json::Value;
use stele_app::Service;
use stele_dialect::{Fault, Refusal};

use super::{DialectUnderTest, PASSWORD};
use crate::app::shown;

pub(super) const JSON: &str = "application/json";
pub(super) const FORM: &str = "application/x-www-form-urlencoded";

/// A call that reads its body.
#[derive(Clone, Debug)]
pub struct Call {
    /// Where it is posted to.
    pub path: String,
    /// What it reads, in its order.
    pub fields: Vec<Field>,
    /// Whether the fields are within an envelope.
    pub sealed: bool,
}

/// A field of a call.
#[derive(Clone, Debug)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// A value that can be read.
    pub good: String,
    /// Whether the call needs it.
    pub required: bool,
}

/// The calls that the OpenAPI document of `service` says read their body, with its examples for good values.
pub fn documented(service: Service) -> Vec<Call> {
    let document = serde_json::to_value((service.document)()).unwrap();
    let paths = document["paths"].as_object().unwrap().iter();
    let reading = paths.filter(|(_, item)| item["post"]["responses"]["400"].is_object());
    let call =
        |(path, item): (&String, &Value)| Call { path: path.clone(), fields: fields(&document, item), sealed: false };
    let calls: Vec<_> = reading.map(call).collect();
    assert!(!calls.is_empty(), "{}: no call reads its body", service.name);
    calls
}

/// The paths of the POSTs that the OpenAPI document of `service` says read no body.
pub(super) fn documented_without_fields(service: Service) -> Vec<String> {
    let document = serde_json::to_value((service.document)()).unwrap();
    let paths = document["paths"].as_object().unwrap().iter();
    let ignoring = paths.filter(|(_, item)| item["post"].is_object() && !item["post"]["responses"]["400"].is_object());
    ignoring.map(|(path, _)| path.clone()).collect()
}

fn fields(document: &Value, item: &Value) -> Vec<Field> {
    let reference = &item["post"]["requestBody"]["content"][JSON]["schema"]["$ref"];
    let schema = document.pointer(reference.as_str().unwrap().trim_start_matches('#')).unwrap();
    let required: Vec<_> = schema["required"].as_array().into_iter().flatten().collect();
    let properties = schema["properties"].as_object().into_iter().flatten();
    let field = |(name, about): (&String, &Value)| Field {
        name: name.clone(),
        good: text(&about["examples"][0]),
        required: required.contains(&&Value::from(name.as_str())),
    };
    properties.map(field).collect()
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

impl Call {
    /// A call whose fields are those of the JSON object `inner`, which is sent in an envelope.
    pub fn sealed(path: &str, inner: &str) -> Self {
        let object: serde_json::Map<String, Value> = serde_json::from_str(inner).unwrap();
        let field = |(name, value): (&String, &Value)| Field { name: name.clone(), good: text(value), required: true };
        Self { path: path.to_owned(), fields: object.iter().map(field).collect(), sealed: true }
    }

    /// The body as JSON, with `value` written in place of a field's.
    fn json_with(&self, name: &str, value: &str) -> String {
        let pairs = self.fields.iter().map(|field| {
            let value = if field.name == name { value.to_owned() } else { format!("{:?}", field.good) };
            format!("{:?}:{value}", field.name)
        });
        format!("{{{}}}", pairs.collect::<Vec<_>>().join(","))
    }

    fn json(&self) -> String {
        self.json_with("", "")
    }

    fn form(&self) -> String {
        let pairs: Vec<_> = self.fields.iter().map(|field| (field.name.as_str(), field.good.as_str())).collect();
        urlencoded(&pairs)
    }

    fn without(&self, name: &str) -> Self {
        let mut call = self.clone();
        call.fields.retain(|field| field.name != name);
        call
    }

    fn with_twice(&self, field: &Field) -> Self {
        let mut call = self.clone();
        call.fields.push(Field { good: format!("{}0", field.good), ..field.clone() });
        call
    }
}

/// `name=value&…`, with every byte of the values escaped.
pub fn urlencoded(pairs: &[(&str, &str)]) -> String {
    let escape = |text: &str| text.bytes().map(|b| format!("%{b:02X}")).collect::<String>();
    pairs.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect::<Vec<_>>().join("&")
}

async fn refuses<D: DialectUnderTest>(app: &D, call: &Call, kind: &str, body: impl Into<Vec<u8>>, fault: Fault) {
    let body = body.into();
    let sent = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
    // Faults within an envelope are answered within one, unless it cannot be read at all.
    let sealed = call.sealed && fault != Fault::Unreadable;
    let (status, _, text) = shown((D::SERVICE.refuse)(&Refusal::Input(fault)));
    let answer = app.submit(call, kind, body).await;
    assert_eq!((answer.status, answer.text, answer.sealed), (status, text, sealed), "{} {kind} {sent}", call.path);
}

fn missing(name: &str) -> Fault {
    Fault::Missing(name.to_owned().into())
}

fn invalid(name: &str) -> Fault {
    Fault::Invalid(name.to_owned().into())
}

pub async fn bodies_that_cannot_be_read<D: DialectUnderTest>() {
    let app = D::new().await;
    let deep = "[".repeat(20_000) + &"]".repeat(20_000);
    let many: Vec<_> = (0..100).map(|n| format!("f{n}=1")).collect();
    for call in app.calls() {
        let bodies = ["{", r#"{"username":"#, "[1]", "true", "\"text\"", "17", "{} {}", r#"{"a":01}"#, &deep];
        for body in bodies.into_iter().chain([r#"{"username":"\ud800"}"#]) {
            refuses(&app, &call, JSON, body, Fault::Unreadable).await;
        }
        refuses(&app, &call, JSON, b"{\"username\":\"\xff\"}".to_vec(), Fault::Unreadable).await;
        if let Some(first) = call.fields.first() {
            // Skipped without recursion, then found to be no text.
            refuses(&app, &call, JSON, call.json_with(&first.name, &deep), invalid(&first.name)).await;
        }
        if call.sealed {
            continue;
        }
        let forms: [(&str, &[u8]); 7] = [
            (FORM, b"username=\xff"),
            (FORM, b"username=%ff"),
            (FORM, many.join("&").leak().as_bytes()),
            ("multipart/form-data; boundary=b", b"--b\r\n\r\n1\r\n--b--\r\n"),
            ("multipart/form-data", b"--\r\n"),
            ("multipart/form-data", b"{\"a\":\xff}"),
            ("multipart/form-data", b"a=\xff\xfe"),
        ];
        for (kind, body) in forms {
            refuses(&app, &call, kind, body, Fault::Unreadable).await;
        }
    }
}

pub async fn a_missing_field_is_named<D: DialectUnderTest>() {
    let app = D::new().await;
    for call in app.calls() {
        if let (Some(first), false) = (call.fields.first(), call.sealed) {
            for (kind, body) in [(JSON, ""), (JSON, "{}"), (JSON, "null"), (JSON, "[]"), (FORM, ""), (FORM, "{}")] {
                refuses(&app, &call, kind, body, missing(&first.name)).await;
            }
        }
        for Field { name, .. } in call.fields.iter().filter(|field| field.required) {
            let without = call.without(name);
            if !call.sealed {
                refuses(&app, &call, FORM, without.form(), missing(name)).await;
            }
            refuses(&app, &call, JSON, without.json(), missing(name)).await;
            refuses(&app, &call, JSON, call.json_with(name, "null"), missing(name)).await;
        }
    }
}

pub async fn a_doubled_field_is_named<D: DialectUnderTest>() {
    let app = D::new().await;
    for call in app.calls() {
        for field in &call.fields {
            let twice = call.with_twice(field);
            refuses(&app, &call, JSON, twice.json(), Fault::Doubled(field.name.clone())).await;
            if !call.sealed {
                refuses(&app, &call, FORM, twice.form(), Fault::Doubled(field.name.clone())).await;
            }
        }
    }
}

pub async fn a_field_of_the_wrong_kind_is_named<D: DialectUnderTest>() {
    let app = D::new().await;
    for call in app.calls() {
        for Field { name, .. } in &call.fields {
            for value in ["true", "[]", "{}", "[[1]]", r#"{"$ne":null}"#] {
                refuses(&app, &call, JSON, call.json_with(name, value), invalid(name)).await;
            }
        }
    }
}

pub async fn a_field_with_a_bad_value_is_named<D: DialectUnderTest>() {
    let app = D::new().await;
    let calls = app.calls();
    for (name, values) in D::BAD_VALUES {
        let with = calls.iter().filter(|call| call.fields.iter().any(|field| field.name == *name));
        let with: Vec<_> = with.collect();
        assert!(!with.is_empty(), "no call has a field {name}");
        for (call, value) in with.iter().flat_map(|call| values.iter().map(move |value| (call, value))) {
            refuses(&app, call, JSON, call.json_with(name, value), invalid(name)).await;
        }
    }
}

pub async fn a_login_is_read_from_every_kind_of_body<D: DialectUnderTest>() {
    type Write = fn(&[(&str, &str)]) -> String;
    let app = D::new().await;
    app.mark().await;
    let kinds: [(&str, Write); 7] = [
        (JSON, |fields| object(fields, "", quoted)),
        (JSON, |fields| object(fields, r#","extra":[1,{"a":null}]"#, bare)),
        ("application/json; charset=UTF-8", |fields| {
            let reversed: Vec<_> = fields.iter().rev().copied().collect();
            format!("\u{feff} {}\n", object(&reversed, "", quoted))
        }),
        ("text/plain", |fields| object(fields, "", quoted)),
        (FORM, urlencoded),
        // jQuery's: the content type alone.
        ("multipart/form-data", urlencoded),
        ("multipart/form-data; boundary=b", |fields| {
            let part = |(name, value): &(&str, &str)| {
                format!("--b\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
            };
            fields.iter().map(part).collect::<String>() + "--b--\r\n"
        }),
    ];
    for (kind, write) in kinds {
        app.wait(1);
        let fields = app.login_fields(0, D::IDENTIFIERS[0], PASSWORD);
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let request = app.carry(app.request("POST", D::LOGIN)).header("content-type", kind).body(write(&fields));
        app.assert_accepted(app.open(app.send(request).await));
    }
}

fn object(fields: &[(&str, &str)], more: &str, write: fn(&str) -> String) -> String {
    let pairs = fields.iter().map(|(name, value)| format!("{name:?}:{}", write(value)));
    format!("{{{}{more}}}", pairs.collect::<Vec<_>>().join(","))
}

fn quoted(value: &str) -> String {
    format!("{value:?}")
}

/// Numbers as numbers.
fn bare(value: &str) -> String {
    if value.parse::<u64>().is_ok_and(|number| number.to_string() == value) { value.to_owned() } else { quoted(value) }
}
