//! Input of every documented call: invalid input is rejected in the dialect's format with the name of the field, and a
//! login is accepted in every body format.

use serde_json::Value;
use stele_app::Service;
use stele_dialect::{FieldError, RequestRejection};

use super::{DialectUnderTest, PASSWORD};
use crate::test_app::response_parts;

pub(super) const JSON: &str = "application/json";
pub(super) const FORM: &str = "application/x-www-form-urlencoded";

/// A documented call that reads its body.
#[derive(Clone, Debug)]
pub struct Call {
    /// The path that requests of the call are posted to.
    pub path: String,
    /// The fields that the call reads, in the order in which it checks them.
    pub fields: Vec<Field>,
    /// Whether the fields are sent in an encrypted envelope.
    pub is_encrypted: bool,
}

/// A field of a call.
#[derive(Clone, Debug)]
pub struct Field {
    /// The field's name.
    pub name: String,
    /// A valid value.
    pub valid_value: String,
    /// Whether a request without the field is rejected.
    pub is_required: bool,
}

/// The calls that read their body according to the OpenAPI document of `service`, with the document's examples as valid
/// values.
pub fn documented_calls(service: Service) -> Vec<Call> {
    let document = serde_json::to_value((service.openapi_document)()).unwrap();
    let paths = document["paths"].as_object().unwrap().iter();
    let with_body = paths.filter(|(_, item)| item["post"]["responses"]["400"].is_object());
    let to_call = |(path, item): (&String, &Value)| Call {
        path: path.clone(),
        fields: documented_fields(&document, item),
        is_encrypted: false,
    };
    let calls: Vec<_> = with_body.map(to_call).collect();
    assert!(!calls.is_empty(), "{}: no call reads its body", service.name);
    calls
}

/// The paths that are posted to without a body according to the OpenAPI document of `service`.
pub(super) fn documented_paths_without_body(service: Service) -> Vec<String> {
    let document = serde_json::to_value((service.openapi_document)()).unwrap();
    let paths = document["paths"].as_object().unwrap().iter();
    let without_body =
        paths.filter(|(_, item)| item["post"].is_object() && !item["post"]["responses"]["400"].is_object());
    without_body.map(|(path, _)| path.clone()).collect()
}

fn documented_fields(document: &Value, item: &Value) -> Vec<Field> {
    let reference = &item["post"]["requestBody"]["content"][JSON]["schema"]["$ref"];
    let schema = document.pointer(reference.as_str().unwrap().trim_start_matches('#')).unwrap();
    let required: Vec<_> = schema["required"].as_array().into_iter().flatten().collect();
    let properties = schema["properties"].as_object().into_iter().flatten();
    let to_field = |(name, schema): (&String, &Value)| Field {
        name: name.clone(),
        valid_value: value_to_text(&schema["examples"][0]),
        is_required: required.contains(&&Value::from(name.as_str())),
    };
    properties.map(to_field).collect()
}

fn value_to_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

impl Call {
    /// A call whose fields are those of the JSON object `inner`, sent in an encrypted envelope.
    pub fn encrypted(path: &str, inner: &str) -> Self {
        let object: serde_json::Map<String, Value> = serde_json::from_str(inner).unwrap();
        let to_field = |(name, value): (&String, &Value)| Field {
            name: name.clone(),
            valid_value: value_to_text(value),
            is_required: true,
        };
        Self { path: path.to_owned(), fields: object.iter().map(to_field).collect(), is_encrypted: true }
    }

    /// The body as JSON, with the JSON text `value` as the value of the field `name`.
    fn to_json_with_value(&self, name: &str, value: &str) -> String {
        let pairs = self.fields.iter().map(|field| {
            let value = if field.name == name { value.to_owned() } else { format!("{:?}", field.valid_value) };
            format!("{:?}:{value}", field.name)
        });
        format!("{{{}}}", pairs.collect::<Vec<_>>().join(","))
    }

    fn to_json(&self) -> String {
        self.to_json_with_value("", "")
    }

