//! /code/send

use std::time::Duration;

use crate::portal::{PHONE, Portal};

#[tokio::test]
async fn a_code_goes_out_for_anyone() {
    let portal = Portal::new().await;
    portal.lab.user("mark").phone(PHONE).add().await;
    for to in [PHONE, "13900139000", "a@b.cn", "+14155550123"] {
        let answer = portal.post("/code/send", &[("username", to)]).await;
        assert_eq!(
            answer.is("200").body,
            r#"{"status":{"status_code":"200","status_message":"OK","message":"OK"},"content":{}}"#
        );
        let sent = portal.lab.codes().pop().unwrap();
        assert_eq!((sent.to.as_str(), sent.dialect, sent.purpose), (to, "portal", "any"));
        assert!(sent.code.len() == 6 && sent.code.bytes().all(|b| b.is_ascii_digit()));
    }
}

#[tokio::test]
async fn bad_recipients_are_told_as_what_they_are_meant_for() {
    let portal = Portal::new().await;
    for bad in ["1380013800", "138001380000", "23800138000", "mark", "1548736484", "+123"] {
        assert_eq!(portal.post("/code/send", &[("username", bad)]).await.is("3203").text, "无效的手机号", "{bad}");
    }
    for bad in ["@", "a@", "@b.cn", "a@b", "a@b@c.cn", "1@hna", "a b@c.cn"] {
        assert_eq!(portal.post("/code/send", &[("username", bad)]).await.is("3204").text, "无效的邮箱", "{bad}");
    }
    for missing in [&[][..], &[("username", "")]] {
        portal.post("/code/send", missing).await.refuses("username");
    }
    assert_eq!(portal.lab.codes(), []);
}

#[tokio::test]
async fn five_an_hour_to_one_recipient_whoever_asks() {
    let portal = Portal::new().await;
    for n in 0..5 {
        // No gap between them, any writing, any address.
        let to = if n % 2 == 0 { PHONE } else { "+8613800138000" };
        portal.post_from(&format!("192.0.2.{n}"), "/code/send", &[("username", to)]).await.is("200");
    }
    let refused = portal.post_from("192.0.2.9", "/code/send", &[("username", PHONE)]).await;
    assert_eq!(refused.is("429").text, "操作过于频繁，请稍后再试");
    assert_eq!(refused.retry_after, Some(3600));
    assert_eq!(portal.lab.codes().len(), 5);
    portal.post("/code/send", &[("username", "13900139000")]).await.is("200");

    portal.lab.clock().advance(Duration::from_secs(3599));
    assert_eq!(portal.post("/code/send", &[("username", PHONE)]).await.is("429").retry_after, Some(1));
    portal.lab.clock().advance(Duration::from_secs(1));
    portal.post("/code/send", &[("username", PHONE)]).await.is("200");
}

#[tokio::test]
async fn thirty_an_hour_for_one_address_refusals_not_counted() {
    let portal = Portal::new().await;
    let phone = |n: u32| format!("138001380{n:02}");
    for n in 0..6 {
        // The sixth to one recipient is refused, and must not be counted for the address.
        let expected = if n < 5 { "200" } else { "429" };
        portal.post("/code/send", &[("username", &phone(99))]).await.is(expected);
    }
    portal.post("/code/send", &[("username", "1380013800")]).await.is("3203");
    for n in 0..25 {
        portal.post("/code/send", &[("username", &phone(n))]).await.is("200");
    }
    let refused = portal.post("/code/send", &[("username", &phone(50))]).await;
    assert_eq!(refused.is("429").retry_after, Some(3600));
    portal.post_from("192.0.2.2", "/code/send", &[("username", &phone(50))]).await.is("200");
    portal.lab.clock().advance(Duration::from_secs(3600));
    portal.post("/code/send", &[("username", &phone(50))]).await.is("200");
}

#[tokio::test]
async fn a_forwarded_address_is_believed_from_a_proxy_alone() {
    let portal = Portal::with(&[("STELE_TRUSTED_PROXIES", "")]).await;
    for n in 0..30 {
        let (from, to) = (format!("192.0.2.{n}"), format!("138001380{n:02}"));
        portal.post_from(&from, "/code/send", &[("username", &to)]).await.is("200");
    }
    portal.post_from("192.0.2.99", "/code/send", &[("username", "13900139000")]).await.is("429");
}
