//! What a recipient reads, in Chinese or in English: the templates of `texts.toml`, or an operator's own.

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

/// The texts around codes.
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
    /// Texts that say codes live for `valid`; in English for the dialects in `STELE_DELIVERY_ENGLISH`, in Chinese for
    /// all others; as the file that `STELE_DELIVERY_TEXTS` names has them, as far as it does.
    ///
    /// # Errors
    /// If a setting or the file cannot be used.
    pub(super) fn from_settings(settings: &Settings, valid: Duration) -> Result<Self, ConfigError> {
        let english = settings.get(&DELIVERY_ENGLISH)?;
        let fault = |why: String| ConfigError::new(format!("{}: {why}", DELIVERY_TEXTS.name()));
        let read = |path: PathBuf| {
            std::fs::read_to_string(&path).map_err(|e| fault(format!("cannot read {}: {e}", path.display())))
        };
        let own = settings.get(&DELIVERY_TEXTS)?.map(read).transpose()?.unwrap_or_default();
        Ok(Self { code_ttl: valid, english_dialects: english, templates: Templates::parse(&own).map_err(fault)? })
    }

    fn language_for(&self, message: &CodeMessage) -> (&LanguageTexts, String) {
        if self.english_dialects.iter().any(|name| name == message.dialect) {
            (&self.templates.en, format_duration_english(self.code_ttl))
        } else {
            (&self.templates.zh, format_duration_chinese(self.code_ttl))
        }
    }

    /// A short message.
    pub(super) fn render_sms(&self, message: &CodeMessage) -> Zeroizing<String> {
        let (language, valid) = self.language_for(message);
        language.render(&language.text, message, &valid, "")
    }

    /// A mail.
    pub(super) fn render_mail(&self, message: &CodeMessage) -> MailText {
        let (language, valid) = self.language_for(message);
        let text = language.render(&language.text, message, &valid, "");
        let body = language.render(&language.mail, message, &valid, &text);
        let subject =
            fill_placeholders(&language.subject, &|name| (name == "purpose").then(|| language.purpose_text(message)));
        // As lines end in mail (RFC 5322, section 2.1), however they end in the template.
        MailText { subject, body: Zeroizing::new(body.replace("\r\n", "\n").replace('\n', "\r\n")) }
    }
}

impl Templates {
    /// The defaults, with what `own` has in place of theirs.
    fn parse(own: &str) -> Result<Self, String> {
        let table = |text: &str| text.parse::<Table>().map_err(|e| e.to_string().trim_end().to_owned());
        let mut merged = table(DEFAULT_TEXTS)?;
        merge_tables(&mut merged, table(own)?);
        let templates: Self = merged.try_into().map_err(|e: toml::de::Error| e.message().to_owned())?;
        for (name, language) in [("zh", &templates.zh), ("en", &templates.en)] {
            language.validate().map_err(|why| format!("[{name}]: {why}"))?;
        }
        Ok(templates)
    }
}

fn merge_tables(into: &mut Table, own: Table) {
    for (key, value) in own {
        match (into.get_mut(&key), value) {
            (Some(toml::Value::Table(into)), toml::Value::Table(own)) => merge_tables(into, own),
            (_, value) => drop(into.insert(key, value)),
        }
    }
}

impl LanguageTexts {
    fn validate(&self) -> Result<(), String> {
        for (name, template, known, needed) in [
            ("text", &self.text, &["code", "purpose", "valid"][..], &["code"][..]),
            ("subject", &self.subject, &["purpose"], &[]),
            ("mail", &self.mail, &["code", "purpose", "valid", "text"], &["code", "text"]),
        ] {
            let places = placeholders(template);
            if let Some(stranger) = places.iter().find(|place| !known.contains(&place.as_str())) {
                return Err(format!("`{name}` has {{{stranger}}}; known there are {known:?}"));
            }
            if !needed.is_empty() && !needed.iter().any(|place| places.contains(*place)) {
                return Err(format!("`{name}` has no place for the code; it needs {{{}}}", needed[0]));
            }
        }
        let one_line = !self.subject.contains(['\r', '\n']) && !self.subject.is_empty();
        if one_line { Ok(()) } else { Err("`subject` must be one line".to_owned()) }
    }

