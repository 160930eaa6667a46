//! Requests and answers as tables of fields, and the schemas made of them.

use serde_json::{Map, Value, json};
use utoipa::openapi::schema::{AdditionalProperties, SchemaType};
use utoipa::openapi::{ObjectBuilder, OneOfBuilder, Ref, RefOr, Schema, Type};

/// A JSON object of a dialect.
#[derive(Debug)]
pub struct Object {
    name: &'static str,
    about: &'static str,
    fields: &'static [Field],
    /// Whether other fields may be there too: clients may send what they like, answers are exact.
    open: bool,
}

/// A field of an object.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    name: &'static str,
    about: &'static str,
    kind: Kind,
    example: &'static str,
    required: bool,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// A text, of this pattern if there is one.
    Text(Option<&'static str>),
    /// A text of this pattern, or the whole number that it spells.
    Digits(&'static str),
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// One of these numbers.
    Number(&'static [i64]),
    /// A whole number, not below 0.
    Count,
    Bool,
    Object(&'static Object),
    /// The fields of an object, in place of a field.
    Flat(&'static Object),
}

impl Object {
    /// What clients send. What else they send is ignored.
    pub const fn request(name: &'static str, about: &'static str, fields: &'static [Field]) -> Self {
        Self { name, about, fields, open: true }
    }

    /// What they are answered: these fields and no others.
    pub const fn answer(name: &'static str, about: &'static str, fields: &'static [Field]) -> Self {
        Self { name, about, fields, open: false }
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
    pub(super) fn collect(&'static self, all: &mut Vec<(&'static str, Schema)>) {
        if all.iter().any(|(name, _)| *name == self.name) {
            return;
        }
        all.push((self.name, self.schema()));
        for field in self.flattened() {
            if let Kind::Object(inner) = field.kind {
                inner.collect(all);
            }
        }
    }

    /// Its fields, and in place of those that are flat their objects' own.
    fn flattened(&self) -> Vec<&'static Field> {
        let own = |field: &'static Field| match field.kind {
            Kind::Flat(object) => object.flattened(),
            _ => vec![field],
        };
        self.fields.iter().flat_map(own).collect()
    }

    fn schema(&self) -> Schema {
        let mut object = ObjectBuilder::new().schema_type(Type::Object).description(Some(self.about));
        for field in self.flattened() {
            object = object.property(field.name, field.schema());
            if field.required {
                object = object.required(field.name);
            }
        }
        if !self.open {
            object = object.additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(false)));
        }
        Schema::Object(object.build())
    }
}

