//! The fields of a request, independent of the body's format, and the errors of reading them.

use std::borrow::Cow;
use std::fmt;

use zeroize::Zeroizing;

/// The most fields of a request, body and query string together. The largest documented request has four.
const MAX_FIELDS: usize = 64;
/// The longest name of a duplicate field in an error, in characters; a longer name is truncated.
const MAX_NAME_CHARS: usize = 64;

/// An error in the request's fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldError {
    /// The request cannot be read as fields: its framing, compression, charset, format or (MeFP) envelope is invalid,
    /// it nests too deeply, or it has too many fields.
    MalformedRequest,
    /// This field is missing, or empty although a value is required.
    Missing(Cow<'static, str>),
    /// This field occurs more than once, with different values.
    Duplicate(String),
    /// This field's value has the wrong type or format.
    Invalid(Cow<'static, str>),
}

impl FieldError {
    /// The name of the field, if the error concerns one.
    pub fn field_name(&self) -> Option<&str> {
        match self {
            Self::MalformedRequest => None,
            Self::Missing(name) | Self::Invalid(name) => Some(name),
            Self::Duplicate(name) => Some(name),
        }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MalformedRequest => f.write_str("请求无法解析"),
            Self::Missing(name) => write!(f, "缺少参数: {name}"),
            Self::Duplicate(name) => write!(f, "参数重复: {name}"),
            Self::Invalid(name) => write!(f, "参数错误: {name}"),
        }
    }
}

/// A field's value.
#[derive(Clone, PartialEq)]
pub(crate) enum FieldValue {
    /// A string, or a number: integers as digits, other numbers in scientific notation.
    Text(Zeroizing<String>),
    /// The digits of an integer that was serialized as a double (`12.0`).
    WholeDouble(Zeroizing<String>),
    /// `null`: treated as an absent field.
    Null,
    /// A boolean, an array, an object or undecodable bytes: no documented field has such a value.
    Unsupported,
    /// Different values of one name in the query string: an error only if the field is read, since query strings also
    /// hold unrelated fields.
    Duplicate,
}

impl FieldValue {
    pub(crate) fn text(text: String) -> Self {
        Self::Text(Zeroizing::new(text))
    }
}

/// The fields of a request, in order of arrival. `Debug` prints names only; values are wiped when dropped.
///
/// Names are case-insensitive; an exact match wins. Names that differ only in case are one field, which is a duplicate
/// if their values differ.
#[derive(Clone, Default)]
pub struct Fields(pub(crate) Vec<(String, FieldValue)>);

impl Fields {
    /// Adds a field. A repetition with the same value is ignored.
    ///
    /// # Errors
    /// [`FieldError::Duplicate`] with the name if the field has another value; [`FieldError::MalformedRequest`] beyond 64 fields.
    pub(crate) fn insert(&mut self, name: String, value: FieldValue) -> Result<(), FieldError> {
        match self.0.iter().find(|(existing, _)| *existing == name) {
            Some((_, existing)) if *existing == value => return Ok(()),
            Some(_) => return Err(FieldError::Duplicate(name.chars().take(MAX_NAME_CHARS).collect())),
            None => {}
        }
        if self.0.len() == MAX_FIELDS {
            return Err(FieldError::MalformedRequest);
        }
        self.0.push((name, value));
        Ok(())
    }

    /// Adds decoded query fields; see [`Fields::add_query`].
    pub(crate) fn insert_query_fields(&mut self, query: impl Iterator<Item = (String, FieldValue)>) {
        let body_field_count = self.0.len();
        for (name, value) in query {
            let (body, added) = self.0.split_at_mut(body_field_count);
            if body.iter().any(|(existing, _)| existing.eq_ignore_ascii_case(&name)) {
                continue;
            }
            if let Some((_, existing)) = added.iter_mut().find(|(existing, _)| *existing == name) {
                if *existing != value {
                    *existing = FieldValue::Duplicate;
                }
            } else if self.0.len() < MAX_FIELDS {
                self.0.push((name, value));
            }
        }
    }

