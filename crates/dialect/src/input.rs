//! Reading what a client sends: JSON, urlencoded, multipart, and multipart's content type over an urlencoded body
//! (jQuery 1.x with `contentType: "multipart/form-data"`, as the JWT document's samples have it).
//!
//! Whatever the form, a body becomes a flat list of named values; numbers may come as strings and the other way
//! round. What a dialect expects in it, the dialect says.

use std::borrow::Cow;
use std::fmt;

use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::web::Bytes;
use futures_util::TryStreamExt as _;
use percent_encoding::percent_decode_str;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use zeroize::{Zeroize as _, Zeroizing};

/// The most fields a body may have: the widest documented one has four.
const MOST_FIELDS: usize = 64;
/// The longest field name that is kept, in characters; errors repeat names.
const LONGEST_NAME: usize = 64;

/// What is wrong with an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The body is not what its content type says, or not UTF-8, too deep, or not a list of fields.
    Unreadable,
    /// This field is missing or empty.
    Missing(Cow<'static, str>),
    /// This field is there twice.
    Doubled(String),
    /// This field's value cannot be what it should be.
    Invalid(Cow<'static, str>),
}

impl Fault {
    /// The field it is about, if it is about one.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Unreadable => None,
            Self::Missing(name) | Self::Invalid(name) => Some(name),
            Self::Doubled(name) => Some(name),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable => f.write_str("请求无法解析"),
            Self::Missing(name) => write!(f, "缺少参数: {name}"),
            Self::Doubled(name) => write!(f, "参数重复: {name}"),
            Self::Invalid(name) => write!(f, "参数错误: {name}"),
        }
    }
}

/// A field's value.
#[derive(Clone, PartialEq)]
enum Value {
    /// A text, or a number as it was written.
    Text(String),
    /// `null`, which is as good as nothing.
    Null,
    /// A truth value, a list or an object: nothing that a documented field holds.
    Other,
}

/// The fields of a body, in the order they came. Never printed; wiped when dropped.
#[derive(Clone, Default)]
pub struct Fields(Vec<(String, Value)>);

impl Fields {
    /// Reads a JSON object.
    ///
    /// # Errors
    /// [`Fault::Unreadable`], or [`Fault::Doubled`] with the field's name.
    pub fn from_json(body: &[u8]) -> Result<Self, Fault> {
        let text = std::str::from_utf8(body).map_err(|_| Fault::Unreadable)?;
        let text = text.trim_start_matches('\u{feff}');
        let mut reader = serde_json::Deserializer::from_str(text);
        let mut fields = Self::default();
        let mut fault = None;
        let read = reader.deserialize_map(Object { fields: &mut fields, fault: &mut fault });
        match (read.and_then(|()| reader.end()), fault) {
            (Err(_), _) => Err(Fault::Unreadable),
            (Ok(()), Some(fault)) => Err(fault),
            (Ok(()), None) => Ok(fields),
        }
    }

    /// Reads `a=1&b=2`, percent-encoded UTF-8.
    ///
    /// # Errors
    /// As [`Fields::from_json`].
    pub fn from_urlencoded(text: &str) -> Result<Self, Fault> {
        let mut fields = Self::default();
        fields.add_urlencoded(text)?;
        Ok(fields)
    }

