//! What a recipient reads, in Chinese or in English.

use std::time::Duration;

use stele_core::code::Purpose;
use stele_core::ports::Message;
use zeroize::Zeroizing;

use crate::config::{ConfigError, Settings};

/// The texts around codes.
#[derive(Clone, Debug)]
pub(super) struct Texts {
    valid: Duration,
    english: Vec<String>,
}

/// A mail's subject and body.
pub(super) struct Mail {
    pub(super) subject: &'static str,
    pub(super) body: Zeroizing<String>,
}

impl Texts {
    /// Texts that say codes live for `valid`; in English for the dialects in `STELE_DELIVERY_ENGLISH`, in Chinese for
    /// all others.
    ///
    /// # Errors
    /// If the setting cannot be read.
    pub(super) fn from_settings(settings: &Settings, valid: Duration) -> Result<Self, ConfigError> {
        let english = settings.read("STELE_DELIVERY_ENGLISH", Vec::new(), |text| {
            Ok(text.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect())
        })?;
        Ok(Self { valid, english })
    }

    fn is_english(&self, message: &Message) -> bool {
        self.english.iter().any(|name| name == message.dialect)
    }

    /// A short message.
    pub(super) fn sms(&self, message: &Message) -> Zeroizing<String> {
        let code = message.code.expose();
        Zeroizing::new(if self.is_english(message) {
            let purpose = match message.purpose {
                Purpose::Register => "to sign up",
                Purpose::Reset => "to reset your password",
                Purpose::Any => "to verify that it is you",
            };
            format!("Your code {purpose} is {code}. It is valid for {}. Do not share it.", english_span(self.valid))
        } else {
            let purpose = match message.purpose {
                Purpose::Register => "注册",
                Purpose::Reset => "重置密码",
                Purpose::Any => "身份验证",
            };
            format!("您的{purpose}验证码是 {code}，{}内有效，请勿告诉他人。", chinese_span(self.valid))
        })
    }

    /// A mail. Its subject is without the code: mail clients show subjects on locked screens.
    pub(super) fn mail(&self, message: &Message) -> Mail {
        let text = self.sms(message);
        let (subject, greeting, end) = if self.is_english(message) {
            let subject = match message.purpose {
                Purpose::Register => "Your code to sign up",
                Purpose::Reset => "Your code to reset your password",
                Purpose::Any => "Your verification code",
            };
            (subject, "Hello,", "If you did not ask for it, ignore this mail.")
        } else {
            let subject = match message.purpose {
                Purpose::Register => "注册验证码",
                Purpose::Reset => "重置密码验证码",
                Purpose::Any => "验证码",
            };
            (subject, "您好：", "如果这不是您本人的操作，请忽略此邮件。")
        };
        Mail { subject, body: Zeroizing::new(format!("{greeting}\r\n\r\n{}\r\n\r\n{end}\r\n", *text)) }
    }
}

/// The span in the largest unit that it is whole in, and that unit's place.
fn span(valid: Duration) -> (u64, usize) {
    let seconds = valid.as_secs();
    match seconds {
        0 => (seconds, 0),
        s if s % 3_600 == 0 => (s / 3_600, 2),
        s if s % 60 == 0 => (s / 60, 1),
        s => (s, 0),
    }
}

fn chinese_span(valid: Duration) -> String {
    let (number, unit) = span(valid);
    format!("{number} {}", ["秒", "分钟", "小时"][unit])
}

fn english_span(valid: Duration) -> String {
    let (number, unit) = span(valid);
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {}{plural}", ["second", "minute", "hour"][unit])
}

#[cfg(test)]
mod tests {
    use stele_core::code::Code;
    use stele_core::identifier::Recipient;
    use stele_core::time::Timestamp;

    use super::*;

    fn message(dialect: &'static str, purpose: Purpose) -> Message {
        let to = Recipient::parse("13800138000").unwrap();
        Message { at: Timestamp::from_secs(0), to, purpose, dialect, code: Code::typed("012345") }
    }

    fn texts(valid: u64) -> Texts {
        let settings = Settings::default().with([("STELE_DELIVERY_ENGLISH", "mefp, sixth".to_owned())]);
        Texts::from_settings(&settings, Duration::from_secs(valid)).unwrap()
    }

    #[test]
    fn the_language_is_the_dialects() {
        let texts = texts(3_600);
        assert_eq!(
            *texts.sms(&message("portal", Purpose::Register)),
            "您的注册验证码是 012345，1 小时内有效，请勿告诉他人。"
        );
        assert_eq!(
            *texts.sms(&message("sixth", Purpose::Reset)),
            "Your code to reset your password is 012345. It is valid for 1 hour. Do not share it."
        );
        assert!(texts.sms(&message("mefp", Purpose::Any)).contains("verify"));
        let mail = texts.mail(&message("jwt", Purpose::Reset));
        assert_eq!(mail.subject, "重置密码验证码");
        assert!(mail.body.contains("012345") && mail.body.starts_with("您好"));
        assert_eq!(texts.mail(&message("sixth", Purpose::Any)).subject, "Your verification code");
    }

    #[test]
    fn the_span_is_said_in_whole_units() {
        let said = |valid| texts(valid).sms(&message("jwt", Purpose::Any)).to_string();
        assert!(said(300).contains("5 分钟内"));
        assert!(said(90).contains("90 秒内"));
        assert_eq!(english_span(Duration::from_secs(7_200)), "2 hours");
    }
}
