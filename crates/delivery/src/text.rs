//! Texts of messages with codes, in Chinese or English: the templates of `texts.toml`, or an operator's own.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use stele_core::code::CodePurpose;
use stele_core::ports::CodeMessage;
use stele_service::{AnySetting as _, ConfigError, Settings};
use toml::Table;
use zeroize::Zeroizing;

use crate::template::{fill_placeholders, placeholders};
use crate::{DELIVERY_ENGLISH, DELIVERY_TEXTS};

const DEFAULT_TEXTS: &str = include_str!("texts.toml");

/// The texts of messages.
#[derive(Clone, Debug)]
pub(super) struct MessageTexts {
    code_ttl: Duration,
    english_dialects: Vec<String>,
    templates: Templates,
}

/// A mail's subject and body.
pub(super) struct MailText {
    pub(super) subject: String,
    pub(super) body: Zeroizing<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Templates {
    zh: LanguageTexts,
    en: LanguageTexts,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LanguageTexts {
    text: String,
    subject: String,
    mail: String,
    purpose: PurposeTexts,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PurposeTexts {
    register: String,
    reset: String,
    any: String,
}

impl MessageTexts {
    /// Reads the texts: English for the dialects in `STELE_DELIVERY_ENGLISH`, Chinese for all others. The texts in the
    /// file `STELE_DELIVERY_TEXTS` replace the built-in ones. `code_ttl` is the lifetime of codes that the texts state.
    ///
    /// # Errors
    /// If a setting or the file is invalid.
    pub(super) fn from_settings(settings: &Settings, code_ttl: Duration) -> Result<Self, ConfigError> {
        let english_dialects = settings.get(&DELIVERY_ENGLISH)?;
        let file_error = |reason: String| ConfigError::new(format!("{}: {reason}", DELIVERY_TEXTS.name()));
        let read = |path: PathBuf| {
            std::fs::read_to_string(&path).map_err(|e| file_error(format!("cannot read {}: {e}", path.display())))
        };
        let custom_texts = settings.get(&DELIVERY_TEXTS)?.map(read).transpose()?.unwrap_or_default();
        Ok(Self { code_ttl, english_dialects, templates: Templates::parse(&custom_texts).map_err(file_error)? })
    }

    /// The texts in the language of the message's dialect, and the lifetime of codes in that language.
    fn language_and_validity(&self, message: &CodeMessage) -> (&LanguageTexts, String) {
        if self.english_dialects.iter().any(|name| name == message.dialect) {
            (&self.templates.en, format_duration_english(self.code_ttl))
        } else {
            (&self.templates.zh, format_duration_chinese(self.code_ttl))
        }
    }

    /// Renders a short message.
    pub(super) fn render_sms(&self, message: &CodeMessage) -> Zeroizing<String> {
        let (language, validity) = self.language_and_validity(message);
        language.render(&language.text, message, &validity, "")
    }

    /// Renders a mail.
    pub(super) fn render_mail(&self, message: &CodeMessage) -> MailText {
        let (language, validity) = self.language_and_validity(message);
        let text = language.render(&language.text, message, &validity, "");
        let body = language.render(&language.mail, message, &validity, &text);
        let subject =
            fill_placeholders(&language.subject, &|name| (name == "purpose").then(|| language.purpose_text(message)));
        // Lines of mail end in CRLF (RFC 5322, section 2.1), whatever the template has.
        MailText { subject, body: Zeroizing::new(body.replace("\r\n", "\n").replace('\n', "\r\n")) }
    }
}

impl Templates {
    /// The default texts, overridden by those in the TOML text `custom_texts`.
    fn parse(custom_texts: &str) -> Result<Self, String> {
        let parse_table = |text: &str| text.parse::<Table>().map_err(|e| e.to_string().trim_end().to_owned());
        let mut merged = parse_table(DEFAULT_TEXTS)?;
        merge_tables(&mut merged, parse_table(custom_texts)?);
        let templates: Self = merged.try_into().map_err(|e: toml::de::Error| e.message().to_owned())?;
        for (name, language) in [("zh", &templates.zh), ("en", &templates.en)] {
            language.validate().map_err(|reason| format!("[{name}]: {reason}"))?;
        }
        Ok(templates)
    }
}

fn merge_tables(base: &mut Table, overrides: Table) {
    for (key, value) in overrides {
        match (base.get_mut(&key), value) {
            (Some(toml::Value::Table(base)), toml::Value::Table(overrides)) => merge_tables(base, overrides),
            (_, value) => drop(base.insert(key, value)),
        }
    }
}

impl LanguageTexts {
    fn validate(&self) -> Result<(), String> {
        // `required`: the template must have at least one of these placeholders.
        for (name, template, allowed, required) in [
            ("text", &self.text, &["code", "purpose", "valid"][..], &["code"][..]),
            ("subject", &self.subject, &["purpose"], &[]),
            ("mail", &self.mail, &["code", "purpose", "valid", "text"], &["code", "text"]),
        ] {
            let found = placeholders(template);
            if let Some(unknown) = found.iter().find(|placeholder| !allowed.contains(&placeholder.as_str())) {
                return Err(format!("`{name}` has the unknown placeholder {{{unknown}}}; use only {allowed:?}"));
            }
            if !required.is_empty() && !required.iter().any(|placeholder| found.contains(*placeholder)) {
                return Err(format!("`{name}` has no placeholder for the code; add {{{}}}", required[0]));
            }
        }
        let is_one_line = !self.subject.contains(['\r', '\n']) && !self.subject.is_empty();
        if is_one_line { Ok(()) } else { Err("`subject` must be one line".to_owned()) }
    }

    fn purpose_text(&self, message: &CodeMessage) -> &str {
        match message.purpose {
            CodePurpose::Register => &self.purpose.register,
            CodePurpose::Reset => &self.purpose.reset,
            CodePurpose::Any => &self.purpose.any,
        }
    }

    fn render(&self, template: &str, message: &CodeMessage, validity: &str, text: &str) -> Zeroizing<String> {
        Zeroizing::new(fill_placeholders(template, &|name| match name {
            "code" => Some(message.code.expose()),
            "purpose" => Some(self.purpose_text(message)),
            "valid" => Some(validity),
            "text" => Some(text),
            _ => None,
        }))
    }
}

/// A duration as a whole number of its largest possible unit, and the index of the unit: seconds, minutes, hours.
fn largest_whole_unit(duration: Duration) -> (u64, usize) {
    let seconds = duration.as_secs();
    match seconds {
        0 => (seconds, 0),
        s if s % 3_600 == 0 => (s / 3_600, 2),
        s if s % 60 == 0 => (s / 60, 1),
        s => (s, 0),
    }
}

fn format_duration_chinese(duration: Duration) -> String {
    let (number, unit) = largest_whole_unit(duration);
    format!("{number} {}", ["秒", "分钟", "小时"][unit])
}

fn format_duration_english(duration: Duration) -> String {
    let (number, unit) = largest_whole_unit(duration);
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {}{plural}", ["second", "minute", "hour"][unit])
}

#[cfg(test)]
mod tests {
    use stele_core::code::Code;
    use stele_core::identifier::Recipient;
    use stele_core::time::Timestamp;

    use super::*;

    fn message(dialect: &'static str, purpose: CodePurpose) -> CodeMessage {
        let to = Recipient::parse("13800138000").unwrap();
        CodeMessage { at: Timestamp::from_secs(0), to, purpose, dialect, code: Code::from_user_input("012345") }
    }

    fn texts(code_ttl: u64) -> MessageTexts {
        let settings = Settings::default().with_values([("STELE_DELIVERY_ENGLISH", "mefp, sixth".to_owned())]);
        MessageTexts::from_settings(&settings, Duration::from_secs(code_ttl)).unwrap()
    }

    #[test]
    fn the_language_follows_the_dialect() {
        let texts = texts(3_600);
        assert_eq!(
            *texts.render_sms(&message("portal", CodePurpose::Register)),
            "您的注册验证码是 012345，1 小时内有效，请勿告诉他人。"
        );
        assert_eq!(
            *texts.render_sms(&message("sixth", CodePurpose::Reset)),
            "Your code to reset your password is 012345. It is valid for 1 hour. Do not share it."
        );
        assert!(texts.render_sms(&message("mefp", CodePurpose::Any)).contains("verify"));
        let mail = texts.render_mail(&message("jwt", CodePurpose::Reset));
        assert_eq!(mail.subject, "重置密码验证码");
        assert!(mail.body.contains("012345") && mail.body.starts_with("您好"));
        assert_eq!(texts.render_mail(&message("portal", CodePurpose::Any)).subject, "身份验证码");
        assert_eq!(
            texts.render_mail(&message("sixth", CodePurpose::Reset)).subject,
            "Your code to reset your password"
        );
    }

    #[test]
    fn code_validity_is_given_in_whole_units() {
        let render_sms = |code_ttl| texts(code_ttl).render_sms(&message("jwt", CodePurpose::Any)).to_string();
        assert!(render_sms(300).contains("5 分钟内"));
        assert!(render_sms(90).contains("90 秒内"));
        assert_eq!(format_duration_english(Duration::from_secs(7_200)), "2 hours");
    }

    #[test]
    fn custom_texts_override_the_defaults_and_mistakes_are_reported() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let parse_file = |custom_texts: &str| {
            std::fs::write(file.path(), custom_texts).unwrap();
            let path = file.path().to_str().unwrap().to_owned();
            let settings = Settings::default().with_values([("STELE_DELIVERY_TEXTS", path)]);
            MessageTexts::from_settings(&settings, Duration::from_secs(600)).map_err(|e| e.to_string())
        };
        let custom_texts =
            "[zh]\ntext = \"【碑】{code}（{purpose}）{{valid}\"\npurpose.reset = \"改密\"\nmail = \"{text}\\n再见\"";
        let texts = parse_file(custom_texts).unwrap();
        let message = message("jwt", CodePurpose::Reset);
        assert_eq!(*texts.render_sms(&message), "【碑】012345（改密）{10 分钟");
        let mail = texts.render_mail(&message);
        assert_eq!((mail.subject.as_str(), mail.body.as_str()), ("改密验证码", "【碑】012345（改密）{10 分钟\r\n再见"));
        for (mistake, expected) in [
            ("[zh", "TOML"),
            ("[fr]\ntext = ''", "`fr`"),
            ("[en]\nsms = ''", "`sms`"),
            ("[en]\ntext = 'Your code'", "no placeholder for the code"),
            ("[en]\nmail = 'Your mail'", "no placeholder for the code"),
            ("[en]\nsubject = '{code}'", "{code}"),
            ("[en]\ntext = '{code} {name}'", "{name}"),
            ("[zh]\nsubject = \"a\\nBcc: b\"", "one line"),
        ] {
            let error = parse_file(mistake).err().unwrap();
            assert!(error.starts_with("STELE_DELIVERY_TEXTS: ") && error.contains(expected), "{mistake}: {error}");
        }
    }
}
