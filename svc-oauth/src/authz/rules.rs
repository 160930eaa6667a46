//! The file of `STELE_AUTHZ_RULES`: parses and validates the access rules.
//!
//! ```toml
//! [[rule]]
//! host = "app.example.com"   # without port
//! path = "/admin/"           # and everything below it; default: /
//! roles = ["admin"]          # default: every role
//! acr = "pwd"                # at least: legacy (the default), pwd or mfa
//! audience = "https://app.example.com/"   # of access tokens; default: none is accepted
//! ```

use std::ops::Range;

use serde::Deserialize;
use stele_core::oauth::{AccessRule, AccessRules, Acr, Audience, PathPrefix, RequestHost, ResourceName};
use stele_core::user::Role;
use stele_service::{AnySetting as _, ConfigError, Settings};
use toml::Spanned;

use super::AUTHZ_RULES;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRules {
    #[serde(default)]
    rule: Vec<Spanned<RawRule>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    host: Spanned<String>,
    path: Option<Spanned<String>>,
    audience: Option<Spanned<String>>,
    roles: Option<Spanned<Vec<String>>>,
    acr: Option<Spanned<String>>,
}

/// An invalid value, with its byte range.
struct RuleError {
    span: Range<usize>,
    reason: String,
}

/// Reads the rules; `None` if `STELE_AUTHZ_RULES` is not set.
///
/// # Errors
/// One line: the setting and the file, or `file:line: reason`.
pub(crate) fn from_settings(settings: &Settings) -> Result<Option<AccessRules>, ConfigError> {
    let Some(path) = settings.get(&AUTHZ_RULES)? else { return Ok(None) };
    let path = path.display().to_string();
    let text = std::fs::read_to_string(&path)
        .map_err(|e| ConfigError::new(format!("{}: cannot read {path}: {e}", AUTHZ_RULES.name())))?;
    parse(&path, &text).map(Some).map_err(ConfigError::new)
}

/// Parses the content of `file`.
///
/// # Errors
/// `file:line: reason`.
pub fn parse(file: &str, text: &str) -> Result<AccessRules, String> {
    let format_error = |span: Option<Range<usize>>, reason: &str| {
        let before = span.and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        format!("{file}:{line}: {}", reason.trim_end().replace('\n', "; "))
    };
    let raw: RawRules = toml::from_str(text).map_err(|e| format_error(e.span(), e.message()))?;
    if raw.rule.is_empty() {
        return Err(format_error(None, "no [[rule]]; add one, or unset the setting to allow every user"));
    }
    let spans: Vec<_> = raw.rule.iter().map(Spanned::span).collect();
    let rules: Result<Vec<_>, RuleError> = raw.rule.into_iter().map(|rule| rule.into_inner().into_rule()).collect();
    let rules = rules.map_err(|error| format_error(Some(error.span), &error.reason))?;
    AccessRules::new(rules).map_err(|index| {
        format_error(spans.get(index).cloned(), "another rule has the same host and path; remove one of the two")
    })
}

impl RawRule {
    fn into_rule(self) -> Result<AccessRule, RuleError> {
        let host = read(self.host, "a host without port, such as app.example.com", parse_host)?;
        let path =
            self.path.map(|path| read(path, "a decoded path, such as /admin/", PathPrefix::parse)).transpose()?;
        let audience = self.audience.map(|text| read(text, "the URI or the name of a resource", parse_audience));
        let acr = self.acr.map(|acr| read(acr, "legacy, pwd or mfa", Acr::parse_word)).transpose()?;
        Ok(AccessRule {
            host,
            path: path.unwrap_or_default(),
            audience: audience.transpose()?,
            roles: self.roles.map(parse_roles).transpose()?,
            min_acr: acr.unwrap_or(Acr::Legacy),
        })
    }
}

/// Parses a value, or names it and what to write instead.
fn read<T>(value: Spanned<String>, expected: &str, parse: fn(&str) -> Option<T>) -> Result<T, RuleError> {
    let span = value.span();
    let text = value.into_inner();
    parse(&text).ok_or_else(|| RuleError { span, reason: format!("`{text}` is not {expected}") })
}

/// A host without port: a rule holds for every port.
fn parse_host(text: &str) -> Option<RequestHost> {
    let has_port = text.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
    RequestHost::parse(text).filter(|_| !has_port)
}

/// The audience of a resource: its URI, or its name if it has none.
fn parse_audience(text: &str) -> Option<Audience> {
    ResourceName::parse(text).map(|name| Audience::of_name(&name)).or_else(|| Audience::parse(text))
}

fn parse_roles(roles: Spanned<Vec<String>>) -> Result<Vec<Role>, RuleError> {
    let span = roles.span();
    let roles: Result<Vec<_>, String> = roles.into_inner().iter().map(|name| parse_role(name)).collect();
    let roles = roles.and_then(|roles| {
        if roles.is_empty() {
            Err("no role; list roles, or remove the line to allow every role".to_owned())
        } else {
            Ok(roles)
        }
    });
    roles.map_err(|reason| RuleError { span, reason })
}

