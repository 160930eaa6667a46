//! An old server that is slow, gone, broken or lies: never a wrong password, never counted.

use std::time::{Duration, Instant};

use stele_old_servers::{Call, Fault, OldServer};
use stele_testkit::TestLab;

use crate::fixture::{
    Kind, account, add_imported, assert_unavailable, assert_wrong_password, eventually, lab, log_in, logins, raw,
    salted,
};

/// The most questions at once, and the failures that open the circuit breaker (docs/OPERATE.md).
const MAX_CONCURRENT: usize = 32;
const BREAKER_FAILURES: usize = 5;

async fn portal(names: &[&str]) -> (OldServer, TestLab) {
    let server = Kind::Portal.start(names);
    let lab = lab(Kind::Portal, &server, &[]).await;
    add_imported(&lab, Kind::Portal.api(), names).await;
    (server, lab)
}

#[tokio::test]
async fn a_fault_is_unavailable_and_counts_nothing() {
    let elsewhere = Kind::Portal.start(&["u0"]);
    for fault in [
        Fault::Slow(Duration::from_secs(4)),
        Fault::Gone,
        Fault::Status(500),
        Fault::Status(429),
        Fault::Status(404),
        Fault::Redirect(format!("{}/i/login", elsewhere.url())),
        Fault::Body("[]".to_owned()),
        Fault::Body(format!("{{\"status\":\"{}\"}}", "a".repeat(100_000))),
        Fault::Malformed,
        Fault::Truncated,
        Fault::Endless,
        Fault::OtherId,
        Fault::OtherName,
        Fault::CaptchaDemanded,
    ] {
        let (server, lab) = portal(&["u0"]).await;
        server.set_fault(fault.clone());
        // One more than the failures that an account has before it must wait.
        let rounds = if matches!(fault, Fault::Slow(_)) { 1 } else { 6 };
        for _ in 0..rounds {
            let start = Instant::now();
            assert_unavailable(&log_in(&lab, "portal", "u0", raw("123456")).await);
            assert!(start.elapsed() < Duration::from_millis(3_500), "{fault:?}");
        }
        assert_eq!(account(&lab, "u0").await.credential.verifier, "{none}", "{fault:?}");
        server.set_fault(Fault::None);
        // The circuit breaker lets a trial pass within some seconds.
        for _ in 0..500 {
            match log_in(&lab, "portal", "u0", raw("123456")).await {
                Ok(_) => break,
                other => assert_unavailable(&other),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(account(&lab, "u0").await.credential.verifier.starts_with("$argon2id$"), "{fault:?}");
    }
    assert_eq!(elsewhere.calls().len(), 0, "no redirect is followed");
}

#[tokio::test]
async fn a_server_that_rejects_all_is_a_wrong_password_and_counted() {
    let (server, lab) = portal(&["u0"]).await;
    server.set_fault(Fault::RejectsAll);
    for _ in 0..6 {
        assert_wrong_password(&log_in(&lab, "portal", "u0", raw("123456")).await);
    }
    let limited = log_in(&lab, "portal", "u0", raw("123456")).await;
    assert!(matches!(limited, Err(stele_core::Error::RateLimited { .. })), "{limited:?}");
    assert_eq!(logins(&server), 6, "the limits are checked before the server is asked");
}

#[tokio::test]
async fn a_jwt_server_that_demands_a_captcha_is_unavailable() {
    let server = Kind::Jwt.start(&["u0"]);
    let lab = lab(Kind::Jwt, &server, &[]).await;
    add_imported(&lab, Kind::Jwt.api(), &["u0"]).await;
    server.set_fault(Fault::CaptchaDemanded);
    for _ in 0..8 {
        assert_unavailable(&log_in(&lab, "jwt", "u0", raw("123456")).await);
    }
    assert_eq!(logins(&server), 8, "a demand for a captcha does not open the circuit breaker");
    server.set_fault(Fault::None);
    log_in(&lab, "jwt", "u0", raw("123456")).await.unwrap();
}

#[tokio::test]
async fn the_circuit_breaker_opens_and_closes() {
    let (server, lab) = portal(&["u0", "u1"]).await;
    server.set_fault(Fault::Status(503));
    for _ in 0..BREAKER_FAILURES + 3 {
        assert_unavailable(&log_in(&lab, "portal", "u0", raw("123456")).await);
    }
    assert_eq!(logins(&server), BREAKER_FAILURES, "an open circuit is not asked");
    assert!(lab.context().metrics.render().unwrap().contains("stele_old_server_circuit_open{server=\"portal\"} 1"));
    server.set_fault(Fault::None);
    for _ in 0..500 {
        if log_in(&lab, "portal", "u0", raw("123456")).await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(logins(&server), BREAKER_FAILURES + 1, "one trial");
    log_in(&lab, "portal", "u1", raw("123456")).await.unwrap();
    let metrics = lab.context().metrics.render().unwrap();
    for sample in [
        "stele_old_server_circuit_open{server=\"portal\"} 0",
        "stele_old_server_questions_total{server=\"portal\",result=\"unavailable\"} 5",
        "stele_old_server_questions_total{server=\"portal\",result=\"yes\"} 2",
        "stele_old_server_logins_total{server=\"portal\",result=\"migrated\"} 2",
    ] {
        assert!(metrics.contains(sample), "{sample} in {metrics}");
    }
}

#[tokio::test]
async fn requests_that_the_server_cannot_process_do_not_open_the_circuit() {
    let (server, lab) = portal(&["u0", "u1"]).await;
    for fault in [Fault::Status(413), Fault::Status(500), Fault::Malformed] {
        server.set_fault(fault);
        for _ in 0..BREAKER_FAILURES + 1 {
            assert_unavailable(&log_in(&lab, "portal", "u0", raw("123456")).await);
        }
    }
    server.set_fault(Fault::None);
    log_in(&lab, "portal", "u1", raw("123456")).await.unwrap();
    assert_eq!(logins(&server), 3 * (BREAKER_FAILURES + 1) + 1);
}

#[tokio::test]
async fn at_most_32_questions_are_asked_at_once_and_the_rest_waits() {
    let names: Vec<String> = (0..40).map(|n| format!("u{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (server, lab) = portal(&names).await;
    server.set_fault_on(Call::Login, Fault::Slow(Duration::from_millis(300)));
    let logins = names.iter().map(|name| log_in(&lab, "portal", name, raw("123456")));
    for (name, result) in names.iter().zip(futures_util::future::join_all(logins).await) {
        result.unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    assert!(server.most_in_flight() <= MAX_CONCURRENT, "{}", server.most_in_flight());
    eventually("all sessions are ended", || server.sessions().is_empty()).await;
}

#[tokio::test]
async fn a_failed_logout_there_does_not_fail_the_login() {
    let (server, lab) = portal(&["u0"]).await;
    server.set_fault_on(Call::Logout, Fault::Status(500));
    log_in(&lab, "portal", "u0", raw("123456")).await.unwrap();
    let failed = "stele_old_server_logouts_total{server=\"portal\",result=\"failed\"} 1";
    eventually("the failure is counted", || lab.context().metrics.render().unwrap().contains(failed)).await;
}

#[tokio::test]
async fn a_relayed_digest_is_used_once_and_usable_again_after_a_fault() {
    let server = Kind::Cloudbox.start(&["u0"]);
    let lab = lab(Kind::Cloudbox, &server, &[]).await;
    add_imported(&lab, Kind::Cloudbox.api(), &["u0"]).await;
    let second = lab.second_instance().await;
    let proof = salted(&lab, "123456", 0);
    server.set_fault(Fault::Status(500));
    assert_unavailable(&log_in(&lab, "cloudbox", "u0", proof.clone()).await);
    server.set_fault(Fault::None);
    server.clear_log();
    let (first, other) = tokio::join!(
        log_in(&lab, "cloudbox", "u0", proof.clone()),
        log_in(&second, "cloudbox", "13800138000", proof.clone())
    );
    let (accepted, rejected) = if first.is_ok() { (first, other) } else { (other, first) };
    accepted.unwrap();
    assert!(matches!(rejected, Err(stele_core::Error::Replayed)), "{rejected:?}");
    for identifier in ["u0", "13800138000"] {
        let replayed = log_in(&lab, "tms", identifier, proof.clone()).await;
        assert!(matches!(replayed, Err(stele_core::Error::Replayed)), "{replayed:?}");
    }
    assert_eq!(logins(&server), 1, "a replay is not asked about");
}
