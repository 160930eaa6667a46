//! Tests of path matching, of settings that change the table, and of error messages for invalid tables.

use proptest::prelude::*;

use super::*;

const ERROR_PAGES: &str = "not_found = '{}'\nmethod = '{}'\ntoo_large = '{}'\nheaders_too_large = '{}'\n\
                        bad_request = '{}'\nslow_request = '{}'\nslow_service = '{}'\nunavailable = '{}'\n";

fn built_in_table() -> RoutingTable {
    RoutingTable::parse("routes.toml", BUILT_IN_TABLE).unwrap()
}

fn service_of(path: &str) -> Option<String> {
    built_in_table().match_path(path).map(|(route, _)| route.service.clone())
}

/// A `[[route]]` in TOML with these lines and error pages.
fn route_toml(lines: &str) -> String {
    format!("[[route]]\n{lines}\n[route.refusals]\n{ERROR_PAGES}")
}

fn parse_error(text: &str) -> String {
    RoutingTable::parse("t.toml", text).err().unwrap_or_else(|| panic!("accepted: {text}"))
}

#[test]
fn a_proxy_prefix_is_not_public() {
    let table = built_in_table();
    for path in ["/authz", "/authz/", "/authz/forward-auth", "/authz/ext-authz/i/login"] {
        let (route, access) = table.match_path(path).unwrap();
        assert_eq!((&*route.service, access), ("oauth", PrefixAccess::Proxies), "{path}");
    }
    for path in ["/authz2", "/oauth2/token", "/i/authz/", "/", "/.well-known/openid-configuration"] {
        assert!(table.match_path(path).is_none_or(|(_, access)| access == PrefixAccess::Public), "{path}");
    }
    assert!(table.prefixes().all(|view| view.prefix != "/authz/"), "the page for people does not list it");
    let duplicate = "prefix = '/a/'\nproxy_prefix = ['/b/', '/A/']\nservice = 'x'\nupstream = 'http://h:1'";
    assert!(parse_error(&route_toml(duplicate)).starts_with("t.toml:3: duplicate prefix"));
}

#[test]
fn each_prefix_routes_to_its_service() {
    for (path, expected) in [
        ("/api/v1/cloudbox/auth/pwdreset", "cloudbox"),
        ("/api/v1/cloudbox/", "cloudbox"),
        // Canonical paths have no trailing slash.
        ("/api/v1/cloudbox", "cloudbox"),
        ("/API/v1/Auth", "jwt"),
        ("/container/api/v1/cloudbox/tms/auth/authsalt", "tms"),
        ("/i/login", "portal"),
        ("/code/send", "portal"),
        ("/auth/check/loginname", "mefp"),
        ("/api/v1/Auth/Login", "jwt"),
        ("/api/vi/Auth/getCAPTCHA", "jwt"),
        ("/API/V1/auth/login", "jwt"),
        ("/api/VI/AUTH/x", "jwt"),
    ] {
        assert_eq!(service_of(path).as_deref(), Some(expected), "{path}");
    }
}

#[test]
fn a_path_that_only_resembles_a_prefix_has_no_route() {
    for path in
        ["", "/", "/ii", "/I/login", "/Auth/login", "/api/v1/Cloudbox/x", "/api/v1/Aut", "/x/i/login", "/auth登", "*"]
    {
        assert_eq!(service_of(path), None, "{path}");
    }
}

#[test]
fn the_longest_prefix_wins_whatever_the_order() {
    for (first, second) in [("/a/", "/a/b/"), ("/a/b/", "/a/")] {
        let first = route_toml(&format!("prefix = '{first}'\nservice = 's{}'\nupstream = 'http://h:1'", first.len()));
        let second =
            route_toml(&format!("prefix = '{second}'\nservice = 's{}'\nupstream = 'http://h:1'", second.len()));
        let table = RoutingTable::parse("t", &(first + &second)).unwrap();
        assert_eq!(table.match_path("/a/b/c").unwrap().0.service, "s5");
        assert_eq!(table.match_path("/a/c").unwrap().0.service, "s3");
    }
}

