//! Mail by SMTP.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::mailserver::{MailServer, Mood};
use crate::{bounds, message, open, soon};

fn decode(text: &str) -> String {
    String::from_utf8(STANDARD.decode(text.replace('\n', "")).unwrap()).unwrap()
}

#[actix_web::test]
async fn a_code_arrives_as_a_mail() {
    let mut server = MailServer::start(Mood::Well).await;
    let delivery = open(&server.url, bounds());
    // Sent to the address that accounts are found by, not to one that merely folds to it.
    delivery.dispatch(message("ｍark@Example.com")).unwrap();
    let mail = server.next().await;
    assert!(mail.from.starts_with("MAIL FROM:<codes@example.com>"), "{}", mail.from);
    assert_eq!(mail.to, "RCPT TO:<mark@example.com>");
    let (head, body) = mail.data.split_once("\n\n").unwrap();
    let header = |name: &str| {
        let line = head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.unwrap_or_else(|| panic!("{name}: {head}"))
    };
    assert_eq!(header("From"), "Stele <codes@example.com>");
    assert_eq!(header("To"), "mark@example.com");
    assert_eq!(header("Date"), "Thu, 01 Jan 2026 08:00:00 +0000");
    assert_eq!(header("Auto-Submitted"), "auto-generated");
    assert_eq!(header("Content-Type"), "text/plain; charset=utf-8");
    assert!(header("Message-ID").starts_with('<'));
    let subject = header("Subject").strip_prefix("=?utf-8?b?").unwrap().strip_suffix("?=").unwrap();
    assert_eq!(decode(subject), "重置密码验证码");
    assert_eq!(header("Content-Transfer-Encoding"), "base64");
    assert_eq!(
        decode(body),
        "您好：\r\n\r\n您的重置密码验证码是 012345，1 小时内有效，请勿告诉他人。\r\n\r\n\
         如果这不是您本人的操作，请忽略此邮件。\r\n"
    );
    let auth = STANDARD.encode("\0codes\0pass,word");
    assert!(server.commands().contains(&format!("AUTH PLAIN {auth}")));
}

#[actix_web::test]
async fn without_starttls_nothing_is_said() {
    let server = MailServer::start(Mood::Well).await;
    let delivery = open(&format!("smtp://u:p@127.0.0.1:{}?from=codes@example.com", server.port), bounds());
    delivery.dispatch(message("mark@example.com")).unwrap();
    soon(delivery.drain()).await;
    assert_eq!(server.count("EHLO"), 3);
    assert_eq!(server.commands().len(), 3, "{:?}", server.commands());
}

#[actix_web::test]
async fn what_may_pass_is_tried_again_and_what_will_not_is_not() {
    for (mood, tries, arrives) in [
        (Mood::RefuseOnce("RCPT", "451 greylisted"), 2, true),
        (Mood::RefuseOnce("AUTH", "454 later"), 2, true),
        (Mood::RefuseOnce("EHLO", "421 busy"), 2, true),
        (Mood::Refuse("RCPT", "550 unknown"), 1, false),
        (Mood::Refuse("AUTH", "535 wrong"), 1, false),
        (Mood::Refuse("DATA", "452 full"), 3, false),
    ] {
        let mut server = MailServer::start(mood).await;
        let delivery = open(&server.url, bounds());
        delivery.dispatch(message("mark@example.com")).unwrap();
        soon(delivery.drain()).await;
        assert_eq!(server.count("EHLO"), tries, "{:?}", server.commands());
        assert_eq!(server.has_more(), arrives, "{:?}", server.commands());
    }
}

#[actix_web::test]
async fn an_accepted_mail_is_not_sent_twice() {
    let mut server = MailServer::start(Mood::Ignore("QUIT")).await;
    let delivery = open(&server.url, bounds());
    delivery.dispatch(message("mark@example.com")).unwrap();
    soon(delivery.drain()).await;
    server.next().await;
    assert_eq!(server.count("EHLO"), 1);
}