/// One of `objects`, by reference.
pub(super) fn one_of(objects: &[&'static Object]) -> RefOr<Schema> {
    match objects {
        [one] => one.reference(),
        many => {
            let start = OneOfBuilder::new().schema_type(SchemaType::AnyValue);
            RefOr::T(Schema::OneOf(many.iter().fold(start, |all, object| all.item(object.reference())).build()))
        }
    }
}

impl Field {
    const fn new(name: &'static str, about: &'static str, kind: Kind, example: &'static str) -> Self {
        Self { name, about, kind, example, required: true }
    }

    /// A text.
    pub const fn text(name: &'static str, about: &'static str, example: &'static str) -> Self {
        Self::new(name, about, Kind::Text(None), example)
    }

    /// A text of a pattern (a regular expression of ECMA-262).
    pub const fn like(name: &'static str, about: &'static str, pattern: &'static str, example: &'static str) -> Self {
        Self::new(name, about, Kind::Text(Some(pattern)), example)
    }

    /// Digits of a pattern, which may as well come as a number.
    pub const fn digits(name: &'static str, about: &'static str, pattern: &'static str, example: &'static str) -> Self {
        Self::new(name, about, Kind::Digits(pattern), example)
    }

    /// One of some texts; the first is the example.
    pub const fn one_of(name: &'static str, about: &'static str, texts: &'static [&'static str]) -> Self {
        Self::new(name, about, Kind::OneOf(texts), texts[0])
    }

    /// One of some numbers; the first is the example.
    pub const fn number(name: &'static str, about: &'static str, numbers: &'static [i64]) -> Self {
        Self::new(name, about, Kind::Number(numbers), "")
    }

    /// A whole number, not below 0.
    pub const fn count(name: &'static str, about: &'static str, example: &'static str) -> Self {
        Self::new(name, about, Kind::Count, example)
    }

    /// A truth value.
    pub const fn truth(name: &'static str, about: &'static str) -> Self {
        Self::new(name, about, Kind::Bool, "")
    }

    /// An object.
    pub const fn object(name: &'static str, about: &'static str, object: &'static Object) -> Self {
        Self::new(name, about, Kind::Object(object), "")
    }

    /// The fields of an object in place of this one, as `serde(flatten)` writes them.
    pub const fn flat(name: &'static str, object: &'static Object) -> Self {
        Self::new(name, "", Kind::Flat(object), "")
    }

    /// This field, which may be absent.
    #[must_use]
    pub const fn optional(mut self) -> Self {
        self.required = false;
        self
    }

    pub(super) const fn name(&self) -> &'static str {
        self.name
    }

    pub(super) const fn about(&self) -> &'static str {
        self.about
    }

    fn example(&self) -> Value {
        match self.kind {
            Kind::Text(_) | Kind::OneOf(_) => self.example.into(),
            Kind::Digits(_) | Kind::Count => match self.example.parse::<u64>() {
                // A zero in front is lost in a number.
                Ok(number) if number.to_string() == self.example => number.into(),
                _ => self.example.into(),
            },
            Kind::Number(numbers) => numbers.first().copied().into(),
            Kind::Bool => true.into(),
            Kind::Object(object) | Kind::Flat(object) => object.example(),
        }
    }

    pub(super) fn schema(&self) -> RefOr<Schema> {
        let described = |kind: SchemaType| ObjectBuilder::new().schema_type(kind).description(Some(self.about));
        let plain = |kind| described(SchemaType::Type(kind));
        let object = match self.kind {
            Kind::Text(pattern) => plain(Type::String).pattern(pattern),
            Kind::Digits(pattern) => {
                described(SchemaType::from_iter([Type::String, Type::Integer])).pattern(Some(pattern)).minimum(Some(0))
            }
            Kind::OneOf(texts) => plain(Type::String).enum_values(Some(texts.iter().copied())),
            Kind::Number(numbers) => plain(Type::Integer).enum_values(Some(numbers.iter().map(|n| json!(n)))),
            Kind::Count => plain(Type::Integer).minimum(Some(0)),
            Kind::Bool => plain(Type::Boolean),
            Kind::Object(object) | Kind::Flat(object) => return object.reference(),
        };
        RefOr::T(Schema::Object(object.examples([self.example()]).build()))
    }
}

/// Declares an answer once: the struct that is serialized, and the table that the document's schema is made of, so that
/// neither has a field that the other lacks. After a field's type stands what the document says of it: a constructor of
/// [`Field`] with its arguments.
#[macro_export]
macro_rules! reply {
    ($(#[$meta:meta])* $vis:vis struct $name:ident $(<$life:lifetime>)? = $table:ident $title:literal $about:literal {
        $($(#[$attribute:meta])* $field:ident: $type:ty => $kind:ident($($argument:expr),+),)*
    }) => {
        $(#[$meta])*
        #[derive(serde::Serialize)]
        $vis struct $name $(<$life>)? { $($(#[$attribute])* pub(crate) $field: $type),* }

        #[doc = $about]
        $vis static $table: $crate::openapi::Object = $crate::openapi::Object::answer(
            $title,
            $about,
            &[$($crate::openapi::Field::$kind(stringify!($field), $($argument),+)),*],
        );
    };
}