#[test]
fn an_invalid_table_is_reported_with_file_line_and_reason() {
    let good = route_toml("prefix = ['/a/', '/b/']\nservice = 'one'\nupstream = 'http://h:1'");
    let lines = good.lines().count();
    let cases = [
        ("[[route]\n".to_owned(), 1, ""),
        ("colour = 1\n".to_owned(), 1, "colour"),
        (route_toml("prefix = '/c/'\nservise = 'x'\nupstream = 'http://h:1'"), 3, "servise"),
        (route_toml("prefix = '/c/'\nignore_case = 1\nservice = 'x'\nupstream = 'http://h:1'"), 3, "boolean"),
        (route_toml("prefix = 7\nservice = 'x'\nupstream = 'http://h:1'"), 2, "prefix"),
        (route_toml("prefix = []\nservice = 'x'\nupstream = 'http://h:1'"), 2, "prefix"),
        (route_toml("prefix = '/a/'\nservice = 'x'\nupstream = 'http://h:1'"), 2, "duplicate prefix `/a/`"),
        (route_toml("prefix = '/A/'\nservice = 'x'\nupstream = 'http://h:1'"), 2, "letter case"),
        (route_toml("prefix = '/c'\nservice = 'x'\nupstream = 'http://h:1'"), 2, "`/c`"),
        (route_toml("prefix = '/c%2f/'\nservice = 'x'\nupstream = 'http://h:1'"), 2, "`/c%2f/`"),
        (route_toml("prefix = '/c/'\nservice = 'one'\nupstream = 'http://h:1'"), 3, "`one`"),
        (route_toml("prefix = '/c/'\nservice = 'O ne'\nupstream = 'http://h:1'"), 3, "`O ne`"),
        (route_toml("prefix = '/c/'\nservice = 'timeout'\nupstream = 'http://h:1'"), 3, "`timeout`"),
        (route_toml("prefix = '/c/'\nservice = 'x'\nupstream = 'https://h:1'"), 4, "`https://h:1`"),
        (route_toml("prefix = '/c/'\nservice = 'x'\nupstream = 'http://h:1/p'"), 4, "`http://h:1/p`"),
        (route_toml("prefix = '/c/'\nservice = 'x'"), 1, "upstream"),
        (route_toml("prefix = '/c/'\nservice = 'x'\nupstream = 'http://h:1'").replacen("'{}'", "'{'", 1), 5, "JSON"),
        (
            route_toml("prefix = '/c/'\nservice = 'x'\nupstream = 'http://h:1'").replacen("method", "metod", 1),
            7,
            "metod",
        ),
    ];
    for (bad, line, reason) in cases {
        let error = parse_error(&format!("{good}{bad}"));
        let location = format!("t.toml:{}: ", lines + line);
        assert!(error.starts_with(&location) && error.contains(reason), "{error}\nexpected {location}{reason}");
        assert!(!error.contains('\n'), "{error}");
    }
    assert!(parse_error("").contains("no [[route]]"));
}

#[test]
fn settings_override_upstreams() {
    let settings = Settings::default().with_values([("STELE_UPSTREAM_TMS", "http://a:1,http://b:2".to_owned())]);
    let table = RoutingTable::from_settings(&settings).unwrap();
    assert_eq!(table.route_of_service("tms").unwrap().upstreams.configured_names(), ["a:1", "b:2"]);
}

#[test]
fn an_invalid_upstream_setting_is_named_in_the_error() {
    let settings = Settings::default().with_values([("STELE_UPSTREAM_TMS", "b:2".to_owned())]);
    let error = RoutingTable::from_settings(&settings).unwrap_err().to_string();
    assert!(error.starts_with("STELE_UPSTREAM_TMS: `b:2`"), "{error}");
}

#[test]
fn stele_routes_replaces_the_built_in_table() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    std::fs::write(&path, route_toml("prefix = '/c/'\nservice = 'new-one'\nupstream = 'http://h:1'")).unwrap();
    let settings =
        Settings::default().with_values([("STELE_ROUTES", path), ("STELE_UPSTREAM_NEW_ONE", "http://x:9".to_owned())]);
    let table = RoutingTable::from_settings(&settings).unwrap();
    assert_eq!(table.match_path("/c/x").unwrap().0.upstreams.configured_names(), ["x:9"]);
    assert!(table.match_path("/i/login").is_none());
}

#[test]
fn an_invalid_or_missing_routes_file_is_named_in_the_error() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    std::fs::write(&path, "\n\nx = 1").unwrap();
    let settings = Settings::default().with_values([("STELE_ROUTES", path.clone())]);
    let error = RoutingTable::from_settings(&settings).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{path}:3: ")), "{error}");
    let settings = Settings::default().with_values([("STELE_ROUTES", "/does/not/exist".to_owned())]);
    assert!(RoutingTable::from_settings(&settings).unwrap_err().to_string().contains("/does/not/exist"));
}

proptest! {
    #[test]
    fn any_path_is_matched_without_panic(path in "\\PC{0,60}") {
        let _ = built_in_table().match_path(&path);
    }

    #[test]
    fn letter_case_matters_only_where_the_table_says_so(flips in any::<u64>()) {
        let flip = |text: &str| -> String {
            let flip_char = |(at, c): (usize, char)| match flips >> (at % 64) & 1 {
                1 => c.to_ascii_uppercase(),
                _ => c,
            };
            text.char_indices().map(flip_char).collect()
        };
        prop_assert_eq!(service_of(&flip("/api/v1/auth/login")), Some("jwt".to_owned()));
        for strict in ["/api/v1/cloudbox/x", "/container/api/v1/cloudbox/tms/x", "/i/x", "/code/x", "/auth/x"] {
            let spelled = flip(strict);
            let without_last_character = |path: &str| path[..path.len() - 1].to_owned();
            prop_assert_eq!(service_of(&spelled).is_some(), without_last_character(&spelled) == without_last_character(strict));
        }
    }
}
