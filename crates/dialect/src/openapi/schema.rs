//! Requests and answers as tables of fields, and the schemas made of them.

use serde_json::{Map, Value, json};
use utoipa::openapi::schema::{AdditionalProperties, SchemaType};
use utoipa::openapi::{ObjectBuilder, OneOfBuilder, Ref, RefOr, Schema, Type};

/// A JSON object of a dialect.
#[derive(Debug)]
pub struct ObjectSchema {
    name: &'static str,
    description: &'static str,
    fields: &'static [FieldSchema],
    /// Whether other fields may be there too: clients may send what they like, answers are exact.
    allows_other_fields: bool,
}

/// A field of an object.
#[derive(Clone, Copy, Debug)]
pub struct FieldSchema {
    name: &'static str,
    description: &'static str,
    field_type: FieldType,
    example: &'static str,
    is_required: bool,
}

#[derive(Clone, Copy, Debug)]
enum FieldType {
    /// A text, of this pattern if there is one.
    Text(Option<&'static str>),
    /// A text of this pattern, or the whole number that it spells.
    Digits(&'static str),
    /// One of these texts.
    OneOfTexts(&'static [&'static str]),
    /// One of these numbers.
    OneOfNumbers(&'static [i64]),
    /// A whole number, not below 0.
    NonNegativeInteger,
    Bool,
    Object(&'static ObjectSchema),
    /// The fields of an object, in place of a field.
    Flattened(&'static ObjectSchema),
}

impl ObjectSchema {
    /// What clients send. What else they send is ignored.
    pub const fn request_body(name: &'static str, about: &'static str, fields: &'static [FieldSchema]) -> Self {
        Self { name, description: about, fields, allows_other_fields: true }
    }

    /// What they are answered: these fields and no others.
    pub const fn response_body(name: &'static str, about: &'static str, fields: &'static [FieldSchema]) -> Self {
        Self { name, description: about, fields, allows_other_fields: false }
    }

    /// An object with the example of each of its fields.
    pub fn example(&self) -> Value {
        let fields = self.flattened().into_iter().map(|field| (field.name.to_owned(), field.example()));
        Value::Object(fields.collect::<Map<_, _>>())
    }

    /// The reference to it among the components.
    pub(super) fn reference(&self) -> RefOr<Schema> {
        RefOr::Ref(Ref::from_schema_name(self.name))
    }

    /// Adds it, and all objects within it, to `all`.
    pub(super) fn collect_schemas(&'static self, all: &mut Vec<(&'static str, Schema)>) {
        if all.iter().any(|(name, _)| *name == self.name) {
            return;
        }
        all.push((self.name, self.schema()));
        for field in self.flattened() {
            if let FieldType::Object(inner) = field.field_type {
                inner.collect_schemas(all);
            }
        }
    }

    /// Its fields, and in place of those that are flat their objects' own.
    fn flattened(&self) -> Vec<&'static FieldSchema> {
        let own = |field: &'static FieldSchema| match field.field_type {
            FieldType::Flattened(object) => object.flattened(),
            _ => vec![field],
        };
        self.fields.iter().flat_map(own).collect()
    }

    fn schema(&self) -> Schema {
        let mut object = ObjectBuilder::new().schema_type(Type::Object).description(Some(self.description));
        for field in self.flattened() {
            object = object.property(field.name, field.schema());
            if field.is_required {
                object = object.required(field.name);
            }
        }
        if !self.allows_other_fields {
            object = object.additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(false)));
        }
        Schema::Object(object.build())
    }
}

