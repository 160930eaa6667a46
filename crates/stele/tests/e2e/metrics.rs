//! Metrics: the exact counts after a known sequence of requests, and the exposition format.

use std::collections::BTreeMap;

use crate::client::{DialectClient, DialectKind, TestUser, encode_base64};
use crate::support::{Installation, Server};

/// Parses the OpenMetrics text format into samples by name and labels. Asserts that it is well-formed: each sample
/// belongs to the last announced family, no series occurs twice, a histogram's buckets are cumulative, `# EOF` ends it.
fn parse_exposition(text: &str) -> BTreeMap<String, f64> {
    let mut samples = BTreeMap::new();
    let mut family = (String::new(), String::new());
    let mut bucket: Option<(String, f64)> = None;
    assert!(text.ends_with("# EOF\n"), "# EOF is missing");
    for line in text.strip_suffix("# EOF\n").unwrap().lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let words: Vec<_> = comment.splitn(3, ' ').collect();
            match words[0] {
                "TYPE" => family = (words[1].to_owned(), words[2].to_owned()),
                "HELP" => assert!(words.len() == 3, "{line}"),
                _ => panic!("{line}"),
            }
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        assert!(labels.ends_with('}') && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'), "{line}");
        let suffix = name.strip_prefix(&family.0).unwrap_or_else(|| panic!("{line} is not of {family:?}"));
        let suffixes: &[&str] = match family.1.as_str() {
            "counter" => &["_total"],
            "gauge" => &[""],
            "info" => &["_info"],
            "histogram" => &["_bucket", "_sum", "_count"],
            other => panic!("{other}"),
        };
        assert!(suffixes.contains(&suffix), "{line} is not of {family:?}");
        if suffix == "_bucket" {
            let series_labels = labels.split("le=").next().unwrap().to_owned();
            if let Some((same, before)) = &bucket
                && *same == series_labels
            {
                assert!(*before <= value, "{line}");
            }
            bucket = Some((series_labels, value));
        } else if suffix == "_count" {
            bucket = None;
        }
        assert!(samples.insert(series.to_owned(), value).is_none(), "{series} occurs twice");
    }
    samples
}

/// The metrics page of the admin port.
pub(crate) async fn scrape(server: &Server) -> String {
    let response = stele_testkit::http_client().get(format!("{}/metrics", server.admin_url())).send().await.unwrap();
    response.text().await.unwrap()
}

async fn scrape_samples(server: &Server) -> BTreeMap<String, f64> {
    parse_exposition(&scrape(server).await)
}

/// The labels and values of a family's samples that are not 0.
fn nonzero_samples(samples: &BTreeMap<String, f64>, family: &str) -> Vec<(String, u64)> {
    let nonzero = samples.iter().filter_map(|(series, value)| {
        let labels = series.strip_prefix(family)?.strip_prefix('{')?.strip_suffix('}')?.replace('"', "");
        (*value > 0.0).then_some((labels, *value as u64))
    });
    nonzero.collect()
}

fn owned_labels(expected: &[(&str, u64)]) -> Vec<(String, u64)> {
    let mut expected: Vec<_> = expected.iter().map(|(labels, count)| ((*labels).to_owned(), *count)).collect();
    expected.sort();
    expected
}

fn sum_samples(samples: &[(String, u64)], part: &str) -> u64 {
    samples.iter().filter(|(labels, _)| labels.contains(part)).map(|(_, value)| value).sum()
}

/// Asserts the request counts after the requests of `every_login_is_counted_once_with_its_labels`.
fn assert_request_counts(after: &BTreeMap<String, f64>) {
    // The gateway and the services have seen the same requests.
    let http = nonzero_samples(after, "stele_http_requests_total");
    let gateway = nonzero_samples(after, "stele_gateway_requests_total");
    for (service, requests) in [("cloudbox", 2), ("tms", 2), ("portal", 6), ("mefp", 2), ("jwt", 3)] {
        let service = format!("service={service},");
        assert_eq!(
            (sum_samples(&http, &service), sum_samples(&gateway, &service)),
            (requests, requests),
            "{http:?} {gateway:?}"
        );
    }
    assert_eq!(sum_samples(&gateway, "service=none,method=POST,status=404"), 1);
    assert_eq!(sum_samples(&http, "service=portal,method=POST,route=none,status=404"), 1, "{http:?}");
    assert_eq!(
        sum_samples(&http, "route=/api/v1/Auth/Login"),
        0,
        "the route label is the pattern, not the path: {http:?}"
    );
    assert!(sum_samples(&http, "route=/api/v[1i]/auth/Login") == 3, "{http:?}");
}

