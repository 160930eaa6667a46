//! Delivery by mail over SMTP.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::mail_server::{MailServer, ServerBehavior};
use crate::{message, open_delivery, test_config, within_timeout};

fn decode_base64(text: &str) -> String {
    String::from_utf8(STANDARD.decode(text.replace('\n', "")).unwrap()).unwrap()
}

#[actix_web::test]
async fn a_code_is_delivered_by_mail() {
    let mut server = MailServer::start(ServerBehavior::AcceptAll).await;
    let delivery = open_delivery(&server.url, test_config());
    // The mail is sent to the account's canonical address, not to an address that merely folds to it (CVE-2019-19844).
    delivery.dispatch(message("ｍark@Example.com")).unwrap();
    let mail = server.next_mail().await;
    assert!(mail.from.starts_with("MAIL FROM:<codes@example.com>"), "{}", mail.from);
    assert_eq!(mail.to, "RCPT TO:<mark@example.com>");
    let (head, body) = mail.data.split_once("\n\n").unwrap();
    let header_value = |name: &str| {
        let line = head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.unwrap_or_else(|| panic!("{name}: {head}"))
    };
    assert_eq!(header_value("From"), "Stele <codes@example.com>");
    assert_eq!(header_value("To"), "mark@example.com");
    assert_eq!(header_value("Date"), "Thu, 01 Jan 2026 08:00:00 +0000");
    assert_eq!(header_value("Auto-Submitted"), "auto-generated");
    assert_eq!(header_value("Content-Type"), "text/plain; charset=utf-8");
    assert!(header_value("Message-ID").starts_with('<'));
    let subject = header_value("Subject").strip_prefix("=?utf-8?b?").unwrap().strip_suffix("?=").unwrap();
    assert_eq!(decode_base64(subject), "重置密码验证码");
    assert_eq!(header_value("Content-Transfer-Encoding"), "base64");
    assert_eq!(
        decode_base64(body),
        "您好：\r\n\r\n您的重置密码验证码是 012345，1 小时内有效，请勿告诉他人。\r\n\r\n\
         如果这不是您本人的操作，请忽略此邮件。\r\n"
    );
    let auth = STANDARD.encode("\0codes\0pass,word");
    assert!(server.commands().contains(&format!("AUTH PLAIN {auth}")));
}

#[actix_web::test]
async fn nothing_is_sent_without_starttls() {
    let server = MailServer::start(ServerBehavior::AcceptAll).await;
    let delivery =
        open_delivery(&format!("smtp://u:p@127.0.0.1:{}?from=codes@example.com", server.port), test_config());
    delivery.dispatch(message("mark@example.com")).unwrap();
    within_timeout(delivery.drain()).await;
    assert_eq!(server.count_commands("EHLO"), 3);
    assert_eq!(server.commands().len(), 3, "{:?}", server.commands());
}

#[actix_web::test]
async fn transient_smtp_errors_are_retried_and_permanent_ones_are_not() {
    for (behavior, attempts, is_delivered) in [
        (ServerBehavior::ReplyOnceWith("RCPT", "451 greylisted"), 2, true),
        (ServerBehavior::ReplyOnceWith("AUTH", "454 later"), 2, true),
        (ServerBehavior::ReplyOnceWith("EHLO", "421 busy"), 2, true),
        (ServerBehavior::ReplyWith("RCPT", "550 unknown"), 1, false),
        (ServerBehavior::ReplyWith("AUTH", "535 wrong"), 1, false),
        (ServerBehavior::ReplyWith("DATA", "452 full"), 3, false),
    ] {
        let mut server = MailServer::start(behavior).await;
        let delivery = open_delivery(&server.url, test_config());
        delivery.dispatch(message("mark@example.com")).unwrap();
        within_timeout(delivery.drain()).await;
        assert_eq!(server.count_commands("EHLO"), attempts, "{:?}", server.commands());
        assert_eq!(server.has_unread_mail(), is_delivered, "{:?}", server.commands());
    }
}

#[actix_web::test]
async fn an_accepted_mail_is_not_sent_twice() {
    let mut server = MailServer::start(ServerBehavior::NoReply("QUIT")).await;
    let delivery = open_delivery(&server.url, test_config());
    delivery.dispatch(message("mark@example.com")).unwrap();
    within_timeout(delivery.drain()).await;
    server.next_mail().await;
    assert_eq!(server.count_commands("EHLO"), 1);
}
