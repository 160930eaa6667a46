//! What is said of one call.

use std::marker::PhantomData;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde_json::Value;
use stele_core::Error;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::{ContentBuilder, ObjectBuilder, Ref, RefOr, Required, Response, ResponseBuilder, Schema};
use utoipa::openapi::{Responses, ResponsesBuilder, SchemaFormat, SecurityRequirement, Type};

use super::refusals::{self, JSON};
use super::schema::one_of;
use super::{About, Field, Object};
use crate::dialect::{Dialect, status_of};

/// The forms in which every body is read alike.
const FORMS: [&str; 3] = [JSON, "application/x-www-form-urlencoded", "multipart/form-data"];

/// Examples are sorted by name, and this one is to be shown first.
const SUCCESS: &str = "0 Success";

/// What is said of one call of dialect `D`.
pub struct Description<D> {
    id: &'static str,
    summary: &'static str,
    text: String,
    /// The body, and whether it must be there.
    takes: Option<(&'static Object, bool)>,
    parameters: Vec<(Field, ParameterIn)>,
    answers: Vec<&'static Object>,
    picture: bool,
    headers: &'static [(&'static str, &'static str)],
    refused: Vec<(StatusCode, String, Value)>,
    limited: bool,
    security: Vec<SecurityRequirement>,
    dialect: PhantomData<D>,
}

impl<D: Dialect> Description<D> {
    /// A call named `id`: `summary` says what it does in the document's words, `text` in English, and what else there
    /// is to know.
    pub fn of(id: &'static str, summary: &'static str, text: impl Into<String>) -> Self {
        Self {
            id,
            summary,
            text: text.into(),
            takes: None,
            parameters: Vec::new(),
            answers: Vec::new(),
            picture: false,
            headers: &[],
            refused: Vec::new(),
            limited: false,
            security: Vec::new(),
            dialect: PhantomData,
        }
    }

    /// It takes this body, in any of the forms.
    #[must_use]
    pub fn takes(mut self, object: &'static Object) -> Self {
        self.takes = Some((object, true));
        self
    }

    /// It takes this body, or none.
    #[must_use]
    pub fn may_take(mut self, object: &'static Object) -> Self {
        self.takes = Some((object, false));
        self
    }

    /// It takes this in the query string.
    #[must_use]
    pub fn query(mut self, fields: &[Field]) -> Self {
        self.parameters.extend(fields.iter().map(|field| (*field, ParameterIn::Query)));
        self
    }

    /// It takes this in its path.
    #[must_use]
    pub fn segment(mut self, field: Field) -> Self {
        self.parameters.push((field, ParameterIn::Path));
        self
    }