#[tokio::test]
async fn every_login_is_counted_once_with_its_labels() {
    let installation = Installation::with_settings(&[
        ("STELE_HASH_COST", "64,1,1,weak"),
        ("STELE_LIMIT_ACCOUNT", "7"),
        ("STELE_SEND_RECIPIENT", "1"),
    ]);
    let server = installation.start_up();
    let phone = "13800138000";
    let person = TestUser::add(&installation, "mark", phone, "mark@example.com", "the-password");
    let client = DialectClient::register(&installation, &server);

    let before = scrape_samples(&server).await;
    assert_eq!(before["stele_logins_total{dialect=\"cloudbox\",proof=\"salted\",result=\"ok\"}"], 0.0);
    assert_eq!(before["stele_limits_hit_total{dialect=\"jwt\",limit=\"captcha\"}"], 0.0);
    assert_eq!(nonzero_samples(&before, "stele_logins_total"), []);

    for dialect in DialectKind::ALL {
        client.login(dialect, &person, "the-password").await.assert_success();
        assert!(!client.login(dialect, &person, "wrong").await.is_success());
    }
    assert!(!client.login_as(DialectKind::Jwt, "unknown", "wrong").await.is_success());
    let code = [("username", phone)];
    client.post_form("/code/send", &[], &code).await.assert_success();
    assert_eq!(client.post_form("/code/send", &[], &code).await.status, 429);
    let bad =
        [("username", phone), ("password", &*encode_base64("new-password")), ("code", &*encode_base64("000000x"))];
    assert!(!client.post_form("/i/resetpwd", &[], &bad).await.is_success());
    assert_eq!(client.post_form("/i/nowhere", &[], &[]).await.status, 404);
    assert_eq!(client.post_form("/nowhere/at/all", &[], &[]).await.status, 404);

    let after = scrape_samples(&server).await;
    let expected = [
        ("dialect=cloudbox,proof=salted,result=ok", 1),
        ("dialect=cloudbox,proof=salted,result=wrong_password", 1),
        // TMS accepts a salted proof or the plain digest. Only a correct one shows which it is.
        ("dialect=tms,proof=salted,result=ok", 1),
        ("dialect=tms,proof=either,result=wrong_password", 1),
        ("dialect=portal,proof=raw,result=ok", 1),
        ("dialect=portal,proof=raw,result=wrong_password", 1),
        ("dialect=mefp,proof=raw,result=ok", 1),
        ("dialect=mefp,proof=raw,result=wrong_password", 1),
        ("dialect=jwt,proof=raw,result=ok", 1),
        ("dialect=jwt,proof=raw,result=wrong_password", 1),
        ("dialect=jwt,proof=raw,result=unknown_user", 1),
    ];
    assert_eq!(nonzero_samples(&after, "stele_logins_total"), owned_labels(&expected));
    let sessions = ["cloudbox", "tms", "portal", "mefp", "jwt"].map(|dialect| (format!("dialect={dialect}"), 1));
    assert_eq!(nonzero_samples(&after, "stele_sessions_opened_total").len(), sessions.len());
    assert!(sessions.iter().all(|session| nonzero_samples(&after, "stele_sessions_opened_total").contains(session)));
    assert_eq!(nonzero_samples(&after, "stele_limits_hit_total"), owned_labels(&[("dialect=portal,limit=send", 1)]));
    for (labels, count) in [
        ("dialect=portal,event=send_code,result=ok", 1),
        ("dialect=portal,event=send_code,result=too_many", 1),
        ("dialect=portal,event=reset_password,result=wrong_code", 1),
        ("dialect=cloudbox,event=login,result=ok", 1),
    ] {
        assert!(
            nonzero_samples(&after, "stele_events_total").contains(&(labels.to_owned(), count)),
            "{labels}: {after:#?}"
        );
    }

    assert_request_counts(&after);
    let finds = "stele_store_operation_duration_seconds_count{store=\"users\",system=\"sqlite\",operation=\"find\"}";
    assert!(after[finds] >= 14.0 && after["stele_hashes_computed_total"] >= 8.0, "{after:#?}");
    assert_eq!(nonzero_samples(&after, "stele_store_errors_total"), []);
    assert_eq!(after["stele_hash_slots_busy"], 0.0);
    assert!(after["process_resident_memory_bytes"] > 1e6 && after["process_start_time_seconds"] > 1.7e9);
    assert_eq!(nonzero_samples(&after, "stele_gateway_upstream_up").len(), stele::services::ALL.len());

    let public = client.send(reqwest::Method::GET, "/metrics", &[], String::new()).await;
    assert_eq!(public.status, 404);
}
