//! Delivery of codes through real mail and webhook servers, which reject, fail temporarily or hang.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::{DialectKind, encode_base64};
use crate::provider::FakeProvider;
use crate::stele_fixture::{PASSWORD, SteleFixture, assert_unavailable};
use crate::support::eventually;

const WEBHOOK_SECRET: &str = "a secret of the gateway";

/// The setting for the fake mail server, with the user and password that it accepts.
fn smtp_url(scheme: &str, port: u16, options: &str) -> String {
    format!("{scheme}://codes:p%40ss%2Cw%C3%B6rd@localhost:{port}?from=%E7%A2%91%20%3Ccodes@example.com%3E{options}")
}

/// A folder with a certificate for `localhost` and its key.
struct TlsIdentity(TempDir);

impl TlsIdentity {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(folder.path().join("certificate.pem"), certified.cert.pem()).unwrap();
        std::fs::write(folder.path().join("key.pem"), certified.signing_key.serialize_pem()).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

fn extract_code(text: &str) -> String {
    let digits = text.split(|c: char| !c.is_ascii_digit());
    digits.into_iter().find(|word| word.len() == 6).unwrap_or_else(|| panic!("no code in {text}")).to_owned()
}

/// How a mail was transferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    Plain,
    Tls,
}

#[track_caller]
fn assert_well_formed_mail(mail: &Value, to: &str, transport: Transport) {
    let encrypted = transport == Transport::Tls;
    assert_eq!((&mail["sender"], &mail["to"]), (&json!("codes@example.com"), &json!([to])), "{mail}");
    assert_eq!((&mail["user"], &mail["encrypted"]), (&json!("codes"), &json!(encrypted)), "{mail}");
    assert_eq!((&mail["defects"], &mail["ascii"]), (&json!([]), &json!(true)), "{mail}");
    let headers = &mail["headers"];
    assert_eq!(
        (headers["from"].as_str(), headers["to"].as_str()),
        (Some("碑 <codes@example.com>"), Some(to)),
        "{mail}"
    );
    let id = headers["message-id"].as_str().unwrap();
    assert!(id.starts_with('<') && id.ends_with('>') && id.contains('@'), "{mail}");
    assert_eq!((&headers["auto-submitted"], &mail["charset"]), (&json!("auto-generated"), &json!("utf-8")), "{mail}");
    #[expect(clippy::disallowed_methods, reason = "the recipient of a mail has a separate clock")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((now - mail["date"].as_f64().unwrap()).abs() < 60.0, "{mail}");
}

#[tokio::test]
#[ignore = "needs aiosmtpd"]
async fn mail_is_delivered_in_both_languages_in_every_tls_mode() {
    let identity = TlsIdentity::new();
    let [certificate, key] = ["certificate.pem", "key.pem"].map(|name| identity.path(name).display().to_string());
    for (mode, scheme, options) in
        [("plain", "smtp", "&tls=none"), ("starttls", "smtp", "&tls=required"), ("tls", "smtps", "")]
    {
        let transport = if mode == "plain" { Transport::Plain } else { Transport::Tls };
        let args = [mode, &certificate, &key];
        let server = FakeProvider::start("mail.py", if transport == Transport::Plain { &args[..1] } else { &args });
        let fixture = SteleFixture::with_settings(&[
            ("STELE_DELIVERY", &smtp_url(scheme, server.port, options)),
            ("STELE_DELIVERY_ENGLISH", "jwt"),
            ("SSL_CERT_FILE", &certificate),
        ]);
        fixture.add_user("mark", "13800138000");

        fixture.send_code(DialectKind::Portal, "", "new@example.com").await.assert_success();
        let mail = server.next_message();
        assert_well_formed_mail(&mail, "new@example.com", transport);
        let code = extract_code(mail["text"].as_str().unwrap());
        let text = format!("您的身份验证码是 {code}，1 小时内有效，请勿告诉他人。");
        assert_eq!(mail["headers"]["subject"], "身份验证码");
        assert_eq!(mail["text"], format!("您好：\r\n\r\n{text}\r\n\r\n如果这不是您本人的操作，请忽略此邮件。\r\n"));
        let fields =
            [("username", "new@example.com"), ("password", &encode_base64(PASSWORD)), ("code", &encode_base64(&code))];
        fixture.client.post_form("/i/register", &[], &fields).await.assert_success();

        fixture.send_code(DialectKind::Jwt, "mark", "mark@example.com").await.assert_success();
        let mail = server.next_message();
        assert_well_formed_mail(&mail, "mark@example.com", transport);
        let code = extract_code(mail["text"].as_str().unwrap());
        let text = format!("Your code to reset your password is {code}. It is valid for 1 hour. Do not share it.");
        assert_eq!(mail["headers"]["subject"], "Your code to reset your password");
        assert_eq!(
            mail["text"].as_str().unwrap().trim_end(),
            format!("Hello,\r\n\r\n{text}\r\n\r\nIf you did not ask for it, ignore this mail.")
        );
        let fields = [("account", "mark"), ("identifyCode", &code)];
        fixture.client.post_form("/api/v1/Auth/validatePhone", &[], &fields).await.assert_success();
        fixture.server.stop();
        assert_eq!(server.remaining_messages(), [] as [Value; 0]);
    }
}