fn parse_role(name: &str) -> Result<Role, String> {
    Role::parse(name).ok_or_else(|| format!("`{name}` is not a role; the roles are admin and user"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use stele_core::oauth::AccessDecision;

    use super::*;

    const EXAMPLE: &str = r#"
[[rule]]
host = "app.example.com"

[[rule]]
host = "App.example.com."
path = "/管理/"
roles = ["admin"]
acr = "pwd"
audience = "orders"
"#;

    fn decide<'a>(rules: &'a AccessRules, path: &str) -> Option<&'a AccessRule> {
        match rules.decide(&RequestHost::parse("app.example.com:443").unwrap(), path) {
            AccessDecision::ByRule(rule) => Some(rule),
            _ => None,
        }
    }

    #[test]
    fn rules_are_read_with_their_defaults() {
        let rules = parse("rules.toml", EXAMPLE).unwrap();
        let open = decide(&rules, "/x").unwrap();
        assert_eq!((open.path.to_string(), open.roles.clone(), open.min_acr), ("/".to_owned(), None, Acr::Legacy));
        assert_eq!(open.audience, None);
        let admin = decide(&rules, "/%E7%AE%A1%E7%90%86/x").unwrap();
        assert_eq!((admin.roles.clone(), admin.min_acr), (Some(vec![Role::Admin]), Acr::Password));
        assert_eq!(admin.audience.as_ref().unwrap().as_str(), "urn:stele:resource:orders");
    }

    #[test]
    fn an_error_names_file_line_and_reason() {
        let rule = |lines: &str| format!("# comment\n[[rule]]\n{lines}");
        let host = "host = \"a.example\"\n";
        for (text, expected) in [
            (String::new(), "rules.toml:1: no [[rule]]"),
            (rule(""), "rules.toml:2: missing field `host`"),
            (rule("host = 1"), "rules.toml:3: invalid type"),
            (rule("host = \"a b\""), "rules.toml:3: `a b` is not a host"),
            (rule("host = \"a.example:80\""), "rules.toml:3: `a.example:80` is not a host"),
            (rule("host = \"[::1]:80\""), "rules.toml:3: `[::1]:80` is not a host"),
            (rule("host = \"*.example\""), "rules.toml:3: `*.example` is not a host"),
            (rule(&format!("{host}paths = \"/\"")), "rules.toml:4: unknown field `paths`"),
            (rule(&format!("{host}path = \"x\"")), "rules.toml:4: `x` is not a decoded path"),
            (rule(&format!("{host}path = \"/a/../b\"")), "rules.toml:4: `/a/../b` is not a decoded path"),
            (rule(&format!("{host}path = \"/%61\"")), "rules.toml:4: `/%61` is not a decoded path"),
            (rule(&format!("{host}roles = [\"root\"]")), "rules.toml:4: `root` is not a role"),
            (rule(&format!("{host}roles = []")), "rules.toml:4: no role"),
            (rule(&format!("{host}acr = \"PWD\"")), "rules.toml:4: `PWD` is not legacy, pwd or mfa"),
            (rule(&format!("{host}audience = \"a b\"")), "rules.toml:4: `a b` is not the URI"),
            (
                rule(&format!("{host}path = \"/x\"\n{}", rule("host = \"A.EXAMPLE.\"\npath = \"/x/\""))),
                "rules.toml:6: another rule",
            ),
            ("rule = 1".to_owned(), "rules.toml:1: invalid type"),
            ("[[rules]]\nhost = \"a\"".to_owned(), "rules.toml:1: unknown field `rules`"),
            ("[[rule]".to_owned(), "rules.toml:1: "),
        ] {
            let error = parse("rules.toml", &text).map(|_| ()).unwrap_err();
            assert!(error.starts_with(expected) && !error.contains('\n'), "{text:?}: {error}");
        }
    }

    #[test]
    fn the_setting_is_optional_and_a_missing_file_is_an_error() {
        assert!(from_settings(&Settings::default()).unwrap().is_none());
        let settings = Settings::default().with_values([("STELE_AUTHZ_RULES", "/no/such/file".to_owned())]);
        let error = from_settings(&settings).err().unwrap().to_string();
        assert!(error.starts_with("STELE_AUTHZ_RULES: cannot read /no/such/file: "), "{error}");
    }

    #[test]
    fn an_ipv6_host_is_accepted() {
        assert!(parse("rules.toml", "[[rule]]\nhost = \"[2001:db8::1]\"").is_ok());
    }

    proptest! {
        #[test]
        fn any_file_is_parsed_without_panic(
            text in "(\\[\\[rule\\]\\]\n|(host|path|roles|acr|audience) = \\PC{0,12}\n){0,6}",
        ) {
            let _ = parse("rules.toml", &text);
        }
    }
}
