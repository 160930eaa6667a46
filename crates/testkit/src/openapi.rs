//! Checks that requests and responses conform to a service's OpenAPI document.

use serde_json::{Value, json};
use stele_dialect::Fields;

use crate::conformance::openapi::served_methods;

/// Whether `value` is valid under the schema `name` of `document`.
pub fn matches_schema(document: &Value, name: &str, value: &Value) -> bool {
    validate_schema(document, &json!({ "$ref": format!("#/components/schemas/{name}") }), value).is_empty()
}

/// Asserts that an exchange conforms to the document: the request's body is valid unless the request was rejected with
/// 400, and the response is documented. A request that is rejected with 404 or 405 need not be documented.
pub(crate) fn assert_conforms(document: &Value, request: &str, response: &str) {
    let (head, body) = response.split_once("\n\n").unwrap_or((response, ""));
    let status = head.split(' ').nth(1).unwrap_or_default();
    let mut start = request.split(' ');
    let (method, path) = (start.next().unwrap_or_default(), start.next().unwrap_or_default());
    let path = path.split('?').next().unwrap_or_default();
    let Some(operation) = find_operation(document, method, path) else {
        assert!(matches!(status, "404" | "405"), "{method} {path} is answered with {status} but not documented");
        return;
    };
    if let (false, Some((_, sent))) = (status == "400", request.split_once("\n\n")) {
        let sent = serde_json::from_str(sent).unwrap_or_else(|_| parse_form(sent));
        let content = operation["requestBody"]["content"].as_object();
        // Every media type of a body has the same schema.
        let schema = content.and_then(|content| content.values().next()).map_or(&Value::Null, |body| &body["schema"]);
        let errors = validate_schema(document, schema, &sent);
        assert!(
            errors.is_empty(),
            "{method} {path} accepts {sent}, which is invalid according to the OpenAPI document: {errors:?}"
        );
    }
    let documented = resolve_ref(document, &operation["responses"][status]);
    assert!(documented.is_object(), "{method} {path}: {status} is not documented");
    let content_type = head.lines().find_map(|line| line.strip_prefix("content-type: ")).unwrap_or_default();
    let content = &documented["content"][content_type.split(';').next().unwrap_or_default()];
    assert!(content.is_object(), "{method} {path}: {status} with {content_type} is not documented");
    if let Ok(body) = serde_json::from_str::<Value>(body) {
        let errors = validate_schema(document, &content["schema"], &body);
        assert!(
            errors.is_empty(),
            "{method} {path} returns {body}, which is invalid according to the OpenAPI document: {errors:?}"
        );
    }
}

/// The operation that serves `path`. Paths are compared case-insensitively, and `vi` equals `v1`, as in the JWT
/// dialect.
fn find_operation<'a>(document: &'a Value, method: &str, path: &str) -> Option<&'a Value> {
    let canonical = path.replace("/api/vi/", "/api/v1/");
    let found = document["paths"].as_object()?.iter().find(|(path, _)| match path.split_once('{') {
        Some((start, _)) => canonical.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start)),
        None => path.eq_ignore_ascii_case(&canonical),
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

fn validate_schema(document: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let mut schema = schema.clone();
    assert!(schema.is_object(), "no schema");
    schema["components"] = document["components"].clone();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    validator.iter_errors(value).map(|error| format!("{error} at {}", error.instance_path())).collect()
}