#[tokio::test]
#[ignore = "needs aiosmtpd"]
async fn temporarily_rejected_mail_is_retried() {
    let server = FakeProvider::start("mail.py", &["plain"]);
    let fixture = SteleFixture::with_settings(&[("STELE_DELIVERY", &smtp_url("smtp", server.port, "&tls=none"))]);
    // The client gets its response before delivery begins, so the outcome of the delivery cannot reveal whether a user
    // exists.
    for to in ["451.a@example.com", "550.b@example.com", "always452.c@example.com", "d@example.com"] {
        fixture.send_code(DialectKind::Portal, "", to).await.assert_success();
    }
    eventually("two undelivered codes in the log", || (fixture.undelivered_count() == 2).then_some(()));
    let log = fixture.server.stop();
    let messages = server.remaining_messages();
    let replies_to = |to: &str| -> Vec<i64> {
        let lines = messages.iter().filter(|line| line["to"] == to || line["to"] == json!([to]));
        lines.map(|line| line["answered"].as_i64().unwrap_or(250)).collect()
    };
    assert_eq!(replies_to("451.a@example.com"), [451, 250], "{messages:?}");
    assert_eq!(replies_to("550.b@example.com"), [550], "{messages:?}");
    assert_eq!(replies_to("always452.c@example.com"), [452, 452, 452], "{messages:?}");
    assert_eq!(replies_to("d@example.com"), [250], "{messages:?}");
    assert!(!log.contains("a@example.com\"") && !log.contains("wörd"), "{log}");
}

#[tokio::test]
async fn short_messages_are_signed_and_retried() {
    let gateway = FakeProvider::start("sms.py", &[WEBHOOK_SECRET]);
    let url = format!("webhook+http://127.0.0.1:{}/send?key=value", gateway.port);
    let texts = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(texts.path(), "[zh]\ntext = \"【碑】{purpose}：{code}\"\n").unwrap();
    let fixture = SteleFixture::with_settings(&[
        ("STELE_DELIVERY", &url),
        ("STELE_WEBHOOK_SECRET", WEBHOOK_SECRET),
        ("STELE_DELIVERY_ENGLISH", "mefp"),
        ("STELE_DELIVERY_TEXTS", texts.path().to_str().unwrap()),
    ]);
    let mark = fixture.add_user("mark", "13800138000");
    let assert_signed = |delivered: &Value| {
        assert_eq!(
            (&delivered["signed"], &delivered["path"]),
            (&json!(true), &json!("/send?key=value")),
            "{delivered}"
        );
        assert_eq!(delivered["type"], "application/json", "{delivered}");
    };

    fixture.send_code(DialectKind::Mefp, "", &mark.phone).await.assert_success();
    let delivered = gateway.next_message();
    assert_signed(&delivered);
    let code = delivered["message"]["code"].as_str().unwrap();
    let text = format!("Your code to reset your password is {code}. It is valid for 1 hour. Do not share it.");
    assert_eq!(delivered["message"], json!({ "to": mark.phone, "code": code, "purpose": "reset", "text": text }));
    let message = json!({ "login_name": mark.phone, "new_password": "another-one", "captcha": code });
    fixture.client.call_mefp("/auth/forgot", &message).await.assert_success();

    // The gateway's `Retry-After` of 2 s replaces the default backoff of 1 s.
    fixture.send_code(DialectKind::Portal, "", "13850300001").await.assert_success();
    let (first, second) = (gateway.next_message(), gateway.next_message());
    assert_signed(&first);
    assert_signed(&second);
    assert_eq!((&first["answered"], &second["answered"]), (&json!(503), &json!(200)));
    assert_eq!((&first["key"], &first["message"]), (&second["key"], &second["message"]));
    assert!(second["at"].as_f64().unwrap() - first["at"].as_f64().unwrap() >= 2.0, "{first} {second}");
    let code = first["message"]["code"].as_str().unwrap();
    assert_eq!(first["message"]["text"], format!("【碑】身份：{code}"));
    let fields = [("username", "13850300001"), ("password", &encode_base64(PASSWORD)), ("code", &encode_base64(code))];
    fixture.client.post_form("/i/register", &[], &fields).await.assert_success();

    fixture.send_code(DialectKind::Portal, "", "13840000001").await.assert_success();
    eventually("one undelivered code in the log", || (fixture.undelivered_count() == 1).then_some(()));
    let log = fixture.server.stop();
    assert_eq!(gateway.remaining_messages().len(), 1, "a permanent rejection is not retried");
    assert!(
        log.contains("the gateway responded 400") && !log.contains("13840000001") && !log.contains(WEBHOOK_SECRET),
        "{log}"
    );
}