    fn purpose_text(&self, message: &CodeMessage) -> &str {
        match message.purpose {
            CodePurpose::Register => &self.purpose.register,
            CodePurpose::Reset => &self.purpose.reset,
            CodePurpose::Any => &self.purpose.any,
        }
    }

    fn render(&self, template: &str, message: &CodeMessage, valid: &str, text: &str) -> Zeroizing<String> {
        Zeroizing::new(fill_placeholders(template, &|name| match name {
            "code" => Some(message.code.expose()),
            "purpose" => Some(self.purpose_text(message)),
            "valid" => Some(valid),
            "text" => Some(text),
            _ => None,
        }))
    }
}

/// The span in the largest unit that it is whole in, and that unit's place.
fn largest_whole_unit(valid: Duration) -> (u64, usize) {
    let seconds = valid.as_secs();
    match seconds {
        0 => (seconds, 0),
        s if s % 3_600 == 0 => (s / 3_600, 2),
        s if s % 60 == 0 => (s / 60, 1),
        s => (s, 0),
    }
}

fn format_duration_chinese(valid: Duration) -> String {
    let (number, unit) = largest_whole_unit(valid);
    format!("{number} {}", ["秒", "分钟", "小时"][unit])
}

fn format_duration_english(valid: Duration) -> String {
    let (number, unit) = largest_whole_unit(valid);
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

    fn texts(valid: u64) -> MessageTexts {
        let settings = Settings::default().with_values([("STELE_DELIVERY_ENGLISH", "mefp, sixth".to_owned())]);
        MessageTexts::from_settings(&settings, Duration::from_secs(valid)).unwrap()
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
        let said = |valid| texts(valid).render_sms(&message("jwt", CodePurpose::Any)).to_string();
        assert!(said(300).contains("5 分钟内"));
        assert!(said(90).contains("90 秒内"));
        assert_eq!(format_duration_english(Duration::from_secs(7_200)), "2 hours");
    }

    #[test]
    fn custom_texts_override_the_defaults_and_mistakes_are_reported() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let read = |own: &str| {
            std::fs::write(file.path(), own).unwrap();
            let path = file.path().to_str().unwrap().to_owned();
            let settings = Settings::default().with_values([("STELE_DELIVERY_TEXTS", path)]);
            MessageTexts::from_settings(&settings, Duration::from_secs(600)).map_err(|e| e.to_string())
        };
        let own =
            "[zh]\ntext = \"【碑】{code}（{purpose}）{{valid}\"\npurpose.reset = \"改密\"\nmail = \"{text}\\n再见\"";
        let texts = read(own).unwrap();
        let message = message("jwt", CodePurpose::Reset);
        assert_eq!(*texts.render_sms(&message), "【碑】012345（改密）{10 分钟");
        let mail = texts.render_mail(&message);
        assert_eq!((mail.subject.as_str(), mail.body.as_str()), ("改密验证码", "【碑】012345（改密）{10 分钟\r\n再见"));
        for (slip, expected) in [
            ("[zh", "TOML"),
            ("[fr]\ntext = ''", "`fr`"),
            ("[en]\nsms = ''", "`sms`"),
            ("[en]\ntext = 'Your code'", "no place for the code"),
            ("[en]\nmail = 'Your mail'", "no place for the code"),
            ("[en]\nsubject = '{code}'", "{code}"),
            ("[en]\ntext = '{code} {name}'", "{name}"),
            ("[zh]\nsubject = \"a\\nBcc: b\"", "one line"),
        ] {
            let error = read(slip).err().unwrap();
            assert!(error.starts_with("STELE_DELIVERY_TEXTS: ") && error.contains(expected), "{slip}: {error}");
        }
    }
}
