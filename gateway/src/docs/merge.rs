//! Merges the OpenAPI documents of the services. Names of operations, components and security schemes are prefixed with
//! the service's name, so that names of two services cannot collide.

use serde_json::{Map, Value, json};

use crate::error_pages::Rejection;
use crate::routing_table::{Route, RoutingTable};

/// Responses of the gateway itself that are added to every operation.
const GATEWAY_RESPONSES: [(Rejection, &str); 2] = [
    (Rejection::HeadersTooLarge, "请求头过大，由网关回答。The headers are too large; sent by the gateway."),
    (Rejection::GatewayTimeout, "服务超时，由网关回答。No answer in time; sent by the gateway."),
];

const DESCRIPTION: &str = "一套用户，五种登录方言，以及标准令牌。One user base behind five login dialects, and standard tokens: each is \
                     documented below in its own words, and all of them are served at this address.";

/// Merges `documents`, which are in the order of the table's routes. `None` stands for a service without a document.
pub(super) fn merge(table: &RoutingTable, documents: Vec<Option<Value>>) -> Value {
    let mut merged = MergedDocument::default();
    for (route, document) in table.routes().iter().zip(documents) {
        match document {
            Some(document) => merged.add_document(table, route, document),
            None => merged.missing_services.push(route.service.clone()),
        }
    }
    let mut description = DESCRIPTION.to_owned();
    if !merged.missing_services.is_empty() {
        description += &format!("\n\n**暂缺 (missing at the moment): {}**", merged.missing_services.join(", "));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Stele",
            "version": env!("CARGO_PKG_VERSION"),
            "description": description,
            "x-stele-missing": merged.missing_services,
        },
        "servers": [{ "url": "/", "description": "本网关 (this gateway)" }],
        "tags": merged.tags,
        "paths": merged.paths,
        "components": merged.components,
    })
}

/// The parts of the merged document.
#[derive(Default)]
struct MergedDocument {
    tags: Vec<Value>,
    paths: Map<String, Value>,
    components: Map<String, Value>,
    missing_services: Vec<String>,
}

impl MergedDocument {
    /// Adds the document of one service. Paths that are not routed to this service are left out.
    fn add_document(&mut self, table: &RoutingTable, route: &Route, mut document: Value) {
        let service = route.service.as_str();
        namespace_references(service, &mut document);
        for (path, mut item) in into_object(document["paths"].take()) {
            if table.match_path(&path).is_none_or(|(matched, _)| matched.service != service) {
                continue;
            }
            for (_, operation) in item.as_object_mut().into_iter().flatten() {
                namespace_operation(route, operation);
            }
            self.paths.insert(path, item);
        }
        for (kind, components) in into_object(document["components"].take()) {
            let merged = self.components.entry(kind).or_insert_with(|| json!({}));
            let prefixed = into_object(components).into_iter();
            let prefixed = prefixed.map(|(name, component)| (format!("{service}.{name}"), component));
            if let Some(merged) = merged.as_object_mut() {
                merged.extend(prefixed);
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

/// Prefixes the names in an operation with the service, replaces its tags by the service, and adds the gateway's
/// responses.
fn namespace_operation(route: &Route, operation: &mut Value) {
    let service = route.service.as_str();
    let Some(fields) = operation.as_object_mut() else { return };
    fields.insert("tags".to_owned(), json!([service]));
    if let Some(Value::String(id)) = fields.get_mut("operationId") {
        *id = format!("{service}.{id}");
    }
    if let Some(Value::Array(alternatives)) = fields.get_mut("security") {
        for schemes in alternatives {
            let prefixed =
                into_object(schemes.take()).into_iter().map(|(name, scopes)| (format!("{service}.{name}"), scopes));
            *schemes = Value::Object(prefixed.collect());
        }
    }
    if let Some(Value::Object(responses)) = fields.get_mut("responses") {
        for (rejection, description) in GATEWAY_RESPONSES {
            let example: Value = serde_json::from_str(route.error_pages.body(rejection)).unwrap_or_default();
            let response =
                json!({ "description": description, "content": { "application/json": { "example": example } } });
            responses.entry(rejection.status().as_str()).or_insert(response);
        }
    }
}

/// Updates every `$ref` to the prefixed name of its component.
fn namespace_references(service: &str, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                let reference = field.as_str().filter(|_| name == "$ref");
                let target = reference.and_then(|text| text.strip_prefix("#/components/"));
                match target.and_then(|path| path.split_once('/')) {
                    Some((kind, component)) => *field = format!("#/components/{kind}/{service}.{component}").into(),
                    None => namespace_references(service, field),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| namespace_references(service, item)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The fields of an object; empty for any other value.
fn into_object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}