    /// The value of the field `name`: that of an exact match, else of a case-insensitive one.
    fn find(&self, name: &'static str) -> Result<Option<&FieldValue>, FieldError> {
        if let Some((_, exact)) = self.0.iter().find(|(existing, _)| existing == name) {
            return Ok(Some(exact));
        }
        let mut matches =
            self.0.iter().filter(|(existing, _)| existing.eq_ignore_ascii_case(name)).map(|(_, value)| value);
        let first = matches.next();
        match first.is_some_and(|first| matches.any(|other| other != first)) {
            true => Err(FieldError::Duplicate(name.to_owned())),
            false => Ok(first),
        }
    }

    /// A required field that may be empty, such as a password, a code or a name that a user left blank.
    ///
    /// # Errors
    /// [`FieldError::Missing`], [`FieldError::Duplicate`] or [`FieldError::Invalid`], with the field's name.
    pub fn required_maybe_empty(&self, name: &'static str) -> Result<&str, FieldError> {
        match self.find(name)? {
            None | Some(FieldValue::Null) => Err(FieldError::Missing(Cow::Borrowed(name))),
            Some(FieldValue::Text(text) | FieldValue::WholeDouble(text)) => Ok(text),
            Some(FieldValue::Unsupported) => Err(FieldError::Invalid(Cow::Borrowed(name))),
            Some(FieldValue::Duplicate) => Err(FieldError::Duplicate(name.to_owned())),
        }
    }

    /// A required, non-empty field.
    ///
    /// # Errors
    /// As [`Fields::required_maybe_empty`].
    pub fn required(&self, name: &'static str) -> Result<&str, FieldError> {
        let text = self.required_maybe_empty(name)?;
        if text.is_empty() { Err(FieldError::Missing(Cow::Borrowed(name))) } else { Ok(text) }
    }

    /// A field that may be absent, empty or null.
    ///
    /// # Errors
    /// [`FieldError::Duplicate`] or [`FieldError::Invalid`], with the field's name.
    pub fn optional(&self, name: &'static str) -> Result<Option<&str>, FieldError> {
        match self.required(name) {
            Err(FieldError::Missing(_)) => Ok(None),
            found => found.map(Some),
        }
    }

    /// A required, non-empty field, parsed by `parse`. If `parse` returns `None`, the error is [`FieldError::Invalid`].
    ///
    /// # Errors
    /// As [`Fields::required_maybe_empty`].
    pub fn parse_required<T>(
        &self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, FieldError> {
        parse(self.required(name)?).ok_or(FieldError::Invalid(Cow::Borrowed(name)))
    }

    /// As [`Fields::parse_required`], but an integer that was serialized as a double keeps its `.0`: for values that
    /// are hashed as text, such as the timestamp of a salted proof.
    ///
    /// # Errors
    /// As [`Fields::required_maybe_empty`].
    pub fn parse_required_as_written<T>(
        &self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, FieldError> {
        match self.find(name)? {
            Some(FieldValue::WholeDouble(digits)) => {
                parse(&format!("{}.0", **digits)).ok_or(FieldError::Invalid(Cow::Borrowed(name)))
            }
            _ => self.parse_required(name, parse),
        }
    }

    /// A required field, parsed by `parse`, or the result of `blank` if the field is empty or white space.
    ///
    /// # Errors
    /// As [`Fields::required_maybe_empty`].
    pub fn parse_or_else<T>(
        &self,
        name: &'static str,
        blank: impl FnOnce() -> T,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, FieldError> {
        let text = self.required_maybe_empty(name)?;
        if text.trim().is_empty() { Ok(blank()) } else { parse(text).ok_or(FieldError::Invalid(Cow::Borrowed(name))) }
    }

    /// The fields with text or number values, as members of a JSON object whose values are strings.
    pub fn text_fields(&self) -> impl Iterator<Item = (String, serde_json::Value)> {
        self.0.iter().filter_map(|(name, value)| match value {
            FieldValue::Text(text) | FieldValue::WholeDouble(text) => Some((name.clone(), text.as_str().into())),
            FieldValue::Null | FieldValue::Unsupported | FieldValue::Duplicate => None,
        })
    }

    /// The number of fields.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no fields.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}
