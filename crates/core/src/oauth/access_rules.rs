//! Access rules of forward auth: which users may reach which hosts and paths behind a reverse proxy.

use std::collections::HashMap;

use super::{Acr, Audience, PathPrefix, RequestHost, RequestPath};
use crate::user::Role;

/// A rule for a path of a host and everything below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessRule {
    /// The host.
    pub host: RequestHost,
    /// The path.
    pub path: PathPrefix,
    /// The audience of access tokens that are accepted; `None` accepts none.
    pub audience: Option<Audience>,
    /// The roles that are allowed; `None` allows every role.
    pub roles: Option<Vec<Role>>,
    /// How strong the login must have been, at least.
    pub min_acr: Acr,
}

impl AccessRule {
    /// Whether a user with this role, whose login was this strong, is allowed.
    pub fn allows(&self, role: Role, acr: Acr) -> bool {
        self.roles.as_ref().is_none_or(|roles| roles.contains(&role)) && acr >= self.min_acr
    }
}

/// The access rules of an installation: at least one, each with its own host and path.
#[derive(Clone, Debug)]
pub struct AccessRules {
    /// The rules of each host, the longest path first.
    hosts: HashMap<RequestHost, Vec<AccessRule>>,
}

/// What the rules say about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessDecision<'a> {
    /// There are no rules: every user with a live session is allowed.
    AnyUser,
    /// This rule decides.
    ByRule(&'a AccessRule),
    /// No rule is for the host and path, or the path is ambiguous: denied.
    Denied,
}

impl AccessRules {
    /// Collects rules.
    ///
    /// # Errors
    /// The index of the first rule that has the host and path of an earlier one.
    pub fn new(rules: Vec<AccessRule>) -> Result<Self, usize> {
        let mut hosts: HashMap<RequestHost, Vec<AccessRule>> = HashMap::new();
        for (index, rule) in rules.into_iter().enumerate() {
            let of_host = hosts.entry(rule.host.clone()).or_default();
            if of_host.iter().any(|other| other.path == rule.path) {
                return Err(index);
            }
            of_host.push(rule);
        }
        for rules in hosts.values_mut() {
            rules.sort_by_key(|rule| std::cmp::Reverse(rule.path.depth()));
        }
        Ok(Self { hosts })
    }

    /// The rule of the host whose path is the longest that `path` is below. `path` is as it was sent, without the query.
    pub fn decide(&self, host: &RequestHost, path: &str) -> AccessDecision<'_> {
        let path = RequestPath::parse(path);
        let rules = self.hosts.get(host).map(Vec::as_slice).unwrap_or_default();
        let rule = path.and_then(|path| rules.iter().find(|rule| path.is_below(&rule.path)));
        rule.map_or(AccessDecision::Denied, AccessDecision::ByRule)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rule(host: &str, path: &str) -> AccessRule {
        AccessRule {
            host: RequestHost::parse(host).unwrap(),
            path: PathPrefix::parse(path).unwrap(),
            audience: None,
            roles: None,
            min_acr: Acr::Legacy,
        }
    }

    fn decided_path(rules: &AccessRules, host: &str, path: &str) -> Option<String> {
        match rules.decide(&RequestHost::parse(host).unwrap(), path) {
            AccessDecision::ByRule(rule) => Some(rule.path.to_string()),
            AccessDecision::Denied => None,
            AccessDecision::AnyUser => panic!("there are rules"),
        }
    }

    #[test]
    fn the_longest_path_of_the_host_decides() {
        let rules = ["/", "/a/b", "/a"].map(|path| rule("a.example", path));
        let rules = rules.into_iter().chain([rule("b.example", "/x")]).collect();
        let rules = AccessRules::new(rules).unwrap();
        for (host, path, expected) in [
            ("a.example", "/", Some("/")),
            ("A.example.:443", "/ab", Some("/")),
            ("a.example", "/a", Some("/a")),
            ("a.example", "/a/bc", Some("/a")),
            ("a.example", "/a/b/c", Some("/a/b")),
            ("a.example", "/%61/%62", Some("/a/b")),
            ("b.example", "/x/y", Some("/x")),
            ("b.example", "/", None),
            ("c.example", "/", None),
            ("www.a.example", "/", None),
            ("a.example", "/x/../a/b", None),
            ("a.example", "/a%2fb", None),
        ] {
            assert_eq!(decided_path(&rules, host, path).as_deref(), expected, "{host}{path}");
        }
    }

    #[test]
    fn a_second_rule_for_a_host_and_path_is_an_error() {
        let rules = vec![rule("a.example", "/a"), rule("b.example", "/a"), rule("A.example", "/a/")];
        assert_eq!(AccessRules::new(rules).err(), Some(2));
    }

    #[test]
    fn role_and_strength_must_both_suffice() {
        let mut rule = rule("a.example", "/");
        assert!(rule.allows(Role::User, Acr::Legacy));
        rule.min_acr = Acr::Password;
        rule.roles = Some(vec![Role::Admin]);
        assert!(rule.allows(Role::Admin, Acr::Password) && rule.allows(Role::Admin, Acr::MultiFactor));
        assert!(!rule.allows(Role::User, Acr::MultiFactor) && !rule.allows(Role::Admin, Acr::Legacy));
    }

    proptest! {
        /// Adding segments never leads out of the rule for what is above.
        #[test]
        fn a_path_below_a_rule_is_never_decided_by_a_shorter_one(
            path in "(/[ab]){0,3}", below in "(/[abc]){0,3}/?",
        ) {
            let prefix = if path.is_empty() { "/".to_owned() } else { path.clone() };
            let others = ["/", "/a", "/a/b"].into_iter().filter(|other| *other != prefix);
            let rules = others.map(|path| rule("h", path)).chain([rule("h", &prefix)]).collect();
            let rules = AccessRules::new(rules).unwrap();
            let request = if path.is_empty() && below.is_empty() { "/".to_owned() } else { format!("{path}{below}") };
            let decided = decided_path(&rules, "h", &request).unwrap();
            prop_assert!(decided.len() >= prefix.len(), "{} is decided by {}", request, decided);
        }
    }
}
