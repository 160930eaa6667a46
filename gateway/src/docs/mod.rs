//! The documents of all services as one, at `/openapi.json`, and a page to browse it, at `/docs/`.
//!
//! The gateway knows no dialect here either: it asks the services what they serve, and the page is the same for any.

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
use stele_service::OPENAPI_PATH as PATH;
use tokio::sync::Mutex;
use utoipa_swagger_ui::serve;

use crate::config::Config;
use crate::local_response::LocalResponse;
use crate::request_head::RequestLine;
use crate::routing_table::RoutingTable;
use crate::upstreams::Upstreams;
use crate::upstreams::probe::probe;

/// A service that is well has its document ready in milliseconds.
const FETCH_TIMEOUT: Duration = Duration::from_secs(1);
/// The public may ask as often as it likes; the services are asked this often at most.
const CACHE_TTL: Duration = Duration::from_secs(30);
/// As long as a service is missing.
const PARTIAL_CACHE_TTL: Duration = Duration::from_secs(2);
/// Many times what a service has to say.
const MAX_DOCUMENT_BYTES: usize = 1024 * 1024;

/// Nothing from elsewhere, no script but the page's own, in nobody's frame. Styles are written by the script, into the
/// elements it makes.
const PAGE_CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The documents, as they were last found.
#[derive(Clone, Default)]
pub(crate) struct OpenApiCache(Arc<Mutex<Option<CachedDocument>>>);

struct CachedDocument {
    expires_at: Instant,
    body: Bytes,
}

/// Answers what is asked of the documents and their page; `None` if it is something else.
pub(crate) async fn respond(request: &RequestLine, config: &Config) -> Option<LocalResponse> {
    let docs = config.docs.as_ref()?;
    if !matches!(request.method, Method::GET | Method::HEAD) {
        return None;
    }
    match request.path() {
        PATH => Some(LocalResponse::json(StatusCode::OK, docs.merged_document(&config.table).await)),
        "/docs" => Some(LocalResponse::new(StatusCode::PERMANENT_REDIRECT).with_static_header(LOCATION, "/docs/")),
        path => static_file(path.strip_prefix("/docs/")?),
    }
}

/// A file of the page.
fn static_file(file: &str) -> Option<LocalResponse> {
    let config = utoipa_swagger_ui::Config::new([format!("..{PATH}")])
        .use_base_layout()
        .validator_url("none")
        .doc_expansion("list")
        .default_models_expand_depth(-1)
        .display_request_duration(true);
    let found = serve(file, Arc::new(config)).ok().flatten()?;
    let charset = if found.content_type.starts_with("text/") { "; charset=utf-8" } else { "" };
    let answer = LocalResponse::new(StatusCode::OK)
        .with_header(CONTENT_TYPE, HeaderValue::try_from(found.content_type + charset).ok()?)
        .with_static_header(CONTENT_SECURITY_POLICY, PAGE_CONTENT_SECURITY_POLICY)
        .with_static_header(X_CONTENT_TYPE_OPTIONS, "nosniff")
        .with_static_header(REFERRER_POLICY, "no-referrer")
        .with_static_header(CACHE_CONTROL, "max-age=600");
    let answer = if found.gzpipped { answer.with_static_header(CONTENT_ENCODING, "gzip") } else { answer };
    Some(match found.bytes {
        Cow::Borrowed(bytes) => answer.with_body(Bytes::from_static(bytes)),
        Cow::Owned(bytes) => answer.with_body(bytes),
    })
}

impl OpenApiCache {
    async fn merged_document(&self, table: &RoutingTable) -> Bytes {
        let mut last = self.0.lock().await;
        if let Some(found) = last.as_ref().filter(|found| Instant::now() < found.expires_at) {
            return found.body.clone();
        }
        let documents = join_all(table.routes().iter().map(|route| fetch_document(&route.upstreams))).await;
        let whole = documents.iter().all(Option::is_some);
        let text = Bytes::from(merge::merge(table, documents).to_string());
        let good_until = Instant::now() + if whole { CACHE_TTL } else { PARTIAL_CACHE_TTL };
        *last = Some(CachedDocument { expires_at: good_until, body: text.clone() });
        text
    }
}

/// What the first instance that has an answer in time says that it serves.
async fn fetch_document(upstreams: &Upstreams) -> Option<Value> {
    let asked = async {
        let mut instances = upstreams.instances().to_vec();
        instances.sort_by_key(|instance| !instance.is_healthy());
        for instance in instances {
            let Ok(told) = probe(&instance, PATH, FETCH_TIMEOUT, MAX_DOCUMENT_BYTES).await else { continue };
            if told.status == StatusCode::OK
                && let Ok(document) = serde_json::from_slice(&told.body)
            {
                return Some(document);
            }
        }
        None
    };
    tokio::time::timeout(FETCH_TIMEOUT, asked).await.ok().flatten()
}
