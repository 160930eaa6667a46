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

use crate::answer::Answer;
use crate::config::Config;
use crate::request::RequestLine;
use crate::table::Table;
use crate::upstreams::Upstreams;
use crate::upstreams::ask::ask;

/// A service that is well has its document ready in milliseconds.
const PATIENCE: Duration = Duration::from_secs(1);
/// The public may ask as often as it likes; the services are asked this often at most.
const FRESH: Duration = Duration::from_secs(30);
/// As long as a service is missing.
const FRESH_IN_PART: Duration = Duration::from_secs(2);
/// Many times what a service has to say.
const LARGEST: usize = 1024 * 1024;

/// Nothing from elsewhere, no script but the page's own, in nobody's frame. Styles are written by the script, into the
/// elements it makes.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The documents, as they were last found.
#[derive(Clone, Default)]
pub(crate) struct Docs(Arc<Mutex<Option<Found>>>);

struct Found {
    good_until: Instant,
    text: Bytes,
}

/// Answers what is asked of the documents and their page; `None` if it is something else.
pub(crate) async fn answer(request: &RequestLine, config: &Config) -> Option<Answer> {
    let docs = config.docs.as_ref()?;
    if !matches!(request.method, Method::GET | Method::HEAD) {
        return None;
    }
    match request.path() {
        PATH => Some(Answer::json(StatusCode::OK, docs.text(&config.table).await)),
        "/docs" => Some(Answer::new(StatusCode::PERMANENT_REDIRECT).with_static(LOCATION, "/docs/")),
        path => page(path.strip_prefix("/docs/")?),
    }
}

/// A file of the page.
fn page(file: &str) -> Option<Answer> {
    let config = utoipa_swagger_ui::Config::new([format!("..{PATH}")])
        .use_base_layout()
        .validator_url("none")
        .doc_expansion("list")
        .default_models_expand_depth(-1)
        .display_request_duration(true);
    let found = serve(file, Arc::new(config)).ok().flatten()?;
    let charset = if found.content_type.starts_with("text/") { "; charset=utf-8" } else { "" };
    let answer = Answer::new(StatusCode::OK)
        .with(CONTENT_TYPE, HeaderValue::try_from(found.content_type + charset).ok()?)
        .with_static(CONTENT_SECURITY_POLICY, POLICY)
        .with_static(X_CONTENT_TYPE_OPTIONS, "nosniff")
        .with_static(REFERRER_POLICY, "no-referrer")
        .with_static(CACHE_CONTROL, "max-age=600");
    let answer = if found.gzpipped { answer.with_static(CONTENT_ENCODING, "gzip") } else { answer };
    Some(match found.bytes {
        Cow::Borrowed(bytes) => answer.body(Bytes::from_static(bytes)),
        Cow::Owned(bytes) => answer.body(bytes),
    })
}

impl Docs {
    async fn text(&self, table: &Table) -> Bytes {
        let mut last = self.0.lock().await;
        if let Some(found) = last.as_ref().filter(|found| Instant::now() < found.good_until) {
            return found.text.clone();
        }
        let documents = join_all(table.routes().iter().map(|route| fetch(&route.upstreams))).await;
        let whole = documents.iter().all(Option::is_some);
        let text = Bytes::from(merge::merge(table, documents).to_string());
        let good_until = Instant::now() + if whole { FRESH } else { FRESH_IN_PART };
        *last = Some(Found { good_until, text: text.clone() });
        text
    }
}

/// What the first instance that has an answer in time says that it serves.
async fn fetch(upstreams: &Upstreams) -> Option<Value> {
    let asked = async {
        let mut instances = upstreams.instances().to_vec();
        instances.sort_by_key(|instance| !instance.is_usable());
        for instance in instances {
            let Ok(told) = ask(&instance, PATH, PATIENCE, LARGEST).await else { continue };
            if told.status == StatusCode::OK
                && let Ok(document) = serde_json::from_slice(&told.body)
            {
                return Some(document);
            }
        }
        None
    };
    tokio::time::timeout(PATIENCE, asked).await.ok().flatten()
}