    fn to_form(&self) -> String {
        let pairs: Vec<_> = self.fields.iter().map(|field| (field.name.as_str(), field.valid_value.as_str())).collect();
        encode_urlencoded(&pairs)
    }

    fn without_field(&self, name: &str) -> Self {
        let mut call = self.clone();
        call.fields.retain(|field| field.name != name);
        call
    }

    fn with_repeated_field(&self, field: &Field) -> Self {
        let mut call = self.clone();
        call.fields.push(Field { valid_value: format!("{}0", field.valid_value), ..field.clone() });
        call
    }
}

/// `name=value&…`, with every byte of the values percent-encoded.
pub fn encode_urlencoded(pairs: &[(&str, &str)]) -> String {
    let escape = |text: &str| text.bytes().map(|b| format!("%{b:02X}")).collect::<String>();
    pairs.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect::<Vec<_>>().join("&")
}

async fn assert_field_error<D: DialectUnderTest>(
    app: &D,
    call: &Call,
    content_type: &str,
    body: impl Into<Vec<u8>>,
    error: FieldError,
) {
    let body = body.into();
    let sent = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
    // An error in the encrypted fields is returned in an encrypted envelope; a malformed envelope gets a plain
    // response.
    let is_response_encrypted = call.is_encrypted && error != FieldError::MalformedRequest;
    let (status, _, text) = response_parts((D::SERVICE.render_rejection)(&RequestRejection::InvalidInput(error)));
    let response = app.submit(call, content_type, body).await;
    assert_eq!(
        (response.status, response.text, response.encrypted),
        (status, text, is_response_encrypted),
        "{} {content_type} {sent}",
        call.path
    );
}

fn missing_field(name: &str) -> FieldError {
    FieldError::Missing(name.to_owned().into())
}

fn invalid_field(name: &str) -> FieldError {
    FieldError::Invalid(name.to_owned().into())
}

