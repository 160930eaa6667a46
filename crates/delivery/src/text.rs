//! What a recipient reads, in Chinese or in English: the templates of `texts.toml`, or an operator's own.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use stele_core::code::Purpose;
use stele_core::ports::Message;
use stele_service::{ConfigError, Declared as _, Settings};
use toml::Table;
use zeroize::Zeroizing;

use crate::template::{fill_in, places};
use crate::{DELIVERY_ENGLISH, DELIVERY_TEXTS};

const DEFAULTS: &str = include_str!("texts.toml");

/// The texts around codes.
#[derive(Clone, Debug)]
pub(super) struct Texts {
    valid: Duration,
    english: Vec<String>,
    templates: Templates,
}

/// A mail's subject and body.
pub(super) struct Mail {
    pub(super) subject: String,
    pub(super) body: Zeroizing<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Templates {
    zh: Language,
    en: Language,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Language {
    text: String,
    subject: String,
    mail: String,
    purpose: Purposes,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Purposes {
    register: String,
    reset: String,
    any: String,
}

impl Texts {
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
        Ok(Self { valid, english, templates: Templates::read(&own).map_err(fault)? })
    }

    fn language(&self, message: &Message) -> (&Language, String) {
        if self.english.iter().any(|name| name == message.dialect) {
            (&self.templates.en, english_span(self.valid))
        } else {
            (&self.templates.zh, chinese_span(self.valid))
        }
    }

    /// A short message.
    pub(super) fn sms(&self, message: &Message) -> Zeroizing<String> {
        let (language, valid) = self.language(message);
        language.fill(&language.text, message, &valid, "")
    }

    /// A mail.
    pub(super) fn mail(&self, message: &Message) -> Mail {
        let (language, valid) = self.language(message);
        let text = language.fill(&language.text, message, &valid, "");
        let body = language.fill(&language.mail, message, &valid, &text);
        let subject = fill_in(&language.subject, &|name| (name == "purpose").then(|| language.purpose(message)));
        // As lines end in mail (RFC 5322, section 2.1), however they end in the template.
        Mail { subject, body: Zeroizing::new(body.replace("\r\n", "\n").replace('\n', "\r\n")) }
    }
}

impl Templates {
    /// The defaults, with what `own` has in place of theirs.
    fn read(own: &str) -> Result<Self, String> {
        let table = |text: &str| text.parse::<Table>().map_err(|e| e.to_string().trim_end().to_owned());
        let mut merged = table(DEFAULTS)?;
        merge(&mut merged, table(own)?);
        let templates: Self = merged.try_into().map_err(|e: toml::de::Error| e.message().to_owned())?;
        for (name, language) in [("zh", &templates.zh), ("en", &templates.en)] {
            language.check().map_err(|why| format!("[{name}]: {why}"))?;
        }
        Ok(templates)
    }
}

fn merge(into: &mut Table, own: Table) {
    for (key, value) in own {
        match (into.get_mut(&key), value) {
            (Some(toml::Value::Table(into)), toml::Value::Table(own)) => merge(into, own),
            (_, value) => drop(into.insert(key, value)),
        }
    }
}

impl Language {
    fn check(&self) -> Result<(), String> {
        for (name, template, known, needed) in [
            ("text", &self.text, &["code", "purpose", "valid"][..], &["code"][..]),
            ("subject", &self.subject, &["purpose"], &[]),
            ("mail", &self.mail, &["code", "purpose", "valid", "text"], &["code", "text"]),
        ] {
            let places = places(template);
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

    fn purpose(&self, message: &Message) -> &str {
        match message.purpose {
            Purpose::Register => &self.purpose.register,
            Purpose::Reset => &self.purpose.reset,
            Purpose::Any => &self.purpose.any,
        }
    }

    fn fill(&self, template: &str, message: &Message, valid: &str, text: &str) -> Zeroizing<String> {
        Zeroizing::new(fill_in(template, &|name| match name {
            "code" => Some(message.code.expose()),
            "purpose" => Some(self.purpose(message)),
            "valid" => Some(valid),
            "text" => Some(text),
            _ => None,
        }))
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
        assert_eq!(texts.mail(&message("portal", Purpose::Any)).subject, "身份验证码");
        assert_eq!(texts.mail(&message("sixth", Purpose::Reset)).subject, "Your code to reset your password");
    }

    #[test]
    fn the_span_is_said_in_whole_units() {
        let said = |valid| texts(valid).sms(&message("jwt", Purpose::Any)).to_string();
        assert!(said(300).contains("5 分钟内"));
        assert!(said(90).contains("90 秒内"));
        assert_eq!(english_span(Duration::from_secs(7_200)), "2 hours");
    }

    #[test]
    fn an_operators_own_texts_stand_in_for_the_defaults_and_slips_are_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let read = |own: &str| {
            std::fs::write(file.path(), own).unwrap();
            let path = file.path().to_str().unwrap().to_owned();
            let settings = Settings::default().with([("STELE_DELIVERY_TEXTS", path)]);
            Texts::from_settings(&settings, Duration::from_secs(600)).map_err(|e| e.to_string())
        };
        let own =
            "[zh]\ntext = \"【碑】{code}（{purpose}）{{valid}\"\npurpose.reset = \"改密\"\nmail = \"{text}\\n再见\"";
        let texts = read(own).unwrap();
        let message = message("jwt", Purpose::Reset);
        assert_eq!(*texts.sms(&message), "【碑】012345（改密）{10 分钟");
        let mail = texts.mail(&message);
        assert_eq!((mail.subject.as_str(), mail.body.as_str()), ("改密验证码", "【碑】012345（改密）{10 分钟\r\n再见"));
        for (slip, told) in [
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
            assert!(error.starts_with("STELE_DELIVERY_TEXTS: ") && error.contains(told), "{slip}: {error}");
        }
    }
}
