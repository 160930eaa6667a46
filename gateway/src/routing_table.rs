//! Routing table: parses and validates the TOML file, and finds the route whose prefix is the longest that matches a
//! path.

use std::ops::Range;
use std::sync::Arc;

use serde::Deserialize;
use stele_service::path::is_canonical;
use stele_service::{AnySetting as _, ConfigError, Settings};
use toml::Spanned;

use crate::config::ROUTES;
use crate::error_pages::ErrorPages;
use crate::upstreams::Upstreams;

const BUILT_IN_TABLE: &str = include_str!("../routes.toml");

/// A service, its instances and its error pages.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) service: String,
    /// The service's name, shared with metrics and the access log.
    pub(crate) metric_label: Arc<String>,
    pub(crate) upstreams: Upstreams,
    pub(crate) error_pages: ErrorPages,
}

/// Whether a prefix matches only in its own letter case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CaseSensitivity {
    Sensitive,
    Insensitive,
}

/// Who may send requests below a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PrefixAccess {
    /// Every client.
    Public,
    /// Reverse proxies that ask about a request: peers on loopback and trusted proxies. The header fields in which they
    /// describe that request are forwarded as they were sent.
    Proxies,
}

#[derive(Clone, Debug)]
struct PathPrefix {
    text: String,
    case: CaseSensitivity,
    access: PrefixAccess,
    /// Index into [`RoutingTable::routes`].
    route_index: usize,
}

/// A prefix of the table, for display.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PrefixView<'a> {
    pub(crate) service: &'a str,
    pub(crate) prefix: &'a str,
    pub(crate) case: CaseSensitivity,
}

