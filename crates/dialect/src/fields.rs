//! The fields of a request, whatever it was written in, and what can be wrong with them.

use std::borrow::Cow;
use std::fmt;

use zeroize::Zeroizing;

/// The most fields a body may have: the widest documented one has four.
const MAX_FIELDS: usize = 64;
/// The longest field name that is kept, in characters; errors repeat names.
const MAX_NAME_CHARS: usize = 64;

/// What is wrong with an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldError {
    /// The body is in no form or charset that is known, too deep, or not a list of fields.
    MalformedBody,
    /// This field is missing, or empty where it may not be.
    Missing(Cow<'static, str>),
    /// This field is there twice, with two values.
    Duplicate(String),
    /// This field's value cannot be what it should be.
    Invalid(Cow<'static, str>),
}

impl FieldError {
    /// The field it is about, if it is about one.
    pub fn field_name(&self) -> Option<&str> {
        match self {
            Self::MalformedBody => None,
            Self::Missing(name) | Self::Invalid(name) => Some(name),
            Self::Duplicate(name) => Some(name),
        }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MalformedBody => f.write_str("请求无法解析"),
            Self::Missing(name) => write!(f, "缺少参数: {name}"),
            Self::Duplicate(name) => write!(f, "参数重复: {name}"),
            Self::Invalid(name) => write!(f, "参数错误: {name}"),
        }
    }
}

/// A field's value.
#[derive(Clone, PartialEq)]
pub(crate) enum FieldValue {
    /// A text, or a number as it was written.
    Text(Zeroizing<String>),
    /// The digits of a whole number that was written as a double.
    WholeDouble(Zeroizing<String>),
    /// `null`: the same as an absent field.
    Null,
    /// A truth value, a list, an object or undecodable bytes: nothing that a documented field holds.
    Unsupported,
    /// Two values in the query. An error only if the field is read, for queries hold more than our fields.
    Duplicate,
}

impl FieldValue {
    pub(crate) fn text(text: String) -> Self {
        Self::Text(Zeroizing::new(text))
    }
}

/// The fields of a request, in the order they came. Never printed; wiped when dropped.
///
/// Names match without letter case: an exact match wins, and names that differ in case alone are one field, which is
/// doubled if their values differ.
#[derive(Clone, Default)]
pub struct Fields(pub(crate) Vec<(String, FieldValue)>);

impl Fields {
    /// Adds a field. The same value once more changes nothing.
    ///
    /// # Errors
    /// [`Fault::Doubled`] with the name if another value is there; [`Fault::Unreadable`] if there are too many fields.
    pub(crate) fn insert(&mut self, name: String, value: FieldValue) -> Result<(), FieldError> {
        match self.0.iter().find(|(known, _)| *known == name) {
            Some((_, known)) if *known == value => return Ok(()),
            Some(_) => return Err(FieldError::Duplicate(name.chars().take(MAX_NAME_CHARS).collect())),
            None => {}
        }
        if self.0.len() == MAX_FIELDS {
            return Err(FieldError::MalformedBody);
        }
        self.0.push((name, value));
        Ok(())
    }

    /// See [`Fields::add_query`].
    pub(crate) fn merge_query(&mut self, query: impl Iterator<Item = (String, FieldValue)>) {
        let in_body = self.0.len();
        for (name, value) in query {
            let (body, added) = self.0.split_at_mut(in_body);
            if body.iter().any(|(known, _)| known.eq_ignore_ascii_case(&name)) {
                continue;
            }
            if let Some((_, known)) = added.iter_mut().find(|(known, _)| *known == name) {
                if *known != value {
                    *known = FieldValue::Duplicate;
                }
            } else if self.0.len() < MAX_FIELDS {
                self.0.push((name, value));
            }
        }
    }

    fn find(&self, name: &'static str) -> Result<Option<&FieldValue>, FieldError> {
        if let Some((_, exact)) = self.0.iter().find(|(known, _)| known == name) {
            return Ok(Some(exact));
        }
        let mut alike = self.0.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value);
        let first = alike.next();
        match first.is_some_and(|first| alike.any(|other| other != first)) {
            true => Err(FieldError::Duplicate(name.to_owned())),
            false => Ok(first),
        }
    }

    /// A field that must be there and may be empty: a password, a code or a name, which people leave empty.
    ///
    /// # Errors
    /// [`FieldError::Missing`], [`FieldError::Duplicate`] or [`FieldError::Invalid`], with its name.
    pub fn required_maybe_empty(&self, name: &'static str) -> Result<&str, FieldError> {
        match self.find(name)? {
            None | Some(FieldValue::Null) => Err(FieldError::Missing(Cow::Borrowed(name))),
            Some(FieldValue::Text(text) | FieldValue::WholeDouble(text)) => Ok(text),
            Some(FieldValue::Unsupported) => Err(FieldError::Invalid(Cow::Borrowed(name))),
            Some(FieldValue::Duplicate) => Err(FieldError::Duplicate(name.to_owned())),
        }
    }

    /// A field that must be there and not be empty.
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
    /// [`FieldError::Duplicate`] or [`FieldError::Invalid`], with its name.
    pub fn optional(&self, name: &'static str) -> Result<Option<&str>, FieldError> {
        match self.required(name) {
            Err(FieldError::Missing(_)) => Ok(None),
            found => found.map(Some),
        }
    }

    /// A field that must be there and not be empty, as `parse` reads it.
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

    /// As [`Fields::parse_required`], but a whole number that was written as a double keeps a fraction of `.0`, as most
    /// libraries write it: where the text counts and not the number alone.
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

    /// A field that must be there, as `parse` reads it; `blank` if there is nothing in it but white space.
    ///
    /// # Errors
    /// As [`Fields::required_maybe_empty`].
    pub fn parse_or_blank<T>(
        &self,
        name: &'static str,
        blank: impl FnOnce() -> T,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, FieldError> {
        let text = self.required_maybe_empty(name)?;
        if text.trim().is_empty() { Ok(blank()) } else { parse(text).ok_or(FieldError::Invalid(Cow::Borrowed(name))) }
    }

    /// The fields that are texts, as the members of a JSON object.
    pub fn text_fields(&self) -> impl Iterator<Item = (String, serde_json::Value)> {
        self.0.iter().filter_map(|(name, value)| match value {
            FieldValue::Text(text) | FieldValue::WholeDouble(text) => Some((name.clone(), text.as_str().into())),
            FieldValue::Null | FieldValue::Unsupported | FieldValue::Duplicate => None,
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

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}
