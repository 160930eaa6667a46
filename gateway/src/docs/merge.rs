//! Several documents made one: nothing of one service may collide with, or stand for, another's.

use serde_json::{Map, Value, json};

use crate::error_pages::Rejection;
use crate::routing_table::{Route, RoutingTable};

/// The answers that only the gateway gives, whichever service is asked.
const GATEWAY_RESPONSES: [(Rejection, &str); 2] = [
    (Rejection::HeadersTooLarge, "请求头过大，由网关回答。The headers are too large; told by the gateway."),
    (Rejection::GatewayTimeout, "服务超时，由网关回答。No answer in time; told by the gateway."),
];

const DESCRIPTION: &str = "一套用户，五种登录方言。One user base behind five login dialects: each is documented below in its own \
                     words, and all of them are served at this address.";

/// The documents of the services in the order of the table's routes; `None` where one could not be had.
pub(super) fn merge(table: &RoutingTable, documents: Vec<Option<Value>>) -> Value {
    let mut whole = MergedDocument::default();
    for (route, document) in table.routes().iter().zip(documents) {
        match document {
            Some(document) => whole.add_document(table, route, document),
            None => whole.missing_services.push(route.service.clone()),
        }
    }
    let mut about = DESCRIPTION.to_owned();
    if !whole.missing_services.is_empty() {
        about += &format!("\n\n**暂缺 (missing at the moment): {}**", whole.missing_services.join(", "));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Stele",
            "version": env!("CARGO_PKG_VERSION"),
            "description": about,
            "x-stele-missing": whole.missing_services,
        },
        "servers": [{ "url": "/", "description": "本网关 (this gateway)" }],
        "tags": whole.tags,
        "paths": whole.paths,
        "components": whole.components,
    })
}

#[derive(Default)]
struct MergedDocument {
    tags: Vec<Value>,
    paths: Map<String, Value>,
    components: Map<String, Value>,
    missing_services: Vec<String>,
}

impl MergedDocument {
    fn add_document(&mut self, table: &RoutingTable, route: &Route, mut document: Value) {
        let service = route.service.as_str();
        namespace_references(service, &mut document);
        for (path, mut item) in into_object(document["paths"].take()) {
            // A service speaks for the paths that lead to it.
            if table.match_path(&path).is_none_or(|found| found.service != service) {
                continue;
            }
            for (_, operation) in item.as_object_mut().into_iter().flatten() {
                namespace_operation(route, operation);
            }
            self.paths.insert(path, item);
        }
        for (kind, components) in into_object(document["components"].take()) {
            let place = self.components.entry(kind).or_insert_with(|| json!({}));
            let named = into_object(components).into_iter().map(|(name, one)| (format!("{service}.{name}"), one));
            if let Some(place) = place.as_object_mut() {
                place.extend(named);
            }
        }
        if let Value::Array(tags) = document["tags"].take() {
            self.tags.extend(tags.into_iter().map(|mut tag| {
                tag["name"] = service.into();
                tag
            }));
        }
    }
}

/// Makes an operation the service's own, and adds what the gateway may answer in its place.
fn namespace_operation(route: &Route, operation: &mut Value) {
    let service = route.service.as_str();
    let Some(fields) = operation.as_object_mut() else { return };
    fields.insert("tags".to_owned(), json!([service]));
    if let Some(Value::String(id)) = fields.get_mut("operationId") {
        *id = format!("{service}.{id}");
    }
    if let Some(Value::Array(alternatives)) = fields.get_mut("security") {
        for schemes in alternatives {
            let named =
                into_object(schemes.take()).into_iter().map(|(name, scopes)| (format!("{service}.{name}"), scopes));
            *schemes = Value::Object(named.collect());
        }
    }
    if let Some(Value::Object(responses)) = fields.get_mut("responses") {
        for (cause, text) in GATEWAY_RESPONSES {
            let example: Value = serde_json::from_str(route.error_pages.body(cause)).unwrap_or_default();
            let told = json!({ "description": text, "content": { "application/json": { "example": example } } });
            responses.entry(cause.status().as_str()).or_insert(told);
        }
    }
}

/// Leads every reference within the document to the component under its new name.
fn namespace_references(service: &str, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                let found =
                    field.as_str().filter(|_| name == "$ref").and_then(|text| text.strip_prefix("#/components/"));
                match found.and_then(|rest| rest.split_once('/')) {
                    Some((kind, component)) => *field = format!("#/components/{kind}/{service}.{component}").into(),
                    None => namespace_references(service, field),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|one| namespace_references(service, one)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The fields of an object; none of anything else.
fn into_object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}