/// The routes and their prefixes.
#[derive(Clone, Debug)]
pub(crate) struct RoutingTable {
    routes: Vec<Route>,
    /// By descending length, so that the first match is the longest.
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
    /// Further prefixes, for reverse proxies that ask about a request.
    #[serde(default)]
    proxy_prefix: Option<Spanned<RawPrefix>>,
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
    /// The table of `STELE_ROUTES`, or the built-in one, with upstreams overridden by `STELE_UPSTREAM_<SERVICE>`.
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
        Self::parse("the built-in routes.toml", BUILT_IN_TABLE)
    }

    /// Parses and validates a table. An error reads `file:line: reason`.
    pub(crate) fn parse(file: &str, text: &str) -> Result<Self, String> {
        let format_error = |span: Option<Range<usize>>, reason: &str| {
            let before = span.and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            format!("{file}:{line}: {}", reason.trim_end().replace('\n', "; "))
        };
        let raw: RawTable = toml::from_str(text).map_err(|e| format_error(e.span(), e.message()))?;
        let mut table = Self { routes: Vec::new(), prefixes: Vec::new() };
        for route in raw.route {
            table.add_route(route).map_err(|error| format_error(Some(error.span), &error.reason))?;
        }
        if table.routes.is_empty() {
            return Err(format_error(None, "no [[route]] in the table; add at least one"));
        }
        table.prefixes.sort_by_key(|prefix| std::cmp::Reverse(prefix.text.len()));
        Ok(table)
    }

    /// Validates and adds a route.
    fn add_route(&mut self, raw: RawRoute) -> Result<(), RouteError> {
        let case = if raw.ignore_case { CaseSensitivity::Insensitive } else { CaseSensitivity::Sensitive };
        self.add_prefixes(raw.prefix, case, PrefixAccess::Public)?;
        if let Some(prefixes) = raw.proxy_prefix {
            self.add_prefixes(prefixes, case, PrefixAccess::Proxies)?;
        }
        let span = raw.service.span();
        let service = raw.service.into_inner();
        self.check_service(&service).map_err(|reason| RouteError::new(span, reason))?;
        let upstreams =
            Upstreams::parse(raw.upstream.get_ref()).map_err(|reason| RouteError::new(raw.upstream.span(), reason))?;
        if let Some(body) = raw.refusals.get_ref().first_invalid_json() {
            return Err(RouteError::new(
                raw.refusals.span(),
                format!("the error page `{body}` is not JSON; write it as JSON, which clients parse"),
            ));
        }
        let metric_label = Arc::new(service.clone());
        self.routes.push(Route { service, metric_label, upstreams, error_pages: raw.refusals.into_inner() });
        Ok(())
    }

    /// Validates and adds prefixes of the route that is added next.
    fn add_prefixes(
        &mut self,
        prefixes: Spanned<RawPrefix>,
        case: CaseSensitivity,
        access: PrefixAccess,
    ) -> Result<(), RouteError> {
        let span = prefixes.span();
        let prefixes = match prefixes.into_inner() {
            RawPrefix::One(prefix) => vec![prefix],
            RawPrefix::Many(prefixes) => prefixes,
        };
        if prefixes.is_empty() {
            return Err(RouteError::new(span, "the route has no prefix; list at least one"));
        }
        for text in prefixes {
            self.check_prefix(&text).map_err(|reason| RouteError::new(span.clone(), reason))?;
            self.prefixes.push(PathPrefix { text, case, access, route_index: self.routes.len() });
        }
        Ok(())
    }

    fn check_prefix(&self, text: &str) -> Result<(), String> {
        let is_prefix = text.strip_suffix('/').is_some_and(|path| path.is_empty() || is_canonical(path));
        if !is_prefix {
            return Err(format!("`{text}` is not a prefix; write a plain path from / to /, such as /api/v1/x/"));
        }
        // With prefixes that differ only in letter case, the client's spelling would select the service.
        match self.prefixes.iter().find(|other| other.text.eq_ignore_ascii_case(text)) {
            Some(other) if other.text == text => Err(format!("duplicate prefix `{text}`; remove one of the two")),
            Some(other) => Err(format!(
                "duplicate prefix: `{text}` and `{}` differ only by letter case; remove one of the two",
                other.text
            )),
            None => Ok(()),
        }
    }

    fn check_service(&self, service: &str) -> Result<(), String> {
        let is_name = !service.is_empty() && service.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        // The setting STELE_UPSTREAM_TIMEOUT would be mistaken for the address of a service `timeout`.
        if !is_name || service == "timeout" {
            return Err(format!(
                "`{service}` is not a service name; write lowercase letters, digits and - (`timeout` is reserved)"
            ));
        }
        if self.route_of_service(service).is_some() {
            return Err(format!("service `{service}` already has a route; list all its prefixes there"));
        }
        Ok(())
    }

    /// The route of the longest prefix that `path` begins with, and who may send requests below that prefix. The
    /// trailing slash of a prefix may be missing at the end of `path`, because canonical paths have no trailing slash.
    pub(crate) fn match_path(&self, path: &str) -> Option<(&Route, PrefixAccess)> {
        let prefix = self.prefixes.iter().find(|prefix| prefix.matches(path))?;
        Some((self.routes.get(prefix.route_index)?, prefix.access))
    }

    pub(crate) fn route_of_service(&self, service: &str) -> Option<&Route> {
        self.routes.iter().find(|route| route.service == service)
    }

    pub(crate) fn route_of_service_mut(&mut self, service: &str) -> Option<&mut Route> {
        self.routes.iter_mut().find(|route| route.service == service)
    }

    /// Takes over the instances of the services that `old` also has, when the settings are reloaded.
    pub(crate) fn inherit_state(&self, old: &Self) {
        for route in &self.routes {
            if let Some(old_route) = old.route_of_service(&route.service) {
                route.upstreams.inherit_state(&old_route.upstreams);
            }
        }
    }

    /// Removes the route of a service, if there is one.
    pub(crate) fn remove_service(&mut self, service: &str) {
        let Some(removed) = self.routes.iter().position(|route| route.service == service) else { return };
        self.routes.remove(removed);
        self.prefixes.retain(|prefix| prefix.route_index != removed);
        for prefix in self.prefixes.iter_mut().filter(|prefix| prefix.route_index > removed) {
            prefix.route_index -= 1;
        }
    }

    /// The prefixes for every client, the longest first.
    pub(crate) fn prefixes(&self) -> impl Iterator<Item = PrefixView<'_>> {
        let public = self.prefixes.iter().filter(|prefix| prefix.access == PrefixAccess::Public);
        public.filter_map(|prefix| {
            let route = self.routes.get(prefix.route_index)?;
            Some(PrefixView { service: &route.service, prefix: &prefix.text, case: prefix.case })
        })
    }

    pub(crate) fn routes(&self) -> &[Route] {
        &self.routes
    }
}

impl PathPrefix {
    fn matches(&self, path: &str) -> bool {
        // Compare bytes: slicing a `str` inside a character would panic.
        let (path, prefix) = (path.as_bytes(), self.text.as_bytes());
        let start = path.get(..prefix.len()).unwrap_or(path);
        let prefix = prefix.strip_suffix(b"/").filter(|prefix| prefix.len() == start.len()).unwrap_or(prefix);
        match self.case {
            CaseSensitivity::Sensitive => start == prefix,
            CaseSensitivity::Insensitive => start.eq_ignore_ascii_case(prefix),
        }
    }
}

/// An invalid route, with the byte range of the faulty value.
struct RouteError {
    span: Range<usize>,
    reason: String,
}

impl RouteError {
    fn new(span: Range<usize>, reason: impl Into<String>) -> Self {
        Self { span, reason: reason.into() }
    }
}

/// The name of the setting that overrides a service's upstreams: `STELE_UPSTREAM_<SERVICE>`.
pub(crate) fn upstream_setting(service: &str) -> String {
    format!("STELE_UPSTREAM_{}", service.to_ascii_uppercase().replace('-', "_"))
}

#[cfg(test)]
#[path = "routing_table_tests.rs"]
mod tests;