    /// Adds the fields of a query string.
    ///
    /// # Errors
    /// As [`Fields::from_json`]; a field that is in both places is doubled.
    pub fn add_urlencoded(&mut self, text: &str) -> Result<(), Fault> {
        for pair in text.trim().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            self.push(decode_component(name)?, Value::Text(decode_component(value)?))?;
        }
        Ok(())
    }

    /// Reads a body by its content type.
    ///
    /// # Errors
    /// As [`Fields::from_json`].
    pub async fn from_body(content_type: Option<&str>, body: Bytes) -> Result<Self, Fault> {
        let kind = content_type.unwrap_or_default().trim();
        let start = body.trim_ascii_start();
        if is(kind, "multipart/form-data") && start.starts_with(b"--") {
            return Self::from_multipart(kind, body).await;
        }
        // Old clients send JSON under any content type; nothing else starts with a brace.
        let json = is(kind, "application/json") || kind.ends_with("+json");
        if start.starts_with(b"{") || (json && !start.is_empty()) {
            return Self::from_json(&body);
        }
        Self::from_urlencoded(std::str::from_utf8(&body).map_err(|_| Fault::Unreadable)?)
    }

    async fn from_multipart(kind: &str, body: Bytes) -> Result<Self, Fault> {
        let mut fields = Self::default();
        // Without a boundary in the content type, the body's first line has it.
        let kind =
            if kind.contains("boundary=") { kind.to_owned() } else { format!("{kind}; boundary={}", boundary(&body)?) };
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_str(&kind).map_err(|_| Fault::Unreadable)?);
        let stream = futures_util::stream::iter([Ok(body)]);
        let mut parts = actix_multipart::Multipart::new(&headers, stream);
        while let Some(part) = parts.try_next().await.map_err(|_| Fault::Unreadable)? {
            let name = part.name().ok_or(Fault::Unreadable)?.to_owned();
            let chunks: Vec<Bytes> = part.try_collect().await.map_err(|_| Fault::Unreadable)?;
            let value = String::from_utf8(chunks.concat()).map_err(|_| Fault::Unreadable)?;
            fields.push(name, Value::Text(value))?;
        }
        Ok(fields)
    }

    fn push(&mut self, name: String, value: Value) -> Result<(), Fault> {
        if self.0.iter().any(|(known, _)| *known == name) {
            return Err(Fault::Doubled(name.chars().take(LONGEST_NAME).collect()));
        }
        if self.0.len() == MOST_FIELDS {
            return Err(Fault::Unreadable);
        }
        self.0.push((name, value));
        Ok(())
    }

    /// A field that must be there and not be empty.
    ///
    /// # Errors
    /// [`Fault::Missing`] or [`Fault::Invalid`], with its name.
    pub fn required(&self, name: &'static str) -> Result<&str, Fault> {
        self.optional(name)?.ok_or(Fault::Missing(Cow::Borrowed(name)))
    }

    /// A field that must be there, as `parse` reads it.
    ///
    /// # Errors
    /// [`Fault::Missing`] or [`Fault::Invalid`], with its name.
    pub fn parsed<T>(&self, name: &'static str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, Fault> {
        parse(self.required(name)?).ok_or(Fault::Invalid(Cow::Borrowed(name)))
    }

    /// A field that may be absent, empty or null.
    ///
    /// # Errors
    /// [`Fault::Invalid`] if it is neither text nor number.
    pub fn optional(&self, name: &'static str) -> Result<Option<&str>, Fault> {
        match self.0.iter().find(|(known, _)| known == name) {
            None | Some((_, Value::Null)) => Ok(None),
            Some((_, Value::Text(text))) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
            Some((_, Value::Other)) => Err(Fault::Invalid(Cow::Borrowed(name))),
        }
    }

    /// The fields that are texts, as the members of a JSON object.
    pub fn texts(&self) -> impl Iterator<Item = (String, serde_json::Value)> {
        self.0.iter().filter_map(|(name, value)| match value {
            Value::Text(text) => Some((name.clone(), text.as_str().into())),
            Value::Null | Value::Other => None,
        })
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Drop for Fields {
    fn drop(&mut self) {
        for (_, value) in &mut self.0 {
            if let Value::Text(text) = value {
                text.zeroize();
            }
        }
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

fn is(kind: &str, wanted: &str) -> bool {
    kind.get(..wanted.len()).is_some_and(|start| start.eq_ignore_ascii_case(wanted))
}

fn boundary(body: &[u8]) -> Result<&str, Fault> {
    let line = body.trim_ascii_start().split(|&b| b == b'\r' || b == b'\n').next().unwrap_or_default();
    let boundary = line.strip_prefix(b"--").and_then(|rest| std::str::from_utf8(rest).ok()).ok_or(Fault::Unreadable)?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"'()+_,-./:=?".contains(&b);
    if (1..=70).contains(&boundary.len()) && boundary.bytes().all(plain) {
        Ok(boundary)
    } else {
        Err(Fault::Unreadable)
    }
}

fn decode_component(text: &str) -> Result<String, Fault> {
    let spaced = Zeroizing::new(text.replace('+', " "));
    let decoded = percent_decode_str(&spaced).decode_utf8().map_err(|_| Fault::Unreadable)?;
    Ok(decoded.into_owned())
}

/// Reads a JSON object's members one by one: `serde_json`'s own map would keep the last of two with the same name.
struct Object<'a> {
    fields: &'a mut Fields,
    fault: &'a mut Option<Fault>,
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            let value = map.next_value::<Value>()?;
            if let Err(fault) = self.fields.push(name, value) {
                self.fault.get_or_insert(fault);
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                return Ok(());
            }
        }
        Ok(())
    }
}

impl<'de> serde::Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(text))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Text(number.to_string()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Text(number.to_string()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        // Kept recognisable as no whole number: `1e20` must not turn into digits.
        Ok(Value::Text(format!("{number:e}")))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Value::Other)
    }
}
