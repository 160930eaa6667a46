//! Request and response bodies as tables of fields, and the JSON schemas generated from them.

use serde_json::{Map, Value, json};
use utoipa::openapi::schema::{AdditionalProperties, SchemaType};
use utoipa::openapi::{ArrayBuilder, ObjectBuilder, OneOfBuilder, Ref, RefOr, Schema, Type};

/// The schema of a request or response body.
#[derive(Debug)]
pub struct ObjectSchema {
    name: &'static str,
    description: &'static str,
    fields: &'static [FieldSchema],
    other_fields: OtherFields,
}

/// Whether an object may have fields besides the listed ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OtherFields {
    /// Requests: unknown fields are ignored.
    Allowed,
    /// Responses: they have exactly the listed fields.
    Forbidden,
}

/// The schema of one field.
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
    /// A string, optionally with a pattern.
    Text(Option<&'static str>),
    /// A string of digits with this pattern, or the same number.
    Digits(&'static str),
    /// One of these strings.
    OneOfTexts(&'static [&'static str]),
    /// One of these numbers.
    OneOfNumbers(&'static [i64]),
    /// An integer >= 0.
    NonNegativeInteger,
    /// An array of strings, with one in the example.
    Texts,
    Bool,
    /// An array of objects, with one in the example.
    Objects(&'static ObjectSchema),
    Object(&'static ObjectSchema),
    /// The fields of an object in place of this field (`serde(flatten)`).
    Flattened(&'static ObjectSchema),
}

impl ObjectSchema {
    /// A request body; other fields are ignored.
    pub const fn request_body(name: &'static str, description: &'static str, fields: &'static [FieldSchema]) -> Self {
        Self { name, description, fields, other_fields: OtherFields::Allowed }
    }

    /// A response body, with exactly these fields.
    pub const fn response_body(name: &'static str, description: &'static str, fields: &'static [FieldSchema]) -> Self {
        Self { name, description, fields, other_fields: OtherFields::Forbidden }
    }

    /// The example: an object with the example of each field.
    pub fn example(&self) -> Value {
        let fields = self.flattened_fields().into_iter().map(|field| (field.name.to_owned(), field.example()));
        Value::Object(fields.collect::<Map<_, _>>())
    }

    /// A `$ref` to the schema among the document's components.
    pub(super) fn reference(&self) -> RefOr<Schema> {
        RefOr::Ref(Ref::from_schema_name(self.name))
    }

    /// Adds this schema and the schemas of nested objects to `all`, each once.
    pub(super) fn collect_schemas(&'static self, all: &mut Vec<(&'static str, Schema)>) {
        if all.iter().any(|(name, _)| *name == self.name) {
            return;
        }
        all.push((self.name, self.schema()));
        for field in self.flattened_fields() {
            if let FieldType::Object(inner) | FieldType::Objects(inner) = field.field_type {
                inner.collect_schemas(all);
            }
        }
    }

    /// The fields, with flattened objects replaced by their own fields.
    fn flattened_fields(&self) -> Vec<&'static FieldSchema> {
        let expand = |field: &'static FieldSchema| match field.field_type {
            FieldType::Flattened(object) => object.flattened_fields(),
            _ => vec![field],
        };
        self.fields.iter().flat_map(expand).collect()
    }

    fn schema(&self) -> Schema {
        let mut object = ObjectBuilder::new().schema_type(Type::Object).description(Some(self.description));
        for field in self.flattened_fields() {
            object = object.property(field.name, field.schema());
            if field.is_required {
                object = object.required(field.name);
            }
        }
        if self.other_fields == OtherFields::Forbidden {
            object = object.additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(false)));
        }
        Schema::Object(object.build())
    }
}

