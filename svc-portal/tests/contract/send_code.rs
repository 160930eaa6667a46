//! /code/send

use std::time::Duration;

use stele_testkit::conformance::DialectUnderTest as _;

use crate::test_service::{PHONE, TestService};

#[tokio::test]
async fn a_code_is_sent_to_known_and_unknown_recipients() {
    let portal = TestService::with_settings(&[("STELE_SMS_COUNTRIES", "86,1415")]).await;
    portal.lab.user("mark").phone(PHONE).add().await;
    for to in [PHONE, "13900139000", "a@b.cn", "+14155550123"] {
        let answer = portal.post("/code/send", &[("username", to)]).await;
        assert_eq!(
            answer.assert_code("200").body,
            r#"{"status":{"status_code":"200","status_message":"OK","message":"OK"},"content":{}}"#
        );
        let sent = portal.lab.sent_codes().pop().unwrap();
        assert_eq!((sent.to.as_str(), sent.dialect, sent.purpose), (to, "portal", "any"));
        assert!(sent.code.len() == 6 && sent.code.bytes().all(|b| b.is_ascii_digit()));
    }
}

#[tokio::test]
async fn invalid_recipients_are_reported_as_phone_or_email() {
    let portal = TestService::new().await;
    for bad in ["1380013800", "138001380000", "23800138000", "mark", "1548736484", "+123"] {
        assert_eq!(
            portal.post("/code/send", &[("username", bad)]).await.assert_code("3203").status_message,
            "无效的手机号",
            "{bad}"
        );
    }
    for bad in ["@", "a@", "@b.cn", "a@b", "a@b@c.cn", "1@hna", "a b@c.cn"] {
        assert_eq!(
            portal.post("/code/send", &[("username", bad)]).await.assert_code("3204").status_message,
            "无效的邮箱",
            "{bad}"
        );
    }
    portal.post("/code/send", &[("username", "")]).await.assert_code("3203");
    portal.post("/code/send", &[]).await.assert_field_error("username");
    assert_eq!(portal.lab.sent_codes(), []);
}

#[tokio::test]
async fn an_address_may_send_thirty_codes_an_hour_excluding_rejections() {
    let portal = TestService::new().await;
    let phone = |n: u32| format!("138001380{n:02}");
    for n in 0..6 {
        // The sixth to one recipient is refused, and must not be counted for the address.
        let expected = if n < 5 { "200" } else { "429" };
        portal.post("/code/send", &[("username", &phone(99))]).await.assert_code(expected);
    }
    portal.post("/code/send", &[("username", "1380013800")]).await.assert_code("3203");
    for n in 0..25 {
        portal.post("/code/send", &[("username", &phone(n))]).await.assert_code("200");
    }
    let refused = portal.post("/code/send", &[("username", &phone(50))]).await;
    assert_eq!(refused.assert_code("429").retry_after, Some(3600));
    portal.post_from("192.0.2.2", "/code/send", &[("username", &phone(50))]).await.assert_code("200");
    portal.lab.clock().advance(Duration::from_secs(3600));
    portal.post("/code/send", &[("username", &phone(50))]).await.assert_code("200");
}

#[tokio::test]
async fn x_forwarded_for_from_an_untrusted_peer_is_ignored() {
    let portal = TestService::with_settings(&[("STELE_TRUSTED_PROXIES", "")]).await;
    for n in 0..30 {
        let (from, to) = (format!("192.0.2.{n}"), format!("138001380{n:02}"));
        portal.post_from(&from, "/code/send", &[("username", &to)]).await.assert_code("200");
    }
    portal.post_from("192.0.2.99", "/code/send", &[("username", "13900139000")]).await.assert_code("429");
}

#[tokio::test]
async fn phones_of_unserved_countries_are_invalid() {
    let portal = TestService::new().await;
    for abroad in ["+88216123456", "+85251234567", "+862112345678", "+14155550123"] {
        // More often than an address may send: it is not counted.
        for _ in 0..10 {
            let answer = portal.post("/code/send", &[("username", abroad)]).await;
            assert_eq!(answer.assert_code("3203").status_message, "无效的手机号", "{abroad}");
        }
    }
    assert_eq!(portal.lab.sent_codes(), []);
    portal.request_code_for(PHONE).await;
}

#[tokio::test]
async fn an_ipv6_site_may_send_four_times_the_address_quota() {
    let portal = TestService::new().await;
    let mut sent = 0;
    for n in 0..400u32 {
        let (from, to) = (format!("2001:db8:7:{n:x}::1"), format!("138{n:08}"));
        let answer = portal.post_from(&from, "/code/send", &[("username", &to)]).await;
        sent += u32::from(answer.status_code == "200");
    }
    assert_eq!(sent, 120, "30 in a /64, 60 in a /56");
    portal.post_from("2001:db8:8::1", "/code/send", &[("username", PHONE)]).await.assert_code("200");
}

#[tokio::test]
async fn sends_are_rate_limited_in_total() {
    let portal = TestService::with_settings(&[("STELE_SEND_TOTAL", "3")]).await;
    for n in 0..3 {
        portal
            .post_from(&format!("192.0.2.{n}"), "/code/send", &[("username", &format!("a{n}@b.cn"))])
            .await
            .assert_code("200");
    }
    for _ in 0..2 {
        let answer = portal.post_from("192.0.2.9", "/code/send", &[("username", PHONE)]).await;
        assert_eq!(answer.assert_code("429").retry_after, Some(3_600));
    }
    let metrics = portal.lab.context().metrics.render().unwrap();
    let counted = "stele_limits_hit_total{dialect=\"portal\",limit=\"send_total\"} 2";
    assert!(metrics.contains(counted), "{metrics}");
    portal.lab.clock().advance(Duration::from_secs(3_600));
    portal.request_code_for(PHONE).await;
}
