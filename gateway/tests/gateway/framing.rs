//! Request smuggling: ambiguous requests sent byte for byte, with the expected responses and the requests that may
//! reach a service. The cases are in `framing/cases/`; [`nginx_comparison`] sends the same cases to nginx.

// `cfg(test)` makes clippy treat the helpers of a module as test code, which may unwrap.
#[cfg(test)]
mod corpus;
#[cfg(test)]
mod nginx_comparison;
#[cfg(test)]
mod proxy_chain;

use futures_util::future::join_all;

use self::corpus::{CaseOutcome, assert_outcomes, load_groups, start_recorders};
use crate::support::start_gateway;

/// Client and body timeouts, in seconds. They end the cases with an unfinished request, and are long enough for all
/// other cases on a busy machine.
const CLIENT_TIMEOUT_SECONDS: &str = "4";

/// Runs all cases of a group concurrently, each with its own gateway and services.
async fn check_group(group: &str) {
    let groups = load_groups();
    let group = groups.iter().find(|candidate| candidate.name == group).unwrap_or_else(|| panic!("no group {group}"));
    let outcomes =
        join_all(group.cases.iter().map(|case| async move { (case, &case.gateway, run_case(case).await) })).await;
    assert_outcomes(outcomes);
}

async fn run_case(case: &corpus::FramingCase) -> CaseOutcome {
    let services = start_recorders();
    let [portal, mefp, jwt] = &services;
    let upstreams = [("portal", portal.url.as_str()), ("mefp", &mefp.url), ("jwt", &jwt.url)];
    let gateway = start_gateway(
        &upstreams,
        &[("STELE_CLIENT_TIMEOUT", CLIENT_TIMEOUT_SECONDS), ("STELE_BODY_TIMEOUT", CLIENT_TIMEOUT_SECONDS)],
    );
    let outcome = case.run(gateway.address, &services).await;
    gateway.handle.stop(false).await;
    outcome
}

#[actix_web::test]
async fn multiple_or_missing_hosts_are_rejected() {
    check_group("host").await;
}

#[actix_web::test]
async fn content_length_with_transfer_encoding_smuggles_no_request() {
    check_group("length-and-encoding").await;
}

#[actix_web::test]
async fn conflicting_or_invalid_content_lengths_are_rejected() {
    check_group("lengths").await;
}

#[actix_web::test]
async fn obfuscated_transfer_encodings_are_rejected() {
    check_group("encodings").await;
}

#[actix_web::test]
async fn folded_and_invalid_header_lines_are_rejected() {
    check_group("lines").await;
}

#[actix_web::test]
async fn nonstandard_line_terminators_smuggle_no_request() {
    check_group("line-ends").await;
}

#[actix_web::test]
async fn invalid_chunks_are_rejected() {
    check_group("chunks").await;
}

#[actix_web::test]
async fn trailers_smuggle_no_request() {
    check_group("trailers").await;
}

#[actix_web::test]
async fn oversized_and_unterminated_heads_are_rejected() {
    check_group("sizes").await;
}

#[actix_web::test]
async fn ambiguous_request_lines_are_rejected() {
    check_group("request-lines").await;
}

#[actix_web::test]
async fn pipelined_requests_reach_their_own_services() {
    check_group("pipelining").await;
}

#[actix_web::test]
async fn ambiguous_paths_reach_no_other_service() {
    check_group("paths").await;
}

#[test]
fn every_group_of_cases_has_a_test() {
    let groups = load_groups();
    let source = include_str!("framing.rs");
    for group in &groups {
        assert!(source.contains(&format!("check_group(\"{}\").await", group.name)), "{}", group.name);
    }
    let mut names: Vec<_> = groups.iter().flat_map(|group| &group.cases).map(|case| &case.name).collect();
    let count = names.len();
    names.sort();
    names.dedup();
    assert!(names.len() == count && count >= 100, "{count} cases, {} names", names.len());
}

#[actix_web::test]
async fn a_websocket_upgrade_is_rejected_in_the_dialect() {
    let [service, ..] = start_recorders();
    let gateway = start_gateway(&[("mefp", &service.url)], &[]);
    let upgrade = "GET /auth/login HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    let expected = r#"{"result":0,"errors":{"code":40000,"message":"请求无法解密"}}"#;
    assert_eq!(gateway.send_raw(upgrade).await.body, expected);
}

#[actix_web::test]
async fn an_invalid_chunk_is_rejected_in_the_dialect() {
    let [service, ..] = start_recorders();
    let gateway = start_gateway(&[("mefp", &service.url)], &[]);
    let head = "POST /auth/login HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    let expected = r#"{"result":0,"errors":{"code":40000,"message":"请求无法解密"}}"#;
    for body in ["zz\r\nhello\r\n0\r\n\r\n", "5\nhello\r\n0\r\n\r\n"] {
        let reply = gateway.send_raw(format!("{head}{body}")).await;
        assert_eq!((reply.status, reply.body.as_str(), reply.header("connection")), (400, expected, Some("close")));
    }
    assert_eq!(service.requests(), [""; 0]);
}
