//! Sending verification codes (/code/send).

use std::time::Duration;

use stele_testkit::conformance::DialectUnderTest as _;

use crate::test_service::{PHONE, TestService};

#[tokio::test]
async fn a_code_is_sent_to_known_and_unknown_recipients() {
    let service = TestService::with_settings(&[("STELE_SMS_COUNTRIES", "86,1415")]).await;
    service.lab.user("mark").phone(PHONE).add().await;
    for to in [PHONE, "13900139000", "a@b.cn", "+14155550123"] {
        let response = service.post("/code/send", &[("username", to)]).await;
        assert_eq!(
            response.assert_code("200").body,
            r#"{"status":{"status_code":"200","status_message":"OK","message":"OK"},"content":{}}"#
        );
        let sent = service.lab.sent_codes().pop().unwrap();
        assert_eq!((sent.to.as_str(), sent.dialect, sent.purpose), (to, "portal", "any"));
        assert!(sent.code.len() == 6 && sent.code.bytes().all(|b| b.is_ascii_digit()));
    }
}

#[tokio::test]
async fn invalid_recipients_are_reported_as_phone_or_email() {
    let service = TestService::new().await;
    for invalid in ["1380013800", "138001380000", "23800138000", "mark", "1548736484", "+123"] {
        assert_eq!(
            service.post("/code/send", &[("username", invalid)]).await.assert_code("3203").status_message,
            "无效的手机号",
            "{invalid}"
        );
    }
    for invalid in ["@", "a@", "@b.cn", "a@b", "a@b@c.cn", "1@hna", "a b@c.cn"] {
        assert_eq!(
            service.post("/code/send", &[("username", invalid)]).await.assert_code("3204").status_message,
            "无效的邮箱",
            "{invalid}"
        );
    }
    service.post("/code/send", &[("username", "")]).await.assert_code("3203");
    service.post("/code/send", &[]).await.assert_field_error("username");
    assert_eq!(service.lab.sent_codes(), []);
}

#[tokio::test]
async fn an_address_may_send_thirty_codes_an_hour_excluding_rejections() {
    let service = TestService::new().await;
    let nth_phone = |n: u32| format!("138001380{n:02}");
    for n in 0..6 {
        // The sixth code to one recipient is rejected and must not count against the address.
        let expected = if n < 5 { "200" } else { "429" };
        service.post("/code/send", &[("username", &nth_phone(99))]).await.assert_code(expected);
    }
    service.post("/code/send", &[("username", "1380013800")]).await.assert_code("3203");
    for n in 0..25 {
        service.post("/code/send", &[("username", &nth_phone(n))]).await.assert_code("200");
    }
    let rejected = service.post("/code/send", &[("username", &nth_phone(50))]).await;
    assert_eq!(rejected.assert_code("429").retry_after, Some(3600));
    service.post_from("192.0.2.2", "/code/send", &[("username", &nth_phone(50))]).await.assert_code("200");
    service.lab.clock().advance(Duration::from_secs(3600));
    service.post("/code/send", &[("username", &nth_phone(50))]).await.assert_code("200");
}

#[tokio::test]
async fn x_forwarded_for_from_an_untrusted_peer_is_ignored() {
    let service = TestService::with_settings(&[("STELE_TRUSTED_PROXIES", "")]).await;
    for n in 0..30 {
        let (from, to) = (format!("192.0.2.{n}"), format!("138001380{n:02}"));
        service.post_from(&from, "/code/send", &[("username", &to)]).await.assert_code("200");
    }
    service.post_from("192.0.2.99", "/code/send", &[("username", "13900139000")]).await.assert_code("429");
}

#[tokio::test]
async fn phones_of_unserved_countries_are_invalid() {
    let service = TestService::new().await;
    for phone in ["+88216123456", "+85251234567", "+862112345678", "+14155550123"] {
        // 40 requests in all, more than an address may send: rejected requests do not count.
        for _ in 0..10 {
            let response = service.post("/code/send", &[("username", phone)]).await;
            assert_eq!(response.assert_code("3203").status_message, "无效的手机号", "{phone}");
        }
    }
    assert_eq!(service.lab.sent_codes(), []);
    service.request_code_for(PHONE).await;
}

#[tokio::test]
async fn an_ipv6_site_may_send_four_times_the_address_quota() {
    let service = TestService::new().await;
    let mut sent = 0;
    for n in 0..400u32 {
        let (from, to) = (format!("2001:db8:7:{n:x}::1"), format!("138{n:08}"));
        let response = service.post_from(&from, "/code/send", &[("username", &to)]).await;
        sent += u32::from(response.status_code == "200");
    }
    assert_eq!(sent, 120, "30 from a /64, 60 from a /56, 120 from a /48");
    service.post_from("2001:db8:8::1", "/code/send", &[("username", PHONE)]).await.assert_code("200");
}

#[tokio::test]
async fn sends_are_rate_limited_in_total() {
    let service = TestService::with_settings(&[("STELE_SEND_TOTAL", "3")]).await;
    for n in 0..3 {
        service
            .post_from(&format!("192.0.2.{n}"), "/code/send", &[("username", &format!("a{n}@b.cn"))])
            .await
            .assert_code("200");
    }
    for _ in 0..2 {
        let response = service.post_from("192.0.2.9", "/code/send", &[("username", PHONE)]).await;
        assert_eq!(response.assert_code("429").retry_after, Some(3_600));
    }
    let metrics = service.lab.context().metrics.render().unwrap();
    let counted = "stele_limits_hit_total{dialect=\"portal\",limit=\"send_total\"} 2";
    assert!(metrics.contains(counted), "{metrics}");
    service.lab.clock().advance(Duration::from_secs(3_600));
    service.request_code_for(PHONE).await;
}