pub async fn unreadable_bodies_are_rejected<D: DialectUnderTest>() {
    let app = D::new().await;
    let deep = "[".repeat(20_000) + &"]".repeat(20_000);
    let many: Vec<_> = (0..100).map(|n| format!("f{n}=1")).collect();
    for call in app.calls_with_body() {
        let bodies = ["{", r#"{"username":"#, "[1]", "true", "\"text\"", "17", "{} {}", r#"{"a":01}"#, &deep];
        for body in bodies.into_iter().chain([r#"{"username":"\ud800"}"#]) {
            assert_field_error(&app, &call, JSON, body, FieldError::MalformedRequest).await;
        }
        assert_field_error(&app, &call, JSON, b"{\"username\":\"\xff\"}".to_vec(), FieldError::MalformedRequest).await;
        if let Some(first) = call.fields.first() {
            // Deeply nested values are skipped without recursion, then rejected because the field must be a text.
            assert_field_error(
                &app,
                &call,
                JSON,
                call.to_json_with_value(&first.name, &deep),
                invalid_field(&first.name),
            )
            .await;
        }
        if call.is_encrypted {
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
        for (content_type, body) in forms {
            assert_field_error(&app, &call, content_type, body, FieldError::MalformedRequest).await;
        }
    }
}

pub async fn the_error_names_a_missing_field<D: DialectUnderTest>() {
    let app = D::new().await;
    for call in app.calls_with_body() {
        if let (Some(first), false) = (call.fields.first(), call.is_encrypted) {
            for (content_type, body) in
                [(JSON, ""), (JSON, "{}"), (JSON, "null"), (JSON, "[]"), (FORM, ""), (FORM, "{}")]
            {
                assert_field_error(&app, &call, content_type, body, missing_field(&first.name)).await;
            }
        }
        for Field { name, .. } in call.fields.iter().filter(|field| field.is_required) {
            let without = call.without_field(name);
            if !call.is_encrypted {
                assert_field_error(&app, &call, FORM, without.to_form(), missing_field(name)).await;
            }
            assert_field_error(&app, &call, JSON, without.to_json(), missing_field(name)).await;
            assert_field_error(&app, &call, JSON, call.to_json_with_value(name, "null"), missing_field(name)).await;
        }
    }
}

pub async fn the_error_names_a_repeated_field<D: DialectUnderTest>() {
    let app = D::new().await;
    for call in app.calls_with_body() {
        for field in &call.fields {
            let twice = call.with_repeated_field(field);
            assert_field_error(&app, &call, JSON, twice.to_json(), FieldError::Duplicate(field.name.clone())).await;
            if !call.is_encrypted {
                assert_field_error(&app, &call, FORM, twice.to_form(), FieldError::Duplicate(field.name.clone())).await;
            }
        }
    }
}

pub async fn the_error_names_a_field_of_the_wrong_type<D: DialectUnderTest>() {
    let app = D::new().await;
    for call in app.calls_with_body() {
        for Field { name, .. } in &call.fields {
            for value in ["true", "[]", "{}", "[[1]]", r#"{"$ne":null}"#] {
                assert_field_error(&app, &call, JSON, call.to_json_with_value(name, value), invalid_field(name)).await;
            }
        }
    }
}

pub async fn the_error_names_a_field_with_an_invalid_value<D: DialectUnderTest>() {
    let app = D::new().await;
    let calls = app.calls_with_body();
    for (name, values) in D::INVALID_VALUES {
        let calls_with_field = calls.iter().filter(|call| call.fields.iter().any(|field| field.name == *name));
        let calls_with_field: Vec<_> = calls_with_field.collect();
        assert!(!calls_with_field.is_empty(), "no call has a field {name}");
        for (call, value) in calls_with_field.iter().flat_map(|call| values.iter().map(move |value| (call, value))) {
            assert_field_error(&app, call, JSON, call.to_json_with_value(name, value), invalid_field(name)).await;
        }
    }
}

pub async fn a_login_is_accepted_in_every_body_format<D: DialectUnderTest>() {
    type Write = fn(&[(&str, &str)]) -> String;
    let app = D::new().await;
    app.add_test_user().await;
    let formats: [(&str, Write); 7] = [
        (JSON, |fields| encode_json_object(fields, "", encode_json_string)),
        (JSON, |fields| encode_json_object(fields, r#","extra":[1,{"a":null}]"#, encode_unquoted_integer)),
        ("application/json; charset=UTF-8", |fields| {
            let reversed: Vec<_> = fields.iter().rev().copied().collect();
            format!("\u{feff} {}\n", encode_json_object(&reversed, "", encode_json_string))
        }),
        ("text/plain", |fields| encode_json_object(fields, "", encode_json_string)),
        (FORM, encode_urlencoded),
        // As jQuery sends it: an urlencoded body with the content type of multipart.
        ("multipart/form-data", encode_urlencoded),
        ("multipart/form-data; boundary=b", |fields| {
            let encode_part = |(name, value): &(&str, &str)| {
                format!("--b\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
            };
            fields.iter().map(encode_part).collect::<String>() + "--b--\r\n"
        }),
    ];
    for (content_type, write) in formats {
        app.advance_clock(1);
        let fields = app.login_fields(0, D::IDENTIFIERS[0], PASSWORD);
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let request = app
            .add_credentials(app.request("POST", D::LOGIN_PATH))
            .header("content-type", content_type)
            .body(write(&fields));
        app.assert_accepted(app.decode_response(app.send(request).await));
    }
}

fn encode_json_object(fields: &[(&str, &str)], extra: &str, write: fn(&str) -> String) -> String {
    let pairs = fields.iter().map(|(name, value)| format!("{name:?}:{}", write(value)));
    format!("{{{}{extra}}}", pairs.collect::<Vec<_>>().join(","))
}

fn encode_json_string(value: &str) -> String {
    format!("{value:?}")
}

/// A JSON value; an integer is not quoted.
fn encode_unquoted_integer(value: &str) -> String {
    if value.parse::<u64>().is_ok_and(|number| number.to_string() == value) {
        value.to_owned()
    } else {
        encode_json_string(value)
    }
}