    /// With 200 it answers one of these.
    #[must_use]
    pub fn answers<const N: usize>(mut self, objects: [&'static Object; N]) -> Self {
        self.answers = objects.into();
        self
    }

    /// With 200 it answers a picture.
    #[must_use]
    pub fn answers_png(mut self) -> Self {
        self.picture = true;
        self
    }

    /// Its 200 has these headers: names, and what they hold.
    #[must_use]
    pub fn with_headers(mut self, headers: &'static [(&'static str, &'static str)]) -> Self {
        self.headers = headers;
        self
    }

    /// It may be refused for these reasons.
    #[must_use]
    pub fn refuses(mut self, errors: impl IntoIterator<Item = Error>) -> Self {
        for error in errors {
            let name: String = format!("{error:?}").chars().take_while(char::is_ascii_alphanumeric).collect();
            self.refused.push((status_of(&error), name, refusals::body(D::fail(&error))));
        }
        self
    }

    /// It may be refused with this answer.
    #[must_use]
    pub fn tells(mut self, name: &str, response: HttpResponse) -> Self {
        self.refused.push((response.status(), name.to_owned(), refusals::body(response)));
        self
    }

    /// Callers of it may have to wait.
    #[must_use]
    pub fn limited(mut self) -> Self {
        self.limited = true;
        self
    }

    /// Callers show one of these schemes.
    #[must_use]
    pub fn needs(mut self, schemes: &[&'static str]) -> Self {
        self.security.extend(schemes.iter().map(|name| SecurityRequirement::new(*name, [""; 0])));
        self
    }

    /// Or none.
    #[must_use]
    pub fn or_nothing(mut self) -> Self {
        self.security.push(SecurityRequirement::default());
        self
    }

    /// The objects that it names.
    pub(super) fn objects(&self) -> impl Iterator<Item = &'static Object> {
        self.takes.map(|(object, _)| object).into_iter().chain(self.answers.iter().copied())
    }

    /// Whether it takes no parameters: whatever is sent with it is not looked at.
    pub(super) fn takes_nothing(&self) -> bool {
        self.takes.is_none_or(|(_, required)| !required) && self.parameters.is_empty()
    }

    /// The operation; `others`: the methods that serve it beside the documented one.
    pub(super) fn operation(mut self, about: &About, others: &[&str]) -> Operation {
        if !others.is_empty() {
            let others = others.join("、");
            self.text.push_str(&format!("\n\n也可用 {others} 调用。Served by {others} as well."));
        }
        let responses = self.responses(about);
        OperationBuilder::new()
            .tag(D::NAME)
            .operation_id(Some(self.id))
            .summary(Some(self.summary))
            .description(Some(self.text.as_str()))
            .parameters(Some(self.parameters.iter().map(|(field, place)| parameter(field, place))))
            .request_body(self.takes.map(|(object, required)| self.request_body(object, required)))
            .responses(responses)
            .securities(Some(self.security))
            .build()
    }

    fn request_body(&self, object: &'static Object, required: bool) -> RequestBody {
        let example = object.example();
        let content = |_| ContentBuilder::new().schema(Some(object.reference())).example(Some(example.clone())).build();
        let start = RequestBodyBuilder::new().required(Some(if required { Required::True } else { Required::False }));
        FORMS.iter().fold(start, |body, form| body.content(*form, content(form))).build()
    }

    fn responses(&self, about: &About) -> Responses {
        let shared = |status: StatusCode| refusals::meaning(status).map(|(name, _)| Ref::from_response_name(name));
        let mut all = ResponsesBuilder::new().response("200", self.good());
        let mut statuses = Vec::new();
        if let Some((_, required)) = self.takes {
            // What need not be there is not looked at either, unless the call tells that it is.
            statuses.extend(if required { [400, 408, 413].as_slice() } else { &[408, 413] });
        }
        if self.limited {
            statuses.push(429);
        }
        statuses.extend([500, 503]);
        for status in statuses.into_iter().filter_map(|number| StatusCode::from_u16(number).ok()) {
            if let Some(reference) = shared(status) {
                all = all.response(status.as_str(), RefOr::<Response>::Ref(reference));
            }
        }
        let told = self.refused.iter().map(|(status, ..)| *status).filter(|status| *status != StatusCode::OK);
        for status in told.collect::<std::collections::BTreeSet<_>>() {
            let examples = self.refused.iter().filter(|(other, ..)| *other == status);
            let examples = examples.map(|(_, name, value)| (name.clone(), value.clone())).collect();
            all = all.response(status.as_str(), refusals::answer(about, status, examples));
        }
        all.build()
    }

    /// What is answered with 200, which in these dialects is not always a success.
    fn good(&self) -> Response {
        let response = ResponseBuilder::new();
        if self.picture {
            let bytes =
                ObjectBuilder::new().schema_type(Type::String).format(Some(SchemaFormat::Custom("binary".into())));
            let content = ContentBuilder::new().schema(Some(Schema::Object(bytes.build()))).build();
            return response.description("图片。A picture.").content("image/png", content).build();
        }
        let success = self.answers.first().map(|object| object.example());
        let mut examples: Vec<_> = success.map(|value| (SUCCESS.to_owned(), value)).into_iter().collect();
        let refused = self.refused.iter().filter(|(status, ..)| *status == StatusCode::OK);
        examples.extend(refused.map(|(_, name, value)| (name.clone(), value.clone())));
        let text = match examples.len() {
            0 | 1 => "成功。Success.",
            _ => "成功，或文档所列的业务错误。Success, or an error that the dialect tells in its body.",
        };
        let content = refusals::content(one_of(&self.answers), examples);
        let response = response.description(text).content(JSON, content);
        let named = self.headers.iter().map(|(name, about)| (*name, HeaderBuilder::new().description(Some(*about))));
        named.fold(response, |all, (name, header)| all.header(name, header.build())).build()
    }
}

fn parameter(field: &Field, place: &ParameterIn) -> Parameter {
    let required = if *place == ParameterIn::Path { Required::True } else { Required::False };
    ParameterBuilder::new()
        .name(field.name())
        .parameter_in(place.clone())
        .required(required)
        .description(Some(field.about()))
        .schema(Some(field.schema()))
        .build()
}
