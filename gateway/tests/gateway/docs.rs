//! The merged OpenAPI document, the pages under `/docs/`, and the index page.

use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};

use crate::support::{SERVICES, TestGateway, start_gateway, start_service, unreachable_url};

/// Starts a service whose OpenAPI document has `path`, and a path that is routed to the portal, which the gateway must
/// ignore.
fn start_documented_service(path: &'static str) -> String {
    start_service(move |request: HttpRequest| async move {
        assert_eq!(request.path(), "/openapi.json");
        let response = json!({ "$ref": "#/components/responses/No" });
        let operation = json!({
            "operationId": "login",
            "tags": ["anything"],
            "security": [{}, { "token": [] }],
            "requestBody": {
                "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Login" } } }
            },
            "responses": { "200": response, "504": response },
        });
        HttpResponse::Ok().json(json!({
            "paths": { path: { "post": operation }, "/i/of-another-service": { "post": operation } },
            "components": {
                "schemas": { "Login": { "properties": { "z": {}, "a": {} } } },
                "securitySchemes": { "token": {} },
            },
            "tags": [{ "name": "anything", "description": "words" }],
        }))
    })
}

async fn fetch_document(gateway: &TestGateway) -> Value {
    let reply = gateway.get("/openapi.json").await;
    assert_eq!(reply.status, 200);
    reply.body.parse().unwrap_or_else(|e| panic!("{e}: {}", reply.body))
}

#[actix_web::test]
async fn documents_are_merged_without_collisions() {
    let (mefp, tms) = (
        start_documented_service("/auth/login"),
        start_documented_service("/container/api/v1/cloudbox/tms/auth/authsalt"),
    );
    let gateway = start_gateway(&[("mefp", &mefp), ("tms", &tms)], &[]);
    let document = fetch_document(&gateway).await;
    let paths: Vec<_> = document["paths"].as_object().unwrap().keys().collect();
    // In the order of the routes. A path that is routed to the portal is taken only from the portal's document.
    assert_eq!(paths, ["/container/api/v1/cloudbox/tms/auth/authsalt", "/auth/login"]);
    let operation = &document["paths"]["/auth/login"]["post"];
    assert_eq!(operation["operationId"], "mefp.login");
    assert_eq!(operation["tags"], json!(["mefp"]));
    assert_eq!(operation["security"], json!([{}, { "mefp.token": [] }]));
    let schema = &operation["requestBody"]["content"]["application/json"]["schema"]["$ref"];
    assert_eq!(schema, "#/components/schemas/mefp.Login");
    assert_eq!(operation["responses"]["504"]["$ref"], "#/components/responses/mefp.No");
    // The gateway adds its own rejections, in the dialect.
    let rejection = &operation["responses"]["431"]["content"]["application/json"]["example"];
    assert_eq!(rejection["errors"]["code"], 40000);
    let schemas: Vec<_> = document["components"]["schemas"].as_object().unwrap().keys().collect();
    assert_eq!(schemas, ["tms.Login", "mefp.Login"]);
    let fields = document["components"]["schemas"]["tms.Login"]["properties"].as_object().unwrap();
    assert_eq!(fields.keys().collect::<Vec<_>>(), ["z", "a"], "fields keep their order");
    assert_eq!(document["tags"][1], json!({ "name": "mefp", "description": "words" }));
    assert_eq!(document["servers"][0]["url"], "/");
}

#[actix_web::test]
async fn services_without_a_valid_document_are_listed_as_missing() {
    let mefp = format!("{},{}", unreachable_url(), start_documented_service("/auth/login"));
    let invalid = start_service(|| async { HttpResponse::Ok().body("{") });
    let unreachable = unreachable_url();
    let upstreams = SERVICES.map(|(service, _)| match service {
        "mefp" => (service, mefp.as_str()),
        "tms" => (service, invalid.as_str()),
        _ => (service, unreachable.as_str()),
    });
    let document = fetch_document(&start_gateway(&upstreams, &[])).await;
    let missing: Vec<_> = SERVICES.iter().map(|(service, _)| *service).filter(|service| *service != "mefp").collect();
    assert_eq!(document["info"]["x-stele-missing"], json!(missing));
    assert!(document["info"]["description"].as_str().unwrap().contains(&missing.join(", ")));
    assert_eq!(document["paths"].as_object().unwrap().len(), 1);
}

