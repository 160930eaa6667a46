//! Index page at `/`: lists the dialects with their paths, and links to API documents and health endpoints. HTML in
//! English and Chinese, or JSON. All forms are rendered when the routing table is loaded.

mod negotiate;

use hyper::body::Bytes;
use hyper::header::{
    CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{HeaderMap, Method, StatusCode};
use serde::Serialize;

use self::negotiate::{is_chinese_preferred, is_html_preferred};
use crate::config::Config;
use crate::headers::HyperHeaders;
use crate::local_response::LocalResponse;
use crate::request_head::RequestLine;
use crate::routing_table::{CaseSensitivity, RoutingTable};

/// Allows no scripts and no external resources. The style is inline.
const PAGE_CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const PAGE_TEMPLATE: &str = include_str!("page.html");

/// The texts of the page in one language.
struct PageText {
    language: &'static str,
    title: &'static str,
    lead: &'static str,
    dialect: &'static str,
    paths: &'static str,
    any_case: &'static str,
    documents: &'static str,
    openapi: &'static str,
    health: &'static str,
    readiness: &'static str,
}

const ENGLISH: PageText = PageText {
    language: "en",
    title: "Stele: one user base behind legacy login APIs",
    lead: "A login server: one user base, and every client goes on speaking the dialect that it has always spoken.",
    dialect: "Dialect",
    paths: "Paths",
    any_case: "any letter case",
    documents: "API documents",
    openapi: "OpenAPI",
    health: "Health",
    readiness: "Readiness",
};

const CHINESE: PageText = PageText {
    language: "zh-CN",
    title: "Stele：旧登录接口背后的统一用户库",
    lead: "登录服务：用户只有一套，旧客户端沿用各自原有的接口（方言），无需改动。",
    dialect: "方言",
    paths: "路径",
    any_case: "不区分大小写",
    documents: "接口文档",
    openapi: "OpenAPI",
    health: "存活检查",
    readiness: "就绪检查",
};

/// Whether the API documents are served. If so, the index page links to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ApiDocs {
    Served,
    Disabled,
}

/// The rendered page in each language and format.
#[derive(Clone, Debug)]
pub(crate) struct IndexPage {
    english: Bytes,
    chinese: Bytes,
    json: Bytes,
}

/// The content of the page: the JSON form, and the source of the HTML forms.
#[derive(Serialize)]
struct PageSummary<'a> {
    name: &'static str,
    about: &'static str,
    dialects: Vec<DialectEntry<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    docs: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    openapi: Option<&'static str>,
    health: &'static str,
    readiness: &'static str,
}

#[derive(Serialize)]
struct DialectEntry<'a> {
    name: &'a str,
    paths: Vec<&'a str>,
    ignore_case: bool,
}

impl IndexPage {
    /// Renders the page of a routing table.
    pub(crate) fn new(table: &RoutingTable, api_docs: ApiDocs) -> Self {
        let has_docs = api_docs == ApiDocs::Served;
        let dialects = table.routes().iter().map(|route| {
            let prefixes = || table.prefixes().filter(|view| view.service == route.service);
            let ignore_case = prefixes().any(|view| view.case == CaseSensitivity::Insensitive);
            DialectEntry { name: &route.service, paths: prefixes().map(|view| view.prefix).collect(), ignore_case }
        });
        let summary = PageSummary {
            name: "stele",
            about: ENGLISH.lead,
            dialects: dialects.collect(),
            docs: has_docs.then_some("/docs/"),
            openapi: has_docs.then_some(stele_service::OPENAPI_PATH),
            health: "/healthz",
            readiness: "/readyz",
        };
        let render = |text| Bytes::from(render_page(&summary, text));
        let json = serde_json::to_vec(&summary).unwrap_or_default();
        Self { english: render(&ENGLISH), chinese: render(&CHINESE), json: json.into() }
    }
}

