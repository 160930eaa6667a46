//! Requests made to be read as two, sent byte for byte: what is answered, and which requests reach which service.
//!
//! `framing/cases/` has them, for these tests and for the [`control`] on nginx.

// Helpers may unwrap as tests may, but lints only know them for helpers of tests by these lines.
#[cfg(test)]
mod control;
#[cfg(test)]
mod corpus;
#[cfg(test)]
mod fronts;

use futures_util::future::join_all;

use self::corpus::{Outcome, compare, groups, recorders};
use crate::support::gateway;

/// What a case that never ends is ended by; long enough that nothing else is, on a machine that is busy.
const TIME: &str = "4";

/// Runs all cases of a group at once, each on a gateway and services of its own.
async fn hold(group: &str) {
    let groups = groups();
    let group = groups.iter().find(|one| one.name == group).unwrap_or_else(|| panic!("no group {group}"));
    let outcomes = join_all(group.cases.iter().map(|case| async move { (case, &case.gateway, run(case).await) })).await;
    compare(outcomes);
}

async fn run(case: &corpus::Case) -> Outcome {
    let services = recorders();
    let [portal, mefp, jwt] = &services;
    let upstreams = [("portal", portal.url.as_str()), ("mefp", &mefp.url), ("jwt", &jwt.url)];
    let gateway = gateway(&upstreams, &[("STELE_CLIENT_TIMEOUT", TIME), ("STELE_BODY_TIMEOUT", TIME)]);
    let outcome = case.run(gateway.address, &services).await;
    gateway.handle.stop(false).await;
    outcome
}

#[actix_web::test]
async fn two_hosts_or_none() {
    hold("host").await;
}

#[actix_web::test]
async fn a_length_and_an_encoding() {
    hold("length-and-encoding").await;
}

#[actix_web::test]
async fn lengths_that_contradict_each_other_or_are_none() {
    hold("lengths").await;
}

#[actix_web::test]
async fn encodings_in_disguise() {
    hold("encodings").await;
}

#[actix_web::test]
async fn folded_and_broken_header_lines() {
    hold("lines").await;
}

#[actix_web::test]
async fn line_ends_that_are_none() {
    hold("line-ends").await;
}

#[actix_web::test]
async fn chunks_that_are_none_and_what_they_may_carry() {
    hold("chunks").await;
}

#[actix_web::test]
async fn bodies_that_end_elsewhere_for_others() {
    hold("trailers").await;
}

#[actix_web::test]
async fn heads_that_are_too_large_or_have_no_end() {
    hold("sizes").await;
}

#[actix_web::test]
async fn request_lines_that_are_read_in_two_ways() {
    hold("request-lines").await;
}

#[actix_web::test]
async fn requests_in_a_row_go_each_to_its_service() {
    hold("pipelining").await;
}

#[actix_web::test]
async fn paths_that_lead_to_another_service_elsewhere() {
    hold("paths").await;
}

#[test]
fn every_case_is_held() {
    let groups = groups();
    let here = include_str!("framing.rs");
    for group in &groups {
        assert!(here.contains(&format!("hold(\"{}\").await", group.name)), "{}", group.name);
    }
    let mut names: Vec<_> = groups.iter().flat_map(|group| &group.cases).map(|case| &case.name).collect();
    let count = names.len();
    names.sort();
    names.dedup();
    assert!(names.len() == count && count >= 100, "{count} cases, {} names", names.len());
}

#[actix_web::test]
async fn an_upgrade_is_told_in_the_dialect() {
    let [service, ..] = recorders();
    let gateway = gateway(&[("mefp", &service.url)], &[]);
    let upgrade = "GET /auth/login HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    let told = r#"{"result":0,"errors":{"code":40000,"message":"请求无法解密"}}"#;
    assert_eq!(gateway.raw(upgrade).await.body, told);
}

#[actix_web::test]
async fn a_broken_chunk_is_told_in_the_dialect() {
    let [service, ..] = recorders();
    let gateway = gateway(&[("mefp", &service.url)], &[]);
    let head = "POST /auth/login HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    let told = r#"{"result":0,"errors":{"code":40000,"message":"请求无法解密"}}"#;
    for body in ["zz\r\nhello\r\n0\r\n\r\n", "5\nhello\r\n0\r\n\r\n"] {
        let reply = gateway.raw(format!("{head}{body}")).await;
        assert_eq!((reply.status, reply.body.as_str(), reply.header("connection")), (400, told, Some("close")));
    }
    assert_eq!(service.seen(), [""; 0]);
}
