//! Parsing of `STELE_DELIVERY`: valid values, and errors without the password.

use crate::{HOUR, delivery_config, settings};

#[test]
fn configuration_errors_never_contain_the_password() {
    for (bad, reason) in [
        ("mailto:hunter2", "unsupported URL"),
        ("hunter2", "by commas"),
        ("https://hunter2@example.com", "unsupported URL"),
        ("outbox,smtp://a:hunter2@b?from=c@d.e", "by commas"),
        ("smtp://user:hunter2@example.com", "needs a sender"),
        ("smtp://user:hunter2@example.com?from=unknown", "not a valid sender"),
        ("smtp://user@example.com?from=a@b.c", "a user and a password"),
        ("smtp://user:hunter2@example.com?from=a@b.c&tls=maybe", "tls=maybe"),
        ("smtps://user:hunter2@example.com?from=a@b.c&tls=none", "always encrypted"),
        ("smtp://user:hunter2@example.com?from=a@b.c&ssl=1", "`ssl`"),
        ("smtp://u:hunter2@a.b?from=a@b.c,smtps://u:hunter2@c.d?from=a@b.c", "more than one"),
    ] {
        let error = delivery_config(&settings(bad), HOUR).err().unwrap().to_string();
        assert!(error.starts_with("STELE_DELIVERY: ") && error.contains(reason), "{bad}: {error}");
        assert!(!error.contains("hunter2"), "{bad}: {error}");
    }
    let short_secret =
        settings("webhook+https://example.com/").with_values([("STELE_WEBHOOK_SECRET", "hunter2".to_owned())]);
    let error = delivery_config(&short_secret, HOUR).err().unwrap().to_string();
    assert!(error.starts_with("STELE_WEBHOOK_SECRET: ") && !error.contains("hunter2"), "{error}");
    let invalid_template =
        settings("webhook+https://example.com/").with_values([("STELE_WEBHOOK_TEMPLATE", "{".to_owned())]);
    let error = delivery_config(&invalid_template, HOUR).err().unwrap().to_string();
    assert!(error.starts_with("STELE_WEBHOOK_TEMPLATE: "), "{error}");
}

#[test]
fn valid_delivery_settings_are_accepted() {
    for valid in [
        "outbox",
        "smtps://user:p%40ss@mail.example.com?from=Stele%20%3Ccodes@example.com%3E",
        "smtp://[::1]:2525?from=codes@example.com&tls=required",
        "webhook+https://user:pass@sms.example.com/v1/send?key=1 , smtp://relay?from=a@b.c&tls=none",
    ] {
        let config = delivery_config(&settings(valid), HOUR).unwrap();
        assert_eq!(config.is_outbox(), valid == "outbox");
    }
}