/// The response to `GET /`, by content negotiation; `None` for any other request.
pub(crate) fn respond(line: &RequestLine, headers: &HeaderMap, config: &Config) -> Option<LocalResponse> {
    if line.path() != "/" || !matches!(line.method, Method::GET | Method::HEAD) {
        return None;
    }
    let (index, fields) = (&config.index, HyperHeaders(headers));
    let response = if !is_html_preferred(&fields) {
        LocalResponse::json(StatusCode::OK, index.json.clone())
    } else {
        let is_chinese = is_chinese_preferred(&fields);
        let (body, text) = if is_chinese { (&index.chinese, &CHINESE) } else { (&index.english, &ENGLISH) };
        LocalResponse::new(StatusCode::OK)
            .with_static_header(CONTENT_TYPE, "text/html; charset=utf-8")
            .with_static_header(CONTENT_LANGUAGE, text.language)
            .with_static_header(CONTENT_SECURITY_POLICY, PAGE_CONTENT_SECURITY_POLICY)
            .with_static_header(REFERRER_POLICY, "no-referrer")
            .with_body(body.clone())
    };
    Some(
        response
            .with_static_header(VARY, "Accept, Accept-Language")
            .with_static_header(X_CONTENT_TYPE_OPTIONS, "nosniff")
            .with_static_header(CACHE_CONTROL, "max-age=600"),
    )
}

fn render_page(summary: &PageSummary<'_>, text: &PageText) -> String {
    let rows = summary.dialects.iter().map(|dialect| {
        let paths = dialect.paths.iter().map(|path| format!("<code>{}</code>", escape_path(path)));
        let note = if dialect.ignore_case { format!("<br><small>{}</small>", text.any_case) } else { String::new() };
        let paths = paths.collect::<Vec<_>>().join("<br>");
        format!("<tr><th scope=\"row\">{}</th><td>{paths}{note}</td></tr>\n", escape_html(dialect.name))
    });
    let links = [
        (summary.docs, text.documents),
        (summary.openapi, text.openapi),
        (Some(summary.health), text.health),
        (Some(summary.readiness), text.readiness),
    ];
    let links = links.into_iter().filter_map(|(path, label)| {
        let path = path?;
        Some(format!("<li><a href=\"{path}\">{label}</a> <code>{path}</code></li>\n"))
    });
    PAGE_TEMPLATE
        .replace("{language}", text.language)
        .replace("{title}", text.title)
        .replace("{lead}", text.lead)
        .replace("{dialect}", text.dialect)
        .replace("{paths}", text.paths)
        .replace("{links}", &links.collect::<String>())
        .replace("{rows}", &rows.collect::<String>())
}

/// Escapes a path, and allows a line break after each slash.
fn escape_path(path: &str) -> String {
    let inner = path.strip_suffix('/').unwrap_or(path);
    let end = &path[inner.len()..];
    escape_html(inner).replace('/', "/<wbr>") + end
}

/// Escapes text for an HTML element. A prefix may contain any printable ASCII.
fn escape_html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error_pages::Rejection;

    #[test]
    fn the_page_lists_the_routes_in_both_languages_and_as_json() {
        let route =
            "[[route]]\nprefix = ['/a<b&c/', '/d/']\nservice = 'one'\nupstream = 'http://h:1'\nignore_case = true\n";
        let error_pages: String =
            Rejection::ALL.iter().map(|rejection| format!("{} = '{{}}'\n", rejection.as_str())).collect();
        let toml = format!("{route}[route.refusals]\n{error_pages}");
        let table = RoutingTable::parse("t", &toml).unwrap();
        let index = IndexPage::new(&table, ApiDocs::Disabled);
        for (page, text) in [(&index.english, &ENGLISH), (&index.chinese, &CHINESE)] {
            let page = std::str::from_utf8(page).unwrap().replace("<wbr>", "");
            assert!(page.contains("<code>/a&lt;b&amp;c/</code><br><code>/d/</code>"), "{page}");
            assert!(page.contains(text.any_case) && page.contains(&format!("<html lang=\"{}\">", text.language)));
            assert!(!page.contains("/docs/") && page.contains("/healthz") && !page.contains("<script"), "{page}");
            let body = page.split_once("</style>").unwrap().1;
            assert!(!body.contains(['{', '}']), "every placeholder is filled in: {body}");
        }
        let json: serde_json::Value = serde_json::from_slice(&index.json).unwrap();
        assert_eq!(json["dialects"][0]["paths"][0], "/a<b&c/");
        assert_eq!(json["docs"], serde_json::Value::Null);
    }
}
