//! API documents: the merged OpenAPI document of all services at `/openapi.json`, and Swagger UI at `/docs/`.
//!
//! The gateway fetches the documents from the services, so it needs no knowledge of their dialects.

mod merge;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hyper::body::Bytes;
use hyper::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, LOCATION, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, StatusCode};
use serde_json::Value;
use stele_service::OPENAPI_PATH;
use tokio::sync::Mutex;
use utoipa_swagger_ui::serve;

use crate::config::Config;
use crate::local_response::LocalResponse;
use crate::request_head::RequestLine;
use crate::routing_table::RoutingTable;
use crate::upstreams::Upstreams;
use crate::upstreams::probe::{BodyRead, probe};

/// Timeout for the document of a service. A healthy service responds within milliseconds.
const FETCH_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the merged document is cached, so that public requests do not load the services.
const CACHE_TTL: Duration = Duration::from_secs(30);
/// How long the merged document is cached while the document of a service is missing.
const PARTIAL_CACHE_TTL: Duration = Duration::from_secs(2);
/// Largest document of a service, in bytes; far above actual sizes.
const MAX_DOCUMENT_BYTES: usize = 1024 * 1024;

/// Allows only scripts, styles and images of the gateway itself, and no framing. Inline styles are allowed because
/// Swagger UI sets them.
const PAGE_CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Cache of the merged OpenAPI document.
#[derive(Clone, Default)]
pub(crate) struct OpenApiCache(Arc<Mutex<Option<CachedDocument>>>);

struct CachedDocument {
    expires_at: Instant,
    body: Bytes,
}

/// The response for the document or a file of Swagger UI; `None` for any other request.
pub(crate) async fn respond(request: &RequestLine, config: &Config) -> Option<LocalResponse> {
    let docs = config.docs.as_ref()?;
    if !matches!(request.method, Method::GET | Method::HEAD) {
        return None;
    }
    match request.path() {
        OPENAPI_PATH => Some(LocalResponse::json(StatusCode::OK, docs.merged_document(&config.table).await)),
        "/docs" => Some(LocalResponse::new(StatusCode::PERMANENT_REDIRECT).with_static_header(LOCATION, "/docs/")),
        path => static_file_response(path.strip_prefix("/docs/")?),
    }
}

/// The response for a file of Swagger UI; `None` if there is no such file.
fn static_file_response(name: &str) -> Option<LocalResponse> {
    let swagger_config = utoipa_swagger_ui::Config::new([format!("..{OPENAPI_PATH}")])
        .use_base_layout()
        .validator_url("none")
        .doc_expansion("list")
        .default_models_expand_depth(-1)
        .display_request_duration(true);
    let file = serve(name, Arc::new(swagger_config)).ok().flatten()?;
    let charset = if file.content_type.starts_with("text/") { "; charset=utf-8" } else { "" };
    let response = LocalResponse::new(StatusCode::OK)
        .with_header(CONTENT_TYPE, HeaderValue::try_from(file.content_type + charset).ok()?)
        .with_static_header(CONTENT_SECURITY_POLICY, PAGE_CONTENT_SECURITY_POLICY)
        .with_static_header(X_CONTENT_TYPE_OPTIONS, "nosniff")
        .with_static_header(REFERRER_POLICY, "no-referrer")
        .with_static_header(CACHE_CONTROL, "max-age=600");
    let response = if file.gzpipped { response.with_static_header(CONTENT_ENCODING, "gzip") } else { response };
    Some(match file.bytes {
        Cow::Borrowed(bytes) => response.with_body(Bytes::from_static(bytes)),
        Cow::Owned(bytes) => response.with_body(bytes),
    })
}

impl OpenApiCache {
    /// The cached document, or a newly merged one. The lock is held while fetching, so that concurrent requests fetch
    /// once.
    async fn merged_document(&self, table: &RoutingTable) -> Bytes {
        let mut cache = self.0.lock().await;
        if let Some(cached) = cache.as_ref().filter(|cached| Instant::now() < cached.expires_at) {
            return cached.body.clone();
        }
        let documents = join_all(table.routes().iter().map(|route| fetch_document(&route.upstreams))).await;
        let is_complete = documents.iter().all(Option::is_some);
        let body = Bytes::from(merge::merge(table, documents).to_string());
        let expires_at = Instant::now() + if is_complete { CACHE_TTL } else { PARTIAL_CACHE_TTL };
        *cache = Some(CachedDocument { expires_at, body: body.clone() });
        body
    }
}

/// The document of the first instance that responds in time, healthy instances first.
async fn fetch_document(upstreams: &Upstreams) -> Option<Value> {
    let fetch = async {
        let mut instances = upstreams.instances().to_vec();
        instances.sort_by_key(|instance| !instance.is_healthy());
        for instance in instances {
            let body_read = BodyRead::UpTo(MAX_DOCUMENT_BYTES);
            let Ok(response) = probe(&instance, OPENAPI_PATH, FETCH_TIMEOUT, body_read).await else { continue };
            if response.status == StatusCode::OK
                && let Ok(document) = serde_json::from_slice(&response.body)
            {
                return Some(document);
            }
        }
        None
    };
    tokio::time::timeout(FETCH_TIMEOUT, fetch).await.ok().flatten()
}
