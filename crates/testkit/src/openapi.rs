//! OpenAPI documents, held against what a service does.

use serde_json::{Value, json};
use stele_dialect::Fields;

use crate::conformance::openapi::served_methods;

/// Whether `value` is what the component `name` of `document` describes.
pub fn matches_schema(document: &Value, name: &str, value: &Value) -> bool {
    schema_errors(document, &json!({ "$ref": format!("#/components/schemas/{name}") }), value).is_empty()
}

/// The exchange is as the document has it: a call that was not refused as unreadable has a valid body, and the answer
/// is one of those documented. What is answered with 404 or 405 may be anything.
pub(crate) fn assert_conforms(document: &Value, request: &str, answer: &str) {
    let (head, body) = answer.split_once("\n\n").unwrap_or((answer, ""));
    let status = head.split(' ').nth(1).unwrap_or_default();
    let mut start = request.split(' ');
    let (method, path) = (start.next().unwrap_or_default(), start.next().unwrap_or_default());
    let Some(operation) = operation(document, method, path) else {
        assert!(matches!(status, "404" | "405"), "{method} {path} is answered {status} but not documented");
        return;
    };
    if let (false, Some((_, sent))) = (status == "400", request.split_once("\n\n")) {
        let sent = serde_json::from_str(sent).unwrap_or_else(|_| parse_form(sent));
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        let faults = schema_errors(document, schema, &sent);
        assert!(faults.is_empty(), "{method} {path} takes {sent}, unlike its document: {faults:?}");
    }
    let described = resolve_ref(document, &operation["responses"][status]);
    assert!(described.is_object(), "{method} {path}: {status} is not documented");
    let kind = head.lines().find_map(|line| line.strip_prefix("content-type: ")).unwrap_or_default();
    let content = &described["content"][kind.split(';').next().unwrap_or_default()];
    assert!(content.is_object(), "{method} {path}: {status} with {kind} is not documented");
    if let Ok(told) = serde_json::from_str::<Value>(body) {
        let faults = schema_errors(document, &content["schema"], &told);
        assert!(faults.is_empty(), "{method} {path} answers {told}, unlike its document: {faults:?}");
    }
}

/// The operation that serves `path`, in any letter case, and under `vi` as under `v1`: so the JWT dialect has it.
fn operation<'a>(document: &'a Value, method: &str, path: &str) -> Option<&'a Value> {
    let wanted = path.replace("/api/vi/", "/api/v1/");
    let found = document["paths"].as_object()?.iter().find(|(path, _)| match path.split_once('{') {
        Some((start, _)) => wanted.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start)),
        None => path.eq_ignore_ascii_case(&wanted),
    });
    let item = found?.1;
    let is_served = served_methods(item).contains(&method);
    item.as_object()?.values().next().filter(|_| is_served)
}

fn resolve_ref<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(reference) => document.pointer(reference.trim_start_matches('#')).unwrap(),
        None => value,
    }
}

fn parse_form(text: &str) -> Value {
    let fields = Fields::from_urlencoded(text).unwrap();
    fields.text_fields().collect()
}

fn schema_errors(document: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let mut schema = schema.clone();
    assert!(schema.is_object(), "no schema");
    schema["components"] = document["components"].clone();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    validator.iter_errors(value).map(|fault| format!("{fault} at {}", fault.instance_path())).collect()
}