/// A reference to the only object, or a `oneOf` of references.
pub(super) fn one_of_schema(objects: &[&'static ObjectSchema]) -> RefOr<Schema> {
    match objects {
        [object] => object.reference(),
        many => {
            let start = OneOfBuilder::new().schema_type(SchemaType::AnyValue);
            RefOr::T(Schema::OneOf(many.iter().fold(start, |all, object| all.item(object.reference())).build()))
        }
    }
}

impl FieldSchema {
    const fn new(name: &'static str, description: &'static str, field_type: FieldType, example: &'static str) -> Self {
        Self { name, description, field_type, example, is_required: true }
    }

    /// A string.
    pub const fn text(name: &'static str, description: &'static str, example: &'static str) -> Self {
        Self::new(name, description, FieldType::Text(None), example)
    }

    /// A string with a pattern (an ECMA-262 regular expression).
    pub const fn pattern(
        name: &'static str,
        description: &'static str,
        pattern: &'static str,
        example: &'static str,
    ) -> Self {
        Self::new(name, description, FieldType::Text(Some(pattern)), example)
    }

    /// A string of digits with a pattern, or the same number.
    pub const fn digits(
        name: &'static str,
        description: &'static str,
        pattern: &'static str,
        example: &'static str,
    ) -> Self {
        Self::new(name, description, FieldType::Digits(pattern), example)
    }

    /// One of the strings `texts`; the first is the example.
    pub const fn one_of(name: &'static str, description: &'static str, texts: &'static [&'static str]) -> Self {
        Self::new(name, description, FieldType::OneOfTexts(texts), texts[0])
    }

    /// One of `numbers`; the first is the example.
    pub const fn one_of_numbers(name: &'static str, description: &'static str, numbers: &'static [i64]) -> Self {
        Self::new(name, description, FieldType::OneOfNumbers(numbers), "")
    }

    /// An integer >= 0.
    pub const fn non_negative_integer(name: &'static str, description: &'static str, example: &'static str) -> Self {
        Self::new(name, description, FieldType::NonNegativeInteger, example)
    }

    /// A string that may be absent.
    pub const fn optional_text(name: &'static str, description: &'static str, example: &'static str) -> Self {
        Self::text(name, description, example).optional()
    }

    /// An integer >= 0 that may be absent.
    pub const fn optional_integer(name: &'static str, description: &'static str, example: &'static str) -> Self {
        Self::non_negative_integer(name, description, example).optional()
    }

    /// An array of strings that may be absent.
    pub const fn optional_texts(name: &'static str, description: &'static str, example: &'static str) -> Self {
        Self::new(name, description, FieldType::Texts, example).optional()
    }

    /// A boolean.
    pub const fn boolean(name: &'static str, description: &'static str) -> Self {
        Self::new(name, description, FieldType::Bool, "")
    }

    /// An array of strings; without an example it is empty.
    pub const fn texts(name: &'static str, description: &'static str, example: &'static str) -> Self {
        Self::new(name, description, FieldType::Texts, example)
    }

    /// An array of objects.
    pub const fn objects(name: &'static str, description: &'static str, object: &'static ObjectSchema) -> Self {
        Self::new(name, description, FieldType::Objects(object), "")
    }

    /// A nested object.
    pub const fn object(name: &'static str, description: &'static str, object: &'static ObjectSchema) -> Self {
        Self::new(name, description, FieldType::Object(object), "")
    }

    /// The fields of an object in place of this field, as `serde(flatten)` serializes them.
    pub const fn flattened(name: &'static str, object: &'static ObjectSchema) -> Self {
        Self::new(name, "", FieldType::Flattened(object), "")
    }

    /// Makes the field optional.
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
                // A number cannot keep leading zeros.
                Ok(number) if number.to_string() == self.example => number.into(),
                _ => self.example.into(),
            },
            FieldType::OneOfNumbers(numbers) => numbers.first().copied().into(),
            FieldType::Texts if self.example.is_empty() => json!([]),
            FieldType::Texts => json!([self.example]),
            FieldType::Bool => true.into(),
            FieldType::Objects(object) => json!([object.example()]),
            FieldType::Object(object) | FieldType::Flattened(object) => object.example(),
        }
    }

    pub(super) fn schema(&self) -> RefOr<Schema> {
        let build_described =
            |schema_type: SchemaType| ObjectBuilder::new().schema_type(schema_type).description(Some(self.description));
        let build = |kind| build_described(SchemaType::Type(kind));
        let object = match self.field_type {
            FieldType::Text(pattern) => build(Type::String).pattern(pattern),
            FieldType::Digits(pattern) => build_described(SchemaType::from_iter([Type::String, Type::Integer]))
                .pattern(Some(pattern))
                .minimum(Some(0)),
            FieldType::OneOfTexts(texts) => build(Type::String).enum_values(Some(texts.iter().copied())),
            FieldType::OneOfNumbers(numbers) => {
                build(Type::Integer).enum_values(Some(numbers.iter().map(|n| json!(n))))
            }
            FieldType::NonNegativeInteger => build(Type::Integer).minimum(Some(0)),
            FieldType::Texts => {
                let items = ObjectBuilder::new().schema_type(Type::String);
                let array = ArrayBuilder::new().items(items).description(Some(self.description));
                return RefOr::T(Schema::Array(array.examples([self.example()]).build()));
            }
            FieldType::Bool => build(Type::Boolean),
            FieldType::Objects(object) => {
                let array = ArrayBuilder::new().items(object.reference()).description(Some(self.description));
                return RefOr::T(Schema::Array(array.build()));
            }
            FieldType::Object(object) | FieldType::Flattened(object) => return object.reference(),
        };
        RefOr::T(Schema::Object(object.examples([self.example()]).build()))
    }
}

/// Declares a response body: the struct that is serialized, and the [`ObjectSchema`] of the OpenAPI document, so that
/// both have the same fields. After `=>` each field has a constructor of [`FieldSchema`] with its arguments.
#[macro_export]
macro_rules! response_body {
    ($(#[$meta:meta])* $vis:vis struct $name:ident $(<$life:lifetime>)? = $table:ident $title:literal $description:literal {
        $($(#[$attribute:meta])* $field:ident: $type:ty => $kind:ident($($argument:expr),+),)*
    }) => {
        $(#[$meta])*
        #[derive(serde::Serialize)]
        $vis struct $name $(<$life>)? { $($(#[$attribute])* pub(crate) $field: $type),* }

        #[doc = $description]
        $vis static $table: $crate::openapi::ObjectSchema = $crate::openapi::ObjectSchema::response_body(
            $title,
            $description,
            &[$($crate::openapi::FieldSchema::$kind(stringify!($field), $($argument),+)),*],
        );
    };
}
