//! The routing table: TOML in, checked routes out, every fault with its line.

use std::ops::Range;
use std::sync::Arc;

use serde::Deserialize;
use stele_service::path::is_canonical;
use stele_service::{AnySetting as _, ConfigError, Settings};
use toml::Spanned;

use crate::config::ROUTES;
use crate::error_pages::ErrorPages;
use crate::upstreams::Upstreams;

const BUILT_IN: &str = include_str!("../routes.toml");

/// Where one service is found, and how its dialect says no.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) service: String,
    /// The same, as metrics and logs have it.
    pub(crate) metric_label: Arc<String>,
    pub(crate) upstreams: Upstreams,
    pub(crate) error_pages: ErrorPages,
}

#[derive(Clone, Debug)]
struct PathPrefix {
    text: String,
    ignore_case: bool,
    route: usize,
}

/// All routes, findable by path.
#[derive(Clone, Debug)]
pub(crate) struct RoutingTable {
    routes: Vec<Route>,
    /// The longest first, so that the first that matches is the one meant.
    prefixes: Vec<PathPrefix>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTable {
    #[serde(default)]
    route: Vec<RawRoute>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRoute {
    prefix: Spanned<RawPrefix>,
    #[serde(default)]
    ignore_case: bool,
    service: Spanned<String>,
    upstream: Spanned<String>,
    refusals: Spanned<ErrorPages>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a prefix or a list of prefixes")]
enum RawPrefix {
    One(String),
    Many(Vec<String>),
}

impl RoutingTable {
    /// The table in force: `STELE_ROUTES` or the built-in one, its upstreams as `STELE_UPSTREAM_…` say.
    pub(crate) fn from_settings(settings: &Settings) -> Result<Self, ConfigError> {
        let mut table = match settings.raw_value(&ROUTES) {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|e| ConfigError::new(format!("{}: cannot read {path}: {e}", ROUTES.name())))?;
                Self::parse(path, &text)
            }
            None => Self::built_in(),
        }
        .map_err(ConfigError::new)?;
        for route in &mut table.routes {
            let name = upstream_setting(&route.service);
            if let Some(upstreams) = settings.get_by_name(&name, Upstreams::parse)? {
                route.upstreams = upstreams;
            }
        }
        Ok(table)
    }

    /// The built-in table.
    pub(crate) fn built_in() -> Result<Self, String> {
        Self::parse("the built-in routes.toml", BUILT_IN)
    }

    /// Reads and checks a table; a fault is told as `file:line: reason`.
    pub(crate) fn parse(file: &str, text: &str) -> Result<Self, String> {
        let at = |span: Option<Range<usize>>, reason: &str| {
            let before = span.and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            format!("{file}:{line}: {}", reason.trim_end().replace('\n', "; "))
        };
        let raw: RawTable = toml::from_str(text).map_err(|e| at(e.span(), e.message()))?;
        let mut table = Self { routes: Vec::new(), prefixes: Vec::new() };
        for route in raw.route {
            table.add_route(route).map_err(|fault| at(Some(fault.span), &fault.reason))?;
        }
        if table.routes.is_empty() {
            return Err(at(None, "no [[route]] at all"));
        }
        table.prefixes.sort_by_key(|prefix| std::cmp::Reverse(prefix.text.len()));
        Ok(table)
    }

    fn add_route(&mut self, raw: RawRoute) -> Result<(), RouteError> {
        let span = raw.prefix.span();
        let prefixes = match raw.prefix.into_inner() {
            RawPrefix::One(one) => vec![one],
            RawPrefix::Many(many) => many,
        };
        if prefixes.is_empty() {
            return Err(RouteError::new(span, "a route needs a prefix"));
        }
        for text in prefixes {
            self.check_prefix(&text).map_err(|reason| RouteError::new(span.clone(), reason))?;
            self.prefixes.push(PathPrefix { text, ignore_case: raw.ignore_case, route: self.routes.len() });
        }
        let span = raw.service.span();
        let service = raw.service.into_inner();
        self.check_service(&service).map_err(|reason| RouteError::new(span, reason))?;
        let upstreams =
            Upstreams::parse(raw.upstream.get_ref()).map_err(|reason| RouteError::new(raw.upstream.span(), reason))?;
        if let Some(body) = raw.refusals.get_ref().first_invalid_json() {
            return Err(RouteError::new(raw.refusals.span(), format!("`{body}` is not JSON")));
        }
        let label = Arc::new(service.clone());
        self.routes.push(Route { service, metric_label: label, upstreams, error_pages: raw.refusals.into_inner() });
        Ok(())
    }

    fn check_prefix(&self, text: &str) -> Result<(), String> {
        let is_plain = text.strip_suffix('/').is_some_and(|rest| rest.is_empty() || is_canonical(rest));
        if !is_plain {
            return Err(format!("`{text}` is not a prefix; write a plain path from / to /, such as /api/v1/x/"));
        }
        // Prefixes apart only by letter case would make the route hang on the client's spelling.
        match self.prefixes.iter().find(|other| other.text.eq_ignore_ascii_case(text)) {
            Some(other) if other.text == text => Err(format!("duplicate prefix `{text}`")),
            Some(other) => Err(format!("duplicate prefix: `{text}` and `{}` differ only by letter case", other.text)),
            None => Ok(()),
        }
    }

    fn check_service(&self, service: &str) -> Result<(), String> {
        let named = !service.is_empty() && service.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        // STELE_UPSTREAM_TIMEOUT is not a service's address.
        if !named || service == "timeout" {
            return Err(format!("`{service}` is not a service's name; write lowercase letters, digits and -"));
        }
        if self.route_of_service(service).is_some() {
            return Err(format!("service `{service}` has a route already; list all its prefixes there"));
        }
        Ok(())
    }

    /// The route of the longest prefix of `path`; a prefix needs no slash at its end, for no canonical path has one.
    pub(crate) fn match_path(&self, path: &str) -> Option<&Route> {
        let prefix = self.prefixes.iter().find(|prefix| prefix.matches(path))?;
        self.routes.get(prefix.route)
    }

    pub(crate) fn route_of_service(&self, service: &str) -> Option<&Route> {
        self.routes.iter().find(|route| route.service == service)
    }

    pub(crate) fn route_of_service_mut(&mut self, service: &str) -> Option<&mut Route> {
        self.routes.iter_mut().find(|route| route.service == service)
    }

    /// Goes on with what `old` knows of the instances of services that both lead to.
    pub(crate) fn inherit_state(&self, old: &Self) {
        for route in &self.routes {
            if let Some(before) = old.route_of_service(&route.service) {
                route.upstreams.inherit_state(&before.upstreams);
            }
        }
    }

    /// Every prefix: the service that it leads to, the prefix, and whether letter case does not matter.
    pub(crate) fn prefixes(&self) -> impl Iterator<Item = (&str, &str, bool)> {
        self.prefixes.iter().filter_map(|prefix| {
            let route = self.routes.get(prefix.route)?;
            Some((route.service.as_str(), prefix.text.as_str(), prefix.ignore_case))
        })
    }

    pub(crate) fn routes(&self) -> &[Route] {
        &self.routes
    }
}

impl PathPrefix {
    fn matches(&self, path: &str) -> bool {
        // Bytes, for a path is any text and may not be cut within a character.
        let (path, prefix) = (path.as_bytes(), self.text.as_bytes());
        let head = path.get(..prefix.len()).unwrap_or(path);
        let prefix = prefix.strip_suffix(b"/").filter(|prefix| prefix.len() == head.len()).unwrap_or(prefix);
        if self.ignore_case { head.eq_ignore_ascii_case(prefix) } else { head == prefix }
    }
}

struct RouteError {
    span: Range<usize>,
    reason: String,
}

impl RouteError {
    fn new(span: Range<usize>, reason: impl Into<String>) -> Self {
        Self { span, reason: reason.into() }
    }
}

/// `STELE_UPSTREAM_<SERVICE>`.
pub(crate) fn upstream_setting(service: &str) -> String {
    format!("STELE_UPSTREAM_{}", service.to_ascii_uppercase().replace('-', "_"))
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