/// One of `objects`, by reference.
pub(super) fn one_of_schema(objects: &[&'static ObjectSchema]) -> RefOr<Schema> {
    match objects {
        [one] => one.reference(),
        many => {
            let start = OneOfBuilder::new().schema_type(SchemaType::AnyValue);
            RefOr::T(Schema::OneOf(many.iter().fold(start, |all, object| all.item(object.reference())).build()))
        }
    }
}

impl FieldSchema {
    const fn new(name: &'static str, about: &'static str, kind: FieldType, example: &'static str) -> Self {
        Self { name, description: about, field_type: kind, example, is_required: true }
    }

    /// A text.
    pub const fn text(name: &'static str, about: &'static str, example: &'static str) -> Self {
        Self::new(name, about, FieldType::Text(None), example)
    }

    /// A text of a pattern (a regular expression of ECMA-262).
    pub const fn pattern(
        name: &'static str,
        about: &'static str,
        pattern: &'static str,
        example: &'static str,
    ) -> Self {
        Self::new(name, about, FieldType::Text(Some(pattern)), example)
    }

    /// Digits of a pattern, which may as well come as a number.
    pub const fn digits(name: &'static str, about: &'static str, pattern: &'static str, example: &'static str) -> Self {
        Self::new(name, about, FieldType::Digits(pattern), example)
    }

    /// One of some texts; the first is the example.
    pub const fn one_of(name: &'static str, about: &'static str, texts: &'static [&'static str]) -> Self {
        Self::new(name, about, FieldType::OneOfTexts(texts), texts[0])
    }

    /// One of some numbers; the first is the example.
    pub const fn one_of_numbers(name: &'static str, about: &'static str, numbers: &'static [i64]) -> Self {
        Self::new(name, about, FieldType::OneOfNumbers(numbers), "")
    }

    /// A whole number, not below 0.
    pub const fn non_negative_integer(name: &'static str, about: &'static str, example: &'static str) -> Self {
        Self::new(name, about, FieldType::NonNegativeInteger, example)
    }

    /// A truth value.
    pub const fn boolean(name: &'static str, about: &'static str) -> Self {
        Self::new(name, about, FieldType::Bool, "")
    }

    /// An object.
    pub const fn object(name: &'static str, about: &'static str, object: &'static ObjectSchema) -> Self {
        Self::new(name, about, FieldType::Object(object), "")
    }

    /// The fields of an object in place of this one, as `serde(flatten)` writes them.
    pub const fn flattened(name: &'static str, object: &'static ObjectSchema) -> Self {
        Self::new(name, "", FieldType::Flattened(object), "")
    }

    /// This field, which may be absent.
    #[must_use]
    pub const fn optional(mut self) -> Self {
        self.is_required = false;
        self
    }

    pub(super) const fn name(&self) -> &'static str {
        self.name
    }

    pub(super) const fn description(&self) -> &'static str {
        self.description
    }

    fn example(&self) -> Value {
        match self.field_type {
            FieldType::Text(_) | FieldType::OneOfTexts(_) => self.example.into(),
            FieldType::Digits(_) | FieldType::NonNegativeInteger => match self.example.parse::<u64>() {
                // A zero in front is lost in a number.
                Ok(number) if number.to_string() == self.example => number.into(),
                _ => self.example.into(),
            },
            FieldType::OneOfNumbers(numbers) => numbers.first().copied().into(),
            FieldType::Bool => true.into(),
            FieldType::Object(object) | FieldType::Flattened(object) => object.example(),
        }
    }

    pub(super) fn schema(&self) -> RefOr<Schema> {
        let described = |kind: SchemaType| ObjectBuilder::new().schema_type(kind).description(Some(self.description));
        let plain = |kind| described(SchemaType::Type(kind));
        let object = match self.field_type {
            FieldType::Text(pattern) => plain(Type::String).pattern(pattern),
            FieldType::Digits(pattern) => {
                described(SchemaType::from_iter([Type::String, Type::Integer])).pattern(Some(pattern)).minimum(Some(0))
            }
            FieldType::OneOfTexts(texts) => plain(Type::String).enum_values(Some(texts.iter().copied())),
            FieldType::OneOfNumbers(numbers) => {
                plain(Type::Integer).enum_values(Some(numbers.iter().map(|n| json!(n))))
            }
            FieldType::NonNegativeInteger => plain(Type::Integer).minimum(Some(0)),
            FieldType::Bool => plain(Type::Boolean),
            FieldType::Object(object) | FieldType::Flattened(object) => return object.reference(),
        };
        RefOr::T(Schema::Object(object.examples([self.example()]).build()))
    }
}

/// Declares an answer once: the struct that is serialized, and the table that the document's schema is made of, so that
/// neither has a field that the other lacks. After a field's type stands what the document says of it: a constructor of
/// [`FieldSchema`] with its arguments.
#[macro_export]
macro_rules! reply {
    ($(#[$meta:meta])* $vis:vis struct $name:ident $(<$life:lifetime>)? = $table:ident $title:literal $about:literal {
        $($(#[$attribute:meta])* $field:ident: $type:ty => $kind:ident($($argument:expr),+),)*
    }) => {
        $(#[$meta])*
        #[derive(serde::Serialize)]
        $vis struct $name $(<$life>)? { $($(#[$attribute])* pub(crate) $field: $type),* }

        #[doc = $about]
        $vis static $table: $crate::openapi::ObjectSchema = $crate::openapi::ObjectSchema::response_body(
            $title,
            $about,
            &[$($crate::openapi::FieldSchema::$kind(stringify!($field), $($argument),+)),*],
        );
    };
}