#[actix_web::test]
async fn a_hanging_service_does_not_delay_the_document() {
    let hanging = start_service(std::future::pending::<HttpResponse>);
    let gateway = start_gateway(&[("mefp", &start_documented_service("/auth/login")), ("tms", &hanging)], &[]);
    let started_at = std::time::Instant::now();
    let document = fetch_document(&gateway).await;
    assert!(started_at.elapsed() < std::time::Duration::from_secs(10), "{:?}", started_at.elapsed());
    assert!(document["info"]["x-stele-missing"].as_array().unwrap().contains(&json!("tms")));
    assert!(document["paths"]["/auth/login"].is_object());
}

#[actix_web::test]
async fn the_docs_page_is_complete_and_loads_nothing_external() {
    let gateway = start_gateway(&[], &[]);
    let redirect = gateway.get("/docs").await;
    assert_eq!((redirect.status, redirect.header("location").unwrap()), (308, "/docs/"));
    let initializer = gateway.get("/docs/swagger-initializer.js").await;
    assert!(initializer.body.contains("\"../openapi.json\""), "{}", initializer.body);
    for file in ["", "index.html", "index.css", "swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png"] {
        // HEAD, because the bodies are compressed and not UTF-8.
        let reply = gateway.send("HEAD", &format!("/docs/{file}"), "", "").await;
        assert_eq!((reply.status, reply.header("content-encoding")), (200, Some("gzip")), "{file}");
        assert!(reply.header("content-length").unwrap().parse::<usize>().unwrap() > 100, "{file}");
        assert!(reply.header("content-security-policy").unwrap().starts_with("default-src 'none'; script-src 'self';"));
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    }
    for unknown in ["/docs/nothing.js", "/docs/../healthz", "/docs/%2e%2e/x", "/docsx"] {
        assert_eq!(gateway.get(unknown).await.status, 404, "{unknown}");
    }
    assert_eq!(gateway.send("POST", "/docs/", "", "").await.status, 404);
    assert_eq!(gateway.send("HEAD", "/openapi.json", "", "").await.status, 200);
}

#[actix_web::test]
async fn the_index_page_uses_the_accepted_language() {
    let gateway = start_gateway(&[], &[]);
    let browser = "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\nAccept-Language: ";
    for (languages, language, word) in
        [("en-US,en;q=0.9", "en", "Dialect"), ("zh-CN,zh;q=0.9,en;q=0.8", "zh-CN", "方言")]
    {
        let reply = gateway.send("GET", "/", &format!("{browser}{languages}\r\n"), "").await;
        assert_eq!((reply.status, reply.header("content-language")), (200, Some(language)));
        assert_eq!(reply.header("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!(reply.header("vary"), Some("Accept, Accept-Language"));
        assert!(reply.header("content-security-policy").unwrap().starts_with("default-src 'none'; style-src"));
        assert!(reply.body.contains(&format!("<html lang=\"{language}\">")) && reply.body.contains(word));
        for path in ["/api/v1/cloudbox/", "/i/", "/code/", "/auth/", "/api/vi/Auth/"] {
            let is_shown = reply.body.replace("<wbr>", "").contains(&format!("<code>{path}</code>"));
            assert!(is_shown, "{path}: {}", reply.body);
        }
        for link in ["/docs/", "/openapi.json", "/healthz"] {
            assert!(reply.body.contains(&format!("<a href=\"{link}\">")), "{link}: {}", reply.body);
        }
        assert!(!reply.body.contains("<script"));
        let head = gateway.send("HEAD", "/", &format!("{browser}{languages}\r\n"), "").await;
        assert_eq!((head.status, head.body.as_str()), (200, ""));
        assert_eq!(head.header("content-length"), Some(reply.body.len().to_string().as_str()));
    }
}

#[actix_web::test]
async fn the_index_page_is_json_unless_html_is_accepted() {
    let gateway = start_gateway(&[], &[("STELE_DOCS", "false")]);
    for accept in ["", "Accept: */*\r\n", "Accept: application/json\r\n"] {
        let reply = gateway.send("GET", "/?a=b", accept, "").await;
        assert_eq!(reply.header("content-type"), Some("application/json; charset=utf-8"));
        let json = reply.json();
        assert_eq!(json["dialects"][2], json!({"name": "portal", "paths": ["/code/", "/i/"], "ignore_case": false}));
        assert_eq!(json["dialects"][4]["ignore_case"], true);
        assert_eq!((&json["health"], &json["docs"]), (&json!("/healthz"), &Value::Null));
    }
    assert_eq!(gateway.send("POST", "/", "", "a=b").await.status, 404);
}

#[actix_web::test]
async fn stele_docs_false_disables_the_documents() {
    let gateway = start_gateway(&[], &[("STELE_DOCS", "false")]);
    for path in ["/openapi.json", "/docs", "/docs/", "/docs/swagger-ui-bundle.js"] {
        assert_eq!(gateway.get(path).await.status, 404, "{path}");
    }
}