/// The longest that a call may take if it does not wait for a provider, even on a slow machine: less than the timeout
/// of one attempt, which is 5 s.
const MAX_NON_BLOCKING: Duration = Duration::from_secs(4);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs aiosmtpd"]
async fn a_hanging_provider_is_reported_and_does_not_delay_other_calls() {
    let (mail, gateway) =
        (FakeProvider::start("mail.py", &["plain"]), FakeProvider::start("sms.py", &[WEBHOOK_SECRET]));
    let urls = format!("{},webhook+http://127.0.0.1:{}/", smtp_url("smtp", mail.port, "&tls=none"), gateway.port);
    let fixture = SteleFixture::with_settings(&[("STELE_DELIVERY", &urls), ("STELE_WEBHOOK_SECRET", WEBHOOK_SECRET)]);
    let mark = fixture.add_user("mark", "13800138000");
    mail.hang();
    gateway.hang();
    let hanging_since = Instant::now();
    fixture.send_code(DialectKind::Portal, "", "first@example.com").await.assert_success();

    // The bounded queue for short messages fills up before its oldest message reaches the age limit.
    let mut queued = 0;
    loop {
        let response = fixture.send_code(DialectKind::Portal, "", &format!("138000{queued:05}")).await;
        if !response.is_success() {
            assert_unavailable(DialectKind::Portal, &response);
            break;
        }
        queued += 1;
        assert!(queued <= 1_024, "the queue is not bounded");
    }
    for dialect in [DialectKind::Portal, DialectKind::Mefp, DialectKind::Jwt] {
        let started_at = Instant::now();
        assert_unavailable(dialect, &fixture.send_code(dialect, "mark", &mark.phone).await);
        assert!(started_at.elapsed() < MAX_NON_BLOCKING, "{dialect:?}");
    }
    // An unknown account gets the same response.
    assert_unavailable(DialectKind::Jwt, &fixture.send_code(DialectKind::Jwt, "unknown", &mark.phone).await);
    for dialect in DialectKind::ALL {
        let started_at = Instant::now();
        fixture.client.login(dialect, &mark, PASSWORD).await.assert_success();
        assert!(started_at.elapsed() < MAX_NON_BLOCKING, "{dialect:?}");
    }

    // Mail is queued until the oldest one has waited for 20 s.
    let rejected = loop {
        let response = fixture.send_code(DialectKind::Jwt, "mark", &mark.email).await;
        if !response.is_success() {
            break response;
        }
        assert!(hanging_since.elapsed() < Duration::from_secs(40), "{response:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_unavailable(DialectKind::Jwt, &rejected);
    assert_unavailable(DialectKind::Portal, &fixture.send_code(DialectKind::Portal, "", "another@example.com").await);

    mail.resume();
    gateway.resume();
    for (dialect, to) in
        [(DialectKind::Portal, "14800138000"), (DialectKind::Mefp, &mark.phone), (DialectKind::Jwt, &mark.email)]
    {
        let resumed_at = Instant::now();
        while !fixture.send_code(dialect, "mark", to).await.is_success() {
            assert!(resumed_at.elapsed() < Duration::from_secs(20), "{dialect:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    for (provider, to) in [(&gateway, mark.phone.as_str()), (&mail, &mark.email)] {
        while !provider.next_message().to_string().contains(to) {}
    }
}
